"""The called side of an INVITE session: RFC 3261 §13.3."""

import math
from typing import Final
from weakref import proxy

from sip.body import typed
from sip.dialog import Dialog
from sip.event import Cancelled, IncomingInvite, ProvisionalAcknowledged
from sip.message import Request, Response
from sip.session.host import SessionHost
from sip.session.received import HeaderFields, ReceivedInvite
from sip.session.reliable import FIRST_RSEQ_LIMIT, RELIABLE, ReliableProvisionals
from sip.session.session import Deadline, InviteSession
from sip.session.state import SERVER_SESSION, EndCause, SessionInput, SessionState
from sip.transaction.invite_server import InviteServerTransaction
from sip.transaction.non_invite_server import NonInviteServerTransaction
from sip.transport.flow import Flow


class ServerSession(InviteSession):
    """A call that came in. 100 Trying is sent by `begin`, and its 2xx is resent here until the ACK."""

    TABLE = SERVER_SESSION
    INITIAL = SessionState.INVITED
    is_caller = False

    def __init__(self, host: SessionHost, transaction: InviteServerTransaction, flow: Flow) -> None:
        super().__init__(host, transaction.request, flow)
        self._tag: Final = host.token()
        self._limit = host.configuration.answer_limit
        self._invite: Final = ReceivedInvite(host.transactions, transaction, self._tag)
        self._received = self._invite
        self._last_provisional: Response | None = None
        first_rseq = 1 + int(host.random_fraction() * FIRST_RSEQ_LIMIT)
        whole: ServerSession = proxy(self)  # as for the other parts
        self._reliable = ReliableProvisionals(
            self._invite,
            host.configuration.timers,
            first_rseq,
            lambda now: whole._not_prack_acknowledged(now),  # noqa: PLW0108 - a method of it would hold it
        )
        self._parts.append(self._reliable)
        self._answer: tuple[bytes, tuple[tuple[str, str], ...]] | None = None  # a 200 that waits for a PRACK
        self._settled: bytes | None = None  # our description of the exchange that a PRACK has completed

    @property
    def local_tag(self) -> str:
        """Our tag, from the first response on."""
        return self._tag

    @property
    def is_half_open(self) -> bool:
        """Whether the ACK that makes it a call is still to come."""
        return self.state in {SessionState.INVITED, SessionState.EARLY, SessionState.ANSWERED}

    def begin(self, now: float, replaces: InviteSession | None = None) -> None:
        """Sends 100 Trying at once, makes the dialog, and tells the user; also whose place the call is to take."""
        over_tls = self.flow is not None and self.flow.transport == "tls"
        self.dialog = Dialog.as_uas(self.request, self._tag, over_tls=over_tls)
        self.host.register(self, self.dialog.id)
        self._invite.respond(100, None, (), b"", now)
        # §13.3.1: an Expires of the INVITE is how long the invitation holds.
        self._limit = min(self.host.configuration.answer_limit, self.request.expires or math.inf)
        self._deadlines[Deadline.USER] = now + self._limit
        self.host.emit(IncomingInvite(self, self._invite.offer, replaces))
        self.changed()

    # -- what the user does ------------------------------------------------------------------------------------------

    def ring(self, *, now: float, headers: HeaderFields = ()) -> bool:
        """Sends 180 Ringing."""
        return self.progress(180, now=now, headers=headers)

    def progress(
        self,
        status: int,
        body: bytes = b"",
        *,
        now: float,
        reason: str | None = None,
        headers: HeaderFields = (),
    ) -> bool:
        """Sends a 101 to 199; `body` is an early answer. It is repeated every minute until the final response.

        It goes reliably (RFC 3262) where the caller requires that, or supports it and there is a body.
        """
        if not self._step(SessionInput.RING):
            return False
        fields = [*self.refresh_headers(), *headers, *typed(body)]
        if self._is_reliable(body):
            if body:
                self.local_description = body
            self._reliable.send(status, reason, fields, body, now)
            self.changed()
            return True
        self._last_provisional = self._invite.respond(status, reason, fields, body, now)
        self._deadlines[Deadline.PROVISIONAL] = now + self.host.configuration.provisional_interval
        self.changed()
        return True

    def answer(self, body: bytes, *, now: float, headers: HeaderFields = ()) -> bool:
        """Sends 200 OK: `body` is the answer, or our offer where the INVITE had none.

        It waits for the PRACK of a reliable 1xx that carried a description (RFC 3262 §3), and for our user's answer to
        an offer that came meanwhile.
        """
        if self._is_exchange_open and not self._invite.is_answered:
            self._answer = (body, tuple(headers))
            return True
        if not self._step(SessionInput.ANSWER):
            return False
        self._reliable.stop()
        self._deadlines.clear()
        if self._settled is None:
            self.local_description = body
        elif self.local_description != self._settled:
            # The session was changed since its first answer: a 2xx that repeated that would take the change back, and
            # RFC 6337 §3.1.1 wants no new answer in it.
            body = b""
        refresh = self._refresher.answer(self.request, now)
        self._invite.respond(200, None, [*self.refresh_headers(), *refresh, *headers, *typed(body)], body, now)
        self.changed()
        return True

    def reject(self, status: int, reason: str | None = None, headers: HeaderFields = (), *, now: float) -> bool:
        """Refuses the call with a 3xx to 6xx. The code decides whether a carrier tries elsewhere."""
        if not self._step(SessionInput.REJECT):
            return False
        self._invite.respond(status, reason, headers, b"", now)
        self._end(EndCause.REJECTED, now)
        return True

    # -- what the wire does ------------------------------------------------------------------------------------------

    def handle_cancel(self, cancel: Request, now: float) -> None:
        """487 for the INVITE, unless its final response is out already (RFC 3261 §9.2)."""
        if self._invite.is_answered:
            super().handle_cancel(cancel, now)
        else:
            self._cancelled(cancel, now)

    def reject_reinvite(
        self, status: int, reason: str | None = None, headers: HeaderFields = (), *, now: float
    ) -> bool:
        """As for every session; but an offer in a PRACK is refused with the call.

        RFC 6337 table 2: a PRACK that acknowledges gets its 2xx, "followed by ... termination of the dialog".
        """
        if self._offered.request is None or self._offered.request.method != "PRACK":
            return super().reject_reinvite(status, reason, headers, now=now)
        self._answer = None
        self._finish_pending(200, None, (), b"", now)
        return self.reject(status, reason, headers, now=now)

    def _receive_prack(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        acknowledged = self._reliable.acknowledge(request, now)
        if acknowledged is None:
            self.respond(transaction, 481, now)
            return
        is_offer = bool(request.body) and (self._invite.offer is not None or self._settled is not None)
        if acknowledged.body and self._settled is None and (self._invite.offer is not None or request.body):
            self._settled = acknowledged.body
        if is_offer and not self._may_take_offer(request):
            self.respond(transaction, 488, now)  # the INVITE's own offer is not answered yet: there is no second one
        elif is_offer:  # RFC 3262 §5: "the UAS MUST generate an answer in the 2xx to the PRACK"
            self._offered.take(transaction, now)
            return
        else:
            self.respond(transaction, 200, now)
            self.host.emit(ProvisionalAcknowledged(self, request.body or None))
        self._answer_at_last(now)

    @property
    def _is_exchange_open(self) -> bool:
        """Whether a description of ours waits for its PRACK, or an offer of the peer's for our user."""
        return self._reliable.delays_answer or self._offered.request is not None

    def _answer_at_last(self, now: float) -> None:
        """The 200 that waited for the end of an exchange."""
        if self._answer is not None and not self._is_exchange_open:
            (body, headers), self._answer = self._answer, None
            self.answer(body, now=now, headers=headers)

    def _finish_pending(self, status: int, reason: str | None, headers: HeaderFields, body: bytes, now: float) -> None:
        super()._finish_pending(status, reason, headers, body, now)
        if not self.is_ended:
            self._answer_at_last(now)

    def _may_take_offer(self, request: Request) -> bool:
        is_early = self.state is SessionState.EARLY and self._settled is not None and not self._is_exchange_open
        return is_early or super()._may_take_offer(request)

    def _dialog_for_update(self, remote_tag: str | None) -> Dialog | None:
        is_early = self.state is SessionState.EARLY and self._settled is not None and not self._is_exchange_open
        return self.dialog if is_early else super()._dialog_for_update(remote_tag)

    def _not_prack_acknowledged(self, now: float) -> None:
        """§3: without PRACK for 64*T1 the UAS "SHOULD reject the original request with a 5xx response"."""
        self.host.counters["prack_missing"] += 1
        if self._step(SessionInput.REJECT):
            self._invite.respond(504, None, (), b"", now)
            self._end(EndCause.EXPIRED, now)

    def _is_reliable(self, body: bytes) -> bool:
        if RELIABLE not in self.host.configuration.supported:
            return False
        return RELIABLE in self.request.require or (RELIABLE in self.request.supported and bool(body))

    def _cancelled(self, request: Request, now: float) -> None:
        if self._step(SessionInput.CANCELLED):
            self._invite.respond(487, None, (), b"", now)
            self.host.emit(Cancelled(self, request.headers.get("Reason")))
            self._end(EndCause.CANCELLED, now)

    def _handle_deadline(self, deadline: Deadline, now: float) -> None:
        if deadline is Deadline.PROVISIONAL and self._last_provisional is not None:
            self._invite.repeat(self._last_provisional, now)
            self._deadlines[Deadline.PROVISIONAL] = now + self.host.configuration.provisional_interval
        elif deadline is Deadline.USER and not self._invite.is_answered:
            self.host.counters["invite_unanswered"] += 1
            self._step(SessionInput.REJECT)
            has_expired = self._limit < self.host.configuration.answer_limit
            self._invite.respond(487 if has_expired else 480, None, (), b"", now)
            self._end(EndCause.EXPIRED, now)
        else:
            super()._handle_deadline(deadline, now)

    def _abandon(self, now: float, headers: HeaderFields) -> bool:
        return self.reject(480, headers=headers, now=now)
