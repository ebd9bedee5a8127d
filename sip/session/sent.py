"""An INVITE or re-INVITE that was sent: its CANCEL, and the ACKs for its 2xx (RFC 3261 §9.1, §13.2, §14.1)."""

from typing import Final

from sip.body import SDP
from sip.dialog import MAX_FORWARDS, Dialog, target_of
from sip.message import Request, Response
from sip.session.host import SessionHost
from sip.transport.flow import Flow, Target

CREDENTIAL_FIELDS: Final = frozenset({"Authorization", "Proxy-Authorization"})
CREDENTIAL_ATTEMPTS: Final = 3  # a nonce may go stale between two; more is a loop


def create_cancel(invite: Request) -> Request:
    """The CANCEL for an INVITE (RFC 3261 §9.1): same Request-URI, Call-ID, To, From, CSeq number, Route and branch."""
    cancel = Request("CANCEL", invite.uri)
    fields = cancel.headers
    fields.add("Via", str(invite.top_via))
    for route in invite.headers.get_all("Route"):
        fields.add("Route", route)
    fields.add("Max-Forwards", MAX_FORWARDS)
    for name in ("From", "To", "Call-ID"):
        fields.add(name, invite.headers.get(name) or "")
    fields.add("CSeq", f"{invite.cseq.number} CANCEL")
    return cancel


class Acknowledger:
    """Sends the ACK for every 2xx of one INVITE, again for each retransmission (RFC 3261 §13.2.2.4).

    The 2xx of a forked INVITE come with several To tags, and each gets its own ACK.
    """

    def __init__(self, host: SessionHost, prefer: Flow | None) -> None:
        self._host = host
        self._prefer = prefer
        self._sent: dict[str, tuple[bytes, Target]] = {}

    def has(self, response: Response) -> bool:
        """Whether this 2xx was acknowledged before."""
        return (response.to.tag or "") in self._sent

    def acknowledge(self, dialog: Dialog, invite: Request, response: Response, body: bytes = b"") -> None:
        """Sends the first ACK. It "MUST contain the same credentials as the INVITE" (RFC 3261 §22.1)."""
        target = target_of(dialog.next_hop())
        headers = [(name, value) for name, value in invite.headers.items() if name in CREDENTIAL_FIELDS]
        if body:
            headers.append(("Content-Type", SDP))
        via = self._host.via(target.transport, self._prefer or target)
        ack = dialog.create_request("ACK", via=via, headers=headers, body=body, cseq=response.cseq.number)
        self._sent[response.to.tag or ""] = (bytes(ack), target)
        self._host.send(bytes(ack), target, self._prefer)

    def repeat(self, response: Response) -> bool:
        """Answers a retransmitted 2xx; False if its first ACK is still to come."""
        sent = self._sent.get(response.to.tag or "")
        if sent is not None:
            self._host.send(*sent, self._prefer)
        return sent is not None
