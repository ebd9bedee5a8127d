"""What services with a protocol of their own share here: ears, script and voice are those of a Realtime session.

A `ForeignSession` keeps a Realtime session inside. It says to it what the client says in other words, and tells the
client in other words what it answers.
"""

import base64
import binascii
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import soxr

from gateway.embedded.session import Closure, Session, Work

JsonObject = dict[str, Any]
MakeSession = Callable[[str], Session | None]
"""Makes the session for a model's name; None where there is no such model."""

PCM_RATE_HZ: Final = 24_000


class ForeignError(Exception):
    """What a client sent cannot be taken."""


@dataclass(slots=True)
class Talk:
    """A conversation as it outlives a connection: the session, and what it still waits for."""

    inner: Session
    owner: "ForeignSession"
    """The connection that has it now."""
    unfinished: list[Work] = field(default_factory=list)
    calls: dict[str, str] = field(default_factory=dict)
    """Names of the tools whose results are due, by call."""
    results: int = 0
    """Results that came while others of the same response were still due."""


class RateConverter:
    """A stream of 16-bit samples from one rate to another."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, "int16", "MQ")

    def convert(self, audio: bytes) -> bytes:
        """The next piece; some milliseconds are held back."""
        if self._stream is None:
            return audio
        samples = np.frombuffer(audio[: len(audio) & ~1], dtype="<i2")
        return bytes(np.asarray(self._stream.resample_chunk(samples), dtype="<i2").tobytes())


class ForeignSession:
    """The part that such protocols share. A protocol says what messages and events become."""

    def __init__(self, make: MakeSession, token: Callable[[], str]) -> None:
        self.transmits: deque[bytes] = deque()
        self.work: deque[Work] = deque()
        self.closure: Closure | None = None
        self._make = make
        self._token = token
        self._talk: Talk | None = None
        self._is_responding = False
        self._wanted: deque[JsonObject] = deque()
        self._calls_of_response: list[JsonObject] = []

    def start(self, now: float) -> None:
        """The connection is open: the client speaks first."""

    def receive_message(self, data: bytes, now: float) -> None:
        """Takes one message of the client."""
        if self.closure is not None or (self._talk is not None and self._talk.owner is not self):
            return
        try:
            message = json.loads(data)
            if not isinstance(message, dict):
                raise ForeignError("a message is a JSON object")
            self._take(message, now)
        except (ForeignError, ValueError) as error:  # pydantic's and JSON's errors are values' errors
            self._refuse(str(error), now)
        self._drain(now)

    def finish_work(self, work: Work, result: Any, now: float) -> None:
        """Takes the worker's result."""
        talk = self._talk
        if talk is None:
            return
        talk.unfinished = [other for other in talk.unfinished if other is not work]
        talk.inner.finish_work(work, result, now)
        self._drain(now)

    def next_timer(self) -> float | None:
        """When `handle_timer` is due, in the clock of `now`."""
        if self._talk is None or self._talk.owner is not self:
            return None
        dues = [*self._dues(), self._talk.inner.next_timer()]
        return min((due for due in dues if due is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Does what is due."""
        if self._talk is None or self._talk.owner is not self:
            return
        self._talk.inner.handle_timer(now)
        self._drain(now)
        self._do_due(now)

    def fail_response(self, response_id: str, code: str) -> None:
        """Ends a response as the service does when it fails."""
        if self._talk is not None:
            self._talk.inner.fail_response(response_id, code)

    # What a protocol says.

    def _take(self, message: JsonObject, now: float) -> None:
        raise ForeignError("no message is known")

    def _refuse(self, reason: str, now: float) -> None:
        """A message cannot be taken."""

    def _tell(self, event: JsonObject, now: float) -> None:
        """The session inside has told something."""

    def _expired(self, now: float) -> None:
        """The session's time is over."""

    def _dues(self) -> Sequence[float | None]:
        return ()

    def _do_due(self, now: float) -> None:
        """Does what `_dues` told of."""

    # The session inside.

    def _say(self, type_: str, now: float, **fields: Any) -> None:
        """Says something to the session inside."""
        if self._talk is not None:
            self._talk.inner.receive_message(json.dumps({"type": type_, **fields}).encode(), now)

    def _want_response(self, response: JsonObject, now: float) -> None:
        """Asks for a response, now or after the one that is being given."""
        if self._is_responding:
            self._wanted.append(response)
            return
        self._is_responding = True
        self._say("response.create", now, response=response)

    def _drain(self, now: float) -> None:
        talk = self._talk
        if talk is None or talk.owner is not self:
            return
        while talk.inner.transmits:
            event = json.loads(talk.inner.transmits.popleft())
            if event["type"] == "response.created":
                self._is_responding, self._calls_of_response = True, []
            elif event["type"] == "response.output_item.done" and event["item"]["type"] == "function_call":
                self._calls_of_response.append(event["item"])
            self._tell(event, now)
            if event["type"] == "response.done":
                self._is_responding = False
                if self._wanted:
                    self._want_response(self._wanted.popleft(), now)
        while talk.inner.work:
            work = talk.inner.work.popleft()
            talk.unfinished.append(work)
            self.work.append(work)
        if talk.inner.closure is not None and self.closure is None:
            self._expired(now)


def tool_result(call_id: str, output: str) -> JsonObject:
    """The item that holds a tool's result."""
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def message_item(role: str, text: str) -> JsonObject:
    """The item that holds words: `role` user, system or assistant."""
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def functions_of(tools: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    """The functions among declarations, as the session inside takes them."""
    return [
        {
            "type": "function",
            "name": tool["name"],
            "description": tool.get("description"),
            "parameters": tool.get("parametersJsonSchema") or tool.get("parameters") or {"type": "object"},
        }
        for tool in tools
    ]


def decode_base64(text: str) -> bytes:
    """The bytes in base64 text."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ForeignError(f"is not base64: {error}") from error
