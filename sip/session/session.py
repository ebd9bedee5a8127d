"""What both roles of an INVITE session share: the confirmed dialog, from 2xx to BYE (RFC 3261 §12, §14, §15)."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final
from weakref import proxy

from sip.body import take_description, typed
from sip.dialog import Dialog
from sip.event import (
    Acknowledged,
    ByeReceived,
    InfoReceived,
    NotAcknowledged,
    ReinviteCancelled,
    ReinviteReceived,
)
from sip.message import Request
from sip.session.core import SessionCore
from sip.session.host import SessionHost
from sip.session.offered import ReceivedOffer
from sip.session.received import HeaderFields, ReceivedInvite
from sip.session.refer import Referrals
from sip.session.refresh import TIMER, SessionRefresher
from sip.session.reinvite import Reinviter
from sip.session.state import EndCause, SessionInput, SessionState, SessionStateError
from sip.transaction.invite_server import InviteServerTransaction
from sip.transaction.non_invite_server import NonInviteServerTransaction
from sip.transport.flow import Flow

ANSWERED_STATES: Final = frozenset({SessionState.ANSWERED, SessionState.CONFIRMED})


class Deadline(Enum):
    """What a session waits for, besides what its parts wait for."""

    USER = auto()  # our user's answer to an INVITE or re-INVITE, or a far end that rings on
    PROVISIONAL = auto()  # the next repetition of a 1xx
    CANCEL = auto()  # a final response after our CANCEL


class InviteSession(SessionCore):
    """One INVITE dialog usage. Methods that act take `now` and are safe in any race with the wire.

    They return False where the session has moved on (it ended, or the other side was quicker), and raise
    SessionStateError where no race explains the call. The last event of every session is Ended.
    """

    def __init__(self, host: SessionHost, request: Request, flow: Flow | None) -> None:
        super().__init__(host, request, flow)
        configuration = host.configuration
        wanted = configuration.session_expires if TIMER in configuration.supported else None
        self._deadlines: dict[Deadline, float] = {}
        self._received: ReceivedInvite | None = None
        self._bye_headers: tuple[tuple[str, str], ...] | None = None  # a BYE that waits for the ACK
        # The parts do not hold their whole: a session that is over goes by reference count, with the hundred objects of
        # its messages, and leaves nothing to the garbage collector. What waits for an answer on its behalf holds it.
        whole: InviteSession = proxy(self)
        self._refresher = SessionRefresher(whole, wanted=wanted, minimum=configuration.min_se)
        self._reinviter = Reinviter(whole, self._refresher, lambda: whole._is_received_under_way())  # noqa: PLW0108 - a method of it would hold it
        self._referrals = Referrals(whole)
        self._offered = ReceivedOffer(whole, lambda now: whole._leave_offer(now))  # noqa: PLW0108 - as above
        self._parts += [self._refresher, self._reinviter, self._referrals, self._offered]

    def as_session(self) -> "InviteSession":
        """This very session: what events carry."""
        return self

    @property
    def session_interval(self) -> int | None:
        """The session interval agreed on (RFC 4028), in seconds."""
        return self._refresher.interval

    # -- what the user does ------------------------------------------------------------------------------------------

    def bye(self, *, now: float, headers: HeaderFields = ()) -> bool:
        """Ends an answered call. Before the ACK it waits for it, as RFC 3261 §15 demands."""
        if self.state is SessionState.ANSWERED:
            self._bye_headers = tuple(headers)
            return True
        if not self._step(SessionInput.HANG_UP):
            return False
        self.send_bye(now, headers)
        self._end(EndCause.LOCAL_BYE, now)
        return True

    def hang_up(self, *, now: float, headers: HeaderFields = ()) -> bool:
        """Ends the session whatever its state: BYE, or before the answer what the role has for it."""
        if self.state in ANSWERED_STATES:
            return self.bye(now=now, headers=headers)
        return self._abandon(now, headers)

    def forgo_ack(self, *, now: float) -> bool:
        """Ends an answered call whose ACK has not come as 64*T1 without it would: with one BYE. False in other states.

        For a process that has to leave. RFC 3261 §15 has the callee wait for the ACK or the time-out, so that the BYE
        cannot overtake the 2xx; but who leaves takes the transaction and its time-out along. A caller whose ACK was
        lost would hear silence from a call that nobody can end any more; the BYE is the last word that it can get.
        """
        if self.state is not SessionState.ANSWERED:
            return False
        self._not_acknowledged(now)
        return True

    def reinvite(self, offer: bytes, *, now: float, headers: HeaderFields = ()) -> bool:
        """Offers a change of the session; ReinviteAnswered or ReinviteFailed follows. An empty offer asks for one.

        False while another re-INVITE, of either side, is under way (RFC 3261 §14.1), or after the end. A 491 is
        answered by trying again after the RFC's pause.
        """
        if self.is_ended:
            return False
        if self.state is not SessionState.CONFIRMED:
            raise SessionStateError(f"A re-INVITE in state {self.state.name}: there is no confirmed dialog")
        if self._reinviter.is_under_way or self._is_received_under_way():
            return False
        self._reinviter.begin("INVITE", offer, headers, now)
        return True

    def update(self, offer: bytes, *, now: float, headers: HeaderFields = (), remote_tag: str | None = None) -> bool:
        """Offers a change by UPDATE (RFC 3311): the only way before the call is answered, and then only once the first
        offer was answered reliably. ReinviteAnswered or ReinviteFailed follows.

        False where the peer does not allow UPDATE, where nothing may be offered now, or while another offer is under
        way. On a confirmed call `reinvite` is better: an UPDATE "MUST be responded to immediately" (§5.2), so a peer
        refuses what its user would have to look at. `remote_tag` names the branch of a forked call.
        """
        dialog = self._dialog_for_update(remote_tag)
        is_allowed = "UPDATE" in self.peer_allow and dialog is not None and not self.is_ended
        if not is_allowed or self._reinviter.is_under_way or self._is_answer_outstanding():
            return False
        self._reinviter.begin("UPDATE", offer, headers, now, dialog=dialog)
        return True

    def answer_reinvite(self, body: bytes, *, now: float, headers: HeaderFields = ()) -> bool:
        """Accepts the peer's re-INVITE, UPDATE or PRACK: `body` is our answer, or our offer where it had none."""
        request = self._pending_request()
        dialog = self.dialog_for(request) if request is not None else None
        if request is None or dialog is None:
            return False
        self.local_description = body
        fields: list[tuple[str, str]] = []
        if request.method != "PRACK":  # which refreshes neither the target (RFC 3262 §7.2) nor the session
            dialog.refresh_target(request)
            fields = [*self.refresh_headers(), *self._agree_on_refresh(request, now)]
        self._finish_pending(200, None, [*fields, *headers, *typed(body)], body, now)
        return True

    def reject_reinvite(
        self, status: int, reason: str | None = None, headers: HeaderFields = (), *, now: float
    ) -> bool:
        """Refuses the peer's re-INVITE or UPDATE, mostly with 488; the session goes on as it was."""
        if self._pending_request() is None:
            return False
        self._finish_pending(status, reason, headers, b"", now)
        return True

    def acknowledge(self, body: bytes, *, now: float) -> bool:
        """Sends the ACK that carries our answer, where the 2xx for our INVITE or re-INVITE brought an offer."""
        del now
        self.local_description = body
        return self._reinviter.acknowledge(body)

    def send_info(self, content_type: str, body: bytes, *, now: float) -> bool:
        """Sends an INFO; its outcome is only counted."""
        if self.state is not SessionState.CONFIRMED:
            return False
        self.send_request("INFO", self.count_outcome("info"), now, headers=[("Content-Type", content_type)], body=body)
        return True

    def refer(self, refer_to: str, *, now: float, headers: HeaderFields = ()) -> bool:
        """Asks the peer to call `refer_to`, a header value such as "<tel:+15557778888>" (RFC 3515).

        ReferAccepted, ReferProgress and in any case ReferEnded follow, unless the session ends before. False while
        another REFER of ours is under way, or outside a confirmed dialog.
        """
        return self.state is SessionState.CONFIRMED and self._referrals.refer(refer_to, headers, now)

    def accept_refer(self, *, now: float) -> bool:
        """Takes the peer's REFER: 202, and NOTIFY with 100. `notify_refer` tells the rest, at last a final status."""
        return self._after(self._referrals.accept(now))

    def reject_refer(self, status: int = 603, *, now: float) -> bool:
        """Declines the peer's REFER."""
        return self._after(self._referrals.reject(status, now))

    def notify_refer(self, status: int, reason: str | None = None, *, now: float) -> bool:
        """Tells the peer how the transfer that it asked for goes."""
        return self._after(self._referrals.notify(status, reason, now))

    # -- what the wire does ------------------------------------------------------------------------------------------

    def handle_request(self, transaction: NonInviteServerTransaction, now: float) -> None:
        """A request of this session's dialog that is neither INVITE, ACK nor CANCEL."""
        request = transaction.request
        dialog = self.dialog_for(request)
        if dialog is None or not dialog.is_in_order(request):
            self.host.counters["cseq_out_of_order"] += 1
            self.respond(transaction, 500, now)  # RFC 3261 §12.2.2
            return
        handlers: dict[str, Callable[[NonInviteServerTransaction, Request, float], None]] = {
            "BYE": self._receive_bye,
            "INFO": self._receive_info,
            "UPDATE": self._receive_update,
            "PRACK": self._receive_prack,
            "NOTIFY": self._referrals.receive_notify,
            "REFER": self._receive_refer,
        }
        handlers[request.method](transaction, request, now)
        self.changed()

    def handle_invite(self, transaction: InviteServerTransaction, now: float) -> None:
        """A re-INVITE."""
        request = transaction.request
        dialog = self.dialog_for(request)
        self.host.transactions.bind(transaction, self)
        if dialog is None or not dialog.is_in_order(request):
            self._refuse_invite(transaction, 500, "cseq_out_of_order", now)
        elif self.state not in ANSWERED_STATES or self._is_user_busy() or self._offered.request is not None:
            self._refuse_invite(transaction, 500, "overlapping_invite", now, self.retry_after())
        elif self._reinviter.is_outstanding or self._is_answer_outstanding():
            self._refuse_invite(transaction, 491, "glare", now)
        else:
            self._take_reinvite(transaction, dialog, now)
        self.changed()

    def handle_ack(self, ack: Request, now: float) -> None:
        """The ACK for a 2xx. One that comes twice is absorbed."""
        if self._received is None or not self._received.acknowledge(ack):
            self.host.counters["ack_absorbed"] += 1
            return
        take_description(ack, self.host.counters)
        self._acknowledged(ack.body or None, now)
        self.changed()

    def handle_cancel(self, cancel: Request, now: float) -> None:
        """A CANCEL of the INVITE being answered: the session's own, or a re-INVITE (RFC 3261 §9.2)."""
        del cancel
        if self.state is not SessionState.CONFIRMED or self._received is None or self._received.is_answered:
            return  # it came too late: "the CANCEL request has no effect on the session"
        self._finish_pending(487, None, (), b"", now)
        self.host.emit(ReinviteCancelled(self))

    def handle_response_not_sent(self, now: float) -> None:
        """The transport could not send a response; retransmissions will try again, and timers end it."""
        del now
        self.host.counters["response_not_sent"] += 1

    # -- timers ------------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """The earliest deadline."""
        times = [*self._deadlines.values(), super().next_timer()]
        if self._received is not None:
            times.append(self._received.next_timer())
        return min((at for at in times if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Does what is due."""
        super().handle_timer(now)
        if self._received is not None:
            self._received.handle_timer(now, self._not_acknowledged)
        for deadline in [deadline for deadline, at in self._deadlines.items() if at <= now]:
            if self._deadlines.pop(deadline, None) is not None:  # an earlier one may have ended the session
                self._handle_deadline(deadline, now)

    def refresh(self, now: float) -> None:
        """Sends the session refresh that is due: UPDATE where the peer allows it, else the same offer again (§7.4)."""
        if self._reinviter.is_under_way or self._is_received_under_way() or self.state is not SessionState.CONFIRMED:
            return  # what is under way refreshes as well
        if "UPDATE" in self.peer_allow and "UPDATE" in self.host.configuration.allow:
            self._reinviter.begin("UPDATE", b"", (), now, is_refresh=True)
        else:
            self._reinviter.begin("INVITE", self.local_description, (), now, is_refresh=True)

    def expire(self, now: float) -> None:
        """No session refresh came in time (RFC 4028 §10)."""
        if self._step(SessionInput.LOST):
            self.host.counters["session_expired"] += 1
            self.send_bye(now, (("Reason", 'SIP;cause=408;text="Session expired"'),))
            self._end(EndCause.EXPIRED, now)

    def _handle_deadline(self, deadline: Deadline, now: float) -> None:
        if deadline is Deadline.USER:
            self._leave_offer(now)

    def _leave_offer(self, now: float) -> None:
        """Our user takes too long over a re-INVITE, UPDATE or PRACK."""
        self.host.counters["reinvite_unanswered"] += 1
        self.reject_reinvite(500, now=now)

    def _not_acknowledged(self, now: float) -> None:
        """RFC 3261 §13.3.1.4: without ACK the dialog is confirmed, "but the session SHOULD be terminated"."""
        if self._step(SessionInput.UNACKNOWLEDGED):
            self.host.counters["not_acknowledged"] += 1
            self.host.emit(NotAcknowledged(self))
            # Once only: who never acknowledged may be nobody, and the INVITE's sender address forged (promise 10).
            headers = self._bye_headers or ()
            self.send_request("BYE", self.count_outcome("bye"), now, headers=headers, is_resent=False)
            self._end(EndCause.NOT_ACKNOWLEDGED if self._bye_headers is None else EndCause.LOCAL_BYE, now)

    # -- received requests -------------------------------------------------------------------------------------------

    def _receive_bye(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        self.respond(transaction, 200, now)
        if not self._step(SessionInput.BYE_RECEIVED):
            return
        self.host.emit(ByeReceived(self, request.headers.get("Reason"), request))
        self._end(EndCause.REMOTE_BYE, now)

    def _receive_info(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        content_type = request.content_type.essence if request.content_type is not None else None
        if request.body and content_type not in self.host.configuration.info_types:
            accept = ", ".join(self.host.configuration.info_types)
            self.respond(transaction, 415, now, [("Accept", accept)])
            return
        self.respond(transaction, 200, now)
        self.host.emit(InfoReceived(self, content_type, request.body))

    def _receive_update(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        """RFC 3311 §5.2: a refresh is answered at once, an offer is our user's to answer."""
        dialog = self.dialog_for(request)
        if not request.body and dialog is not None:
            dialog.refresh_target(request)
            self.respond(transaction, 200, now, [*self.refresh_headers(), *self._agree_on_refresh(request, now)])
        elif self._reinviter.is_outstanding:
            self.host.counters["glare"] += 1
            self.respond(transaction, 491, now)
        elif not self._may_take_offer(request):
            self.respond(transaction, 500, now, self.retry_after())
        else:
            self._offered.take(transaction, now)

    def _may_take_offer(self, request: Request) -> bool:
        """Whether the offers before this one have been answered, so that the peer may make another."""
        del request
        return self.state is SessionState.CONFIRMED and not self._is_user_busy() and not self._is_answer_outstanding()

    def _dialog_for_update(self, remote_tag: str | None) -> Dialog | None:
        """The dialog in which we may make an offer by UPDATE now, if any."""
        del remote_tag
        return self.dialog if self.state is SessionState.CONFIRMED and not self._is_user_busy() else None

    def _agree_on_refresh(self, request: Request, now: float) -> list[tuple[str, str]]:
        """What our 2xx says of the session timer. Before the call is answered there is no session to refresh."""
        return self._refresher.answer(request, now) if self.state in ANSWERED_STATES else []

    def _receive_prack(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        """A PRACK that matches no reliable provisional response (RFC 3262 §3)."""
        del request
        self.respond(transaction, 481, now)

    def _receive_refer(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        if self.state is SessionState.CONFIRMED:
            self._referrals.receive_refer(transaction, request, now)
        else:
            self.respond(transaction, 491, now)

    def _take_reinvite(self, transaction: InviteServerTransaction, dialog: Dialog, now: float) -> None:
        if self._received is not None and self._received.awaits_ack:
            # RFC 5407 §3.1.4: who sends a re-INVITE has the 2xx; its ACK was lost, or is behind.
            self._received.stop()
            self._acknowledged(None, now)
            if self.is_ended:
                self._refuse_invite(transaction, 487, "bye_crossing", now)
                return
        self._received = ReceivedInvite(self.host.transactions, transaction, dialog.id.local_tag)
        self._received.respond(100, None, (), b"", now)
        self._deadlines[Deadline.USER] = now + self.host.configuration.reinvite_limit
        self.host.emit(ReinviteReceived(self, self._received.offer))

    def _acknowledged(self, body: bytes | None, now: float) -> None:
        if self._step(SessionInput.ACKNOWLEDGED):
            self.host.confirmed(self)
        self.host.emit(Acknowledged(self, body))
        if self._bye_headers is not None:
            self.bye(now=now, headers=self._bye_headers)

    # -- the rest ----------------------------------------------------------------------------------------------------

    def _abandon(self, now: float, headers: HeaderFields) -> bool:
        """Ends a session that is not answered yet."""
        raise SessionStateError(f"Nothing to abandon in state {self.state.name}")

    def _after(self, result: bool) -> bool:
        self.changed()
        return result

    def _clear(self, now: float) -> None:
        if self._offered.request is not None or self._is_user_busy():
            self._finish_pending(487, None, (), b"", now)  # RFC 3261 §15.1.2: the transaction must not be left open
        self._deadlines.clear()
        if self._received is not None:
            self._received.stop()
        super()._clear(now)

    def _refuse_invite(
        self, transaction: InviteServerTransaction, status: int, label: str, now: float, headers: HeaderFields = ()
    ) -> None:
        self.host.counters[label] += 1
        self.host.transactions.respond(transaction, transaction.request.create_response(status, headers=headers), now)

    def _pending_request(self) -> Request | None:
        """The peer's re-INVITE, UPDATE or PRACK that waits for our user, if any."""
        if self._offered.request is not None or self.state is not SessionState.CONFIRMED:
            return self._offered.request
        return self._received.request if self._received is not None and not self._received.is_answered else None

    def _finish_pending(self, status: int, reason: str | None, headers: HeaderFields, body: bytes, now: float) -> None:
        """The final response to what waits for our user."""
        if self._offered.request is not None:
            self._offered.finish(status, reason, headers, body, now)
        elif self._received is not None:
            self._deadlines.pop(Deadline.USER, None)
            self._received.respond(status, reason, headers, body, now)
        self.changed()

    def _is_user_busy(self) -> bool:
        """Whether our user has an INVITE to answer."""
        return self._received is not None and not self._received.is_answered

    def _is_received_under_way(self) -> bool:
        received = self._received
        is_open = received is not None and (not received.is_answered or received.awaits_ack)
        is_invite = is_open and self.state in ANSWERED_STATES  # the INVITE itself keeps no UPDATE from an early dialog
        return is_invite or self._offered.request is not None

    def _is_answer_outstanding(self) -> bool:
        """Whether an offer is without answer: ours that an ACK is still to answer, or one in an UPDATE."""
        owed = self._received is not None and self._received.awaits_ack and self._received.offer is None
        return owed or self._offered.request is not None
