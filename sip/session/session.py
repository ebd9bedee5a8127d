"""What both roles of an INVITE session share: the confirmed dialog, from 2xx to BYE (RFC 3261 §12, §14, §15)."""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import partial
from typing import ClassVar, Final

from sip.dialog import Dialog, target_of
from sip.event import (
    Acknowledged,
    ByeReceived,
    Ended,
    InfoReceived,
    NotAcknowledged,
    ReinviteAnswered,
    ReinviteCancelled,
    ReinviteFailed,
    ReinviteReceived,
)
from sip.message import Request, Response
from sip.session.host import Authenticator, SessionHost
from sip.session.received import HeaderFields, ReceivedInvite
from sip.session.sent import CREDENTIAL_ATTEMPTS, CREDENTIAL_FIELDS, SDP, Acknowledger, SentReinvite
from sip.session.state import LOCAL_INPUTS, EndCause, SessionInput, SessionState, SessionStateError
from sip.transaction.invite_server import InviteServerTransaction
from sip.transaction.machine import Failure
from sip.transaction.non_invite_server import NonInviteServerTransaction
from sip.transport.flow import Flow

GLARE_LIMIT: Final = 5  # 491s in a row for one re-INVITE; then the peers are in each other's way for good
GLARE_STEP: Final = 0.01  # seconds: "in units of 10 ms" (RFC 3261 §14.1)
OnRequestOutcome = Callable[[Request, Response | Failure, float], None]
ANSWERED_STATES: Final = frozenset({SessionState.ANSWERED, SessionState.CONFIRMED})
SessionTable = Mapping[SessionState, Mapping[SessionInput, SessionState]]


class Deadline(Enum):
    """What a session waits for, besides the ACKs that a ReceivedInvite waits for."""

    USER = auto()  # our user's answer to an INVITE or re-INVITE, or a far end that rings on
    PROVISIONAL = auto()  # the next repetition of a 1xx
    CANCEL = auto()  # a final response after our CANCEL
    GLARE = auto()  # the end of the back-off after a 491


