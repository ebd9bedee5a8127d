"""The paths that every packet takes: fifty a second, each way, for each call.

These classes hold the state that the paths need and do what is regular: the next packet of the locked source, the next
frame in the midst of an item. Everything else is the business of their subclasses, which share the state: RtpReceiver,
RtpSender, Playout. `rtp._fast` holds the same classes, compiled, and `rtp.fast` chooses. What is here is what they mean
and what runs where nothing could be compiled.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from rtp.packet import HEADER, HEADER_OCTETS, PLAIN_FIRST_OCTET
from rtp.recent_audio import RecentAudio
from rtp.sequence import SEQUENCE_MASK, TIMESTAMP_MASK
from rtp.source_lock import Address
from rtp.srtp import SrtpUnprotector

NO_SSRC: Final = -1
"""The value of `InboundPath.ssrc` while no source is followed."""
MAX_OWED_FRAMES: Final = 5
"""100 ms: a pause that is so much shorter is still the same pause."""
SPARE_TURNS: Final = 10
"""Twice the longest message that carries a caller's audio, and more than the jitter of a model's."""
_JITTER_GAIN: Final = 1 / 16
_MARKER: Final = 0x80

_pack = HEADER.pack
_unpack_from = HEADER.unpack_from


class InboundPath:
    """From a datagram to the sink, for the packet that is awaited.

    `is_open` says that nothing is held back and no gap is being filled: only then a packet passes here. `is_restless`
    says that the subclass wants to be polled at each turn.
    """

    source: Address | None
    """The locked source; nobody else is heard."""
    remote: Address | None
    """Where this stream's packets are to be sent: latched, else negotiated."""
    unprotector: SrtpUnprotector | None
    """Set on a secure stream: `_unprotected` is then asked for each packet."""
    history: RecentAudio
    on_audio: Callable[[bytes, bool], None]
    is_open: bool
    is_restless: bool
    receives: bool
    ssrc: int
    expected: int
    """The sequence number that comes next."""
    next_timestamp: int
    payload_type: int
    fast_limit: int
    """The longest packet that passes; 0 for a format whose octets do not tell samples."""
    octet_shift: int
    packets: int
    played: int
    clock_rate_hz: int
    audio_at: float
    transit: float
    jitter: float
    peak_jitter: float
    starved_after: float

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        """Takes one datagram from the socket. Whatever it holds, nothing is raised."""
        if source != self.source:
            self._receive_foreign(data, source, now)
            return
        if self.unprotector is not None:
            plain = self._unprotected(data, now)
            if plain is None:
                return
            data = plain
        if not HEADER_OCTETS < len(data) <= self.fast_limit:
            self._receive_irregular(data, now)
            return
        first, second, sequence_number, timestamp, ssrc = _unpack_from(data)
        if not (
            sequence_number == self.expected
            and ssrc == self.ssrc
            and timestamp == self.next_timestamp
            and first == PLAIN_FIRST_OCTET
            and second & 0x7F == self.payload_type
            and self.is_open
        ):
            self._receive_irregular(data, now)
            return
        self.expected = (sequence_number + 1) & SEQUENCE_MASK
        self.packets += 1
        payload = data[HEADER_OCTETS:]
        samples = len(payload) >> self.octet_shift
        self.next_timestamp = (timestamp + samples) & TIMESTAMP_MASK
        self.played += samples
        self.audio_at = now
        self.measure_jitter(timestamp, now)
        self.history.append(payload)
        self.on_audio(payload, False)

    def measure_jitter(self, timestamp: int, now: float) -> None:
        """RFC 3550 section 6.4.1. A jump (wrap, new clock) is no jitter."""
        transit = now * self.clock_rate_hz - timestamp
        deviation = abs(transit - self.transit)
        self.transit = transit
        if deviation < self.clock_rate_hz:
            self.jitter += (deviation - self.jitter) * _JITTER_GAIN

    def poll(self, now: float) -> None:
        """Once a turn: ends waits that are over, digits whose end was lost, and silence that nobody sent."""
        self.peak_jitter = max(self.peak_jitter, self.jitter)
        if self.is_restless or (now - self.audio_at >= self.starved_after and self.ssrc != NO_SSRC and self.receives):
            self._poll_irregular(now)

    @abstractmethod
    def _receive_foreign(self, data: bytes, source: Address, now: float) -> None:
        """A datagram of somebody else, or of anybody while no source is locked."""

    @abstractmethod
    def _receive_irregular(self, data: bytes, now: float) -> None:
        """A datagram of the locked source that is anything but the packet that is awaited."""

    @abstractmethod
    def _unprotected(self, data: bytes, now: float) -> bytes | None:
        """The plain packet; None, and counted, where it is not authentic."""

    @abstractmethod
    def _poll_irregular(self, now: float) -> None:
        """A turn in which something waits, or nothing came for long."""


