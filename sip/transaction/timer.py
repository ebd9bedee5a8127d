"""The timers of RFC 3261 table 4 with RFC 6026's L and M."""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Timer(Enum):
    """A transaction timer, by the RFC's letter."""

    A = "INVITE request retransmission"
    B = "INVITE transaction timeout"
    D = "absorbs retransmitted final responses to INVITE"
    E = "non-INVITE request retransmission"
    F = "non-INVITE transaction timeout"
    G = "INVITE final response retransmission"
    H = "waits for the ACK"
    I = "absorbs retransmitted ACKs"  # noqa: E741  the RFC's letter
    J = "absorbs retransmitted non-INVITE requests"
    K = "absorbs retransmitted non-INVITE responses"
    L = "absorbs retransmitted INVITEs after a 2xx"
    M = "absorbs retransmitted 2xx responses"


RETRANSMISSIONS: Final = frozenset({Timer.A, Timer.E, Timer.G})
ABSORBERS: Final = frozenset({Timer.D, Timer.I, Timer.J, Timer.K})


@dataclass(frozen=True, slots=True)
class TimerValues:
    """The base values, in seconds, that every timer derives from (RFC 3261 §17.1.1.1, table 4).

    t1 estimates the round-trip time, t2 caps the retransmission interval of non-INVITE requests and INVITE
    responses, t4 is how long a message can live in the network, d is timer D over unreliable transports (32 s or more).
    """

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    d: float = 32.0

    @property
    def timeout(self) -> float:
        """64*T1: the patience of timers B, F, H, J, L and M, and of a UAS that waits for its ACK."""
        return 64 * self.t1

    def duration(self, timer: Timer, *, reliable: bool) -> float | None:
        """Seconds until a newly armed timer fires; None where the transport makes it needless."""
        if reliable and timer in RETRANSMISSIONS:
            return None
        if reliable and timer in ABSORBERS:
            return 0.0
        if timer in RETRANSMISSIONS:
            return self.t1
        if timer is Timer.D:
            return max(self.d, 0.0)
        if timer in {Timer.I, Timer.K}:
            return self.t4
        return self.timeout
