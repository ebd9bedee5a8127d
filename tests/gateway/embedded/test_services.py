"""Every backend of the configuration against its service, acted out by the embedded server over a real socket."""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pytest
import soxr
from pydantic import TypeAdapter

from gateway.backends.catalog import create_backend
from gateway.config.backend import BackendSettings, BackendValue
from gateway.embedded import gemini, live
from gateway.embedded.process import EmbeddedServer
from gateway.embedded.voice import Voice
from gateway.realtime.capability import AudioFormat
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    CallerTranscript,
    FailureReason,
    RealtimeEvent,
    SessionExpiring,
    SessionFailed,
    ToolCall,
)
from gateway.realtime.session import RealtimeSession
from gateway.realtime.settings import SessionSettings, ToolDefinition, Transcription
from rtp.codec.g711 import encode_ulaw

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS: TypeAdapter[BackendValue] = TypeAdapter(BackendSettings)
TOOLS = (ToolDefinition("book_table", "Books.", {"type": "object", "properties": {}}),)


@dataclass
class Service:
    """One kind of backend at the embedded server."""

    kind: str
    path: str

    def settings(self, server: EmbeddedServer, query: str = "") -> BackendValue:
        if self.kind == "embedded":
            return SETTINGS.validate_python({"type": "embedded"})
        url = f"ws://{urlsplit(server.url).netloc}{self.path}{query}"
        return SETTINGS.validate_python({"type": self.kind, "url": url, "api_key": "k", "model": "embedded-agent"})


SERVICES = [
    Service("embedded", ""),
    Service("openai", "/v1/realtime"),
    Service("gemini", gemini.PATH),
    Service("openai_live", live.PATH),
]
FOREIGN = SERVICES[2:]
every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.kind)


class Caller:
    """A session with ears and a voice."""

    def __init__(self, service: Service, server: EmbeddedServer, query: str = "") -> None:
        backend = create_backend("b", service.settings(server, query), embedded_url=server.url)
        self.events: list[RealtimeEvent] = []
        self._arrival = asyncio.Event()
        self.session: RealtimeSession = backend.create_session(self._take)
        self.formats = (backend.capabilities.input_formats[0], backend.capabilities.output_formats[0])

    def _take(self, event: RealtimeEvent) -> None:
        self.events.append(event)
        self._arrival.set()

    async def open(self) -> None:
        given, wanted = self.formats
        settings = SessionSettings(
            input_format=given, output_format=wanted, transcription=Transcription(), tools=TOOLS, voice="any"
        )
        await self.session.open(settings)

    async def say(self, words: str) -> None:
        """In real time, as a caller does, and then the silence that ends a turn."""
        voice = Voice(pitch=0.87)
        rate_hz = self.formats[0].sample_rate_hz
        samples = soxr.resample(voice.speak(words).astype(np.float32), voice.rate_hz, rate_hz).astype(np.int16)
        samples = np.concatenate([samples, np.zeros(rate_hz, dtype=np.int16)])
        step = rate_hz // 50
        for start in range(0, len(samples), step):
            piece = samples[start : start + step]
            g711 = self.formats[0] is AudioFormat.PCMU
            self.session.append_audio(encode_ulaw(piece) if g711 else piece.astype("<i2").tobytes())
            await asyncio.sleep(0.01)

    async def told(self, kind: type[RealtimeEvent], text: str = "") -> RealtimeEvent:
        """Waits for an event; of transcripts for the words that hold this text, fragments joined."""
        async with asyncio.timeout(20):
            while True:
                said = [event for event in self.events if isinstance(event, kind)]
                words = "".join(getattr(event, "text", "") for event in said if not getattr(event, "final", False))
                if said and text.replace(" ", "") in words.replace(" ", ""):
                    return said[-1]
                self._arrival.clear()
                await self._arrival.wait()


@every_service
async def test_caller_is_greeted_understood_and_answered(service: Service, server: EmbeddedServer) -> None:
    caller = Caller(service, server)
    await caller.open()
    caller.session.create_response('Say exactly these words to the caller: "Good evening."')
    await caller.told(AgentTranscript, "Good evening.")
    await caller.told(AudioDelta)
    await caller.say("What are your opening hours?")
    await caller.told(CallerTranscript)
    await caller.told(AgentTranscript, "open")
    await caller.session.aclose()
    heard = sum(len(event.audio) for event in caller.events if isinstance(event, AudioDelta))
    assert heard / caller.formats[1].bytes_per_ms > 1000


@every_service
async def test_tool_is_called_and_its_result_is_said(service: Service, server: EmbeddedServer) -> None:
    caller = Caller(service, server)
    await caller.open()
    await caller.say("I would like to book a table for two on Friday at seven")
    call = await caller.told(ToolCall)
    assert isinstance(call, ToolCall)
    assert call.name == "book_table"
    before = len(caller.events)
    caller.session.send_tool_result(call.call_id, '{"ok": true}')
    async with asyncio.timeout(20):
        while not any(isinstance(event, AudioDelta) for event in caller.events[before:]):
            await asyncio.sleep(0.01)
    await caller.session.aclose()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("reset,after_ms=150", FailureReason.CONNECTION_LOST),
        ("close,after_ms=150,code=1011", FailureReason.SERVER_FAULT),
        ("expire,after_ms=300", FailureReason.EXPIRED),
    ],
)
@pytest.mark.parametrize("service", FOREIGN, ids=lambda service: service.kind)
async def test_lost_session_of_another_protocol_is_told(
    service: Service, server: EmbeddedServer, fault: str, reason: FailureReason
) -> None:
    caller = Caller(service, server, f"?fault={fault}")
    await caller.open()
    failure = await caller.told(SessionFailed)
    assert isinstance(failure, SessionFailed)
    assert (failure.reason, failure.retryable) == (reason, True)
    if service.kind == "gemini" and reason is FailureReason.EXPIRED:
        assert any(isinstance(event, SessionExpiring) for event in caller.events)
    await caller.session.aclose()


@pytest.mark.parametrize("fault", ["malformed,every=1", "unknown,every=1"])
@pytest.mark.parametrize("service", FOREIGN, ids=lambda service: service.kind)
async def test_rubbish_between_the_messages_of_another_protocol_is_passed_over(
    service: Service, server: EmbeddedServer, fault: str
) -> None:
    caller = Caller(service, server, f"?fault={fault}")
    await caller.open()
    caller.session.create_response('Say: "Good evening."')
    await caller.told(AgentTranscript, "Good evening.")
    await caller.session.aclose()
