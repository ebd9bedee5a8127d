"""A short memory of dialogs that are over."""

from collections import OrderedDict
from typing import Final

from sip.dialog import DialogId

TOMBSTONE_LIMIT: Final = 10_000  # about 2 MB; at 300 calls a second this is the last half minute


class Tombstones:
    """Remembers dialogs for 64*T1 after their end, so that a BYE crossing ours, or sent twice, still gets 200."""

    def __init__(self, lifetime: float) -> None:
        self._lifetime: Final = lifetime
        self._expiries: OrderedDict[DialogId, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._expiries)

    def add(self, dialog_id: DialogId, now: float) -> None:
        """Remembers a dialog that has just ended."""
        self._expire(now)
        if len(self._expiries) >= TOMBSTONE_LIMIT:
            self._expiries.popitem(last=False)
        self._expiries[dialog_id] = now + self._lifetime

    def holds(self, dialog_id: DialogId, now: float) -> bool:
        """Whether the dialog ended not long ago."""
        self._expire(now)
        return dialog_id in self._expiries

    def _expire(self, now: float) -> None:
        while self._expiries and next(iter(self._expiries.values())) <= now:
            self._expiries.popitem(last=False)
