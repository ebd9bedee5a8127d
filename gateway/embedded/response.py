"""One response and the server events that it is told in (facts: the order of the service's events).

created → rate_limits → for each item: output_item.added, item.added, content_part.added, deltas, the `done` of each,
item.done → response.done, which comes whatever happens.
"""

import base64
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from gateway.embedded.audio import WireFormat
from gateway.embedded.conversation import Conversation, Item, ItemStatus

# The service's price: a token for 50 ms of the assistant's audio; a token of text is about four characters.
_MS_PER_OUTPUT_TOKEN: Final = 50
_CHARACTERS_PER_TOKEN: Final = 4
_TOKENS_PER_MINUTE: Final = 1_000_000
_MAX_OUTPUT_TOKENS: Final = 4096


class ResponseStatus(Enum):
    """How a response stands."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class CancelReason(Enum):
    """Why a response was cancelled."""

    TURN_DETECTED = "turn_detected"
    CLIENT_CANCELLED = "client_cancelled"


@dataclass(frozen=True, slots=True)
class Pause:
    """A response goes on after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Synthesis:
    """A response needs these words as samples."""

    text: str


@dataclass(frozen=True, slots=True)
class Hearing:
    """A response waits until this item has been listened to."""

    item_id: str


Want = Pause | Synthesis | Hearing
Steps = Generator[Want, Any, None]


@dataclass(slots=True)
class Response:
    """One response. `conversation_id` is None for one outside the conversation."""

    id: str
    conversation_id: str | None
    modality: str
    output_format: WireFormat
    voice: Any
    metadata: dict[str, str] | None
    max_output_tokens: Any
    input_text_tokens: int
    input_audio_tokens: int
    status: ResponseStatus = ResponseStatus.IN_PROGRESS
    details: dict[str, Any] | None = None
    output: list[Item] = field(default_factory=list)
    open_item: Item | None = None
    steps: Steps | None = None
    due: float | None = None
    waits_for_item: str | None = None

    @property
    def in_conversation(self) -> bool:
        """Whether its items become part of the conversation."""
        return self.conversation_id is not None

    def as_json(self) -> dict[str, Any]:
        """The response as events carry it; never with audio."""
        audio: dict[str, Any] = {"type": self.output_format.value}
        if self.output_format is WireFormat.PCM:
            audio["rate"] = self.output_format.rate_hz
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status.value,
            "status_details": self.details,
            "output": [item.as_json() for item in self.output],
            "conversation_id": self.conversation_id,
            "output_modalities": [self.modality],
            "max_output_tokens": self.max_output_tokens,
            "audio": {"output": {"format": audio, "voice": self.voice}},
            "usage": None if self.status is ResponseStatus.IN_PROGRESS else self._usage(),
            "metadata": self.metadata,
        }

    def _usage(self) -> dict[str, Any]:
        audio = sum(item.duration_ms for item in self.output) // _MS_PER_OUTPUT_TOKEN
        text = sum(text_tokens(item.text + item.arguments) for item in self.output)
        return {
            "total_tokens": self.input_text_tokens + self.input_audio_tokens + text + audio,
            "input_tokens": self.input_text_tokens + self.input_audio_tokens,
            "output_tokens": text + audio,
            "input_token_details": {
                "text_tokens": self.input_text_tokens,
                "audio_tokens": self.input_audio_tokens,
                "image_tokens": 0,
                "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": text, "audio_tokens": audio},
        }


