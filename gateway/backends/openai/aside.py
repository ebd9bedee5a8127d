"""Responses beside the conversation (`conversation: "none"`): words about it that nobody hears.

They run at any time, also while another response is spoken, and write nothing into the conversation. Their events have
the same types as those of all others, and are told apart by the response's id, which `response.created` gives together
with the metadata of the request.
"""

from collections import OrderedDict
from typing import Final

from gateway.backends.json_message import JsonObject, objects, optional_object, optional_text

# Metadata of ours, by which the server's answer names the request.
REQUEST_KEY: Final = "trunkline_request"
# Requests whose answers are awaited; more than this at once have no meaning in a call.
MAX_AWAITED: Final = 16


def aside_request(request_id: str, instructions: str) -> JsonObject:
    """The `response` of a request: text alone, without tools."""
    return {
        "conversation": "none",
        "output_modalities": ["text"],
        "metadata": {REQUEST_KEY: request_id},
        "instructions": instructions,
        "tool_choice": "none",
    }


class AsideLedger:
    """Which requests wait for an answer, and which responses are theirs."""

    def __init__(self) -> None:
        self._requests: OrderedDict[str, str] = OrderedDict()
        self._responses: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._requests)

    def asked(self, request_id: str, event_id: str) -> str | None:
        """Notes a request that was sent. Returns the oldest where there are too many: it will not be answered."""
        self._requests[request_id] = event_id
        return self._requests.popitem(last=False)[0] if len(self._requests) > MAX_AWAITED else None

    def refused(self, event_id: str) -> str | None:
        """The server reports an error about an event. Returns the request that it was, if it was one."""
        for request_id, sent_as in self._requests.items():
            if sent_as == event_id:
                del self._requests[request_id]
                return request_id
        return None

    def owns(self, event: JsonObject) -> bool:
        """Whether an event is about a response beside the conversation."""
        response = optional_object(event, "response")
        response_id = optional_text(event, "response_id") or optional_text(response, "id")
        if response_id in self._responses:
            return True
        request_id = optional_text(optional_object(response, "metadata"), REQUEST_KEY)
        if request_id in self._requests:
            self._responses[response_id] = request_id
            return True
        return False

    def answered(self, event: JsonObject) -> tuple[str, str | None] | None:
        """The request that a `response.done` answers, and the words; None for words where the response failed."""
        response = optional_object(event, "response")
        request_id = self._responses.pop(optional_text(response, "id"), None)
        if request_id is None or self._requests.pop(request_id, None) is None:
            return None
        words = [
            optional_text(part, "text") or optional_text(part, "transcript")
            for item in objects(response, "output")
            for part in objects(item, "content")
        ]
        completed = optional_text(response, "status") == "completed"
        return request_id, " ".join(filter(None, words)).strip() if completed and any(words) else None
