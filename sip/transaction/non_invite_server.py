"""The non-INVITE server transaction: RFC 3261 §17.2.2."""

from typing import Final

from sip.message import Request, Response
from sip.transaction.machine import Act, Input, State, Step, Table, Transaction, input_for
from sip.transaction.timer import Timer, TimerValues
from sip.transport.flow import Flow

_FINAL: Final = Step(State.COMPLETED, (Act.SEND,), arm=(Timer.J,))

# RFC 3261 figure 8; transport errors as in RFC 6026 §8.8. An input not listed is illegal and changes nothing.
NON_INVITE_SERVER: Final[Table] = {
    State.TRYING: {
        Input.REQUEST: Step(State.TRYING),
        Input.SEND_1XX: Step(State.PROCEEDING, (Act.SEND,)),
        Input.SEND_2XX: _FINAL,
        Input.SEND_3XX_6XX: _FINAL,
    },
    State.PROCEEDING: {
        Input.REQUEST: Step(State.PROCEEDING, (Act.RESEND,)),
        Input.SEND_1XX: Step(State.PROCEEDING, (Act.SEND,)),
        Input.SEND_2XX: _FINAL,
        Input.SEND_3XX_6XX: _FINAL,
        Input.TRANSPORT_ERROR: Step(State.PROCEEDING, (Act.TELL_TRANSPORT_ERROR,)),
    },
    State.COMPLETED: {
        Input.REQUEST: Step(State.COMPLETED, (Act.RESEND,)),
        Input.TRANSPORT_ERROR: Step(State.COMPLETED, (Act.TELL_TRANSPORT_ERROR,)),
        Timer.J: Step(State.TERMINATED),
    },
    State.TERMINATED: {},
}


class NonInviteServerTransaction(Transaction):
    """One received request other than INVITE and ACK; the last response is resent for every retransmission."""

    TABLE = NON_INVITE_SERVER
    INITIAL = State.TRYING

    __slots__ = ()

    def __init__(self, request: Request, flow: Flow, values: TimerValues) -> None:
        super().__init__(request, flow, values)

    def receive_request(self, request: Request, now: float) -> bool:
        """A retransmission."""
        return self.step(Input.REQUEST, now, request)

    def respond(self, response: Response, now: float) -> bool:
        """Sends a response; a second final response is discarded (RFC 3261 §17.2.2)."""
        return self.step(input_for(response, sent=True), now, response)