class FrameQueue:
    """Audio of one item in the order of its coming, whatever pieces it came in."""

    def __init__(self, item_id: str, sent_octets: int) -> None:
        self.item_id = item_id
        self.sent_octets = sent_octets
        self.queued_octets = 0
        self.finished = False
        self.waited = False
        self._pieces: deque[bytes] = deque()
        self._offset = 0

    def append(self, audio: bytes) -> None:
        """More of the item."""
        if audio:
            self._pieces.append(audio)
            self.queued_octets += len(audio)

    def take(self, octets: int) -> bytes:
        """The next octets, or as many as there are."""
        parts: list[bytes] = []
        octets = min(octets, self.queued_octets)
        self.queued_octets -= octets
        while octets > 0:
            piece = self._pieces[0]
            part = piece[self._offset : self._offset + octets]
            parts.append(part)
            octets -= len(part)
            self._offset += len(part)
            if self._offset == len(piece):
                self._pieces.popleft()
                self._offset = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)


class PlayoutPath:
    """The frames of a turn, as long as they lie in the midst of an item, and more audio for the youngest item."""

    head: FrameQueue | None
    """The item that is being said."""
    youngest: FrameQueue | None
    """The item that more audio comes for."""
    is_alone: bool
    """No other stands behind it."""
    frame_octets: int
    queued_octets: int
    current_item_id: str | None
    owed_frames: int
    """Silence that was put into the item because its audio came late, and may be taken back from its next pause."""
    spare_turns: int
    """Turns in a row that left another frame waiting: so much is more than the audio's pace needs."""

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends audio to an item; a new identifier is a new item behind the others. Flushed items take no more."""
        youngest = self.youngest
        if youngest is None or youngest.item_id != item_id:
            self._enqueue_irregular(item_id, audio)
            return
        youngest.append(audio)
        self.queued_octets += len(audio)

    def next_frame(self) -> bytes | None:
        """The frame of this turn, or None when there is nothing to say (silence is then due)."""
        head = self.head
        if head is None:
            self.current_item_id = None
            return None
        size = self.frame_octets
        if not head.sent_octets or (head.finished and head.queued_octets <= size):
            return self._irregular_frame()
        if self.owed_frames and self.spare_turns >= SPARE_TURNS and head.queued_octets >= 2 * size:
            return self._irregular_frame()
        if head.queued_octets >= size:
            self.current_item_id = head.item_id
            head.sent_octets += size
            self.queued_octets -= size
            head.waited = False
            frame = head.take(size)
            self.spare_turns = self.spare_turns + 1 if head.queued_octets >= size else 0
            return frame
        if not head.queued_octets and self.is_alone:
            self.current_item_id = None
            self.spare_turns = 0
            self.owed_frames = min(self.owed_frames + 1, MAX_OWED_FRAMES)
            return None
        return self._irregular_frame()

    @abstractmethod
    def _irregular_frame(self) -> bytes | None:
        """The frame of a turn that does not lie in the midst of an item."""

    @abstractmethod
    def _enqueue_irregular(self, item_id: str, audio: bytes) -> None:
        """Audio that is not for the youngest item."""


class OutboundPath:
    """One packet a turn, of speech or silence, with SSRC, sequence numbers and media time."""

    playout: PlayoutPath
    on_frame_sent: Callable[[bytes, str | None], None] | None
    """None where nobody wants to know."""
    encode: Callable[[bytes], bytes] | None
    protect: Callable[[bytes], bytes] | None
    silence: bytes
    is_paused: bool
    events_wait: bool
    """Telephone-events are due: `_event_packet` is asked instead of the playout."""
    marker_due: bool
    sequence_number: int
    payload_type: int
    frame_samples: int
    timestamp: int
    ssrc: int
    octets: int
    speech_packets: int
    silence_packets: int

    def tick(self) -> bytes | None:
        """The datagram of this turn; None while paused or not negotiated to send. Media time moves on either way."""
        timestamp = self.timestamp
        self.timestamp = (timestamp + self.frame_samples) & TIMESTAMP_MASK
        if self.is_paused:
            # Whoever is silent starts a new talkspurt afterwards (RFC 3551 section 4.1: marker on its first packet).
            self.marker_due = True
            return None
        if self.events_wait:
            return self._event_packet(timestamp)
        frame = self.playout.next_frame()
        second = self.payload_type
        if frame is None:
            frame = self.silence
            if not self.octets:
                second |= _MARKER
            self.marker_due = True
            self.silence_packets += 1
            if self.on_frame_sent is not None:
                self.on_frame_sent(frame, None)
        else:
            if self.marker_due:
                self.marker_due = False
                second |= _MARKER
            self.speech_packets += 1
            if self.on_frame_sent is not None:
                self.on_frame_sent(frame, self.playout.current_item_id)
        return self.packet(second, timestamp, frame if self.encode is None else self.encode(frame))

    def packet(self, second: int, timestamp: int, payload: bytes) -> bytes:
        """The next packet in sequence. `second` is the second octet: marker and payload type."""
        packet = _pack(PLAIN_FIRST_OCTET, second, self.sequence_number, timestamp, self.ssrc) + payload
        self.octets += len(payload)
        self.sequence_number = (self.sequence_number + 1) & SEQUENCE_MASK
        return packet if self.protect is None else self.protect(packet)

    @abstractmethod
    def _event_packet(self, timestamp: int) -> bytes | None:
        """The packet of a turn in which telephone-events are due."""


class StreamPath:
    """Both halves of a stream."""

    inbound: InboundPath
    outbound: OutboundPath

    @property
    def playout(self) -> PlayoutPath:
        """Where audio to be sent is put."""
        return self.outbound.playout

    def tick(self, now: float) -> bytes | None:
        """One packet time: settles what waits on the inbound side, and returns the datagram to send to `remote`."""
        self.inbound.poll(now)
        return self.outbound.tick()


class Speaking(Protocol):
    """Turns a model's audio into what a playout takes: gateway.transcoding.Mouth is one."""

    def speak(self, audio: bytes) -> bytes:
        """The next piece of an item, of any size."""


