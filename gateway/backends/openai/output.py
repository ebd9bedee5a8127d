"""What the model has said, in bytes: the measure for truncation, and the memory of what was cut."""

from collections import OrderedDict
from typing import Final

from gateway.fast import ItemAccount

# Items and responses that are remembered. Audio that is still queued for playing belongs to the last few.
MAX_REMEMBERED: Final = 128


class OutputLedger:
    """Received bytes by item, and which responses nobody wants to hear any more."""

    def __init__(self, bytes_per_ms: int = 8) -> None:
        self.bytes_per_ms = bytes_per_ms
        self.dropped_delta_count = 0
        self._items: OrderedDict[str, ItemAccount] = OrderedDict()
        self._cut_responses: OrderedDict[str, None] = OrderedDict()

    def receive(self, response_id: str, item_id: str, length: int) -> bool:
        """Counts a piece of audio. Returns False, and counts the drop, when its response was cut."""
        if response_id in self._cut_responses:
            self.dropped_delta_count += 1
            return False
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = ItemAccount(response_id)
            if len(self._items) > MAX_REMEMBERED:
                self._items.popitem(last=False)
        item.received_bytes += length
        return True

    def account(self, item_id: str) -> ItemAccount | None:
        """What was received of an item; None where nothing was, or it is forgotten."""
        return self._items.get(item_id)

    def finish(self, item_id: str) -> None:
        """No more audio of this item will come."""
        item = self._items.get(item_id)
        if item is not None:
            item.done = True

    def cut_response(self, response_id: str) -> None:
        """Drops whatever of this response still arrives."""
        self._cut_responses[response_id] = None
        for item in self._items.values():
            item.is_cut |= item.response_id == response_id
        if len(self._cut_responses) > MAX_REMEMBERED:
            self._cut_responses.popitem(last=False)

    def is_cut(self, response_id: str) -> bool:
        """Whether nobody wants to hear this response any more."""
        return response_id in self._cut_responses

    def has_audio(self, response_id: str) -> bool:
        """Whether any audio of this response was told."""
        return any(item.response_id == response_id for item in reversed(self._items.values()))

    def truncate(self, item_id: str, audio_end_ms: int) -> int | None:
        """Cuts the item's response. Returns where the item ends now, or None when there is nothing to cut.

        The answer is never more than was received: the API refuses an `audio_end_ms` beyond the audio that it
        generated.
        """
        item = self._items.get(item_id)
        if item is None:
            return None
        received_ms = item.received_bytes // self.bytes_per_ms
        if item.done and audio_end_ms >= received_ms:
            return None  # it was heard to its end
        self.cut_response(item.response_id)
        return max(0, min(audio_end_ms, received_ms))
