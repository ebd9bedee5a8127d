"""What a session may use of the user agent that it belongs to, and the hook through which credentials come in."""

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from sip.agenda import Timed
from sip.configuration import AgentConfiguration
from sip.dialog import DialogId
from sip.event import AgentEvent
from sip.message import Request, Response
from sip.transaction.layer import TransactionLayer
from sip.transport.flow import Flow, Target

if TYPE_CHECKING:
    from sip.session.session import InviteSession


class Authenticator(Protocol):
    """Answers 401 and 407 challenges. It knows whose credentials go to which realm, and gives them to no other."""

    def authorize(self, request: Request, response: Response) -> tuple[str, str] | None:
        """The header field (name and value) that answers the challenge in `response` to `request`; None to give up.

        It is asked again when the peer challenges again, so it is also the one to notice that the same nonce came
        back, which means wrong credentials. A session asks at most three times for one request.
        """


class SessionHost(Protocol):
    """The user agent, as its sessions see it."""

    @property
    def configuration(self) -> AgentConfiguration:
        """Limits and capabilities."""

    @property
    def transactions(self) -> TransactionLayer:
        """Where requests and responses go through."""

    @property
    def counters(self) -> Counter[str]:
        """What happened how often, by label."""

    def token(self) -> str:
        """A new unguessable token."""

    def random_fraction(self) -> float:
        """A number in [0, 1) from the agent's source of tokens."""

    def emit(self, event: AgentEvent) -> None:
        """Queues an event for the agent's user."""

    def send(self, data: bytes, to: Flow | Target, prefer: Flow | None) -> None:
        """Sends outside any transaction: the ACK for a 2xx."""

    def schedule(self, item: Timed) -> None:
        """To be called when the item's deadline may have changed."""

    def register(self, session: "InviteSession", dialog_id: DialogId) -> None:
        """Requests of this dialog are the session's from now on."""

    def unregister(self, dialog_id: DialogId) -> None:
        """The dialog is over; a BYE that still comes for it is answered with 200 for a while."""

    def confirmed(self, session: "InviteSession") -> None:
        """The ACK of an inbound session came: it is half-open no more."""

    def forget(self, session: "InviteSession") -> None:
        """The session has ended."""

    def via(self, transport: str, near: Flow | Target | None = None) -> str:
        """A Via value with a new branch. `near`, a flow or target of the peer, says which of our addresses."""

    def contact(self, transport: str, *, secure: bool = False, near: Flow | Target | None = None) -> str:
        """Our Contact value for a dialog over this transport."""

    def refresh_headers(
        self,
        transport: str,
        *,
        secure: bool = False,
        product_field: str = "Server",
        near: Flow | Target | None = None,
    ) -> list[tuple[str, str]]:
        """Contact, Allow and Supported, as messages carry them that make or refresh a dialog (RFC 3261 table 2)."""
