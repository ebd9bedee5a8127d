"""The INVITE client transaction: RFC 3261 §17.1.1 as amended by RFC 6026 §7.2."""

from typing import Final

from sip.message import Request, Response
from sip.transaction.client import ClientTransaction
from sip.transaction.machine import Act, Input, Output, State, Step, Table
from sip.transaction.timer import Timer

_ACCEPT: Final = Step(State.ACCEPTED, (Act.PASS_UP,), arm=(Timer.M,))
_REFUSE: Final = Step(State.COMPLETED, (Act.SEND_ACK, Act.PASS_UP), arm=(Timer.D,))

# RFC 3261 figure 5 as amended by RFC 6026 figure 6. An input not listed is illegal and changes nothing.
INVITE_CLIENT: Final[Table] = {
    State.CALLING: {
        Input.START: Step(State.CALLING, (Act.SEND,), arm=(Timer.A, Timer.B)),
        Input.RECEIVE_1XX: Step(State.PROCEEDING, (Act.PASS_UP,)),
        Input.RECEIVE_2XX: _ACCEPT,
        Input.RECEIVE_3XX_6XX: _REFUSE,
        Input.TRANSPORT_ERROR: Step(State.TERMINATED, (Act.TELL_TRANSPORT_ERROR,)),
        Timer.A: Step(State.CALLING, (Act.RESEND,), arm=(Timer.A,)),
        Timer.B: Step(State.TERMINATED, (Act.TELL_TIMEOUT,)),
    },
    State.PROCEEDING: {
        Input.RECEIVE_1XX: Step(State.PROCEEDING, (Act.PASS_UP,)),
        Input.RECEIVE_2XX: _ACCEPT,
        Input.RECEIVE_3XX_6XX: _REFUSE,
    },
    State.ACCEPTED: {
        Input.RECEIVE_2XX: Step(State.ACCEPTED, (Act.PASS_UP,)),
        Timer.M: Step(State.TERMINATED),
    },
    State.COMPLETED: {
        Input.RECEIVE_3XX_6XX: Step(State.COMPLETED, (Act.SEND_ACK,)),
        Input.TRANSPORT_ERROR: Step(State.TERMINATED, (Act.TELL_TRANSPORT_ERROR,)),
        Timer.D: Step(State.TERMINATED),
    },
    State.TERMINATED: {},
}


class InviteClientTransaction(ClientTransaction):
    """One INVITE sent. Refusals are acknowledged here; every 2xx goes up, and its ACK is the session's work."""

    TABLE = INVITE_CLIENT
    INITIAL = State.CALLING

    __slots__ = ()

    def _perform(self, act: Act, message: Request | Response | None) -> None:
        if act is Act.SEND_ACK and isinstance(message, Response):
            self.outputs.append(Output(act, bytes(acknowledge_refusal(self.request, message))))
        else:
            super()._perform(act, message)


def acknowledge_refusal(invite: Request, response: Response) -> Request:
    """The ACK for a final response that is not 2xx (RFC 3261 §17.1.1.3): the INVITE's branch, the response's To."""
    ack = Request("ACK", invite.uri)
    headers = ack.headers
    headers.add("Via", str(invite.top_via))
    for route in invite.headers.get_all("Route"):
        headers.add("Route", route)
    headers.add("Max-Forwards", "70")
    headers.add("From", invite.headers.get("From") or "")
    headers.add("To", response.headers.get("To") or "")
    headers.add("Call-ID", invite.call_id)
    headers.add("CSeq", f"{invite.cseq.number} ACK")
    return ack
