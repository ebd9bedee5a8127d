"""PlayoutBuffer: evens out the jitter of audio that goes to another person's ear.

A stream hands its audio on as it comes; a model does not mind, an ear does. Here it waits just long enough that all but
a small share of it is there when its turn comes. Whoever listens takes one frame every packet time and always gets one:

    delay below the target     a quiet frame is played twice, so nothing is lost and nobody hears it
    delay above the target     a quiet frame is left out; when there has been none for long, two frames become one
    nothing there in time      the sound is continued (rtp.concealment). While the delay is below its target it grows by
                               this; else what comes too late is dropped, since waiting for it would delay all the rest
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from rtp.coding import Coding
from rtp.concealment import Concealer
from rtp.delay_estimate import DelayEstimate

DEFAULT_LATE_RATIO: Final = 0.01
"""One frame in a hundred may come too late: the next one would cost more delay than its concealment can be heard."""
FIRST_TARGET_MS: Final = 40
"""Before anything is known: two frames, which the jitter of a usual network stays under."""
MAX_TARGET_MS: Final = 200
"""ITU-T G.114: beyond 150 to 200 ms in one direction people begin to talk at the same time."""
MAX_HELD_MS: Final = 400
"""A burst after a stall is cut to the target at once; nobody wants to hear it."""
RESTART_S: Final = 0.5
"""A frame so far from its time is no jitter: the source paused, or has another clock."""
_QUIET_MEAN_SQUARE: Final = (32768 * 10 ** (-50 / 20)) ** 2
"""-50 dBFS: the noise of a quiet line is below it, the softest sounds of speech above it."""
_PAUSE_FRAMES: Final = 3
"""What was quiet for so many frames is a pause: closures within words last 50 to 100 ms at most."""
_PATIENCE_MS: Final = 60
"""How far above its target the delay may stay while no frame is quiet."""


_TURNS: Final = 10
"""What all of so many turns had to spare is too much delay; one that came late, in a busy process, says nothing."""


@dataclass(frozen=True, slots=True)
class PlayoutBufferStatistics:
    """What was done so far, in milliseconds of audio, and how things stand."""

    target_ms: int
    delay_ms: int
    """Between a frame's earliest possible arrival and its turn, its own length included."""
    concealed_ms: int
    """Invented because nothing was there."""
    late_ms: int
    """Dropped because its turn was over."""
    inserted_ms: int
    """Quiet frames played again, to grow the delay."""
    removed_ms: int
    """Left out, to shrink the delay."""
    restarts: int


