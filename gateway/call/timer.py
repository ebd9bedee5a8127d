"""The timers of one call, by name."""

import asyncio
from collections.abc import Callable


class Timers:
    """Timers that are armed, moved and cancelled by name; whoever owns them cancels all at the end."""

    def __init__(self) -> None:
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def arm(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back after so many seconds; one of the same name that runs already is moved."""
        self.cancel(name)
        self._handles[name] = asyncio.get_running_loop().call_later(seconds, callback)

    def cancel(self, name: str) -> None:
        """Forgets a timer, whether it runs or not."""
        if (handle := self._handles.pop(name, None)) is not None:
            handle.cancel()

    def cancel_all(self) -> None:
        """Forgets every timer, and with it what the callbacks hold."""
        for name in list(self._handles):
            self.cancel(name)
