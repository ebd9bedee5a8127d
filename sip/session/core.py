"""What every part of an INVITE session stands on: its dialog, its state, the requests it sends, its end."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from sip.dialog import Dialog, target_of
from sip.event import Ended
from sip.message import Request, Response
from sip.session.host import Authenticator, SessionHost
from sip.session.received import HeaderFields
from sip.session.sent import CREDENTIAL_ATTEMPTS, CREDENTIAL_FIELDS
from sip.session.state import LOCAL_INPUTS, EndCause, SessionInput, SessionState, SessionStateError
from sip.transaction.machine import Failure
from sip.transaction.non_invite_server import NonInviteServerTransaction
from sip.transport.flow import Flow, Target

if TYPE_CHECKING:
    from sip.session.session import InviteSession

OnRequestOutcome = Callable[[Request, Response | Failure, float], None]
SessionTable = Mapping[SessionState, Mapping[SessionInput, SessionState]]


class SessionPart(Protocol):
    """A part of a session with deadlines of its own."""

    def next_timer(self) -> float | None:
        """Its earliest deadline."""

    def handle_timer(self, now: float) -> None:
        """Does what is due."""

    def stop(self) -> None:
        """The session is over."""


class SessionCore(ABC):
    """The state of one INVITE dialog usage, and what its parts need of it."""

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
        self.host = host
        self.local_description = b""  # the session description that we sent last
        self.peer_allow: tuple[str, ...] = request.allow if not self.is_caller else ()
        self._parts: list[SessionPart] = []

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

    def send_request(
        self,
        method: str,
        on_outcome: OnRequestOutcome,
        now: float,
        *,
        headers: HeaderFields = (),
        body: bytes = b"",
        attempt: int = 1,
        dialog: Dialog | None = None,
        is_resent: bool = True,
    ) -> None:
        """Sends a request of the dialog, or of another one of a forked call; answers its challenges."""
        dialog = dialog or self.dialog
        if dialog is None:
            return
        host = self.host
        fields = tuple(headers)
        target = target_of(dialog.next_hop())
        near = self.flow or target
        request = dialog.create_request(method, via=host.via(target.transport, near), headers=fields, body=body)

        def handle(outcome: Response | Failure, now: float) -> None:
            credentials = self._credentials(request, outcome, attempt)
            if credentials is None:
                on_outcome(request, outcome, now)
                return
            kept = [(name, value) for name, value in fields if name not in CREDENTIAL_FIELDS]
            self.send_request(
                method, on_outcome, now, headers=[*kept, credentials], body=body, attempt=attempt + 1, dialog=dialog
            )

        if method == "INVITE":
            patience = host.configuration.ring_limit
            host.transactions.request(request, target, handle, now, prefer=self.flow, patience=patience)
            return
        host.transactions.search(
            request,
            target,
            lambda: host.via(target.transport, near),
            handle,
            now,
            prefer=self.flow,
            is_resent=is_resent,
            silence=host.configuration.next_server_after,
        )

    def _credentials(self, request: Request, outcome: Response | Failure, attempt: int) -> tuple[str, str] | None:
        if self.authenticator is None or not isinstance(outcome, Response) or outcome.status not in {401, 407}:
            return None
        return self.authenticator.authorize(request, outcome) if attempt <= CREDENTIAL_ATTEMPTS else None

    def send_bye(self, now: float, headers: HeaderFields, dialog: Dialog | None = None) -> None:
        """Sends the BYE; what becomes of it is only counted."""
        self.send_request("BYE", self.count_outcome("bye"), now, headers=headers, dialog=dialog)

    def count_outcome(self, label: str) -> OnRequestOutcome:
        """For a request whose outcome changes nothing: failures are counted."""

        def count(request: Request, outcome: Response | Failure, now: float) -> None:
            del request, now
            if outcome.status >= 300:
                self.host.counters[f"{label}_failed"] += 1

        return count

    def dialog_for(self, request: Request) -> Dialog | None:
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

    def _end(self, cause: EndCause, now: float) -> None:
        """The last act of every session. The state is ENDED already."""
        self.end_cause = cause
        self._clear(now)
        if self.dialog is not None:
            self.host.unregister(self.dialog.id)
        self.host.forget(self.as_session())
        self.host.emit(Ended(self.as_session(), cause))
        self.changed()

    def lose(self, now: float) -> None:
        """The peer does not know the dialog or is silent (RFC 3261 §12.2.1.2): ends it, with a BYE for what is left."""
        if self._step(SessionInput.LOST):
            self.send_bye(now, ())
            self._end(EndCause.LOST, now)

    def respond(
        self,
        transaction: NonInviteServerTransaction,
        status: int,
        now: float,
        headers: HeaderFields = (),
        *,
        reason: str | None = None,
        body: bytes = b"",
    ) -> None:
        """Answers a request of the dialog."""
        response = transaction.request.create_response(status, reason, headers=headers, body=body)
        self.host.transactions.respond(transaction, response, now)

    def retry_after(self) -> list[tuple[str, str]]:
        """RFC 3261 §14.2: "a Retry-After header field with a randomly chosen value of between 0 and 10 seconds"."""
        return [("Retry-After", str(int(self.host.random_fraction() * 11)))]

    def refresh_headers(self, product_field: str = "Server") -> list[tuple[str, str]]:
        """Contact, Allow and Supported, for a message that makes or refreshes the dialog."""
        secure = self.dialog is not None and self.dialog.is_secure
        return self.host.refresh_headers(self._transport, secure=secure, product_field=product_field, near=self._near)

    @property
    def _transport(self) -> str:
        """The transport that our Contact is for."""
        return self.flow.transport if self.flow is not None else "udp"

    @property
    def _near(self) -> Flow | Target | None:
        """Where the peer is: it decides which of our addresses it is told."""
        return self.flow

    def _clear(self, now: float) -> None:
        """Nothing more is waited for."""
        del now
        for part in self._parts:
            part.stop()

    def contact(self) -> str:
        """Our Contact value in this dialog."""
        secure = self.dialog is not None and self.dialog.is_secure
        return self.host.contact(self._transport, secure=secure, near=self._near)

    @abstractmethod
    def as_session(self) -> "InviteSession":
        """The session as its user knows it."""

    def changed(self) -> None:
        """A deadline may have changed."""
        self.host.schedule(self)

    def next_timer(self) -> float | None:
        """The earliest deadline of all parts."""
        return min((at for part in self._parts if (at := part.next_timer()) is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Lets every part do what is due."""
        for part in self._parts:
            part.handle_timer(now)
