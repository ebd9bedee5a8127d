"""Care of a far end that falls silent: a call whose media stays away for too long is lost."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaTimeouts:
    """When a far end without media counts as gone, in seconds; 0 means never."""

    start_s: float = 0.0
    running_s: float = 0.0


class SilenceWatch:
    """Tells once, by `on_lost`, that the far end's media stays away for longer than the time-outs."""

    def __init__(self, timeouts: MediaTimeouts, on_lost: Callable[[], None], now: float) -> None:
        self._timeouts = timeouts
        self._on_lost: Callable[[], None] | None = on_lost
        self._quiet_since = now

    def begin_anew(self, now: float) -> None:
        """Silence until now was agreed upon, and counts for nothing."""
        self._quiet_since = now

    def check(self, arrived_at: float | None, now: float) -> float:
        """Judges a far end that may speak, and of which something came last at `arrived_at`, if ever.

        Returns when it counts as gone if nothing more comes; never is endless.
        """
        limit_s = self._timeouts.start_s if arrived_at is None else self._timeouts.running_s
        if self._on_lost is None or not limit_s:
            return math.inf
        lost_at = max(self._quiet_since, arrived_at or 0.0) + limit_s
        if now >= lost_at:
            on_lost, self._on_lost = self._on_lost, None
            on_lost()
            return math.inf
        return lost_at
