"""InboundOrder: packets in the order of their sequence numbers, with a bounded wait for the missing.

What comes in order passes at once. Behind a gap packets are held until the missing one arrives, or until the wait is
over: then the missing are declared lost. The wait follows the measured jitter and is never more than 60 ms.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Final, Generic, TypeVar

from rtp.sequence import SEQUENCE_MASK, sequence_add, sequence_difference

T = TypeVar("T")

MIN_WAIT_S: Final = 0.010
"""Packets that overtake each other in a network do so by a few milliseconds."""
MAX_WAIT_S: Final = 0.060
"""Later audio helps no conversation; the model's clock would run behind."""
_JITTER_FACTOR: Final = 4.0
"""RFC 3550's jitter is a mean deviation; four of them cover nearly every packet of a usual distribution."""
MAX_HELD: Final = 32
"""More than 60 ms of the shortest packets; a burst beyond it is a jump and not disorder."""
MAX_DROPOUT: Final = 3000
"""RFC 3550 appendix A.1: a gap up to this (one minute) is loss, beyond it the sender has restarted."""
MAX_MISORDER: Final = 100
"""RFC 3550 appendix A.1: a packet older than this is not late but astray."""


class Arrival(Enum):
    """What a packet is to the order."""

    NEXT = "next"
    """The awaited one, and nothing is held: play it now."""
    HELD = "held"
    """Kept; ask `release`."""
    DUPLICATE = "duplicate"
    LATE = "late"
    STRAY = "stray"
    RESTART = "restart"
    """The second in sequence at a far place: what was held is dropped, play this one now."""


def adapted_wait(jitter_s: float) -> float:
    """How long a gap is waited for, given the interarrival jitter."""
    return min(MAX_WAIT_S, MIN_WAIT_S + _JITTER_FACTOR * jitter_s)


class InboundOrder(Generic[T]):
    """The order of one SSRC. The owner's fast path may compare and advance `expected` itself while `held` is empty."""

    __slots__ = ("_is_skipping", "_lost", "_renumbered", "_stray_successor", "_wait_s", "expected", "held")

    def __init__(self, first_sequence_number: int) -> None:
        self.expected = first_sequence_number
        self.held: dict[int, tuple[float, T]] = {}
        self._lost: dict[int, None] = {}
        self._stray_successor: int | None = None
        self._renumbered: int | None = None
        self._wait_s = MIN_WAIT_S
        self._is_skipping = False

    def adapt(self, jitter_s: float) -> None:
        """Sets the wait from the measured jitter."""
        self._wait_s = adapted_wait(jitter_s)

    def place(self, sequence_number: int, packet: T, now: float) -> Arrival:
        """Says what the packet is. After HELD, `release` hands out what can be played."""
        ahead = sequence_difference(sequence_number, self.expected)
        if ahead == 0 and not self.held:
            self.expected = sequence_add(sequence_number, 1)
            return Arrival.NEXT
        if 0 <= ahead < MAX_DROPOUT:
            if sequence_number in self.held:
                return Arrival.DUPLICATE
            self.held[sequence_number] = (now, packet)
            return Arrival.HELD
        if -MAX_MISORDER <= ahead < 0:
            if sequence_number not in self._lost:
                return Arrival.DUPLICATE
            del self._lost[sequence_number]
            return Arrival.LATE
        # RFC 3550 appendix A.1: "Two sequential packets -- assume that the other side restarted without telling us".
        if sequence_number != self._stray_successor:
            self._stray_successor = sequence_add(sequence_number, 1)
            return Arrival.STRAY
        self.restart(sequence_number)
        return Arrival.RESTART

    def is_renumbered(self, sequence_number: int, is_unheard: bool) -> bool:
        """Whether the sender has gone a little back in its numbers and on in its media time: two packets in sequence
        that look like old ones and carry what was never heard.
        """
        if not is_unheard or sequence_difference(sequence_number, self.expected) >= 0:
            self._renumbered = None
            return False
        is_second = sequence_number == self._renumbered
        self._renumbered = None if is_second else sequence_add(sequence_number, 1)
        return is_second

    def restart(self, sequence_number: int) -> None:
        """The sender has renumbered its packets: this one is played, its successor is awaited."""
        self._stray_successor = None
        self.held.clear()
        self._lost.clear()
        self.expected = sequence_add(sequence_number, 1)

    def skip_gap(self) -> None:
        """What is missing at the front is waited for no longer; `release` hands out what stands behind it."""
        self._is_skipping = True

    def release(self, now: float) -> Iterator[tuple[int, float, T]]:
        """Hands out, in order, what no longer waits: how many were lost just before, when it came, and the packet."""
        while self.held:
            entry = self.held.pop(self.expected, None)
            lost = 0
            if entry is None:
                first = min(self.held, key=lambda number: (number - self.expected) & SEQUENCE_MASK)
                waits = len(self.held) <= MAX_HELD and now - self.held[first][0] < self._wait_s
                if waits and not self._is_skipping:
                    return
                lost = self._declare_lost(first)
                entry = self.held.pop(first)
                self._is_skipping = False
            self.expected = sequence_add(self.expected, 1)
            yield lost, *entry

    def _declare_lost(self, first: int) -> int:
        lost = sequence_difference(first, self.expected)
        for number in range(max(0, lost - MAX_MISORDER), lost):
            self._lost[sequence_add(self.expected, number)] = None
        while len(self._lost) > MAX_MISORDER:
            del self._lost[next(iter(self._lost))]
        self.expected = first
        return lost
