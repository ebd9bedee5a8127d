"""PortPool: the media ports of a process. Pure accounting; `rtp.socket` binds what it hands out.

RFC 3550 section 11: RTP takes an even port, RTCP the next one. The range should lie outside the kernel's ephemeral
ports. Ports are drawn at random (a guessable port invites injected sound) and rest after use, so that the last packets
of one call never reach the next.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from rtp.errors import PortsExhaustedError

QUARANTINE_S: Final = 5.0
"""Longer than any packet lives, and than a far end takes to stop after a BYE."""


class PortPool:
    """Even ports between `first` and `last`, both inclusive, whose odd successor is inside the range too.

    `choose(n)` returns a number from 0 to n - 1: `secrets.randbelow` in production, seeded in tests.
    """

    def __init__(
        self, first: int, last: int, *, choose: Callable[[int], int], quarantine_s: float = QUARANTINE_S
    ) -> None:
        if not 0 < first < last <= 0xFFFF:
            raise ValueError(f"Media ports {first}-{last} are not a range between 1 and 65535")
        self._free = list(range(first + first % 2, last, 2))
        if not self._free:
            raise ValueError(f"Media ports {first}-{last} hold no even port with its successor")
        self._choose = choose
        self._quarantine_s = quarantine_s
        self._resting: deque[tuple[float, int]] = deque()
        self._used: set[int] = set()
        self.capacity = len(self._free)
        """How many calls the range can carry at once."""

    @property
    def in_use(self) -> int:
        """Pairs that are handed out."""
        return len(self._used)

    def available(self, now: float) -> int:
        """Pairs that `acquire` could hand out at this moment."""
        self._wake(now)
        return len(self._free)

    def acquire(self, now: float) -> int:
        """An even port; its odd successor belongs to it. Raises `PortsExhaustedError`."""
        self._wake(now)
        if not self._free:
            raise PortsExhaustedError(
                f"No media port is free: {len(self._used)} in use, {len(self._resting)} in quarantine"
            )
        index = self._choose(len(self._free))
        # The last takes the place of the chosen one: drawing stays constant work.
        self._free[index], self._free[-1] = self._free[-1], self._free[index]
        port = self._free.pop()
        self._used.add(port)
        return port

    def release(self, port: int, now: float) -> None:
        """Gives a port back; it rests first. Giving it back twice does nothing."""
        if port in self._used:
            self._used.remove(port)
            self._resting.append((now + self._quarantine_s, port))

    def _wake(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
