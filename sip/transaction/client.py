"""What the two client transactions share: RFC 3261 §17.1."""

from sip.message import Request, Response
from sip.transaction.machine import Input, Transaction, input_for
from sip.transaction.timer import TimerValues
from sip.transport.flow import Flow, Target


class ClientTransaction(Transaction):
    """A request that is sent at once. Its user is told of responses, of silence, or that it could not be sent."""

    __slots__ = ()

    def __init__(self, request: Request, peer: Flow | Target, values: TimerValues, now: float) -> None:
        super().__init__(request, peer, values)
        self.step(Input.START, now, request)

    def receive_response(self, response: Response, now: float) -> bool:
        """A response that matches by branch and CSeq method."""
        return self.step(input_for(response, sent=False), now, response)
