"""Asks the event loop for a beat every 20 ms and tells `LoopLoad` how it came."""

import asyncio
import time
from collections.abc import Callable

from gateway.overload.load import BEAT_SECONDS, LoopLoad


class Pulse:
    """The beat of one loop.

    Args:
        load: takes the beats.
        on_beat: called after each with monotonic seconds.
    """

    def __init__(self, load: LoopLoad, on_beat: Callable[[float], None]) -> None:
        self._load = load
        self._on_beat = on_beat
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0
        self._beaten_at = 0.0
        self._worked_s = 0.0

    def start(self) -> None:
        """Beats from now on, on the running loop."""
        self._beaten_at = asyncio.get_running_loop().time()
        self._worked_s = time.thread_time()
        self._arm(self._beaten_at)

    def stop(self) -> None:
        """Beats no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, now: float) -> None:
        self._due_at = now + BEAT_SECONDS
        self._timer = asyncio.get_running_loop().call_at(self._due_at, self._beat)

    def _beat(self) -> None:
        now, worked_s = asyncio.get_running_loop().time(), time.thread_time()
        self._load.beat(now - self._due_at, worked_s - self._worked_s, now - self._beaten_at)
        self._beaten_at, self._worked_s = now, worked_s
        self._arm(now)
        self._on_beat(now)
