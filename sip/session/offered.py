"""An offer of the peer's outside an INVITE: in an UPDATE (RFC 3311) or a PRACK (RFC 3262 §5)."""

from collections.abc import Callable

from sip.event import ReinviteReceived
from sip.message import Request
from sip.session.core import SessionCore
from sip.session.received import HeaderFields
from sip.transaction.non_invite_server import NonInviteServerTransaction


class ReceivedOffer:
    """Waits for our user, one at a time; `on_expired` is called where that takes longer than `reinvite_limit`."""

    def __init__(self, session: SessionCore, on_expired: Callable[[float], None]) -> None:
        self._session = session
        self._on_expired = on_expired
        self._transaction: NonInviteServerTransaction | None = None
        self._expires_at: float | None = None

    @property
    def request(self) -> Request | None:
        """The request with the offer; None where none waits."""
        return None if self._transaction is None else self._transaction.request

    def take(self, transaction: NonInviteServerTransaction, now: float) -> None:
        """Tells our user of it."""
        self._transaction = transaction
        self._expires_at = now + self._session.host.configuration.reinvite_limit
        self._session.host.emit(ReinviteReceived(self._session.as_session(), transaction.request.body))

    def finish(self, status: int, reason: str | None, headers: HeaderFields, body: bytes, now: float) -> None:
        """Its final response."""
        transaction, self._transaction, self._expires_at = self._transaction, None, None
        if transaction is not None:
            self._session.respond(transaction, status, now, headers, reason=reason, body=body)

    def next_timer(self) -> float | None:
        """When our user's time is up."""
        return self._expires_at

    def handle_timer(self, now: float) -> None:
        """As for every part."""
        if self._expires_at is not None and self._expires_at <= now:
            self._on_expired(now)

    def stop(self) -> None:
        """The session is over: the transaction must not be left open (RFC 3261 §15.1.2)."""
        self._expires_at = None
