"""The INVITE server transaction: RFC 3261 §17.2.1 as amended by RFC 6026 §7.1."""

from typing import Final

from sip.message import Request, Response
from sip.transaction.machine import Act, Input, State, Step, Table, Transaction, input_for
from sip.transaction.timer import Timer, TimerValues
from sip.transport.flow import Flow

# How many times its own bytes an INVITE over UDP may cause before its sender has shown that it hears us. A sender whose
# address is forged aims all of it at somebody else; those that are real repeat their INVITE, which pays for more.
AMPLIFICATION_LIMIT: Final = 12

# RFC 3261 figure 7 as amended by RFC 6026 figure 5. An input not listed is illegal and changes nothing.
# RFC 6026 §8.8: after a transport error the transaction "MUST remain in the current state".
INVITE_SERVER: Final[Table] = {
    State.PROCEEDING: {
        Input.REQUEST: Step(State.PROCEEDING, (Act.RESEND,)),
        Input.SEND_1XX: Step(State.PROCEEDING, (Act.SEND,)),
        Input.SEND_2XX: Step(State.ACCEPTED, (Act.SEND,), arm=(Timer.L,)),
        Input.SEND_3XX_6XX: Step(State.COMPLETED, (Act.SEND,), arm=(Timer.G, Timer.H)),
        Input.TRANSPORT_ERROR: Step(State.PROCEEDING, (Act.TELL_TRANSPORT_ERROR,)),
    },
    State.ACCEPTED: {
        Input.REQUEST: Step(State.ACCEPTED),
        Input.ACK: Step(State.ACCEPTED, (Act.PASS_UP,)),
        Input.SEND_2XX: Step(State.ACCEPTED, (Act.SEND,)),
        Input.TRANSPORT_ERROR: Step(State.ACCEPTED, (Act.TELL_TRANSPORT_ERROR,)),
        Timer.L: Step(State.TERMINATED),
    },
    State.COMPLETED: {
        Input.REQUEST: Step(State.COMPLETED, (Act.RESEND,)),
        Input.ACK: Step(State.CONFIRMED, arm=(Timer.I,)),
        Input.TRANSPORT_ERROR: Step(State.COMPLETED, (Act.TELL_TRANSPORT_ERROR,)),
        Timer.G: Step(State.COMPLETED, (Act.RESEND,), arm=(Timer.G,)),
        Timer.H: Step(State.TERMINATED, (Act.TELL_TIMEOUT,)),
    },
    State.CONFIRMED: {
        Input.REQUEST: Step(State.CONFIRMED),
        Input.ACK: Step(State.CONFIRMED),
        Input.TRANSPORT_ERROR: Step(State.CONFIRMED),
        Timer.I: Step(State.TERMINATED),
    },
    State.TERMINATED: {},
}


class InviteServerTransaction(Transaction):
    """One received INVITE. Its user sends responses; its retransmissions are absorbed here.

    A 2xx is resent by the user, not here (RFC 3261 §13.3.1.4): every `respond` with a 2xx sends once.
    """

    TABLE = INVITE_SERVER
    INITIAL = State.PROCEEDING

    __slots__ = ("_received_size", "_sent_size")

    def __init__(self, request: Request, flow: Flow, values: TimerValues) -> None:
        super().__init__(request, flow, values)
        self._received_size = request.wire_size or len(bytes(request))
        self._sent_size = 0

    def may_repeat(self, size: int) -> bool:
        """Whether `size` bytes more, sent again without being asked, stay within what the INVITE may cause."""
        return self.peer.is_reliable or self._sent_size + size <= AMPLIFICATION_LIMIT * self._received_size

    def receive_request(self, request: Request, now: float) -> bool:
        """A retransmission of the INVITE, or an ACK that matches this transaction."""
        self._received_size += request.wire_size
        return self.step(Input.ACK if request.method == "ACK" else Input.REQUEST, now, request)

    def respond(self, response: Response, now: float) -> bool:
        """Sends a response, where the state allows it."""
        return self.step(input_for(response, sent=True), now, response)

    def _perform(self, act: Act, message: Request | Response | None) -> None:
        if act is Act.RESEND and not self.may_repeat(len(self._last)):
            return
        super()._perform(act, message)
        if act in {Act.SEND, Act.RESEND}:
            self._sent_size += len(self._last)
