"""The paths of a call's sound between its leg and its model: fifty packets a second, each way, for each call.

These classes hold the state that the paths need and do what is regular: a whole message that is more speech of the item
under way, a packet of the caller while the session takes audio. Everything else is the business of their subclasses,
which share the state: Wire, WireSession, Succession, Bridge. `gateway._fast` holds the same classes, compiled, and
`gateway.fast` chooses. What is here is what they mean and what runs where nothing could be compiled.
"""

import asyncio
import binascii
from abc import abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

from gateway.backends.frame import ClientFrames, whole_frame
from gateway.realtime.event import AudioDelta, RealtimeEvent
from rtp.recent_audio import RecentAudio

# An event_id is about 30 characters long; the second constant part of a message must begin within this.
MAX_EVENT_ID_BYTES: Final = 128
_END: Final = b'"}'


class MessageReceiver(Protocol):
    """The owner of a wire, as far as its messages are concerned."""

    def message_received(self, message: bytes) -> None:
        """Takes one whole text or binary message."""


class Outlet(Protocol):
    """What a transport is to a path."""

    def write(self, data: bytes) -> None:
        """Sends, or keeps for sending."""


class WirePath:
    """A WebSocket whose messages come whole and go as they are made."""

    receiver: MessageReceiver
    transport: Outlet | None
    """None before the connection is made."""
    frames: ClientFrames
    is_open: bool
    """Messages can be sent."""
    is_between: bool
    """No message waits for the rest of it."""
    heard: bool
    """Something came since this was last set to False."""
    paused: bool
    """It takes no more for the moment."""

    def data_received(self, data: bytes) -> None:
        """Takes what the socket read."""
        self.heard = True
        taken = 0
        while self.is_open and self.is_between and (whole := whole_frame(data, taken)) is not None:
            start, taken = whole
            self.receiver.message_received(data[start:taken])
        if not taken or (taken < len(data) and self.is_open):
            self._receive_irregular(data[taken:])

    def send(self, message: bytes) -> None:
        """Sends one text message; after the wire is over, nothing happens. It never waits: see `paused`."""
        if self.is_open:
            self.write(self.frames.text(message))

    def send_audio(self, head: bytes, audio: bytes, tail: bytes) -> None:
        """Sends one text message that holds audio as base64 between two constant parts."""
        if self.is_open:
            self.write(self.frames.audio(head, audio, tail))

    def write(self, data: bytes) -> None:
        """Writes octets of the stream, in the order of the calls."""
        if self.transport is not None:
            self.transport.write(data)

    @property
    def has_shortcut(self) -> bool:
        """Whether the socket is read and written past the transport."""
        return False

    def take_shortcut(self) -> None:
        """Reads and writes the socket past the transport from now on, where that can be: what is compiled does, with a
        stream that is not encrypted.
        """

    def leave_shortcut(self) -> None:
        """Has the transport read and write again. Whoever asks anything of it but `write` does this first."""

    @abstractmethod
    def _receive_irregular(self, data: bytes) -> None:
        """What does not begin with a whole message, or comes while the wire is not open."""


class ItemAccount:
    """What the model has said of one item."""

    def __init__(self, response_id: str) -> None:
        self.response_id = response_id
        self.received_bytes = 0
        self.done = False
        self.is_cut = False
        """Nobody wants to hear more of its response."""


class SpeechReader:
    """Reads the messages that come most often, more speech of the item under way, without decoding JSON.

    All deltas of an item differ in `event_id` and `delta` alone. Once the constant parts are known, a message that fits
    them byte for byte is read; any other may be anything.
    """

    def __init__(self) -> None:
        self.head = b""
        """Before the event_id."""
        self.middle = b""
        """Between the event_id and the audio."""
        self.response_id = self.item_id = ""
        self.account: ItemAccount | None = None
        """The item's; None where no message can be read."""

    def read(self, message: bytes) -> AudioDelta | None:
        """The speech in a message, which is then counted; None, and nothing has changed, where it may be anything."""
        account = self.account
        if account is None or account.is_cut:
            return None
        audio = read_audio(message, self.head, self.middle, MAX_EVENT_ID_BYTES)
        if audio is None:
            return None
        account.received_bytes += len(audio)
        return AudioDelta(self.response_id, self.item_id, audio)


def read_audio(message: bytes, head: bytes, middle: bytes, longest: int) -> bytes | None:
    """The audio of a message that has these parts, with `longest` bytes at most between head and middle; or None."""
    if not message.startswith(head) or not message.endswith(_END):
        return None
    begin, end = len(head), len(message) - len(_END)
    found = message.find(middle, begin, min(end, begin + longest + len(middle)))
    if found < 0 or message.find(b'"', begin, found) >= 0 or message.find(b"\\", begin, found) >= 0:
        return None
    text = message[found + len(middle) : end]
    if len(text) % 4 or text.endswith(b"==="):  # binascii takes padding that nothing needs
        return None
    try:
        # Strict decoding refuses everything that is not base64, so nothing can hide behind the audio.
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None


def decode_base64(text: str) -> bytes | None:
    """What a text of strict base64 stands for (RFC 4648 section 4); None for anything else."""
    if len(text) % 4 or text.endswith("==="):  # binascii takes padding that nothing needs
        return None
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one, and so is a text that is not ASCII
        return None


