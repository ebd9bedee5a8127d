"""Mixer: a conference of legs with different codecs. Each hears all others and never itself.

Every packet time one frame of each leg is taken from its playout buffer. A leg that hears exactly one other one at
unity gain, G.711 on both sides, is handed that leg's octets undecoded. For all others the samples are one matrix and so
are the gains: their product is what each of them hears, and the work for a further leg is a further row.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from rtp.codec.format import PayloadFormat
from rtp.codec.g711 import LAW_TABLES
from rtp.coding import LINEAR, Coding
from rtp.limiter import Limiter
from rtp.mixing_port import MixingPort
from rtp.playout_buffer import PlayoutBufferStatistics
from rtp.rate_doubling import HIGH_HZ, LOW_HZ, RateDoubler, RateHalver

Samples = NDArray[np.int16]
Signal = NDArray[np.float32]

FRAME_MS: Final = 20
MAX_GAIN: Final = 4.0
"""12 dB: more lifts the noise of a line and not its voice."""
MAX_PORTS: Final = 256
"""Sums of so many 16-bit voices are still exact in float32."""
_PRODUCT_LIMIT: Final = 200_000
"""Multiplications that are asked of the matrix library at once: from 262,144 on OpenBLAS takes all cores for it, and
waking them costs more than the work."""


class FrameSource(Protocol):
    """Sound that is not a leg's: an announcement, music on hold."""

    sample_rate_hz: int
    """8000 or 16000."""

    def take(self, count: int) -> Samples | None:
        """The next `count` samples, or None after the end."""


@dataclass(slots=True)
class _Playing:
    name: str
    source: FrameSource
    audience: frozenset[str] | None
    gain: float

    @property
    def rate_hz(self) -> int:
        return self.source.sample_rate_hz


@dataclass(slots=True)
class _Group:
    """The listeners of one rate that hear a mix."""

    rate_hz: int
    listeners: list[MixingPort]
    gains: Signal
    """One row a listener, one column a speaker or playing sound."""


@dataclass(slots=True)
class _Plan:
    """Who hears whom, worked out whenever somebody comes, goes, or is set otherwise."""

    copies: list[tuple[MixingPort, MixingPort]] = field(default_factory=list)
    """Listener and the one speaker whose octets it gets."""
    deaf: list[MixingPort] = field(default_factory=list)
    """Hear nobody: silence."""
    groups: list[_Group] = field(default_factory=list)
    speakers: list[MixingPort] = field(default_factory=list)
    """Those whose samples are wanted, first in the columns; the playing sounds follow."""


