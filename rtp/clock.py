"""MediaClock: one per process, a step every 5 ms, every call served once in its packet time.

Deadlines are absolute, so nothing drifts. A call belongs to one phase of its period (of four, at 20 ms); calls are
spread over the phases. After a stall each call is served once and told how many turns it missed: media time goes on,
and nobody's packets come in a burst.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from rtp.fast import ClockPath
from rtp.path import Media

STEP_MS: Final = 5
_STEP_S: Final = STEP_MS / 1000
_EARLY_S: Final = 0.001
"""uvloop counts timers in milliseconds and may be early by one."""
_ROUND: Final = 120
"""Steps after which all periods (10 … 60 ms are 2 … 12 steps) fall together again."""
_LEAD_STEPS: Final = 2
"""From a caller's packet to the turn of its call: an echo, a bridge or a mixer has answered by then."""
_LATE_SHARE: Final = 0.4
"""Of a step: what is heard within that much of its beginning was drained at that step, a little late."""
_CROWD_CALLS: Final = 8
_CROWD_SHARE: Final = 1.5
"""A phase takes no more than so many calls and that many times the mean: a step must stay short."""
_LAG_BUCKET_MS: Final = 0.5
_LAG_BUCKETS: Final = 400
"""Lag is told apart up to 200 ms; what is worse counts as that, and as the maximum."""


class LagStatistics:
    """How late the steps were."""

    steps: int
    missed_turns: int
    """Turns of calls that were skipped after stalls."""
    max_ms: float

    def __init__(self) -> None:
        self.reset()

    def add(self, lag_s: float) -> None:
        """Counts one step."""
        lag_ms = max(0.0, lag_s * 1000)
        self._buckets[min(int(lag_ms / _LAG_BUCKET_MS), _LAG_BUCKETS - 1)] += 1
        self.steps += 1
        self.max_ms = max(self.max_ms, lag_ms)

    def percentile_ms(self, percent: float) -> float:
        """The lag that `percent` of the steps did not exceed, rounded up to half a millisecond; 0 before the first."""
        wanted = self.steps * percent / 100
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                return (index + 1) * _LAG_BUCKET_MS
        return 0.0

    def reset(self) -> None:
        """Begins a new interval."""
        self._buckets = [0] * _LAG_BUCKETS
        self.steps = 0
        self.missed_turns = 0
        self.max_ms = 0.0


class MediaClock(ClockPath):
    """`advance` is the clock itself and takes the time; `start` lets an event loop drive it.

    `on_fault(media, error)` hears of a call whose turn raised: the call is unregistered, the others go on.
    """

    def __init__(self, on_fault: Callable[[Media, Exception], None]) -> None:
        self._on_fault = on_fault
        self._phases: dict[int, list[dict[Media, None]]] = {}
        self._places: dict[Media, tuple[int, int]] = {}
        """The period of each, in steps, and its phase in it."""
        self._loads = [0] * _ROUND
        """How many are served in each step of a round."""
        self.changes = 0
        self._step_hooks: list[Callable[[float], None]] = []
        self._flush_hooks: list[Callable[[], None]] = []
        self._origin = 0.0
        self._next_step = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.lag = LagStatistics()

    @property
    def media_count(self) -> int:
        """How many are served."""
        return len(self._places)

    def add_step_hook(self, hook: Callable[[float], None]) -> None:
        """`hook(now)` is called at each step before anyone is served."""
        self._step_hooks.append(hook)

    def add_flush_hook(self, hook: Callable[[], None]) -> None:
        """`hook()` is called at each step after all whose turn it was have been served."""
        self._flush_hooks.append(hook)

    def register(self, media: Media, period_ms: int = 20) -> None:
        """Serves `media` every `period_ms` (a multiple of 10 up to 60) from its emptiest phase on."""
        if period_ms not in range(10, 61, 10):
            raise ValueError(f"A period of {period_ms} ms is not one of 10, 20, … 60")
        self.unregister(media)
        period = period_ms // STEP_MS
        if period not in self._phases:
            self._phases[period] = [{} for _ in range(period)]
        loads = self._loads
        self._place(media, period, min(range(period), key=lambda residue: max(loads[residue::period])))
        self._arm()

    def align(self, media: Media, heard_at: float) -> None:
        """Serves `media` two steps after those at which its far end is heard, so that an answer at once leaves at once.

        `heard_at` is when a packet came. A phase that is crowded takes nobody: there far ends speak all at once.
        """
        place = self._places.get(media)
        if place is None:
            return
        period, phase = place
        heard = math.ceil((heard_at - self._origin) / _STEP_S - _LATE_SHARE)
        wanted = (heard + _LEAD_STEPS) % period
        crowd = _CROWD_CALLS + _CROWD_SHARE * sum(self._loads) / _ROUND
        if wanted != phase and max(self._loads[wanted::period]) < crowd:
            self.unregister(media)
            self._place(media, period, wanted)

    def _place(self, media: Media, period: int, phase: int) -> None:
        self._phases[period][phase][media] = None
        self._places[media] = (period, phase)
        for step in range(phase, _ROUND, period):
            self._loads[step] += 1

    def unregister(self, media: Media) -> None:
        """Serves it no more, from this moment on. Unknown ones are no fault."""
        place = self._places.pop(media, None)
        if place is not None:
            period, phase = place
            self.changes += 1
            del self._phases[period][phase][media]
            for step in range(phase, _ROUND, period):
                self._loads[step] -= 1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lets the loop drive the clock; it rests while nobody is registered."""
        self._loop = loop
        self._arm()

    def stop(self) -> None:
        """No step is made any more."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wind(self, now: float) -> None:
        """Sets the clock going at `now`: the first step is due one step later."""
        self._origin = now
        self._next_step = 1

    def advance(self, now: float) -> float:
        """Makes the steps that are due. Returns when the next one is."""
        due = math.floor((now - self._origin + _EARLY_S) / _STEP_S)
        first = self._next_step
        if due >= first:
            self.lag.add(now - self._origin - first * _STEP_S)
            self._next_step = due + 1
            for hook in self._step_hooks:
                hook(now)
            for period, phases in tuple(self._phases.items()):
                for step in range(first, min(due, first + period - 1) + 1):
                    phase = phases[step % period]
                    if not phase:
                        continue
                    if missed_turns := (due - step) // period:
                        self._skip(phase, missed_turns)
                    self.serve(phase, now)
            for flush in self._flush_hooks:
                flush()
        return self._origin + self._next_step * _STEP_S

    def _skip(self, phase: dict[Media, None], turns: int) -> None:
        for media in tuple(phase):
            if media not in phase:
                continue
            self.lag.missed_turns += turns
            try:
                media.skip(turns)
            except Exception as error:  # noqa: BLE001  # as in `serve`
                self._end(media, error)

    def _end(self, media: Media, error: Exception) -> None:
        self.unregister(media)
        self._on_fault(media, error)

    def _arm(self) -> None:
        if self._loop is None or self._timer is not None:
            return
        now = time.monotonic()
        self.wind(now)
        self._timer = self._loop.call_later(_STEP_S, self._run)

    def _run(self) -> None:
        loop = self._loop
        if loop is None:
            return
        self._timer = None
        try:
            self.advance(time.monotonic())
        finally:
            # The step hooks have seen an empty clock before it rests. A fault in one of them does not stop it.
            if self._places and self._loop is not None:
                due_at = self._origin + self._next_step * _STEP_S
                self._timer = loop.call_later(max(0.0, due_at - time.monotonic()), self._run)
