"""The tool calls of a session's responses: told when complete, and answered together."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.backends.json_message import JsonObject, optional_text

# Responses whose calls are remembered while their results are awaited.
MAX_PENDING_RESPONSES: Final = 64


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One call, with its arguments as the model wrote them."""

    call_id: str
    name: str
    arguments: str


@dataclass(slots=True)
class _Batch:
    """The calls of one response: all of them, and those without a result."""

    call_ids: frozenset[str]
    unanswered: set[str] = field(default_factory=set)


class ToolCallLedger:
    """Which calls a response made, and which of them still wait for a result."""

    def __init__(self) -> None:
        self._collected: OrderedDict[str, dict[str, FunctionCall]] = OrderedDict()
        self._batches: OrderedDict[str, _Batch] = OrderedDict()

    def collect(self, response_id: str, item: Mapping[str, object]) -> None:
        """Remembers a call of a response that is not over, for servers whose `response.done` lists no output."""
        call = _function_call(item)
        if call is None:
            return
        self._collected.setdefault(response_id, {})[call.call_id] = call
        if len(self._collected) > MAX_PENDING_RESPONSES:
            self._collected.popitem(last=False)

    def discard(self, response_id: str) -> None:
        """The response did not complete: its calls are not made."""
        self._collected.pop(response_id, None)

    def complete(self, response_id: str, output: Sequence[JsonObject]) -> Sequence[FunctionCall]:
        """The calls of a completed response. What `response.done` lists is authoritative.

        What was told before is not told again: a server that repeats itself must not make a tool run twice.
        """
        collected = self._collected.pop(response_id, {})
        listed = {call.call_id: call for item in output if (call := _function_call(item)) is not None}
        calls = tuple(call for call in (listed or collected).values() if not self._was_made(call.call_id))
        if calls:
            call_ids = frozenset(call.call_id for call in calls)
            self._batches[response_id] = _Batch(call_ids, set(call_ids))
            if len(self._batches) > MAX_PENDING_RESPONSES:
                self._batches.popitem(last=False)
        return calls

    def _was_made(self, call_id: str) -> bool:
        return any(call_id in batch.call_ids for batch in self._batches.values())

    def answer(self, call_id: str) -> frozenset[str] | None:
        """Notes a result. Returns the calls to speak about when it was the last one of its response.

        A second result for the same call asks for nothing; one for a call that nobody knows stands for itself.
        """
        for batch in self._batches.values():
            if call_id in batch.call_ids:
                if call_id not in batch.unanswered:
                    return None
                batch.unanswered.discard(call_id)
                return None if batch.unanswered else batch.call_ids
        return frozenset((call_id,))


def _function_call(item: Mapping[str, object]) -> FunctionCall | None:
    call_id, name = optional_text(item, "call_id"), optional_text(item, "name")
    if optional_text(item, "type") != "function_call" or not call_id or not name:
        return None
    return FunctionCall(call_id, name, optional_text(item, "arguments") or "{}")
