"""Our own protocol cores as clients of the acted-out services, in virtual time and without a socket.

Every message, both ways, is held against the official types.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from google.genai import types
from openai.types.live import ClientEvent, ServerEvent
from pydantic import TypeAdapter

from gateway.backends.protocol import ModelProtocol
from gateway.embedded.audio import resample
from gateway.embedded.served import ServedSession
from gateway.embedded.session import HearingWork, SynthesisWork
from gateway.realtime.capability import AudioFormat
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.event import AgentTranscript, RealtimeEvent
from gateway.realtime.settings import SessionSettings, ToolDefinition, Transcription
from tests.gateway.embedded.realtime_peer import silence, tone, unknown_fields
from tests.helpers.model_message import append_message

LIVE_SERVER: Final[TypeAdapter[Any]] = TypeAdapter(ServerEvent)
LIVE_CLIENT: Final[TypeAdapter[Any]] = TypeAdapter(ClientEvent)
TOOLS: Final = tuple(
    ToolDefinition(name, "A tool.", {"type": "object", "properties": {}}) for name in ("book_table", "end_call")
)
SETTINGS: Final = SessionSettings(instructions="Be brief.", transcription=Transcription(), tools=TOOLS)


def check_gemini_server(data: bytes) -> None:
    message = types.LiveServerMessage.model_validate_json(data)  # strict: an unknown field is an error
    usage = message.usage_metadata
    assert len(json.loads(data)) - (usage is not None) == 1


def check_live_server(data: bytes) -> None:
    event = LIVE_SERVER.validate_python(json.loads(data))
    assert unknown_fields(event) == []


def check_live_client(data: bytes) -> None:
    assert unknown_fields(LIVE_CLIENT.validate_python(json.loads(data))) == []


class ForeignPeer:
    """A protocol core that speaks with an acted-out service. A word of the agent lasts 100 ms."""

    def __init__(
        self, session: ServedSession, protocol: ModelProtocol, check: Callable[[bytes], None], rate_hz: int = 16_000
    ) -> None:
        self.session = session
        self.protocol = protocol
        self.rate_hz = rate_hz
        self.now = 100.0
        self.events: list[RealtimeEvent] = []
        self.received: list[dict[str, Any]] = []
        self.hears: list[str | None] = []
        self.holds_work = False
        self._check = check
        session.start(self.now)

    def configure(self, settings: SessionSettings = SETTINGS, history: Sequence[ConversationTurn] = ()) -> None:
        pcm = AudioFormat.PCM16_16K if self.rate_hz == 16_000 else AudioFormat.PCM16_24K
        self.protocol.start(replace(settings, input_format=pcm, output_format=pcm), history)
        self.exchange()

    def exchange(self) -> None:
        """Carries everything that waits on either side."""
        busy = True
        while busy:
            busy = False
            while self.protocol.transmits:
                busy = True
                self.session.receive_message(self.protocol.transmits.popleft(), self.now)
            while self.session.transmits:
                busy = True
                data = self.session.transmits.popleft()
                self._check(data)
                self.received.append(json.loads(data))
                self.protocol.receive_message(data)
            while self.session.work and not self.holds_work:
                busy = True
                self._work()
        self.events.extend(self.protocol.events)
        self.protocol.events.clear()

    def _work(self) -> None:
        work = self.session.work.popleft()
        result: Any = self.hears.pop(0) if isinstance(work, HearingWork) else None
        if isinstance(work, SynthesisWork):
            result = bytes(100 * len(work.text.split()) * work.response.output_format.bytes_per_ms)
        self.session.finish_work(work, result, self.now)

    def run(self, seconds: float) -> None:
        """Lets virtual time pass."""
        end = self.now + seconds
        while (due := self.session.next_timer()) is not None and due <= end:
            self.now = max(due, self.now)
            self.session.handle_timer(self.now)
            self.exchange()
        self.now = end
        self.protocol.handle_timer(self.now)
        self.exchange()

    def append(self, duration_ms: int, *, loud: bool) -> None:
        """The caller makes a sound, or none, in real time."""
        samples = tone(duration_ms) if loud else silence(duration_ms)
        samples = resample(samples, 8_000, self.rate_hz)
        step = self.rate_hz // 50
        for start in range(0, len(samples), step):
            payload = samples[start : start + step].astype(np.dtype("<i2")).tobytes()
            self.session.receive_message(append_message(self.protocol, payload), self.now)
            self.exchange()
            self.run(0.02)

    def speak(self, words: str | None) -> None:
        """The caller says something that is heard as these words."""
        self.hears.append(words)
        self.append(800, loud=True)
        self.append(700, loud=False)

    def of(self, kind: type[RealtimeEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def said(self) -> list[str]:
        """What the agent said, one text for each item that is over."""
        return [event.text for event in self.of(AgentTranscript) if event.final]