class Media(Protocol):
    """Who is served by the clock. Both are called from the event loop and must not block."""

    def tick(self, now: float) -> None:
        """The turn: send one packet."""

    def skip(self, turns: int) -> None:
        """So many turns were missed; called just before `tick`."""


class ClockPath:
    """One turn after the other, for all whose turn it is."""

    changes: int
    """Counts who was taken from a phase."""

    def serve(self, phase: dict[Media, None], now: float) -> None:
        """Gives each its turn. Whoever is taken from the phase meanwhile gets none."""
        changes = self.changes
        for media in tuple(phase):
            if self.changes != changes and media not in phase:
                continue
            try:
                media.tick(now)
            # One call's fault must not silence the others: it ends that call.
            except Exception as error:  # noqa: BLE001
                self._end(media, error)

    @abstractmethod
    def _end(self, media: Media, error: Exception) -> None:
        """The turn of one has failed."""


class Sender(Protocol):
    """What sends datagrams: rtp.datagram.DatagramSender is one."""

    def post(self, data: bytes, remote: Address) -> None:
        """Sends one now, or when all calls of this step of the clock have been served."""


class TurnPath:
    """What the media clock serves for one leg (rtp.clock.Media): its stream's packet, and now and then the rest."""

    turning: StreamPath | None
    """The stream; None while there is none."""
    mouth: Speaking | None
    """Converts what is to be said; None where it is in the playout's format already."""
    sender: Sender
    care_due: float
    """When `_take_care` is to be called next."""
    care_interval_s: float

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends speech to an item."""
        if self.turning is not None:
            self.turning.playout.enqueue(item_id, audio if self.mouth is None else self.mouth.speak(audio))

    def tick(self, now: float) -> None:
        """One packet time."""
        stream = self.turning
        if stream is None:
            return
        datagram = stream.tick(now)
        if datagram is not None and (remote := stream.inbound.remote) is not None:
            self.sender.post(datagram, remote)
        if now >= self.care_due:
            self.care_due = now + self.care_interval_s
            self._take_care(now)

    @abstractmethod
    def _take_care(self, now: float) -> None:
        """What is not due at every packet."""
