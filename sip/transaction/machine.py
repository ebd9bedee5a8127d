"""What the four transaction machines share: states, inputs, acts, and the interpreter of their tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, Final

from sip.message import Request, Response
from sip.transaction.timer import RETRANSMISSIONS, Timer, TimerValues
from sip.transport.flow import Flow, Target


class State(Enum):
    """The states of RFC 3261 figures 5 to 8; ACCEPTED is RFC 6026's."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    ACCEPTED = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    TERMINATED = auto()


class Input(Enum):
    """What may happen to a transaction besides its timers."""

    START = auto()
    REQUEST = auto()
    ACK = auto()
    RECEIVE_1XX = auto()
    RECEIVE_2XX = auto()
    RECEIVE_3XX_6XX = auto()
    SEND_1XX = auto()
    SEND_2XX = auto()
    SEND_3XX_6XX = auto()
    TRANSPORT_ERROR = auto()


class Act(Enum):
    """What a step asks for, in the words of the figures."""

    SEND = auto()  # the message that came with the input
    RESEND = auto()  # the last message sent
    SEND_ACK = auto()  # of a client transaction, for a final response that is not 2xx
    PASS_UP = auto()  # to the transaction user
    TELL_TIMEOUT = auto()
    TELL_TRANSPORT_ERROR = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """Where an input leads. Timers not named in `arm` or `keep` are stopped when the state changes."""

    to: State
    acts: tuple[Act, ...] = ()
    arm: tuple[Timer, ...] = ()
    keep: tuple[Timer, ...] = ()


Table = Mapping[State, Mapping[Input | Timer, Step]]


class Failure(Enum):
    """How a client transaction ends without a final response; `status` is what RFC 3261 §8.1.3.1 makes of it."""

    TIMEOUT = 408
    TRANSPORT_ERROR = 503

    @property
    def status(self) -> int:
        """The response that the failure is to be treated as."""
        return self.value


@dataclass(frozen=True, slots=True)
class Output:
    """One thing that a transaction wants done: bytes to send, or a message or failure for its user."""

    act: Act
    data: bytes = b""
    message: Request | Response | None = None


class Transaction:
    """Interprets a table. Mutate it with one input, drain `outputs`, then mutate it again.

    An input that the table does not list for the state is illegal and changes nothing.
    """

    TABLE: ClassVar[Table]
    INITIAL: ClassVar[State]

    __slots__ = ("_interval", "_last", "_timers", "outputs", "peer", "request", "state", "values")

    def __init__(self, request: Request, peer: Flow | Target, values: TimerValues) -> None:
        self.request: Final = request
        self.peer = peer
        self.values: Final = values
        self.state = self.INITIAL
        self.outputs: list[Output] = []
        self._timers: dict[Timer, float] = {}
        self._interval: dict[Timer, float] = {}
        self._last = b""

    @property
    def is_terminated(self) -> bool:
        """Whether nothing more will happen here."""
        return self.state is State.TERMINATED

    def next_timer(self) -> float | None:
        """The earliest deadline, in monotonic seconds."""
        return min(self._timers.values()) if self._timers else None

    def handle_timer(self, now: float) -> None:
        """Fires the timers that are due, the earliest first."""
        while self._timers:
            timer = min(self._timers, key=self._timers.__getitem__)
            if self._timers[timer] > now:
                return
            del self._timers[timer]
            self.step(timer, now)

    def transport_failed(self, now: float) -> None:
        """The transport could not send what this transaction handed out (RFC 3261 §17.1.4, §17.2.4)."""
        self.step(Input.TRANSPORT_ERROR, now)

    def send_once(self) -> None:
        """Leaves out the retransmissions; the timeout stays."""
        for timer in RETRANSMISSIONS:
            self._timers.pop(timer, None)

    def destroy(self) -> None:
        """Ends the transaction without another word."""
        self.state = State.TERMINATED
        self._timers.clear()
        self.outputs.clear()

    def step(self, happened: Input | Timer, now: float, message: Request | Response | None = None) -> bool:
        """Makes one step of the table; says whether the input was legal."""
        step = self.TABLE[self.state].get(happened)
        if step is None:
            return False
        if step.to is not self.state:
            self._timers = {timer: at for timer, at in self._timers.items() if timer in step.keep}
            self.state = step.to
        for timer in step.arm:
            self._arm(timer, now, again=timer is happened)
        for act in step.acts:
            self._perform(act, message)
        return True

    def _perform(self, act: Act, message: Request | Response | None) -> None:
        if act is Act.SEND and message is not None:
            self._last = bytes(message)
            self.outputs.append(Output(act, self._last, message))
        elif act is Act.RESEND:
            if self._last:
                self.outputs.append(Output(act, self._last))
        else:
            self.outputs.append(Output(act, message=message))

    def _arm(self, timer: Timer, now: float, *, again: bool) -> None:
        duration = self.values.duration(timer, reliable=self.peer.is_reliable)
        if duration is None:
            return
        if again:
            duration = self._next_interval(timer, self._interval[timer])
        self._interval[timer] = duration
        self._timers[timer] = now + duration

    def _next_interval(self, timer: Timer, interval: float) -> float:
        """Timer A doubles without a cap; E and G double up to T2 (RFC 3261 §17.1.1.2, §17.1.2.2, §17.2.1)."""
        if timer is Timer.A:
            return 2 * interval
        return min(2 * interval, self.values.t2)


def input_for(response: Response, *, sent: bool) -> Input:
    """The class of a response, as an input of a table."""
    if response.status < 200:
        return Input.SEND_1XX if sent else Input.RECEIVE_1XX
    if response.status < 300:
        return Input.SEND_2XX if sent else Input.RECEIVE_2XX
    return Input.SEND_3XX_6XX if sent else Input.RECEIVE_3XX_6XX
