"""Which of a target's addresses a request has tried, and which come next: RFC 3263 §4.3, sans-I/O."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sip.transport.flow import Address

HUNT_LIMIT: Final = 4096  # requests remembered; at 64*T1 this is a steady 100 a second that go by name or by stream
HUNT_SECONDS: Final = 180.0  # an INVITE may ring for minutes before its CANCEL has to find the same server


@dataclass(slots=True)
class Hunt:
    """One client transaction on its way through the addresses of its target."""

    remaining: list[Address]
    expires: float
    current: Address | None = None
    was_lost: bool = False  # its connection broke before the answer, and it was sent once more

    def advance(self) -> Address | None:
        """On to the next address; None where none is left."""
        self.current = self.remaining.pop(0) if self.remaining else None
        return self.current

    def retry(self) -> None:
        """The connection was lost: the same address once more, behind a new connection."""
        if not self.was_lost and self.current is not None:
            self.was_lost = True
            self.remaining.insert(0, self.current)


class Hunts:
    """Hunts by branch. "The client MUST send the ACK, the CANCEL and every retransmission to the same server"."""

    def __init__(self) -> None:
        self._hunts: OrderedDict[str, Hunt] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hunts)

    def get(self, branch: str) -> Hunt | None:
        """The hunt of a transaction that has begun one."""
        return self._hunts.get(branch) if branch else None

    def begin(self, branch: str, addresses: Sequence[Address], now: float) -> Hunt:
        """A first attempt."""
        self._expire(now)
        hunt = Hunt(list(addresses), now + HUNT_SECONDS)
        if branch:
            self._hunts[branch] = hunt
        return hunt

    def resume(self, failed_branch: str, branch: str, now: float) -> Hunt | None:
        """The attempt that follows one which met silence or 503; None where that one is not known."""
        failed = self._hunts.get(failed_branch)
        return self.begin(branch, failed.remaining, now) if failed is not None else None

    def _expire(self, now: float) -> None:
        while self._hunts:
            oldest = next(iter(self._hunts))
            if self._hunts[oldest].expires > now and len(self._hunts) < HUNT_LIMIT:
                return
            del self._hunts[oldest]