class PlayoutBuffer:
    """One source's audio on its way to an ear. `take` is to be called once every `frame_ms`.

    Args:
        coding: how the octets that come and go hold samples.
        late_ratio: the share of frames that may come too late, for which the delay is kept so low.
        hurry: is called where a frame is due and not there, and may `put` what waits elsewhere behind a gap.
    """

    def __init__(
        self,
        coding: Coding,
        sample_rate_hz: int,
        *,
        frame_ms: int = 20,
        late_ratio: float = DEFAULT_LATE_RATIO,
        hurry: Callable[[], None] | None = None,
    ) -> None:
        self._coding = coding
        self._hurry = hurry
        self._rate = sample_rate_hz
        self._frame = sample_rate_hz * frame_ms // 1000
        self._frame_s = frame_ms / 1000
        self._held = bytearray()
        self._put = 0
        self._taken = 0
        self._estimate = DelayEstimate(late_ratio=late_ratio, first_target_ms=FIRST_TARGET_MS)
        self._concealer = Concealer(sample_rate_hz)
        self._played: deque[bytes] = deque(maxlen=-(-self._concealer.history_samples // self._frame))
        self._delay_s = 0.0
        self._slacks: deque[float] = deque(maxlen=_TURNS)
        self._is_waiting = True
        self._concealed = self._late = self._inserted = self._removed = self._restarts = 0

    @property
    def target_s(self) -> float:
        """How long frames are to wait beyond the earliest of them."""
        return min(self._estimate.target_s, MAX_TARGET_MS / 1000)

    def put(self, octets: bytes, now: float, concealed: bool = False) -> None:
        """Takes what came, in order; `now` is when it came, which may be before it is put: behind a gap it had to wait.

        What is `concealed` was made up by the stream and says nothing of the network.
        """
        estimate = self._estimate
        samples = len(octets) // self._coding.octets_per_sample
        end = self._put + samples
        if estimate.baseline_s is not None and abs(estimate.lateness_s(end / self._rate, now)) > RESTART_S:
            self._restart(self._put)
        if not concealed or estimate.baseline_s is None:
            estimate.arrive(end / self._rate, now)
        late = min(max(self._taken - self._put, 0), samples)
        self._late += late
        self._put = end
        self._held += octets[late * self._coding.octets_per_sample :]
        if self._held_samples > self._rate * MAX_HELD_MS // 1000:
            excess = self._held_samples - self._frame - int(self.target_s * self._rate)
            self._removed += excess
            self._advance(excess)
            self._slacks.clear()

    def take(self, now: float) -> bytes:
        """The next frame to be heard. Silence before the first audio."""
        baseline_s = self._estimate.baseline_s
        if baseline_s is None:
            return self._coding.silence_of(self._frame)
        self._delay_s = now - self._taken / self._rate - baseline_s
        slack_s = self._delay_s - self._frame_s
        self._slacks.append(slack_s)
        is_early = slack_s < self.target_s - self._frame_s / 2
        if self._is_waiting and is_early:
            return self._coding.silence_of(self._frame)
        self._is_waiting = False
        if self._held_samples < self._frame and self._hurry is not None:
            self._hurry()
        if self._held_samples < self._frame:
            frame = self._bridge(is_late=slack_s >= self.target_s)
        elif is_early and not self._concealer.is_concealing and self._is_pause():
            frame = self._insert()
        elif self._spare_s > self.target_s + self._frame_s and self._held_samples >= 2 * self._frame:
            frame = self._shrink(self._spare_s)
        else:
            frame = self._next()
        self._played.append(frame)
        return frame

    def statistics(self) -> PlayoutBufferStatistics:
        """The counts at this moment."""
        per_ms = self._rate // 1000
        return PlayoutBufferStatistics(
            target_ms=round(self.target_s * 1000),
            delay_ms=round(self._delay_s * 1000),
            concealed_ms=self._concealed // per_ms,
            late_ms=self._late // per_ms,
            inserted_ms=self._inserted // per_ms,
            removed_ms=self._removed // per_ms,
            restarts=self._restarts,
        )

    @property
    def _spare_s(self) -> float:
        """How far before its turn every frame was there lately."""
        return min(self._slacks) if len(self._slacks) == _TURNS else 0.0

    @property
    def _held_samples(self) -> int:
        return len(self._held) // self._coding.octets_per_sample

    def _restart(self, position: int) -> None:
        """What comes next is played as if it were the first."""
        self._estimate.restart()
        self._held.clear()
        self._taken = position
        self._slacks.clear()
        self._is_waiting = True
        self._restarts += 1

    def _advance(self, samples: int) -> bytes:
        size = samples * self._coding.octets_per_sample
        octets = bytes(self._held[:size])
        del self._held[:size]
        self._taken += samples
        return octets

    def _next(self) -> bytes:
        frame = self._advance(self._frame)
        if not self._concealer.is_concealing:
            return frame
        head = self._coding.encode(self._concealer.recover(self._coding.decode(frame)))
        return head + frame[len(head) :]

    def _peek(self) -> bytes:
        return bytes(self._held[: self._frame * self._coding.octets_per_sample])

    def _is_pause(self) -> bool:
        """Whether the next frame is quiet, and those before it were: between sentences nobody hears that time moves.

        Quiet for a frame or two is the closure of a consonant, and a word whose middle has moved is heard.
        """
        latest = list(self._played)[-_PAUSE_FRAMES:]
        return len(latest) == _PAUSE_FRAMES and all(map(self._is_quiet, (self._peek(), *reversed(latest))))

    def _is_quiet(self, frame: bytes) -> bool:
        samples = self._coding.decode(frame).astype(np.float32)
        return float(samples @ samples) <= _QUIET_MEAN_SQUARE * len(samples)

    def _insert(self) -> bytes:
        """The next frame backwards, which leads into the frame itself without a step."""
        self._inserted += self._frame
        return self._coding.encode(np.ascontiguousarray(self._coding.decode(self._peek())[::-1]))

    def _shrink(self, slack_s: float) -> bytes:
        """Leaves out a quiet frame, or blends two into one when there has been none for long."""
        if self._is_pause():
            self._leave_out()
            self._advance(self._frame)
            return self._next()
        if slack_s <= self.target_s + _PATIENCE_MS / 1000:
            return self._next()
        self._leave_out()
        first, second = self._coding.decode(self._next()), self._coding.decode(self._advance(self._frame))
        rise = np.linspace(0.0, 1.0, self._frame, dtype=np.float32)
        return self._coding.encode((first * (1 - rise) + second * rise).astype(np.int16))

    def _leave_out(self) -> None:
        self._removed += self._frame
        self._slacks = deque((slack_s - self._frame_s for slack_s in self._slacks), _TURNS)

    def _bridge(self, *, is_late: bool) -> bytes:
        """What is left, and an invented continuation."""
        rest = self._advance(self._held_samples)
        missing = self._frame - len(rest) // self._coding.octets_per_sample
        past = self._coding.decode(b"".join(self._played) + rest)
        invented = self._coding.encode(self._concealer.conceal(past, missing))
        self._concealed += missing
        if is_late:
            self._taken += missing
            self._slacks.clear()
        return rest + invented
