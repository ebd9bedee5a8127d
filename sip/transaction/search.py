"""A request other than INVITE on its way through the servers of a name: RFC 3263 §4.3.

An INVITE's way stands in its session (`sip.session.uac`): its attempts ring, have to be cancelled, and may be answered.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from sip.message import Request, Response
from sip.transaction.machine import Failure
from sip.transport.flow import Target

OnOutcome = Callable[[Response | Failure, float], None]
UNAVAILABLE: int = 503


class Attempt(Protocol):
    """Sends a request through a transaction of its own; `on_silence` is called where nobody answers for a while."""

    def __call__(
        self, request: Request, target: Target, on_outcome: OnOutcome, on_silence: Callable[[float], None], now: float
    ) -> None:
        """Begins it."""


class ServerSearch:
    """One request, sent to one server after the other until one takes it.

    A server that says 503, cannot be reached or is silent is followed by the next. One that was only slow may still
    answer: the first final response counts. `via` gives a Via with a new branch for each attempt: "a new transaction".
    """

    def __init__(self, attempt: Attempt, via: Callable[[], str], on_outcome: OnOutcome) -> None:
        self._attempt = attempt
        self._via = via
        self._on_outcome = on_outcome
        self._under_way: list[Request] = []
        self._last: Response | Failure | None = None  # what the server before this one said
        self._is_exhausted = False
        self._is_over = False

    def begin(self, request: Request, target: Target, now: float) -> None:
        """The first attempt, or a further one."""
        self._under_way.append(request)
        on_outcome = partial(self._handle_outcome, request, target)
        self._attempt(request, target, on_outcome, partial(self._handle_silence, request, target), now)

    def _handle_outcome(self, request: Request, target: Target, outcome: Response | Failure, now: float) -> None:
        if self._is_over:
            return
        if isinstance(outcome, Response) and outcome.status != UNAVAILABLE:
            self._is_over = outcome.status >= 200
            self._on_outcome(outcome, now)
            return
        is_newest = request is self._under_way[-1]
        self._under_way.remove(request)
        if outcome is Failure.TRANSPORT_ERROR and is_newest:
            self._is_exhausted = True  # the transport has tried every address that is left
        else:
            self._last = outcome
        if is_newest and not self._is_exhausted:
            self._follow(request, target, now)
        elif not self._under_way:
            self._is_over = True
            self._on_outcome(self._last or outcome, now)

    def _handle_silence(self, request: Request, target: Target, now: float) -> None:
        if not self._is_over and not self._is_exhausted and request is self._under_way[-1]:
            self._follow(request, target, now)

    def _follow(self, request: Request, target: Target, now: float) -> None:
        again = Request(request.method, request.uri, request.headers.copy(), request.body)
        again.headers.set("Via", self._via())
        self.begin(again, replace(target, after=request.top_via.branch or ""), now)
