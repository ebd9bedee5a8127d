"""The called side of an INVITE session: RFC 3261 §13.3."""

from typing import Final

from sip.dialog import Dialog
from sip.event import Cancelled, IncomingInvite, ProvisionalAcknowledged
from sip.message import Request, Response
from sip.session.host import SessionHost
from sip.session.received import HeaderFields, ReceivedInvite
from sip.session.reliable import FIRST_RSEQ_LIMIT, RELIABLE, ReliableProvisionals
from sip.session.session import Deadline, InviteSession, typed
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
        self._invite: Final = ReceivedInvite(host.transactions, transaction, self._tag)
        self._received = self._invite
        self._last_provisional: Response | None = None
        first_rseq = 1 + int(host.random_fraction() * FIRST_RSEQ_LIMIT)
        self._reliable = ReliableProvisionals(
            self._invite, host.configuration.timers, first_rseq, self._not_prack_acknowledged
        )
        self._parts.append(self._reliable)
        self._answer: tuple[bytes, tuple[tuple[str, str], ...]] | None = None  # a 200 that waits for a PRACK

    @property
    def local_tag(self) -> str:
        """Our tag, from the first response on."""
        return self._tag

    @property
    def is_half_open(self) -> bool:
        """Whether the ACK that makes it a call is still to come."""
        return self.state in {SessionState.INVITED, SessionState.EARLY, SessionState.ANSWERED}

    def begin(self, now: float) -> None:
        """Sends 100 Trying at once, makes the dialog, and tells the user."""
        over_tls = self.flow is not None and self.flow.transport == "tls"
        self.dialog = Dialog.as_uas(self.request, self._tag, over_tls=over_tls)
        self.host.register(self, self.dialog.id)
        self._invite.respond(100, None, (), b"", now)
        self._deadlines[Deadline.USER] = now + self.host.configuration.answer_limit
        self.host.emit(IncomingInvite(self, self._invite.offer))
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
            self._reliable.send(status, reason, fields, body, now)
            self.changed()
            return True
        self._last_provisional = self._invite.respond(status, reason, fields, body, now)
        self._deadlines[Deadline.PROVISIONAL] = now + self.host.configuration.provisional_interval
        self.changed()
        return True

    def answer(self, body: bytes, *, now: float, headers: HeaderFields = ()) -> bool:
        """Sends 200 OK: `body` is the answer, or our offer where the INVITE had none.

        It waits for the PRACK of a reliable 1xx that carried a description (RFC 3262 §3).
        """
        if self._reliable.delays_answer and not self._invite.is_answered:
            self._answer = (body, tuple(headers))
            return True
        if not self._step(SessionInput.ANSWER):
            return False
        self._reliable.stop()
        self._deadlines.clear()
        self.local_description = body
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

    def _receive_prack(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        if request.body and self._invite.offer is not None:
            self.respond(transaction, 488, now)  # a new offer (§5), which needs our user; UPDATE serves it better
            return
        if not self._reliable.acknowledge(request, now):
            self.respond(transaction, 481, now)
            return
        self.respond(transaction, 200, now)
        self.host.emit(ProvisionalAcknowledged(self, request.body or None))
        if self._answer is not None and not self._reliable.delays_answer:
            (body, headers), self._answer = self._answer, None
            self.answer(body, now=now, headers=headers)

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
            self._invite.respond(480, None, (), b"", now)
            self._end(EndCause.EXPIRED, now)
        else:
            super()._handle_deadline(deadline, now)

    def _abandon(self, now: float, headers: HeaderFields) -> bool:
        return self.reject(480, headers=headers, now=now)
