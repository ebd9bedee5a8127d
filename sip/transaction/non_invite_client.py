"""The non-INVITE client transaction: RFC 3261 §17.1.2."""

from typing import Final

from sip.transaction.client import ClientTransaction
from sip.transaction.machine import Act, Input, State, Step, Table
from sip.transaction.timer import Timer

_FINAL: Final = Step(State.COMPLETED, (Act.PASS_UP,), arm=(Timer.K,))
_FAIL: Final = Step(State.TERMINATED, (Act.TELL_TRANSPORT_ERROR,))
_TIME_OUT: Final = Step(State.TERMINATED, (Act.TELL_TIMEOUT,))

# RFC 3261 figure 6. Timers E and F go on running in Proceeding. An input not listed is illegal and changes nothing.
NON_INVITE_CLIENT: Final[Table] = {
    State.TRYING: {
        Input.START: Step(State.TRYING, (Act.SEND,), arm=(Timer.E, Timer.F)),
        Input.RECEIVE_1XX: Step(State.PROCEEDING, (Act.PASS_UP,), keep=(Timer.E, Timer.F)),
        Input.RECEIVE_2XX: _FINAL,
        Input.RECEIVE_3XX_6XX: _FINAL,
        Input.TRANSPORT_ERROR: _FAIL,
        Timer.E: Step(State.TRYING, (Act.RESEND,), arm=(Timer.E,)),
        Timer.F: _TIME_OUT,
    },
    State.PROCEEDING: {
        Input.RECEIVE_1XX: Step(State.PROCEEDING, (Act.PASS_UP,)),
        Input.RECEIVE_2XX: _FINAL,
        Input.RECEIVE_3XX_6XX: _FINAL,
        Input.TRANSPORT_ERROR: _FAIL,
        Timer.E: Step(State.PROCEEDING, (Act.RESEND,), arm=(Timer.E,)),
        Timer.F: _TIME_OUT,
    },
    State.COMPLETED: {
        Input.RECEIVE_1XX: Step(State.COMPLETED),
        Input.RECEIVE_2XX: Step(State.COMPLETED),
        Input.RECEIVE_3XX_6XX: Step(State.COMPLETED),
        Timer.K: Step(State.TERMINATED),
    },
    State.TERMINATED: {},
}


class NonInviteClientTransaction(ClientTransaction):
    """One request sent that is neither INVITE nor ACK."""

    TABLE = NON_INVITE_CLIENT
    INITIAL = State.TRYING

    __slots__ = ()

    def _next_interval(self, timer: Timer, interval: float) -> float:
        if timer is Timer.E and self.state is State.PROCEEDING:
            return self.values.t2
        return super()._next_interval(timer, interval)
