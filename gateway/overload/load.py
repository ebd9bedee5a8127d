"""How well the event loop keeps up, from beats that it should have served at given times.

Two signs, since either alone is blind. *Lag* is how late a beat was served: it grows where one piece of work is long,
or where other processes take the processor. *Occupancy* is the share of time in which the loop's thread worked: it is
near 1 where too much comes in, although batches are cut so short that nothing is late yet.
"""

from collections import deque
from enum import IntEnum
from statistics import median
from typing import Final

# How often the loop is asked for a sign of life.
BEAT_SECONDS: Final = 0.02
# The median of so many beats: a collection of garbage or one slow call is one late beat, and no reason to refuse calls.
BEATS: Final = 15
# Weight of a new beat in the occupancy's moving average: at 20 ms a beat it settles within half a second.
OCCUPANCY_WEIGHT: Final = 0.05
# Above the first share sources that never acknowledged a call wait, above the second (where the configuration has no
# other) everybody: the rest is for media.
BUSY_FROM: Final = 0.8
OVERLOADED_FROM: Final = 0.95
# What was entered is left at this part of its threshold, so that the verdict does not flutter. Occupancy is an average
# already, and most of it is of calls that run on: left at 0.8 of its threshold, a process that 400 calls keep at 80 %
# would take no other for as long as they last.
LAG_LEAVE_AT: Final = 0.8
OCCUPANCY_LEAVE_AT: Final = 0.95


class LoadLevel(IntEnum):
    """What a gateway can take on."""

    CALM = 0
    BUSY = 1  # known callers only
    OVERLOADED = 2  # no new call


class LoopLoad:
    """The load of one event loop.

    Args:
        lag_limit_s: the lag from which on nothing new is taken.
        occupancy_limit: the occupancy from which on nothing new is taken; 1 for never.
    """

    def __init__(self, lag_limit_s: float, occupancy_limit: float = OVERLOADED_FROM) -> None:
        self.level = LoadLevel.CALM
        self.occupancy = 0.0
        self._lag_limit_s = lag_limit_s
        self._occupancy_limit = occupancy_limit
        self._lags: deque[float] = deque([0.0] * BEATS, BEATS)

    @property
    def lag_s(self) -> float:
        """How late the loop serves, as the median of the last beats."""
        return median(self._lags)

    def beat(self, lag_s: float, worked_s: float, elapsed_s: float) -> LoadLevel:
        """Takes a beat that was served `lag_s` late; the thread worked `worked_s` of the `elapsed_s` since the last."""
        self._lags.append(max(0.0, lag_s))
        if elapsed_s > 0:
            share = min(1.0, worked_s / elapsed_s)
            self.occupancy += (share - self.occupancy) * OCCUPANCY_WEIGHT
        self.level = self._judge()
        return self.level

    def _judge(self) -> LoadLevel:
        is_overloaded = self.level is LoadLevel.OVERLOADED
        if self.lag_s > self._lag_limit_s * (LAG_LEAVE_AT if is_overloaded else 1.0):
            return LoadLevel.OVERLOADED
        if self.occupancy > self._occupancy_limit * (OCCUPANCY_LEAVE_AT if is_overloaded else 1.0):
            return LoadLevel.OVERLOADED
        is_busy = self.level >= LoadLevel.BUSY
        return (
            LoadLevel.BUSY if self.occupancy > BUSY_FROM * (OCCUPANCY_LEAVE_AT if is_busy else 1.0) else LoadLevel.CALM
        )
