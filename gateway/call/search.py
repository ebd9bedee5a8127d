"""The search for a session that takes a lost one's place: which backends are asked, in which order, how long."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gateway.call.period import Period
from gateway.call.surroundings import ModelSurroundings
from gateway.realtime.errors import ModelError
from gateway.realtime.event import FailureReason, SessionFailed
from gateway.realtime.session import RealtimeBackend

if TYPE_CHECKING:
    from gateway.call.succession import Succession

# A backend that has not answered by then is passed over while there is another. OpenAI takes 0.3 to 0.8 s.
ATTEMPT_SECONDS: Final = 1.5
# Between two rounds through backends that all refused for a reason that may pass.
ROUND_PAUSE_SECONDS: Final = 0.3
# Sessions in a row that ended within so many seconds: the conversation itself breaks them.
SHORT_LIFE_SECONDS: Final = 5.0
SHORT_LIVES_LIMIT: Final = 3


class Search:
    """What one call has seen of its backends, and where it looks next.

    Args:
        backends: in order of preference.
        around: what the call gives.
    """

    def __init__(self, backends: Sequence[RealtimeBackend], around: ModelSurroundings) -> None:
        self.unanswered_lives = 0
        """Sessions in a row that were given up because they did not answer."""
        self._short_lives = 0
        self._backends = backends
        self._around = around

    def note_life(self, seconds: float) -> None:
        """A session was lost that had been open for so long."""
        self._short_lives = self._short_lives + 1 if seconds < SHORT_LIFE_SECONDS else 0

    async def seek(self, succession: "Succession", lost: Period, failure: SessionFailed) -> bool:
        """Goes through the backends, round by round, until one answers or the time is up.

        The one that answers is the succession's current one then.
        """
        deadline = self._around.clock() + self._around.give_up_after_seconds
        candidates = self._candidates(lost, failure)
        if self.unanswered_lives > len(self._backends):
            return False  # each has had its chance
        while candidates and self._short_lives < SHORT_LIVES_LIMIT:
            remaining = []
            for backend in candidates:
                seconds = min(ATTEMPT_SECONDS, deadline - self._around.clock())
                if seconds <= 0:
                    return False
                period = succession.adopt(succession.next_period(backend))
                for payload in succession.recent:
                    period.append(payload)
                try:
                    await succession.open_period(period, self._around.history(), seconds)
                except ModelError as error:
                    self._around.logger.warning("model refused", extra={"backend": backend.name, "reason": error.label})
                    if error.retryable:
                        remaining.append(backend)
                    continue
                return True
            candidates = remaining
            await asyncio.sleep(ROUND_PAUSE_SECONDS)
        return False

    def _candidates(self, lost: Period, failure: SessionFailed) -> list[RealtimeBackend]:
        """The same backend first where that may help, then the others in their order."""
        others = [backend for backend in self._backends if backend is not lost.backend]
        if failure.reason is FailureReason.UNANSWERED:  # each in its turn, for all of them may be silent
            index = self._backends.index(lost.backend)
            others = [*self._backends[index + 1 :], *self._backends[:index]]
        if not failure.retryable and others:
            return others
        return [*others, lost.backend] if self._short_lives > 1 else [lost.backend, *others]
