"""An INVITE or re-INVITE that was received: its responses, and its 2xx until the ACK (RFC 3261 §13.3.1)."""

from collections.abc import Callable, Iterable
from typing import Final

from sip.message import Request, Response
from sip.transaction.invite_server import InviteServerTransaction
from sip.transaction.layer import TransactionLayer

HeaderFields = Iterable[tuple[str, str]]


class ReceivedInvite:
    """One INVITE being answered.

    "Since 2xx is retransmitted end-to-end, the UAS core ... retransmits the response, at an interval that starts at T1
    seconds and doubles for each retransmission until it reaches T2 seconds" over any transport, until the ACK.
    """

    def __init__(self, layer: TransactionLayer, transaction: InviteServerTransaction, local_tag: str) -> None:
        self.request: Final = transaction.request
        self.local_tag: Final = local_tag
        self.is_answered = False  # a final response was sent
        self.is_acknowledged = False
        self._layer = layer
        self._transaction = transaction
        self._ok: Response | None = None
        self._interval = 0.0
        self._resend_at: float | None = None
        self._give_up_at: float | None = None

    @property
    def offer(self) -> bytes | None:
        """The body of the INVITE."""
        return self.request.body or None

    @property
    def awaits_ack(self) -> bool:
        """Whether a 2xx was sent and its ACK has not come."""
        return self._ok is not None and not self.is_acknowledged

    def respond(
        self, status: int, reason: str | None, headers: HeaderFields, body: bytes, now: float
    ) -> Response | None:
        """Sends a response; None if a final one was sent already."""
        if self.is_answered:
            return None
        tag = None if status == 100 else self.local_tag
        response = self.request.create_response(status, reason, to_tag=tag, headers=headers, body=body)
        self._layer.respond(self._transaction, response, now)
        if status >= 200:
            self.is_answered = True
        if 200 <= status < 300:
            self._ok = response
            self._interval = self._layer.values.t1
            self._resend_at = now + self._interval
            self._give_up_at = now + self._layer.values.timeout
        return response

    def repeat(self, response: Response, now: float) -> None:
        """Sends a provisional response once more."""
        if not self.is_answered and self._may_repeat(response):
            self._layer.respond(self._transaction, response, now)

    def acknowledge(self, ack: Request) -> bool:
        """Takes an ACK; False for one that was taken before or belongs to another INVITE."""
        if not self.awaits_ack or ack.cseq.number != self.request.cseq.number:
            return False
        self.stop()
        return True

    def stop(self) -> None:
        """No more retransmissions: the ACK came, or the dialog is over."""
        self.is_acknowledged = True
        self._resend_at = self._give_up_at = None

    def next_timer(self) -> float | None:
        """When the 2xx is due again, or patience ends."""
        if self._resend_at is None or self._give_up_at is None:
            return None
        return min(self._resend_at, self._give_up_at)

    def handle_timer(self, now: float, on_expired: Callable[[float], None]) -> None:
        """Resends the 2xx, or calls `on_expired` after 64*T1."""
        if self._give_up_at is not None and self._give_up_at <= now:
            self.stop()
            on_expired(now)
        elif self._resend_at is not None and self._resend_at <= now and self._ok is not None:
            if self._may_repeat(self._ok):
                self._layer.respond(self._transaction, self._ok, now)
            self._interval = min(2 * self._interval, self._layer.values.t2)
            self._resend_at = now + self._interval

    def _may_repeat(self, response: Response) -> bool:
        """Whether a retransmission stays within what the INVITE may cause, a BYE included.

        A BYE has the fields of the response at most, no body, and the peer's Contact for its Request-URI.
        """
        size = len(bytes(response))
        bye_size = size - len(response.body) + len(self.request.headers.get("Contact") or "")
        return self._transaction.may_repeat(size + bye_size)
