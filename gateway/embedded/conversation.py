"""The items of one conversation, in order."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gateway.embedded.client_event import ItemPart


class ItemStatus(Enum):
    """Whether an item is finished."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"


@dataclass(slots=True)
class Item:
    """One item. Speech is kept apart from the JSON: `audio` in the format that it was sent in."""

    id: str
    type: str
    role: str | None = None
    content: list[dict[str, Any]] = field(default_factory=list)
    status: ItemStatus = ItemStatus.COMPLETED
    call_id: str | None = None
    name: str | None = None
    arguments: str = ""
    output: str = ""
    audio: bytearray = field(default_factory=bytearray)
    duration_ms: int = 0
    """Length of the audio. It is kept when the audio itself is not."""

    @property
    def text(self) -> str:
        """The words of the item, written or transcribed."""
        parts = (part.get("text") or part.get("transcript") or "" for part in self.content)
        return " ".join(part for part in parts if part)

    def as_json(self) -> dict[str, Any]:
        """The item as events carry it."""
        common: dict[str, Any] = {
            "id": self.id,
            "object": "realtime.item",
            "type": self.type,
            "status": self.status.value,
        }
        match self.type:
            case "function_call":
                return common | {"call_id": self.call_id, "name": self.name, "arguments": self.arguments}
            case "function_call_output":
                return common | {"call_id": self.call_id, "output": self.output}
        return common | {"role": self.role, "content": [dict(part) for part in self.content]}


class Conversation:
    """The items, and what a client may do to them. Lookups raise KeyError for an id that is unknown."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._items: dict[str, Item] = {}
        self._order: list[str] = []

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._items

    def __getitem__(self, item_id: str) -> Item:
        return self._items[item_id]

    @property
    def last_id(self) -> str | None:
        """The id of the last item."""
        return self._order[-1] if self._order else None

    def add(self, item: Item, previous_item_id: str | None = None) -> str | None:
        """Puts an item after another ("root": first; None: last) and returns the id of the one before it."""
        if previous_item_id is None:
            index = len(self._order)
        elif previous_item_id == "root":
            index = 0
        else:
            index = self._order.index(self._items[previous_item_id].id) + 1
        self._items[item.id] = item
        self._order.insert(index, item.id)
        return self._order[index - 1] if index else None

    def previous_id(self, item_id: str) -> str | None:
        """The id of the item before this one."""
        index = self._order.index(item_id)
        return self._order[index - 1] if index else None

    def delete(self, item_id: str) -> None:
        """Forgets an item."""
        del self._items[item_id]
        self._order.remove(item_id)

    def forget_audio(self, keep: int) -> None:
        """Drops the audio of all but the last items; their durations stay."""
        for item_id in self._order[:-keep]:
            self._items[item_id].audio.clear()


def item_of(part: ItemPart, item_id: str) -> Item:
    """The item that a client described."""
    content = [part_.model_dump(exclude_unset=True, exclude={"audio"}) for part_ in part.content or ()]
    return Item(
        id=item_id,
        type=part.type,
        role=part.role,
        content=content,
        call_id=part.call_id,
        name=part.name,
        arguments=part.arguments or "",
        output=part.output or "",
    )
