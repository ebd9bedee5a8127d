"""The calling side of an INVITE session: RFC 3261 §13.2, with its forks and its CANCEL."""

from dataclasses import dataclass, replace
from functools import partial

from sip.dialog import Dialog
from sip.event import Answered, Failed, Provisional
from sip.message import Request, Response
from sip.session.host import Authenticator, SessionHost
from sip.session.received import HeaderFields
from sip.session.refresh import min_se
from sip.session.reliable import ReceivedProvisionals
from sip.session.sent import CREDENTIAL_FIELDS, Acknowledger, create_cancel
from sip.session.session import Deadline, InviteSession
from sip.session.state import CLIENT_SESSION, EndCause, SessionInput, SessionState
from sip.transaction.client import ClientTransaction
from sip.transaction.machine import Failure
from sip.transaction.non_invite_server import NonInviteServerTransaction
from sip.transport.flow import Flow, Target, is_ip_literal


@dataclass(slots=True)
class _Attempt:
    """The INVITE at one server of its target."""

    request: Request
    target: Target
    transaction: ClientTransaction
    is_cancelled: bool = False


class ClientSession(InviteSession):
    """A call that we place. The first 2xx makes it; a 2xx of another fork is acknowledged and ended with BYE."""

    TABLE = CLIENT_SESSION
    INITIAL = SessionState.CALLING
    is_caller = True

    def __init__(
        self, host: SessionHost, invite: Request, target: Target, authenticator: Authenticator | None = None
    ) -> None:
        super().__init__(host, invite, None)
        self.authenticator = authenticator
        self.target = target
        self._passed_over: Response | Failure | None = None  # what the server before this one said
        self._others: list[_Attempt] = []  # at servers that were silent when the next one was tried
        self.local_description = invite.body
        self._least_interval = 0
        for name, value in self._refresher.request_headers():
            invite.headers.set(name, value)
        self._acknowledger = Acknowledger(host, None)
        self._early: dict[str, Dialog] = {}
        self._answers: dict[str, bytes] = {}  # to our offer, by tag, where they came in a reliable 1xx
        self._transaction: ClientTransaction | None = None
        self._attempt = 1
        self._has_provisional = False
        self._cancel_headers: tuple[tuple[str, str], ...] | None = None  # a CANCEL that waits for a 1xx
        self._unacknowledged: Response | None = None
        self._provisionals = ReceivedProvisionals()

    def begin(self, now: float) -> None:
        """Sends the INVITE."""
        self._deadlines[Deadline.USER] = now + self.host.configuration.ring_limit
        self._has_provisional = False
        request = self.request
        self._transaction = self.host.transactions.request(
            request,
            self.target,
            partial(self._handle_outcome, request),
            now,
            silence=None if is_ip_literal(self.target.host) else self.host.configuration.next_server_after,
            on_silence=partial(self._handle_silence, request),
        )
        self.changed()

    def begin_at(self, target: Target, via: str, contact: str, now: float) -> None:
        """Sends the INVITE to where its domain wants it, unless our user has given up meanwhile."""
        if self.state is SessionState.CANCELLING:
            self._refused(Failure.TIMEOUT.status, "Cancelled", None, now)
        elif self.state is SessionState.CALLING:
            self.target = target
            self.request.headers.set("Via", via)
            self.request.headers.set("Contact", contact)
            self.begin(now)

    # -- what the user does ------------------------------------------------------------------------------------------

    def cancel(self, *, now: float, headers: HeaderFields = ()) -> bool:
        """Gives up a call that is not answered. Ended follows with the final response, at the latest after 64*T1.

        "If no provisional response has been received, the CANCEL request MUST NOT be sent; rather, the client MUST
        wait for the arrival of a provisional response" (RFC 3261 §9.1).
        """
        if self.state is SessionState.CANCELLING:
            return True
        if self.state is SessionState.CONFIRMED or not self._step(SessionInput.CANCEL):
            return False  # the 2xx was quicker
        self._cancel_headers = tuple(headers)
        self._deadlines.clear()
        self._quiet_others()
        if self._has_provisional:
            self._send_cancel(now)
        self.changed()
        return True

    def acknowledge(self, body: bytes, *, now: float) -> bool:
        """Sends the ACK with our answer, where the INVITE had no offer or a re-INVITE of ours had none."""
        response = self._unacknowledged
        if response is None or self.dialog is None:
            return super().acknowledge(body, now=now)
        self._unacknowledged = None
        self.local_description = body
        self._acknowledger.acknowledge(self.dialog, self.request, response, body)
        return True

    def bye(self, *, now: float, headers: HeaderFields = ()) -> bool:
        """Ends an answered call."""
        self._acknowledge_without_answer()
        return super().bye(now=now, headers=headers)

    # -- responses ---------------------------------------------------------------------------------------------------

    def _handle_outcome(self, request: Request, outcome: Response | Failure, now: float) -> None:
        if request is not self.request:
            self._handle_other(request, outcome, now)
            return
        if self._try_next_server(outcome, now):
            return
        if outcome is Failure.TRANSPORT_ERROR and self._others:
            self._return_to(self._others[-1])  # no further server: the silent one has its time until timer B
            return
        if isinstance(outcome, Response):
            self._quiet_others()  # nobody knocks at a second door while somebody comes to the first
        if outcome is Failure.TRANSPORT_ERROR and self._passed_over is not None:
            outcome, self._passed_over = self._passed_over, None  # no server is left: what the last one said stands
        if isinstance(outcome, Failure):
            self._refused(outcome.status, outcome.name.replace("_", " ").capitalize(), None, now)
        elif outcome.status < 200:
            self._handle_provisional(outcome, now)
        elif outcome.status < 300:
            self._handle_accepted(outcome, now)
        elif not self._try_again(outcome, now):
            self._refused(outcome.status, outcome.reason, outcome, now)
        self.changed()

    def _handle_provisional(self, response: Response, now: float) -> None:
        self._has_provisional = True
        if self.state is SessionState.CANCELLING:
            self._send_cancel(now)
            return
        is_next, rack = self._provisionals.rack_for(response)
        if not is_next:
            self.host.counters["provisional_out_of_order"] += 1
            return
        tag = response.to.tag
        dialog = self._early_dialog(tag, response) if response.status > 100 and tag is not None else None
        if dialog is not None and tag is not None:
            self._step(SessionInput.PROVISIONAL)
            self.peer_allow = response.allow or self.peer_allow
            if rack is not None:
                if response.body and self.request.body:
                    self._answers.setdefault(tag, response.body)
                self.send_request("PRACK", self.count_outcome("prack"), now, headers=[("RAck", rack)], dialog=dialog)
        if response.status > 100 and not self.is_ended:
            self.host.emit(Provisional(self, response.status, response.reason, response.body or None, tag, response))

    def _early_dialog(self, tag: str, response: Response) -> Dialog | None:
        dialog = self._early.get(tag)
        if dialog is None:
            if len(self._early) >= self.host.configuration.max_early_dialogs:
                self.host.counters["early_dialog_limit"] += 1
                return None
            dialog = self._early[tag] = Dialog.as_uac(self.request, response)
            self.host.register(self, dialog.id)
        else:
            dialog.refresh_target(response)
        self.dialog = self.dialog or dialog
        return dialog

    def _handle_accepted(self, response: Response, now: float) -> None:
        if self._acknowledger.repeat(response) or self._is_waiting_for(response):
            return
        tag = response.to.tag or ""
        dialog = self._early.pop(tag, None) or Dialog.as_uac(self.request, response)
        dialog.confirm(response)
        if self.state is SessionState.CANCELLING or not self._step(SessionInput.ACCEPTED):
            self._drop(dialog, response, now)
            return
        self._deadlines.clear()
        self._forget_early()
        self.dialog = dialog
        self.host.register(self, dialog.id)
        if self.request.body or not response.body:
            self._acknowledger.acknowledge(dialog, self.request, response)
        else:
            self._unacknowledged = response
        self.peer_allow = response.allow
        self._refresher.accept(response, now)
        # A 2xx whose answer came before, in a reliable 1xx, may leave it out.
        answer = response.body or self._answers.get(response.to.tag or "")
        self.host.emit(Answered(self, answer or None, response))

    def _is_waiting_for(self, response: Response) -> bool:
        return self._unacknowledged is not None and self._unacknowledged.to.tag == response.to.tag

    def _drop(self, dialog: Dialog, response: Response, now: float) -> None:
        """A dialog that nobody wants, of another fork or of a 2xx that crossed our CANCEL: ACK and BYE (§13.2.2.4)."""
        self.host.counters["unwanted_2xx"] += 1
        self._acknowledger.acknowledge(dialog, self.request, response)
        self.send_bye(now, (), dialog)
        self.host.unregister(dialog.id)
        if self._step(SessionInput.ACCEPTED):  # only CANCELLING takes it here
            self._forget_early()
            self._end(EndCause.CANCELLED, now)

    def _try_again(self, response: Response, now: float) -> bool:
        """Answers a challenge, or a 422: same Call-ID, From tag and To, next CSeq (RFC 3261 §22.2, RFC 4028 §7.3)."""
        if self.state not in {SessionState.CALLING, SessionState.EARLY}:
            return False
        if response.status == 422 and min_se(response) > self._least_interval:
            self._least_interval = min_se(response)
            self._resend(self._refresher.request_headers(self._least_interval), now)
            return True
        credentials = self._credentials(self.request, response, self._attempt)
        if credentials is None:
            return False
        self._attempt += 1
        self._resend([credentials], now, without=CREDENTIAL_FIELDS if self._attempt > 2 else frozenset())
        return True

    def _try_next_server(self, outcome: Response | Failure, now: float) -> bool:
        """Silence or 503 leads to the next address of a name: the same request, a new transaction (RFC 3263 §4.3)."""
        is_missed = outcome is Failure.TIMEOUT or (isinstance(outcome, Response) and outcome.status == 503)
        if not is_missed or self.state is not SessionState.CALLING or is_ip_literal(self.target.host):
            return False
        self._passed_over = outcome
        self._begin_at_next(now)
        return True

    def _begin_at_next(self, now: float) -> None:
        old = self.request
        self.target = replace(self.target, after=old.top_via.branch or "")
        self.request = Request("INVITE", old.uri, old.headers.copy(), old.body)
        self.request.headers.set("Via", self.host.via(self.target.transport, self.target))
        self.host.counters["next_server"] += 1
        self.begin(now)

    def _handle_silence(self, request: Request, now: float) -> None:
        """Nobody answers: the next server is tried beside the silent one, which may only be slow."""
        if request is self.request and self.state is SessionState.CALLING and self._transaction is not None:
            self._others.append(_Attempt(request, self.target, self._transaction))
            self._begin_at_next(now)
            self.changed()

    def _quiet_others(self) -> None:
        """Their INVITEs go out no more; what comes for them is still taken."""
        for other in self._others:
            other.transaction.send_once()

    def _return_to(self, other: _Attempt) -> None:
        self._others.remove(other)
        self.request, self.target, self._transaction = other.request, other.target, other.transaction

    def _handle_other(self, request: Request, outcome: Response | Failure, now: float) -> None:
        """What comes of an INVITE that is not the last one: it was challenged and sent anew, or its server was silent.

        Whoever speaks first is the one; then the others are to be cancelled, and their 2xx are those of forks.
        """
        other = next((attempt for attempt in self._others if attempt.request is request), None)
        if other is None:
            return
        if not isinstance(outcome, Response) or outcome.status >= 300:
            self._others.remove(other)
        elif self.state is SessionState.CALLING and not self._has_provisional and self._transaction is not None:
            newer = _Attempt(self.request, self.target, self._transaction)
            self._return_to(other)
            self._others.append(newer)
            self._handle_outcome(request, outcome, now)
        elif outcome.status >= 200:
            self._handle_accepted(outcome, now)
        elif not other.is_cancelled:
            other.is_cancelled = True
            self.host.transactions.request(create_cancel(request), other.target, lambda outcome, now: None, now)
        self.changed()

    def _resend(self, headers: HeaderFields, now: float, *, without: frozenset[str] = frozenset()) -> None:
        old = self.request
        invite = Request("INVITE", old.uri, old.headers.copy(), old.body)
        for name in without:
            invite.headers.remove(name)
        invite.headers.set("Via", self.host.via(self.target.transport, self.target))
        invite.headers.set("CSeq", f"{old.cseq.number + 1} INVITE")
        for name, value in headers:
            invite.headers.set(name, value)
        self._forget_early()
        self._answers.clear()
        self._quiet_others()
        self.dialog = None
        self._provisionals = ReceivedProvisionals()
        self.request = invite
        self.begin(now)

    def _refused(self, status: int, reason: str, response: Response | None, now: float) -> None:
        was_cancelled = self.state is SessionState.CANCELLING
        if not self._step(SessionInput.REFUSED):
            return
        self._forget_early()
        if was_cancelled:
            self._end(EndCause.CANCELLED, now)
            return
        self.host.emit(Failed(self, status, reason, response))
        self._end(EndCause.REFUSED, now)

    # -- the rest ----------------------------------------------------------------------------------------------------

    def _send_cancel(self, now: float) -> None:
        if self._cancel_headers is None:
            return
        cancel = create_cancel(self.request)
        for name, value in self._cancel_headers:
            cancel.headers.add(name, value)
        self._cancel_headers = None
        # RFC 3261 §9.1: without a final response after 64*T1 "the client SHOULD then consider the original
        # transaction cancelled and SHOULD destroy the client transaction".
        self._deadlines[Deadline.CANCEL] = now + self.host.configuration.timers.timeout
        self.host.transactions.request(cancel, self.target, lambda outcome, now: None, now)

    def _handle_deadline(self, deadline: Deadline, now: float) -> None:
        if deadline is Deadline.USER and self.state in {SessionState.CALLING, SessionState.EARLY}:
            self.host.counters["ring_limit"] += 1
            self.cancel(now=now)
        elif deadline is Deadline.CANCEL and self._step(SessionInput.REFUSED):
            if self._transaction is not None:
                self.host.transactions.abandon(self._transaction)
            self._forget_early()
            self._end(EndCause.CANCELLED, now)
        else:
            super()._handle_deadline(deadline, now)

    def _receive_bye(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        if self.state is SessionState.CONFIRMED:
            self._acknowledge_without_answer()
            super()._receive_bye(transaction, request, now)
            return
        # A BYE for an early dialog ends that branch only; the INVITE's final response is still to come.
        self.respond(transaction, 200, now)
        if self._step(SessionInput.BYE_RECEIVED) and (dialog := self._early.pop(request.from_.tag or "", None)):
            self.host.unregister(dialog.id)

    def _acknowledge_without_answer(self) -> None:
        """A 2xx with an offer that is never answered still needs its ACK before the BYE."""
        if self._unacknowledged is not None and self.dialog is not None:
            self._acknowledger.acknowledge(self.dialog, self.request, self._unacknowledged)
            self._unacknowledged = None

    @property
    def _transport(self) -> str:
        return self.target.transport

    @property
    def _near(self) -> Flow | Target | None:
        return self.target

    def dialog_for(self, request: Request) -> Dialog | None:
        """The confirmed dialog, or the early one that the request names."""
        if self.state is SessionState.CONFIRMED:
            return self.dialog
        return self._early.get(request.from_.tag or "")

    def _may_take_offer(self, request: Request) -> bool:
        if self.state is SessionState.EARLY:
            return request.from_.tag in self._answers and self._offered.request is None
        return super()._may_take_offer(request)

    def _dialog_for_update(self, remote_tag: str | None) -> Dialog | None:
        if self.state is not SessionState.EARLY:
            return super()._dialog_for_update(remote_tag)
        settled = [tag for tag in self._early if tag in self._answers and remote_tag in {None, tag}]
        return self._early[settled[0]] if settled else None

    def _forget_early(self) -> None:
        for dialog in self._early.values():
            self.host.unregister(dialog.id)
        self._early.clear()

    def _abandon(self, now: float, headers: HeaderFields) -> bool:
        return self.is_ended is False and self.cancel(now=now, headers=headers)
