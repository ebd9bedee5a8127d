"""One serial queue for `response.create`.

Only one response may write to the conversation at a time. A server that detects turns starts responses of its own, so a
request can always lose the race: `conversation_already_has_active_response` then puts it back to wait for
`response.done`. That is normal, and nobody is told.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

# A server that answers a request neither with a response nor with an error would block the queue for ever. The good
# ones say response.created within a few hundred milliseconds.
UNANSWERED_REQUEST_S: Final = 3.0
# More requests than this have no meaning in a conversation; the oldest is dropped.
MAX_WAITING_REQUESTS: Final = 8
# Tool outputs of which the acknowledgement is remembered.
MAX_ACKNOWLEDGED: Final = 256


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A wish for a response. `answers` are the tool calls whose results it is to speak about."""

    instructions: str | None = None
    answers: frozenset[str] = frozenset()
    is_retry: bool = False


class ResponseQueue:
    """What was asked for, what was sent, and what is being spoken."""

    def __init__(self) -> None:
        self.active_response_id: str | None = None
        self.requested: ResponseRequest | None = None
        self.cancel_on_start = False
        self.caller_speaks = False
        self.answers_turns = True
        self._requested_at: float | None = None
        self._waiting: deque[ResponseRequest] = deque(maxlen=MAX_WAITING_REQUESTS)
        self._acknowledged: deque[str] = deque(maxlen=MAX_ACKNOWLEDGED)
        self._known_at_start: frozenset[str] = frozenset()

    def ask(self, request: ResponseRequest) -> None:
        """Adds a request. Bare requests that wait already are not doubled."""
        if request.instructions is not None or request.answers or request not in self._waiting:
            self._waiting.append(request)

    def next_request(self) -> ResponseRequest | None:
        """The request to send now, if any; it counts as sent."""
        if self.active_response_id is not None or self.requested is not None or not self._waiting:
            return None
        # A caller who speaks will be answered by the server itself, with the tools' results in its context.
        if self._waiting[0].answers and self.caller_speaks and self.answers_turns:
            return None
        self.requested = self._waiting.popleft()
        self._requested_at = None
        return self.requested

    def started(self, response_id: str) -> bool:
        """A response has begun. Returns whether it was cancelled before it began."""
        self.active_response_id = response_id
        self._known_at_start = frozenset(self._acknowledged)
        cancelled, self.cancel_on_start = self.cancel_on_start, False
        return cancelled

    def ended(self, *, completed: bool) -> None:
        """The active response is over: whatever was sent has been served, or was rejected before."""
        self.active_response_id = None
        self.requested = None
        if completed:
            # It began after these tool results had reached the conversation, so it has spoken about them.
            known = self._known_at_start
            kept = [
                one for one in self._waiting if not (one.answers and one.instructions is None and one.answers <= known)
            ]
            self._waiting = deque(kept, maxlen=MAX_WAITING_REQUESTS)

    def lost_race(self) -> None:
        """The server was already speaking: the request waits for the end of that response."""
        if self.requested is not None:
            self._waiting.appendleft(self.requested)
            self.requested = None

    def rejected(self) -> None:
        """The server will not serve the request at all."""
        self.requested = None
        self.cancel_on_start = False

    def retry(self, request: ResponseRequest) -> None:
        """Asks once more, before anything else, for a response that the service failed to make."""
        self._waiting.appendleft(replace(request, is_retry=True))

    def acknowledged(self, call_id: str) -> None:
        """A tool's result is in the conversation."""
        self._acknowledged.append(call_id)

    @property
    def is_unanswered(self) -> bool:
        """Whether a request was sent of which nothing has come."""
        return self.requested is not None and self.active_response_id is None

    def release_overdue(self, now: float) -> bool:
        """Gives up a request that nobody answered. Returns whether there was one."""
        if not self.is_unanswered:
            return False
        if self._requested_at is None:
            self._requested_at = now
        if now - self._requested_at < UNANSWERED_REQUEST_S:
            return False
        self.rejected()
        return True
