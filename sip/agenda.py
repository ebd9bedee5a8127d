"""One ordered list of deadlines for thousands of state machines, so that a driver needs a single `call_at`."""

import heapq
from typing import Final, Protocol

COMPACTION_FLOOR: Final = 1024  # below this many entries a rebuild costs more than the cancelled entries do


class Timed(Protocol):
    """Something with a deadline of its own."""

    def next_timer(self) -> float | None:
        """When it wants `handle_timer`, in monotonic seconds; None for never."""

    def handle_timer(self, now: float) -> None:
        """Does what is due at `now`; may do nothing."""


class _Entry:
    __slots__ = ("at", "item", "order")

    def __init__(self, at: float, order: int, item: Timed | None) -> None:
        self.at = at
        self.order = order
        self.item = item

    def __lt__(self, other: "_Entry") -> bool:
        return (self.at, self.order) < (other.at, other.order)


class Agenda:
    """A heap with at most one live entry for each item.

    A deadline that moves later leaves its entry where it is and is looked at again when that comes up; one that
    moves earlier gets a new entry. So a call whose timers are armed and cancelled all the time costs one entry.
    """

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._entries: dict[Timed, _Entry] = {}
        self._order = 0

    def __len__(self) -> int:
        return len(self._entries)

    def update(self, item: Timed) -> None:
        """To be called whenever the item's deadline may have changed."""
        at = item.next_timer()
        entry = self._entries.get(item)
        if at is None:
            if entry is not None:
                entry.item = None
                del self._entries[item]
                self._compact()
            return
        if entry is not None:
            if entry.at <= at:
                return
            entry.item = None
        self._order += 1
        entry = _Entry(at, self._order, item)
        self._entries[item] = entry
        heapq.heappush(self._heap, entry)
        self._compact()

    def next_timer(self) -> float | None:
        """The earliest time at which something may be due (never late, sometimes early)."""
        while self._heap and self._heap[0].item is None:
            heapq.heappop(self._heap)
        return self._heap[0].at if self._heap else None

    def handle_timer(self, now: float) -> None:
        """Runs every item that is due. What an item arms for a moment not later than `now` runs too."""
        while self._heap and self._heap[0].at <= now:
            entry = heapq.heappop(self._heap)
            item = entry.item
            if item is None:
                continue
            del self._entries[item]
            at = item.next_timer()
            if at is not None and at <= now:
                item.handle_timer(now)
            self.update(item)

    def _compact(self) -> None:
        if len(self._heap) > COMPACTION_FLOOR and len(self._heap) > 2 * len(self._entries):
            self._heap = [entry for entry in self._heap if entry.item is not None]
            heapq.heapify(self._heap)
