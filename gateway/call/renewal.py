"""Make before break: a session that its service will end is replaced by another while nobody speaks."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.call.period import Period
from gateway.call.surroundings import ModelSurroundings
from gateway.realtime.errors import ModelError

if TYPE_CHECKING:
    from gateway.call.succession import Succession

# How long before its end a session is replaced: a tenth of its life, and never more than five minutes.
RENEWAL_SHARE: Final = 0.1
LONGEST_RENEWAL_SECONDS: Final = 300.0
# A renewal that no quiet moment came for is made this long before the end, in the midst of whatever is said.
RENEWAL_RESERVE_SECONDS: Final = 5.0
# How long a new session may take to open, and how long the next attempt waits after one that failed.
OPENING_SECONDS: Final = 1.5
WATCH_SECONDS: Final = 0.05


class Renewal:
    """The timer of the present session's renewal.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def arm_for_limit(self, limit_seconds: float, begin: Callable[[float], None]) -> None:
        """Renews a session that has just been opened, in good time before the service ends it."""
        margin = min(LONGEST_RENEWAL_SECONDS, limit_seconds * RENEWAL_SHARE)
        self.arm(limit_seconds - margin, margin, begin)

    def arm(self, in_seconds: float, margin: float, begin: Callable[[float], None]) -> None:
        """Calls `begin` in so many seconds, with the latest moment for the renewal; the end comes `margin` later."""
        self.disarm()
        deadline = self._clock() + in_seconds + max(0.0, margin - RENEWAL_RESERVE_SECONDS)
        self._timer = asyncio.get_running_loop().call_later(max(0.0, in_seconds), begin, deadline)

    def disarm(self) -> None:
        """There is nothing to renew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def renew(succession: "Succession", around: ModelSurroundings, deadline: float) -> None:
    """Opens a session beside the current one, which will end, and lets it take over when nobody speaks."""
    former = succession.period
    while former is succession.period and succession.is_open:
        if succession.is_quiet or around.clock() >= deadline:
            revision, began = succession.progress.revision, around.clock()
            fresh = await _open_beside(succession, former, around)
            if fresh is None:
                await asyncio.sleep(OPENING_SECONDS)
                continue
            unchanged = succession.is_quiet and revision == succession.progress.revision
            if (unchanged or around.clock() >= deadline) and former is succession.period and succession.is_open:
                await succession.switch(former, fresh, began)
                return
            await fresh.aclose()
        await asyncio.sleep(WATCH_SECONDS)


async def _open_beside(succession: "Succession", former: Period, around: ModelSurroundings) -> Period | None:
    """Opens the next session of the same backend: resumed where the service can do that, else with a replay.

    In a quiet moment the service's own memory is the better one, with the caller's voice in it. A session that was lost
    in mid-sentence is replayed instead: its handle is from before the sentence.
    """
    handle = former.session.resumption_handle if succession.is_quiet else None
    for attempt in (handle, None) if handle is not None else (None,):
        fresh = succession.next_period(former.backend, attempt)
        try:
            await succession.open_period(fresh, () if attempt is not None else around.history(), OPENING_SECONDS)
        except ModelError as error:
            extra = {"reason": error.label, "resumed": attempt is not None}
            around.logger.warning("model not renewed", extra=extra)
        else:
            return fresh
    return None