class InviteSession:
    """One INVITE dialog usage. Methods that act take `now` and are safe in any race with the wire.

    They return False where the session has moved on (it ended, or the other side was quicker), and raise
    SessionStateError where no race explains the call. The last event of every session is Ended.
    """

    TABLE: ClassVar[SessionTable]
    INITIAL: ClassVar[SessionState]
    is_caller: ClassVar[bool]

    def __init__(self, host: SessionHost, request: Request, flow: Flow | None) -> None:
        self.request = request
        self.sip_call_id: Final = request.call_id
        self.flow = flow
        self.state = self.INITIAL
        self.dialog: Dialog | None = None
        self.end_cause: EndCause | None = None
        self.authenticator: Authenticator | None = None
        self._host = host
        self._deadlines: dict[Deadline, float] = {}
        self._received: ReceivedInvite | None = None
        self._reinvite: SentReinvite | None = None
        self._bye_headers: tuple[tuple[str, str], ...] | None = None  # a BYE that waits for the ACK

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.sip_call_id} {self.state.name}>"

    @property
    def is_ended(self) -> bool:
        """Whether Ended was emitted."""
        return self.state is SessionState.ENDED

    @property
    def local_tag(self) -> str:
        """Our tag."""
        return self.dialog.id.local_tag if self.dialog is not None else ""

    # -- what the user does ------------------------------------------------------------------------------------------

    def bye(self, *, now: float, headers: HeaderFields = ()) -> bool:
        """Ends an answered call. Before the ACK it waits for it, as RFC 3261 §15 demands."""
        if self.state is SessionState.ANSWERED:
            self._bye_headers = tuple(headers)
            return True
        if not self._step(SessionInput.HANG_UP):
            return False
        self._send_bye(now, headers)
        self._end(EndCause.LOCAL_BYE)
        return True

    def hang_up(self, *, now: float, headers: HeaderFields = ()) -> bool:
        """Ends the session whatever its state: BYE, or before the answer what the role has for it."""
        if self.state in ANSWERED_STATES:
            return self.bye(now=now, headers=headers)
        return self._abandon(now, headers)

    def reinvite(self, offer: bytes, *, now: float, headers: HeaderFields = ()) -> bool:
        """Offers a change of the session; ReinviteAnswered or ReinviteFailed follows. An empty offer asks for one.

        False while another re-INVITE, of either side, is under way (RFC 3261 §14.1), or after the end. A 491 is
        answered by trying again after the RFC's pause.
        """
        if self.is_ended:
            return False
        if self.state is not SessionState.CONFIRMED:
            raise SessionStateError(f"A re-INVITE in state {self.state.name}: there is no confirmed dialog")
        if self._is_invite_under_way():
            return False
        self._reinvite = SentReinvite(offer, tuple(headers), Acknowledger(self._host, self.flow))
        self._send_reinvite(self._reinvite, now)
        return True

    def answer_reinvite(self, body: bytes, *, now: float, headers: HeaderFields = ()) -> bool:
        """Accepts the peer's re-INVITE: `body` is our answer, or our offer where it had none."""
        received = self._pending_reinvite()
        if received is None or self.dialog is None:
            return False
        self._deadlines.pop(Deadline.USER, None)
        self.dialog.refresh_target(received.request)
        received.respond(200, None, [*self._refresh_headers(), *headers, *typed(body)], body, now)
        self._host.schedule(self)
        return True

    def reject_reinvite(
        self, status: int, reason: str | None = None, headers: HeaderFields = (), *, now: float
    ) -> bool:
        """Refuses the peer's re-INVITE, mostly with 488; the session goes on as it was."""
        received = self._pending_reinvite()
        if received is None:
            return False
        self._deadlines.pop(Deadline.USER, None)
        received.respond(status, reason, headers, b"", now)
        self._host.schedule(self)
        return True

    def acknowledge(self, body: bytes, *, now: float) -> bool:
        """Sends the ACK that carries our answer, where the 2xx for our INVITE or re-INVITE brought an offer."""
        del now
        sent = self._reinvite
        if sent is None or sent.unacknowledged is None or sent.request is None or self.dialog is None:
            return False
        sent.acknowledger.acknowledge(self.dialog, sent.request, sent.unacknowledged, body)
        sent.unacknowledged = None
        sent.is_finished = True
        return True

    def send_info(self, content_type: str, body: bytes, *, now: float) -> bool:
        """Sends an INFO; its outcome is only counted."""
        if self.state is not SessionState.CONFIRMED:
            return False
        self._send("INFO", self._count_outcome("info"), now, headers=[("Content-Type", content_type)], body=body)
        return True

    # -- what the wire does ------------------------------------------------------------------------------------------

    def handle_request(self, transaction: NonInviteServerTransaction, now: float) -> None:
        """A request of this session's dialog that is neither INVITE, ACK nor CANCEL."""
        request = transaction.request
        dialog = self._dialog_for(request)
        if dialog is None or not dialog.is_in_order(request):
            self._host.counters["cseq_out_of_order"] += 1
            self._respond(transaction, 500, now)  # RFC 3261 §12.2.2
            return
        handlers: dict[str, Callable[[NonInviteServerTransaction, Request, float], None]] = {
            "BYE": self._receive_bye,
            "INFO": self._receive_info,
        }
        handlers[request.method](transaction, request, now)
        self._host.schedule(self)

    def handle_invite(self, transaction: InviteServerTransaction, now: float) -> None:
        """A re-INVITE."""
        request = transaction.request
        dialog = self._dialog_for(request)
        self._host.transactions.bind(transaction, self)
        if dialog is None or not dialog.is_in_order(request):
            self._refuse_invite(transaction, 500, "cseq_out_of_order", now)
        elif self.state not in ANSWERED_STATES or self._is_user_busy():
            self._refuse_invite(transaction, 500, "overlapping_invite", now, self._retry_after())
        elif self._is_reinviting() or self._is_answer_outstanding():
            self._refuse_invite(transaction, 491, "glare", now)
        else:
            self._take_reinvite(transaction, dialog, now)
        self._host.schedule(self)

    def handle_ack(self, ack: Request, now: float) -> None:
        """The ACK for a 2xx. One that comes twice is absorbed."""
        if self._received is None or not self._received.acknowledge(ack):
            self._host.counters["ack_absorbed"] += 1
            return
        self._acknowledged(ack.body or None, now)
        self._host.schedule(self)

    def handle_cancel(self, cancel: Request, now: float) -> None:
        """A CANCEL of the INVITE being answered: the session's own, or a re-INVITE (RFC 3261 §9.2)."""
        del cancel
        received = self._pending_reinvite()
        if received is None:
            return  # it came too late: "the CANCEL request has no effect on the session"
        self._deadlines.pop(Deadline.USER, None)
        received.respond(487, None, (), b"", now)
        self._host.emit(ReinviteCancelled(self))
        self._host.schedule(self)

    def handle_response_not_sent(self, now: float) -> None:
        """The transport could not send a response; retransmissions will try again, and timers end it."""
        del now
        self._host.counters["response_not_sent"] += 1

    # -- timers ------------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """The earliest deadline."""
        received = self._received.next_timer() if self._received is not None else None
        own = min(self._deadlines.values()) if self._deadlines else None
        if received is None or own is None:
            return own if received is None else received
        return min(received, own)

    def handle_timer(self, now: float) -> None:
        """Does what is due."""
        if self._received is not None:
            self._received.handle_timer(now, self._not_acknowledged)
        for deadline in [deadline for deadline, at in self._deadlines.items() if at <= now]:
            if self._deadlines.pop(deadline, None) is not None:  # an earlier one may have ended the session
                self._handle_deadline(deadline, now)

    def _handle_deadline(self, deadline: Deadline, now: float) -> None:
        if deadline is Deadline.USER:
            self._host.counters["reinvite_unanswered"] += 1
            self.reject_reinvite(500, now=now)
        elif deadline is Deadline.GLARE and self._reinvite is not None and self.state is SessionState.CONFIRMED:
            if self._is_received_under_way():
                self._deadlines[Deadline.GLARE] = now + 1.0
            else:
                self._send_reinvite(self._reinvite, now)

    def _not_acknowledged(self, now: float) -> None:
        """RFC 3261 §13.3.1.4: without ACK the dialog is confirmed, "but the session SHOULD be terminated"."""
        if self._step(SessionInput.UNACKNOWLEDGED):
            self._host.counters["not_acknowledged"] += 1
            self._host.emit(NotAcknowledged(self))
            self._send_bye(now, self._bye_headers or ())
            self._end(EndCause.NOT_ACKNOWLEDGED if self._bye_headers is None else EndCause.LOCAL_BYE)

    # -- received requests -------------------------------------------------------------------------------------------

    def _receive_bye(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        self._respond(transaction, 200, now)
        if not self._step(SessionInput.BYE_RECEIVED):
            return
        if self._received is not None and not self._received.is_answered:
            self._received.respond(487, None, (), b"", now)  # RFC 3261 §15.1.2
        self._host.emit(ByeReceived(self, request.headers.get("Reason"), request))
        self._end(EndCause.REMOTE_BYE)

    def _receive_info(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        content_type = request.content_type.essence if request.content_type is not None else None
        if request.body and content_type not in self._host.configuration.info_types:
            accept = ", ".join(self._host.configuration.info_types)
            self._respond(transaction, 415, now, [("Accept", accept)])
            return
        self._respond(transaction, 200, now)
        self._host.emit(InfoReceived(self, content_type, request.body))

    def _take_reinvite(self, transaction: InviteServerTransaction, dialog: Dialog, now: float) -> None:
        if self._received is not None and self._received.awaits_ack:
            # RFC 5407 §3.1.4: who sends a re-INVITE has the 2xx; its ACK was lost, or is behind.
            self._received.stop()
            self._acknowledged(None, now)
            if self.is_ended:
                self._refuse_invite(transaction, 487, "bye_crossing", now)
                return
        self._received = ReceivedInvite(self._host.transactions, transaction, dialog.id.local_tag)
        self._received.respond(100, None, (), b"", now)
        self._deadlines[Deadline.USER] = now + self._host.configuration.reinvite_limit
        self._host.emit(ReinviteReceived(self, self._received.offer))

    def _acknowledged(self, body: bytes | None, now: float) -> None:
        if self._step(SessionInput.ACKNOWLEDGED):
            self._host.confirmed(self)
        self._host.emit(Acknowledged(self, body))
        if self._bye_headers is not None:
            self.bye(now=now, headers=self._bye_headers)

    # -- sent requests -----------------------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        on_outcome: OnRequestOutcome,
        now: float,
        *,
        headers: HeaderFields = (),
        body: bytes = b"",
        attempt: int = 1,
    ) -> None:
        """Sends a request of the dialog; answers its challenges where there are credentials."""
        if self.dialog is None:
            return
        host = self._host
        fields = tuple(headers)
        target = target_of(self.dialog.next_hop())
        request = self.dialog.create_request(method, via=host.via(target.transport), headers=fields, body=body)

        def handle(outcome: Response | Failure, now: float) -> None:
            credentials = self._credentials(request, outcome, attempt)
            if credentials is None:
                on_outcome(request, outcome, now)
                return
            kept = [(name, value) for name, value in fields if name not in CREDENTIAL_FIELDS]
            self._send(method, on_outcome, now, headers=[*kept, credentials], body=body, attempt=attempt + 1)

        host.transactions.request(request, target, handle, now, prefer=self.flow)

    def _credentials(self, request: Request, outcome: Response | Failure, attempt: int) -> tuple[str, str] | None:
        if self.authenticator is None or not isinstance(outcome, Response) or outcome.status not in {401, 407}:
            return None
        return self.authenticator.authorize(request, outcome) if attempt <= CREDENTIAL_ATTEMPTS else None

    def _send_bye(self, now: float, headers: HeaderFields) -> None:
        self._send("BYE", self._count_outcome("bye"), now, headers=headers)

    def _count_outcome(self, label: str) -> OnRequestOutcome:
        def count(request: Request, outcome: Response | Failure, now: float) -> None:
            del request, now
            if outcome.status >= 300:
                self._host.counters[f"{label}_failed"] += 1

        return count

    def _send_reinvite(self, sent: SentReinvite, now: float) -> None:
        headers = [*self._refresh_headers("User-Agent"), *sent.headers, *typed(sent.offer)]
        self._send("INVITE", partial(self._handle_reinvite_outcome, sent), now, headers=headers, body=sent.offer)
        self._host.schedule(self)

    def _handle_reinvite_outcome(
        self, sent: SentReinvite, request: Request, outcome: Response | Failure, now: float
    ) -> None:
        if isinstance(outcome, Response) and outcome.status < 200:
            return
        if isinstance(outcome, Response) and outcome.status < 300:
            self._handle_reinvite_accepted(sent, request, outcome)
        elif not sent.is_finished:
            self._handle_reinvite_refused(sent, outcome, now)
        self._host.schedule(self)

    def _handle_reinvite_accepted(self, sent: SentReinvite, request: Request, response: Response) -> None:
        if sent.acknowledger.repeat(response) or sent.unacknowledged is not None or self.dialog is None:
            return
        self.dialog.refresh_target(response)
        sent.request = request
        if sent.offer or not response.body or self.is_ended:
            sent.acknowledger.acknowledge(self.dialog, request, response)
            sent.is_finished = True
        else:
            sent.unacknowledged = response
        if not self.is_ended:
            self._host.emit(ReinviteAnswered(self, response.body or None))

    def _handle_reinvite_refused(self, sent: SentReinvite, outcome: Response | Failure, now: float) -> None:
        if self.is_ended:
            sent.is_finished = True
        elif outcome.status == 491 and sent.glares < GLARE_LIMIT:
            sent.glares += 1
            self._deadlines[Deadline.GLARE] = now + self._glare_pause()
        elif outcome.status in {408, 481} or isinstance(outcome, Failure):
            sent.is_finished = True
            self._lose(now)
        else:
            sent.is_finished = True
            reason = outcome.reason if isinstance(outcome, Response) else outcome.name
            self._host.emit(ReinviteFailed(self, outcome.status, reason))

    def _glare_pause(self) -> float:
        """RFC 3261 §14.1: 2.1 to 4 s for the owner of the Call-ID, 0 to 2 s for the other side, in units of 10 ms."""
        lowest, highest = (210, 400) if self.is_caller else (0, 200)
        return (lowest + int(self._host.random_fraction() * (highest - lowest + 1))) * GLARE_STEP

    # -- the rest ----------------------------------------------------------------------------------------------------

    def _abandon(self, now: float, headers: HeaderFields) -> bool:
        """Ends a session that is not answered yet."""
        raise SessionStateError(f"Nothing to abandon in state {self.state.name}")

    def _dialog_for(self, request: Request) -> Dialog | None:
        """The dialog that a request belongs to. A caller's session may have several early ones."""
        del request
        return self.dialog

    def _step(self, happened: SessionInput) -> bool:
        """Moves on; False where the input means nothing any more, or, for a call of our user, came too late."""
        to = self.TABLE[self.state].get(happened)
        if to is None:
            if happened in LOCAL_INPUTS and not self.is_ended:
                raise SessionStateError(f"{happened.name} is of no use in state {self.state.name}")
            return False
        self.state = to
        return True

    def _end(self, cause: EndCause) -> None:
        """The last act of every session. The state is ENDED already."""
        self.end_cause = cause
        self._deadlines.clear()
        if self._received is not None:
            self._received.stop()
        if self.dialog is not None:
            self._host.unregister(self.dialog.id)
        self._host.forget(self)
        self._host.emit(Ended(self, cause))
        self._host.schedule(self)

    def _lose(self, now: float) -> None:
        """The peer does not know the dialog or is silent (RFC 3261 §12.2.1.2): ends it, with a BYE for what is left."""
        if self._step(SessionInput.LOST):
            self._send_bye(now, ())
            self._end(EndCause.LOST)

    def _respond(
        self, transaction: NonInviteServerTransaction, status: int, now: float, headers: HeaderFields = ()
    ) -> None:
        self._host.transactions.respond(transaction, transaction.request.create_response(status, headers=headers), now)

    def _refuse_invite(
        self, transaction: InviteServerTransaction, status: int, label: str, now: float, headers: HeaderFields = ()
    ) -> None:
        self._host.counters[label] += 1
        self._host.transactions.respond(transaction, transaction.request.create_response(status, headers=headers), now)

    def _retry_after(self) -> list[tuple[str, str]]:
        """RFC 3261 §14.2: "a Retry-After header field with a randomly chosen value of between 0 and 10 seconds"."""
        return [("Retry-After", str(int(self._host.random_fraction() * 11)))]

    def _refresh_headers(self, product_field: str = "Server") -> list[tuple[str, str]]:
        secure = self.dialog is not None and self.dialog.is_secure
        return self._host.refresh_headers(self._transport, secure=secure, product_field=product_field)

    @property
    def _transport(self) -> str:
        """The transport that our Contact is for."""
        return self.flow.transport if self.flow is not None else "udp"

    def _pending_reinvite(self) -> ReceivedInvite | None:
        """The peer's re-INVITE that waits for our user, if any."""
        is_pending = self._received is not None and not self._received.is_answered
        return self._received if is_pending and self.state is SessionState.CONFIRMED else None

    def _is_user_busy(self) -> bool:
        """Whether our user has an INVITE to answer."""
        return self._received is not None and not self._received.is_answered

    def _is_reinviting(self) -> bool:
        return self._reinvite is not None and not self._reinvite.is_finished and Deadline.GLARE not in self._deadlines

    def _is_received_under_way(self) -> bool:
        return self._received is not None and (not self._received.is_answered or self._received.awaits_ack)

    def _is_invite_under_way(self) -> bool:
        return self._is_received_under_way() or (self._reinvite is not None and not self._reinvite.is_finished)

    def _is_answer_outstanding(self) -> bool:
        """Whether an ACK of the peer is still to bring the answer to an offer of ours."""
        return self._received is not None and self._received.awaits_ack and self._received.offer is None


def typed(body: bytes) -> list[tuple[str, str]]:
    """The Content-Type of a session description, where there is one."""
    return [("Content-Type", SDP)] if body else []
