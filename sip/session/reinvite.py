"""The re-INVITEs and UPDATEs that we send: RFC 3261 §14.1, RFC 3311, with their glare."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from sip.body import typed
from sip.dialog import Dialog
from sip.event import ReinviteAnswered, ReinviteFailed, SessionRefreshed
from sip.message import Request, Response
from sip.session.core import SessionCore
from sip.session.received import HeaderFields
from sip.session.refresh import SessionRefresher, min_se
from sip.session.sent import Acknowledger
from sip.session.state import SessionState
from sip.transaction.machine import Failure

GLARE_LIMIT: Final = 5  # 491s in a row for one request; then the peers are in each other's way for good
GLARE_STEP: Final = 0.01  # seconds: "in units of 10 ms" (RFC 3261 §14.1)
POSTPONEMENT: Final = 1.0  # seconds, where our turn comes while the peer's own re-INVITE is being answered


@dataclass(slots=True)
class SentReinvite:
    """One re-INVITE or UPDATE of ours, through its challenges, its 422 and its glare."""

    method: str
    offer: bytes
    headers: tuple[tuple[str, str], ...]
    acknowledger: Acknowledger
    is_refresh: bool
    dialog: Dialog | None
    glares: int = 0
    least_interval: int = 0
    request: Request | None = None
    unacknowledged: Response | None = None  # a 2xx with an offer, which waits for our answer
    is_finished: bool = False


class Reinviter:
    """Sends one at a time. `is_blocked` tells whether the peer's own INVITE is under way."""

    def __init__(self, session: SessionCore, refresher: SessionRefresher, is_blocked: Callable[[], bool]) -> None:
        self._session = session
        self._refresher = refresher
        self._is_blocked = is_blocked
        self._sent: SentReinvite | None = None
        self._again_at: float | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether one is sent, or waits to be sent again."""
        return self._sent is not None and not self._sent.is_finished

    @property
    def is_outstanding(self) -> bool:
        """Whether the peer has one of ours to answer, so that its own is glare."""
        return self.is_under_way and self._again_at is None

    def begin(
        self,
        method: str,
        offer: bytes,
        headers: HeaderFields,
        now: float,
        *,
        is_refresh: bool = False,
        dialog: Dialog | None = None,
    ) -> None:
        """Sends one, in an early dialog or in the session's."""
        session = self._session
        acknowledger = Acknowledger(session.host, session.flow)
        dialog = dialog or session.dialog
        self._sent = SentReinvite(method, offer, tuple(headers), acknowledger, is_refresh, dialog)
        self._send(self._sent, now)

    def acknowledge(self, body: bytes) -> bool:
        """Sends the ACK with our answer, where the 2xx brought an offer."""
        sent, dialog = self._sent, self._session.dialog
        if sent is None or sent.unacknowledged is None or sent.request is None or dialog is None:
            return False
        sent.acknowledger.acknowledge(dialog, sent.request, sent.unacknowledged, body)
        sent.unacknowledged = None
        sent.is_finished = True
        return True

    def next_timer(self) -> float | None:
        """The end of the pause after a 491."""
        return self._again_at

    def handle_timer(self, now: float) -> None:
        """Sends again, unless the peer is quicker."""
        if self._again_at is None or self._again_at > now or self._sent is None:
            return
        if self._is_blocked():
            self._again_at = now + POSTPONEMENT
        else:
            self._again_at = None
            self._send(self._sent, now)

    def stop(self) -> None:
        """The session is over. What was sent may still be answered, and is then acknowledged."""
        self._again_at = None

    def _send(self, sent: SentReinvite, now: float) -> None:
        session = self._session
        headers = [
            *session.refresh_headers("User-Agent"),
            *(self._refresher.request_headers(sent.least_interval) if self._is_established else []),
            *sent.headers,
            *typed(sent.offer),
        ]
        on_outcome = partial(self._handle_outcome, sent)
        session.send_request(sent.method, on_outcome, now, headers=headers, body=sent.offer, dialog=sent.dialog)
        session.changed()

    @property
    def _is_established(self) -> bool:
        """Whether the call is answered: before, no session timer runs, and no request decides its fate."""
        return self._session.state is SessionState.CONFIRMED

    def _handle_outcome(self, sent: SentReinvite, request: Request, outcome: Response | Failure, now: float) -> None:
        if isinstance(outcome, Response) and outcome.status < 200:
            return
        if isinstance(outcome, Response) and outcome.status < 300:
            self._handle_accepted(sent, request, outcome, now)
        elif not sent.is_finished:
            self._handle_refused(sent, outcome, now)
        self._session.changed()

    def _handle_accepted(self, sent: SentReinvite, request: Request, response: Response, now: float) -> None:
        session, dialog = self._session, sent.dialog
        if sent.acknowledger.repeat(response) or sent.unacknowledged is not None or dialog is None:
            return
        dialog.refresh_target(response)
        sent.request = request
        if sent.method == "UPDATE":
            sent.is_finished = True
        elif sent.offer or not response.body or session.is_ended:
            sent.acknowledger.acknowledge(dialog, request, response)
            sent.is_finished = True
        else:
            sent.unacknowledged = response
        if session.is_ended:
            return
        if self._is_established:
            self._refresher.accept(response, now)
        if sent.offer:
            session.local_description = sent.offer
        event = SessionRefreshed if sent.is_refresh else ReinviteAnswered
        session.host.emit(event(session.as_session(), response.body or None))

    def _handle_refused(self, sent: SentReinvite, outcome: Response | Failure, now: float) -> None:
        session = self._session
        if session.is_ended:
            sent.is_finished = True
        elif outcome.status == 491 and sent.glares < GLARE_LIMIT:
            sent.glares += 1
            self._again_at = now + self._glare_pause()
        elif isinstance(outcome, Response) and outcome.status == 422 and min_se(outcome) > sent.least_interval:
            sent.least_interval = min_se(outcome)  # RFC 4028 §7.4
            self._send(sent, now)
        elif self._is_established and (outcome.status in {408, 481} or isinstance(outcome, Failure)):
            sent.is_finished = True
            session.lose(now)
        else:
            sent.is_finished = True
            reason = outcome.reason if isinstance(outcome, Response) else outcome.name
            if not sent.is_refresh:
                session.host.emit(ReinviteFailed(session.as_session(), outcome.status, reason))

    def _glare_pause(self) -> float:
        """RFC 3261 §14.1: 2.1 to 4 s for the owner of the Call-ID, 0 to 2 s for the other side, in units of 10 ms."""
        lowest, highest = (210, 400) if self._session.is_caller else (0, 200)
        return (lowest + int(self._session.host.random_fraction() * (highest - lowest + 1))) * GLARE_STEP