def text_tokens(text: str) -> int:
    """Tokens of a text, roughly."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


@dataclass(slots=True)
class SoundFrame:
    """What stands around the base64 text in the audio deltas of one item. Each delta has an event id of its own."""

    head: bytes
    middle: bytes
    count: int = 0

    def wrap(self, audio: bytes) -> bytes:
        """The event with this base64 text."""
        self.count += 1
        return b'%b%d%b%b"}' % (self.head, self.count, self.middle, audio)


class ResponseWriter:
    """Tells a response as events. `emit` takes an event's type and fields, `send` an event that is already JSON."""

    def __init__(
        self,
        emit: Callable[..., None],
        send: Callable[[bytes], None],
        conversation: Conversation,
        new_id: Callable[[str], str],
    ) -> None:
        self._emit = emit
        self._send = send
        self._conversation = conversation
        self._new_id = new_id

    def begin(self, response: Response) -> None:
        """response.created and rate_limits.updated."""
        self._emit("response.created", response=response.as_json())
        tokens = {"name": "tokens", "limit": _TOKENS_PER_MINUTE, "reset_seconds": 60.0}
        remaining = _TOKENS_PER_MINUTE - response.input_text_tokens - response.input_audio_tokens - _MAX_OUTPUT_TOKENS
        self._emit("rate_limits.updated", rate_limits=[tokens | {"remaining": max(remaining, 0)}])

    def open_message(self, response: Response) -> Item:
        """A message of the assistant begins, with one part of audio or text."""
        item = Item(self._new_id("item"), "message", role="assistant", status=ItemStatus.IN_PROGRESS)
        self._open(response, item)
        part = {"type": "audio", "transcript": ""} if response.modality == "audio" else {"type": "text", "text": ""}
        self._emit("response.content_part.added", **self._part(response, item), part=part)
        item.content.append(
            {"type": "output_audio", "transcript": ""}
            if response.modality == "audio"
            else {"type": "output_text", "text": ""}
        )
        return item

    def say(self, response: Response, item: Item, text: str) -> None:
        """A fragment of the words."""
        if response.modality == "audio":
            item.content[0]["transcript"] += text
            self._emit("response.output_audio_transcript.delta", **self._part(response, item), delta=text)
        else:
            item.content[0]["text"] += text
            self._emit("response.output_text.delta", **self._part(response, item), delta=text)

    def sound(self, response: Response, item: Item, audio: bytes) -> None:
        """A piece of audio."""
        item.audio += audio
        item.duration_ms = response.output_format.duration_ms(len(item.audio))
        self._emit("response.output_audio.delta", **self._part(response, item), delta=base64.b64encode(audio).decode())

    def sound_frame(self, response: Response, item: Item) -> "SoundFrame":
        """Audio deltas of this item for those who have the audio as base64 text."""
        rest = json.dumps(self._part(response, item))
        return SoundFrame(
            head=f'{{"type": "response.output_audio.delta", "event_id": "{self._new_id("event")}_'.encode(),
            middle=f'", {rest[1:-1]}, "delta": "'.encode(),
        )

    def close_message(self, response: Response, item: Item) -> None:
        """All of the message has been told; its status may be incomplete."""
        place = self._part(response, item)
        text = item.text
        if response.modality == "audio":
            self._emit("response.output_audio.done", **place)
            self._emit("response.output_audio_transcript.done", **place, transcript=text)
            part = {"type": "audio", "transcript": text}
        else:
            self._emit("response.output_text.done", **place, text=text)
            part = {"type": "text", "text": text}
        self._emit("response.content_part.done", **place, part=part)
        self._close(response, item)

    def open_call(self, response: Response, name: str) -> Item:
        """A function call begins."""
        item = Item(
            self._new_id("item"),
            "function_call",
            status=ItemStatus.IN_PROGRESS,
            call_id=self._new_id("call"),
            name=name,
        )
        self._open(response, item)
        return item

    def argue(self, response: Response, item: Item, text: str) -> None:
        """A fragment of the call's arguments."""
        item.arguments += text
        self._emit("response.function_call_arguments.delta", **self._call(response, item), delta=text)

    def close_call(self, response: Response, item: Item) -> None:
        """The arguments are over; after a cancellation they may be cut in the middle of their JSON."""
        place = self._call(response, item)
        self._emit("response.function_call_arguments.done", **place, name=item.name, arguments=item.arguments)
        self._close(response, item)

    def finish(self, response: Response, status: ResponseStatus, details: dict[str, Any] | None = None) -> None:
        """response.done, after what was open has been closed."""
        response.status = status
        response.details = details
        item = response.open_item
        if item is not None and item.type == "message":
            self.close_message(response, item)
        elif item is not None:
            self.close_call(response, item)
        self._emit("response.done", response=response.as_json())

    def _open(self, response: Response, item: Item) -> None:
        index = len(response.output)
        response.output.append(item)
        response.open_item = item
        self._emit("response.output_item.added", response_id=response.id, output_index=index, item=item.as_json())
        if response.in_conversation:
            previous = self._conversation.add(item)
            self._emit("conversation.item.added", previous_item_id=previous, item=item.as_json())

    def _close(self, response: Response, item: Item) -> None:
        cut = response.status in {ResponseStatus.CANCELLED, ResponseStatus.INCOMPLETE, ResponseStatus.FAILED}
        item.status = ItemStatus.INCOMPLETE if cut else ItemStatus.COMPLETED
        response.open_item = None
        index = response.output.index(item)
        self._emit("response.output_item.done", response_id=response.id, output_index=index, item=item.as_json())
        if response.in_conversation and item.id in self._conversation:
            previous = self._conversation.previous_id(item.id)
            self._emit("conversation.item.done", previous_item_id=previous, item=item.as_json())

    @staticmethod
    def _part(response: Response, item: Item) -> dict[str, Any]:
        return {
            "response_id": response.id,
            "item_id": item.id,
            "output_index": response.output.index(item),
            "content_index": 0,
        }

    @staticmethod
    def _call(response: Response, item: Item) -> dict[str, Any]:
        return {
            "response_id": response.id,
            "item_id": item.id,
            "output_index": response.output.index(item),
            "call_id": item.call_id,
        }
