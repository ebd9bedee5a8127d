"""Conference: a mixer between legs, turned by the media clock.

Each leg sits in a seat, which is the sink that its stream speaks to; what the others say is appended to the leg's
speech, 20 ms in every turn. Legs that speak G.711 come as they are, the others as samples at 16 kHz.
"""

from collections.abc import Callable
from typing import Final, Protocol

from gateway.bridge import Recorder
from gateway.realtime.capability import AudioFormat
from rtp.codec.format import PCMA, PCMU, PayloadFormat
from rtp.mixer import FRAME_MS, Mixer
from rtp.mixing_port import PCM_16K
from rtp.path import Media
from rtp.sink import NullSink

MAX_WAITING_MS: Final = 60
"""A leg whose own turns do not come (it is held, or was stalled) is given no more: it would hear everything late."""
_FORMATS: Final = {PCMU: (AudioFormat.PCMU, PCMU), PCMA: (AudioFormat.PCMA, PCMA)}


class Clock(Protocol):
    """rtp.clock.MediaClock, as far as a conference needs it."""

    def register(self, media: Media, period_ms: int) -> None:
        """Turns from now on."""

    def unregister(self, media: Media) -> None:
        """No more turns."""


class ConferenceLeg(Protocol):
    """The side of a leg that speaks to the far end: gateway.leg.AudioLeg is one."""

    @property
    def payload_format(self) -> PayloadFormat:
        """The leg's codec."""

    @property
    def queued_ms(self) -> int:
        """Speech that waits."""

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends speech."""

    def finish(self, item_id: str) -> None:
        """No more speech of this item will come."""

    @property
    def audio_arrived_at(self) -> float:
        """When what is being handed to the seat came, in monotonic seconds."""

    def hurry(self) -> None:
        """What waits behind a missing packet is needed now."""


def seat_format(payload_format: PayloadFormat) -> AudioFormat:
    """The audio in which a leg of this codec is to be started, both ways, to sit in a conference."""
    return _FORMATS.get(payload_format, (AudioFormat.PCM16_16K, PCM_16K))[0]


class Seat(NullSink):
    """One leg's place. It is the sink of the leg's stream."""

    def __init__(
        self,
        name: str,
        mixer: Mixer,
        leg: ConferenceLeg,
        on_digit: Callable[[str, int], None],
        recorder: Recorder | None = None,
    ) -> None:
        self.name = name
        self._receive = mixer.receive
        self._leg = leg
        self._on_digit = on_digit
        self._recorder = recorder

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """To the others."""
        self._receive(self.name, payload, concealed, self._leg.audio_arrived_at)
        if self._recorder is not None:
            self._recorder.add_caller(payload)

    def on_frame_sent(self, frame: bytes, item_id: str | None) -> None:
        """What this one heard."""
        if self._recorder is not None:
            self._recorder.add_agent(frame)

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """To whoever acts on keys; no digit is heard by the others."""
        self._on_digit(digit, duration_ms)


class Conference:
    """One conference. It takes turns while somebody is in it, and rests else.

    Args:
        clock: the process's media clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._legs: dict[str, tuple[ConferenceLeg, str]] = {}
        self._entries = 0
        self.mixer = Mixer()
        """For gain, mute, whispers and sounds."""

    def join(
        self,
        name: str,
        leg: ConferenceLeg,
        payload_format: PayloadFormat,
        on_digit: Callable[[str, int], None] = lambda digit, duration_ms: None,
        recorder: Recorder | None = None,
    ) -> Seat:
        """Lets a leg in. The leg is to be started with the seat as its sink and `seat_format` both ways.

        Args:
            name: the leg's in the mixer.
            leg: hears the others.
            payload_format: the leg's codec.
            on_digit: is told the leg's keys.
            recorder: takes what the leg says, in `seat_format`, and what it hears.

        Raises:
            ValueError: the name is taken, or the conference is full.
        """
        self._entries += 1
        item_id = f"conference-{self._entries}"

        def deliver(frame: bytes) -> None:
            if leg.queued_ms < MAX_WAITING_MS:
                leg.enqueue(item_id, frame)

        _, mixed_format = _FORMATS.get(payload_format, (AudioFormat.PCM16_16K, PCM_16K))
        self.mixer.join(name, mixed_format, deliver, hurry=leg.hurry)
        if not self._legs:
            self._clock.register(self, FRAME_MS)
        self._legs[name] = (leg, item_id)
        return Seat(name, self.mixer, leg, on_digit, recorder)

    def leave(self, name: str) -> None:
        """Lets a leg go; what it still speaks into its seat is not heard. Idempotent."""
        entry = self._legs.pop(name, None)
        if entry is None:
            return
        self.mixer.leave(name)
        leg, item_id = entry
        leg.finish(item_id)
        if not self._legs:
            self._clock.unregister(self)

    def close(self) -> None:
        """Lets everybody go. Idempotent."""
        for name in list(self._legs):
            self.leave(name)

    def tick(self, now: float) -> None:
        """One packet time (rtp.clock.Media)."""
        self.mixer.tick(now)

    def skip(self, turns: int) -> None:
        """The clock missed `turns` packet times: the playout buffers see it by the time of the next turn."""