class Mixer:
    """One conference. `tick` is to be called once every 20 ms; everything else whenever it happens."""

    def __init__(self) -> None:
        self._ports: dict[str, MixingPort] = {}
        self._playing: dict[str, _Playing] = {}
        self._plan: _Plan | None = None
        self._doubler = RateDoubler(LOW_HZ * FRAME_MS // 1000)
        self._halver = RateHalver(LOW_HZ * FRAME_MS // 1000)
        self._limiters = {rate_hz: Limiter(rate_hz) for rate_hz in (LOW_HZ, HIGH_HZ)}

    # Who is there.

    def join(
        self,
        name: str,
        payload_format: PayloadFormat,
        deliver: Callable[[bytes], None],
        *,
        ptime_ms: int = FRAME_MS,
        hurry: Callable[[], None] | None = None,
    ) -> None:
        """Lets a leg in: it hears everybody and everybody hears it.

        Args:
            name: the leg's, for every later call.
            payload_format: what the leg sends and wants to hear; rtp.mixing_port.PCM_16K and its like for samples.
            deliver: is called once in each `tick` with 20 ms of what the leg hears. Opus: rtp.mixing_port.PCM_24K.
            ptime_ms: how long a lost frame of the leg is.
            hurry: is called where a frame of the leg is due and not there; see rtp.playout_buffer.PlayoutBuffer.

        Raises:
            KeyError: there is no codec for the format.
            ValueError: the name is taken, or the conference is full.
        """
        if name in self._ports or name in self._playing:
            raise ValueError(f"There is a {name!r} in this conference already")
        if len(self._ports) >= MAX_PORTS:
            raise ValueError(f"A conference has room for {MAX_PORTS} legs")
        self._ports[name] = MixingPort(name, payload_format, ptime_ms, FRAME_MS, deliver, hurry)
        self._plan = None

    def leave(self, name: str) -> None:
        """Lets a leg go. Idempotent."""
        if self._ports.pop(name, None) is not None:
            self._plan = None

    def play(
        self, name: str, source: FrameSource, *, audience: Collection[str] | None = None, gain: float = 1.0
    ) -> None:
        """Plays a sound until its end to `audience`, or to everybody. It replaces what played under the name."""
        if name in self._ports:
            raise ValueError(f"There is a {name!r} in this conference already")
        self._playing[name] = _Playing(name, source, _audience(audience), _valid_gain(gain))
        self._plan = None

    def stop(self, name: str) -> None:
        """Ends a sound. Idempotent."""
        if self._playing.pop(name, None) is not None:
            self._plan = None

    @property
    def names(self) -> list[str]:
        """The legs."""
        return list(self._ports)

    @property
    def playing(self) -> list[str]:
        """The sounds that have not ended."""
        return list(self._playing)

    # How they are set.

    def set_gain(self, name: str, gain: float) -> None:
        """How loud the others hear this leg: 0 … 4."""
        self._ports[name].gain = _valid_gain(gain)
        self._plan = None

    def mute(self, name: str, is_muted: bool = True) -> None:
        """Nobody hears this leg; it hears on."""
        self._ports[name].is_muted = is_muted
        self._plan = None

    def deafen(self, name: str, is_deaf: bool = True) -> None:
        """This leg hears silence; it is heard on."""
        self._ports[name].is_listening = not is_deaf
        self._plan = None

    def whisper(self, name: str, audience: Collection[str] | None) -> None:
        """Only `audience` hears this leg; None: everybody. An empty audience is listening in."""
        self._ports[name].audience = _audience(audience)
        self._plan = None

    # The media path.

    def receive(self, name: str, payload: bytes, concealed: bool, now: float) -> None:
        """The next audio of a leg, in order, as `rtp.sink.StreamSink.on_audio` has it. Of who has left: ignored."""
        if (port := self._ports.get(name)) is not None:
            port.receive(payload, concealed, now)

    def tick(self, now: float) -> None:
        """Delivers one frame to every leg."""
        frames = {name: port.buffer.take(now) for name, port in self._ports.items()}
        sounds = self._take_sounds()
        plan = self._plan or self._replan()
        for port in plan.deaf:
            port.hear(np.zeros(port.rate_hz * FRAME_MS // 1000, dtype=np.int16))
        for listener, speaker in plan.copies:
            table = LAW_TABLES.get((speaker.payload_format, listener.payload_format))
            octets = frames[speaker.name]
            listener.deliver(octets if table is None else octets.translate(table))
        if plan.groups:
            self._mix(plan, frames, sounds)

    def statistics(self, name: str) -> PlayoutBufferStatistics:
        """What the leg's playout buffer did so far."""
        return self._ports[name].buffer.statistics()

    def _take_sounds(self) -> list[Samples]:
        sounds = []
        for playing in list(self._playing.values()):
            samples = playing.source.take(playing.rate_hz * FRAME_MS // 1000)
            if samples is None:
                self.stop(playing.name)
            else:
                sounds.append(samples)
        return sounds

    def _mix(self, plan: _Plan, frames: dict[str, bytes], sounds: list[Samples]) -> None:
        voices = [*_decoded(plan.speakers, frames), *sounds]
        rates = [speaker.rate_hz for speaker in plan.speakers] + [one.rate_hz for one in self._playing.values()]
        for group in plan.groups:
            matrix = self._at_rate(group.rate_hz, voices, rates)
            mixed = self._limiters[group.rate_hz].process(_product(group.gains, matrix))
            for listener, samples in zip(group.listeners, mixed, strict=True):
                listener.hear(samples)

    def _at_rate(self, rate_hz: int, voices: list[Samples], rates: list[int]) -> Signal:
        """All voices as rows at one rate."""
        matrix = np.empty((len(voices), rate_hz * FRAME_MS // 1000), dtype=np.float32)
        own = [row for row, rate in enumerate(rates) if rate == rate_hz]
        other = [row for row, rate in enumerate(rates) if rate != rate_hz]
        for row in own:
            matrix[row] = voices[row]
        if other:
            convert = self._doubler if rate_hz == HIGH_HZ else self._halver
            matrix[other] = convert.process(np.stack([voices[row] for row in other]).astype(np.float32))
        return matrix

    # Who hears whom.

    def _replan(self) -> _Plan:
        plan = self._plan = _Plan()
        ports, playing = list(self._ports.values()), list(self._playing.values())
        mixing: list[MixingPort] = []
        wanted: dict[str, MixingPort] = {}
        for listener in ports:
            heard = [speaker for speaker in ports if _gain(speaker, listener) > 0]
            sounds = [one for one in playing if _sound_gain(one, listener) > 0]
            if not heard and not sounds:
                plan.deaf.append(listener)
            elif not sounds and len(heard) == 1 and _can_copy(heard[0], listener):
                plan.copies.append((listener, heard[0]))
            else:
                mixing.append(listener)
                wanted.update((speaker.name, speaker) for speaker in heard)
        plan.speakers = list(wanted.values())
        for rate_hz in (LOW_HZ, HIGH_HZ):
            listeners = [listener for listener in mixing if listener.rate_hz == rate_hz]
            self._limiters[rate_hz].serve([listener.name for listener in listeners])
            if listeners:
                plan.groups.append(_group(rate_hz, listeners, plan.speakers, playing))
        columns: list[MixingPort | _Playing] = [*plan.speakers, *playing]
        self._doubler.serve([column.name for column in columns if column.rate_hz == LOW_HZ])
        self._halver.serve([column.name for column in columns if column.rate_hz == HIGH_HZ])
        return plan


def _product(gains: Signal, matrix: Signal) -> Signal:
    """`gains @ matrix`, in pieces that stay on this core. A single row is two, for the same reason."""
    if len(gains) == 1:
        return (np.concatenate((gains, gains)) @ matrix)[:1]
    rows = max(2, _PRODUCT_LIMIT // max(1, matrix.size))
    if rows >= len(gains):
        return np.asarray(gains @ matrix)
    return np.concatenate([gains[start : start + rows] @ matrix for start in range(0, len(gains), rows)])


def _audience(names: Collection[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _valid_gain(gain: float) -> float:
    if not 0 <= gain <= MAX_GAIN:
        raise ValueError(f"A gain is 0 to {MAX_GAIN:g}, not {gain}")
    return gain


def _gain(speaker: MixingPort, listener: MixingPort) -> float:
    if speaker is listener or speaker.is_muted or not listener.is_listening:
        return 0.0
    if speaker.audience is not None and listener.name not in speaker.audience:
        return 0.0
    return speaker.gain


def _sound_gain(playing: _Playing, listener: MixingPort) -> float:
    if not listener.is_listening or (playing.audience is not None and listener.name not in playing.audience):
        return 0.0
    return playing.gain


def _can_copy(speaker: MixingPort, listener: MixingPort) -> bool:
    """Octets wait as they came where they are of G.711; samples need not be the listener's format."""
    return speaker.gain == 1.0 and LINEAR not in (speaker.coding, listener.coding)


def _group(rate_hz: int, listeners: list[MixingPort], speakers: list[MixingPort], playing: list[_Playing]) -> _Group:
    gains = [
        [_gain(speaker, listener) for speaker in speakers] + [_sound_gain(one, listener) for one in playing]
        for listener in listeners
    ]
    return _Group(rate_hz, listeners, np.array(gains, dtype=np.float32))


def _decoded(speakers: Iterable[MixingPort], frames: dict[str, bytes]) -> list[Samples]:
    """The speakers' samples, those of one coding and length in one step."""
    kinds: dict[tuple[Coding, int], list[int]] = {}
    octets = []
    for row, speaker in enumerate(speakers):
        octets.append(frames[speaker.name])
        kinds.setdefault((speaker.coding, speaker.rate_hz), []).append(row)
    result: list[Samples] = [np.empty(0, dtype=np.int16)] * len(octets)
    for (coding, _), rows in kinds.items():
        for row, samples in zip(
            rows, coding.decode(b"".join(octets[row] for row in rows)).reshape(len(rows), -1), strict=True
        ):
            result[row] = samples
    return result