def step_shortcuts(loop: asyncio.AbstractEventLoop, by_clock: bool) -> None:
    """A step of the media clock begins: what has come past the loop's transports is read, and what is written from now
    on waits for the flush. `by_clock`: nothing is read until the next step; else the loop wakes at each arrival.
    """


def flush_shortcuts(loop: asyncio.AbstractEventLoop) -> None:
    """The step ends: what waits is written."""


class SessionPath:
    """A model session that is open: gathers the caller's packets into messages, and tells the model's speech."""

    outlet: WirePath | None
    """The wire, once there is one."""
    sink: Callable[[RealtimeEvent], None]
    reader: SpeechReader | None
    """None for a service whose messages are all decoded."""
    is_flowing: bool
    """The session takes audio, and none waits from before."""
    is_telling: bool
    """Events go to the sink as they come."""
    append_head: bytes
    append_tail: bytes
    """What stands before and after the base64 of a message with the caller's audio."""
    batch_bytes: int
    """How much is worth a message."""
    _batch = b""

    def append_audio(self, payload: bytes) -> None:
        """See `RealtimeSession`. Before the session is open, and while the wire is paused, the audio is held."""
        outlet = self.outlet
        if not self.is_flowing or outlet is None or outlet.paused:
            self._hold(payload)
            return
        self._batch += payload
        if len(self._batch) >= self.batch_bytes:
            self.send_batch()

    def send_batch(self) -> None:
        """Sends what has been gathered, however little."""
        if self._batch and self.outlet is not None:
            self.outlet.send_audio(self.append_head, self.take_batch(), self.append_tail)

    def take_batch(self) -> bytes:
        """What has been gathered, which is then gone from here."""
        batch, self._batch = self._batch, b""
        return batch

    def message_received(self, message: bytes) -> None:
        """Takes one message of the service."""
        if self.is_telling and self.reader is not None and (speech := self.reader.read(message)) is not None:
            self.sink(speech)
        else:
            self._receive_irregular(message)

    @abstractmethod
    def _hold(self, payload: bytes) -> None:
        """Audio that cannot be sent now."""

    @abstractmethod
    def _receive_irregular(self, message: bytes) -> None:
        """A message that may be anything."""


class PeriodPath:
    """The time of one session within a call: what it says is told with the period that it belongs to."""

    receive: Callable[[object, RealtimeEvent], None]

    def tell(self, event: RealtimeEvent) -> None:
        """Takes an event of the session."""
        self.receive(self, event)


class SuccessionPath:
    """The sessions of a call while one of them speaks: the caller's audio to it, and more speech of its item."""

    append: Callable[[bytes], None]
    """Takes the caller's audio for the current session."""
    recent: RecentAudio
    """The caller's last words."""
    tap: Callable[[bytes], None] | None
    """Hears the caller's audio too."""
    sink: Callable[[RealtimeEvent], None]
    speaker: object | None
    """The current session's period, where its speech of `spoken_item` needs nothing but to be told; else None."""
    spoken_item: str
    sounded: bool
    """Set with each piece of speech."""

    def append_audio(self, payload: bytes) -> None:
        """The next audio of the caller."""
        self.recent.append(payload)
        self.append(payload)
        if self.tap is not None:
            self.tap(payload)

    def receive(self, period: object, event: RealtimeEvent) -> None:
        """Takes what a session says."""
        if period is self.speaker and type(event) is AudioDelta and event.item_id == self.spoken_item:
            self.sounded = True
            self.sink(event)
        else:
            self._receive_irregular(period, event)

    @abstractmethod
    def _receive_irregular(self, period: object, event: RealtimeEvent) -> None:
        """What is not more speech of the item under way, or not the current session's."""


class SpeechOutlet(Protocol):
    """A leg, as far as speech is put there."""

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends audio to an item."""


class GeneratedSpeech:
    """How much of an item the model has said: part of what is kept for the transcript."""

    generated_ms = 0


class AudioTape(Protocol):
    """What takes the caller's channel of a recording."""

    def add_caller(self, payload: bytes) -> None:
        """The caller's audio, in order."""


class BridgePath:
    """Between one leg and its model: a packet of the caller, and more speech of the item that came last."""

    append: Callable[[bytes], None]
    recorder: AudioTape | None
    first_audio_at: float | None
    """When the caller was first heard."""
    speech: SpeechOutlet | None
    item_id: str | None
    """The item that came last; None where it has ended."""
    utterance: GeneratedSpeech
    """Its place in the transcript."""
    generated_octets: int
    """Of it."""
    octets_per_ms: int

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """Audio of the caller, in order: to the model as it is, and into the recording."""
        if self.first_audio_at is None:
            self._note_first_audio()
        self.append(payload)
        if self.recorder is not None:
            self.recorder.add_caller(payload)

    def on_model_event(self, event: RealtimeEvent) -> None:
        """Takes an event of the session, in its order. Called by the session's reader; never blocks."""
        if type(event) is AudioDelta and event.item_id == self.item_id:
            self.generated_octets += len(event.audio)
            self.utterance.generated_ms = self.generated_octets // self.octets_per_ms
            if self.speech is not None:
                self.speech.enqueue(event.item_id, event.audio)
        else:
            self._receive_irregular(event)

    @abstractmethod
    def _note_first_audio(self) -> None:
        """The caller is heard for the first time."""

    @abstractmethod
    def _receive_irregular(self, event: RealtimeEvent) -> None:
        """Any event but more speech of the item."""
