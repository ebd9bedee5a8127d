"""A client of the embedded sessions in virtual time. Every event, both ways, is held against the official types."""

import base64
import itertools
import json
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from openai.types.realtime import (
    RealtimeClientEvent,
    RealtimeServerEvent,
    RealtimeSessionCreateRequest,
    RealtimeSessionCreateResponse,
)
from pydantic import BaseModel, TypeAdapter

from gateway.embedded.activity import SpeechProbability
from gateway.embedded.agent import AgentSession, Pace
from gateway.embedded.audio import WireFormat
from gateway.embedded.script import Script
from gateway.embedded.session import HearingWork, Session, SynthesisWork

SERVER_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(RealtimeServerEvent)
CLIENT_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(RealtimeClientEvent)
# The service shows these in the session of session.created and session.updated, whose type is that of a request.
SESSION_FIELDS: Final = set(RealtimeSessionCreateResponse.model_fields) | set(RealtimeSessionCreateRequest.model_fields)


def unknown_fields(value: object, path: str = "") -> list[str]:
    """Paths of fields that the official types do not know."""
    found: list[str] = []
    if isinstance(value, BaseModel):
        found += [f"{path}.{name}" for name in value.model_extra or {}]
        for name in value.model_fields_set:
            found += unknown_fields(getattr(value, name, None), f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += unknown_fields(item, f"{path}[{index}]")
    return found


def check_server_event(data: bytes) -> dict[str, Any]:
    """The event, once it has passed the official type without a field too many and survived the round trip."""
    event: dict[str, Any] = json.loads(data)
    model = SERVER_EVENT.validate_python(event)
    extras = [path for path in unknown_fields(model) if path.removeprefix(".session.") not in SESSION_FIELDS]
    assert extras == [], f"{event['type']} has fields that the service has not: {extras}"
    assert model.type == event["type"]
    if not event["type"].startswith("session."):
        assert model.model_dump(mode="json", exclude_unset=True) == event
    return event


def check_client_event(event: dict[str, Any]) -> bytes:
    model = CLIENT_EVENT.validate_python(event)
    assert unknown_fields(model) == []
    return json.dumps(event).encode()


def counting_token() -> Any:
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):04d}"


def loudness_probability() -> SpeechProbability:
    """Everything loud is speech: detection without a model."""

    def probability(window: NDArray[np.float32]) -> float:
        return 0.9 if float(np.abs(window).max()) > 0.05 else 0.0

    return probability


def tone(duration_ms: int, rate_hz: int = 8000) -> NDArray[np.int16]:
    time_s = np.arange(duration_ms * rate_hz // 1000) / rate_hz
    return (9000 * np.sin(2 * np.pi * 400 * time_s)).astype(np.int16)


def silence(duration_ms: int, rate_hz: int = 8000) -> NDArray[np.int16]:
    return np.zeros(duration_ms * rate_hz // 1000, dtype=np.int16)


def agent_session(script: Script, *, pace: Pace | None = None, limit_s: float = 3600) -> AgentSession:
    return AgentSession(
        "embedded-agent",
        script=script,
        pace=pace or Pace(),
        probability=loudness_probability,
        token=counting_token(),
        wall_time_s=1_800_000_000,
        limit_s=limit_s,
    )


class Peer:
    """Drives a session. What the caller says is set in `hears`; a word of the agent lasts 100 ms."""

    def __init__(self, session: Session, *, wire_format: WireFormat = WireFormat.PCMU) -> None:
        self.session = session
        self.format = wire_format
        self.now = 100.0
        self.events: list[dict[str, Any]] = []
        self.hears: list[str | None] = []
        self.holds_work = False
        session.start(self.now)
        self._drain()

    def send(self, type_: str, **fields: Any) -> list[dict[str, Any]]:
        """Sends an event and returns the events that it caused at once."""
        return self.send_raw(check_client_event({"type": type_, **fields}))

    def send_raw(self, data: bytes) -> list[dict[str, Any]]:
        before = len(self.events)
        self.session.receive_message(data, self.now)
        self._drain()
        return self.events[before:]

    def configure(self, **session: Any) -> None:
        """session.update with this peer's format both ways."""
        wire: dict[str, Any] = {"type": self.format.value}
        if self.format is WireFormat.PCM:
            wire["rate"] = 24000
        audio = {"input": {"format": wire} | session.pop("input", {}), "output": {"format": wire}}
        self.send("session.update", session={"type": "realtime", "audio": audio, **session})

    def append(self, samples: NDArray[np.int16], step_ms: int = 20) -> list[dict[str, Any]]:
        """Appends audio in real time."""
        before = len(self.events)
        rate_hz = self.format.rate_hz
        step = step_ms * rate_hz // 1000
        for start in range(0, len(samples), step):
            payload = self.format.encode(samples[start : start + step], rate_hz)
            self.send("input_audio_buffer.append", audio=base64.b64encode(payload).decode())
            self.run(step_ms / 1000)
        return self.events[before:]

    def speak(self, words: str | None, duration_ms: int = 800) -> list[dict[str, Any]]:
        """The caller says something that is heard as these words (None: not understood), then pauses."""
        before = len(self.events)
        self.hears.append(words)
        rate_hz = self.format.rate_hz
        self.append(np.concatenate([tone(duration_ms, rate_hz), silence(700, rate_hz)]))
        return self.events[before:]

    def run(self, seconds: float) -> list[dict[str, Any]]:
        """Lets virtual time pass."""
        before = len(self.events)
        end = self.now + seconds
        while (due := self.session.next_timer()) is not None and due <= end:
            self.now = max(due, self.now)
            self.session.handle_timer(self.now)
            self._drain()
        self.now = end
        return self.events[before:]

    def of_type(self, type_: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == type_]

    def last(self, type_: str) -> dict[str, Any]:
        return self.of_type(type_)[-1]

    def said(self) -> list[str]:
        """What the agent said, one text for each message that was finished or cut."""
        return [event["transcript"] for event in self.of_type("response.output_audio_transcript.done")]

    def _drain(self) -> None:
        while self.session.transmits or (self.session.work and not self.holds_work):
            while self.session.transmits:
                self.events.append(check_server_event(self.session.transmits.popleft()))
            if self.session.work and not self.holds_work:
                work = self.session.work.popleft()
                if isinstance(work, HearingWork):
                    result: Any = self.hears.pop(0)
                elif isinstance(work, SynthesisWork):
                    size = 100 * len(work.text.split()) * work.response.output_format.bytes_per_ms
                    result = bytes(size)
                self.session.finish_work(work, result, self.now)


def types(events: Iterable[dict[str, Any]], *, without_deltas: bool = True) -> list[str]:
    return [event["type"] for event in events if not (without_deltas and event["type"].endswith(".delta"))]
