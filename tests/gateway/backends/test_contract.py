"""What every backend owes a call, over a real socket, whatever its service's protocol is."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from gateway.backends.gemini.backend import GeminiBackend, GeminiEndpoint
from gateway.backends.openai.backend import OpenAiBackend, OpenAiEndpoint
from gateway.backends.openai.dialect import DIALECTS
from gateway.backends.openai_live.backend import OpenAiLiveBackend, OpenAiLiveEndpoint
from gateway.backends.session import WireSession
from gateway.realtime.errors import ModelTimeoutError
from gateway.realtime.event import (
    AudioDelta,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    SessionFailed,
    TextAnswer,
    ToolCall,
)
from gateway.realtime.session import RealtimeBackend, RealtimeSession
from gateway.realtime.settings import SessionSettings, ToolDefinition
from tests.fakes.realtime_server import (
    Peer,
    audio_delta,
    function_call,
    realtime_server,
    response_created,
    response_done,
)

SPEECH = [bytes([number]) * 320 for number in range(1, 6)]
Event = dict[str, object]


@dataclass(frozen=True)
class Service:
    """A service as the contract sees it: how it greets, speaks, calls a tool, and what it was sent."""

    name: str
    make: Callable[[str], RealtimeBackend]
    greet: Callable[[Peer], Awaitable[None]]
    speak: Callable[[Peer, list[bytes]], Awaitable[None]]
    call_tool: Callable[[Peer], Awaitable[None]]
    heard: Callable[[Event], bytes | None]
    """The caller's audio of a client message."""
    has_result: Callable[[Event], bool]


async def greet_openai(peer: Peer) -> None:
    await peer.greet()


async def speak_openai(peer: Peer, pieces: list[bytes]) -> None:
    await peer.send(response_created(), *(audio_delta(piece) for piece in pieces), response_done())


async def call_tool_openai(peer: Peer) -> None:
    await peer.send(response_created(), response_done("resp_1", "completed", function_call("call_1")))


def heard_openai(event: Event) -> bytes | None:
    return base64.b64decode(str(event["audio"])) if event["type"] == "input_audio_buffer.append" else None


def has_result_openai(event: Event) -> bool:
    return "function_call_output" in json.dumps(event)


async def receive_key(peer: Peer, key: str) -> Event:
    """The next message with this key: Gemini's have no type."""
    while True:
        event = json.loads(await peer.connection.recv())
        assert isinstance(event, dict)
        if key in event:
            return event


async def send_binary(peer: Peer, *messages: Event) -> None:
    for message in messages:
        await peer.send_raw(json.dumps(message).encode())  # Gemini's JSON comes in binary frames


async def greet_gemini(peer: Peer) -> None:
    await receive_key(peer, "setup")
    await send_binary(peer, {"setupComplete": {}})


async def speak_gemini(peer: Peer, pieces: list[bytes]) -> None:
    for piece in pieces:
        data = base64.b64encode(piece).decode()
        parts = [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}]
        await send_binary(peer, {"serverContent": {"modelTurn": {"parts": parts}}})
    await send_binary(peer, {"serverContent": {"turnComplete": True}})


async def call_tool_gemini(peer: Peer) -> None:
    await send_binary(peer, {"toolCall": {"functionCalls": [{"id": "call_1", "name": "look_up", "args": {}}]}})


def heard_gemini(event: Event) -> bytes | None:
    realtime = event.get("realtimeInput")
    return base64.b64decode(realtime["audio"]["data"]) if isinstance(realtime, dict) and "audio" in realtime else None


async def greet_live(peer: Peer) -> None:
    await peer.receive("session.start")
    await peer.send({"type": "session.started", "session": {"id": "live_1"}})


async def speak_live(peer: Peer, pieces: list[bytes]) -> None:
    for piece in pieces:
        await peer.send({"type": "session.output_audio.delta", "delta": base64.b64encode(piece).decode()})
    await peer.send({"type": "session.input_transcript.delta", "delta": "hm", "start_ms": 0, "end_ms": 1})


async def call_tool_live(peer: Peer) -> None:
    item = function_call("call_1")
    for event in (
        {"type": "response.output_item.done", "item": item},
        {"type": "response.completed", "response": {"id": "resp_1"}},
    ):
        await peer.send({"type": "response.event", "delegation_id": "dlg_1", "event": event})


def heard_live(event: Event) -> bytes | None:
    return base64.b64decode(str(event["audio"])) if event["type"] == "session.input_audio.append" else None


SERVICES = [
    *(
        Service(
            name,
            lambda url, dialect=dialect: OpenAiBackend(
                "b", OpenAiEndpoint(url=url, dialect=dialect, settings_timeout_s=2)
            ),  # type: ignore[misc]
            greet_openai,
            speak_openai,
            call_tool_openai,
            heard_openai,
            has_result_openai,
        )
        for name, dialect in DIALECTS.items()
    ),
    Service(
        "gemini",
        lambda url: GeminiBackend("b", GeminiEndpoint(url=url, settings_timeout_s=2)),
        greet_gemini,
        speak_gemini,
        call_tool_gemini,
        heard_gemini,
        lambda event: "toolResponse" in event,
    ),
    Service(
        "openai_live",
        lambda url: OpenAiLiveBackend("b", OpenAiLiveEndpoint(url=url, settings_timeout_s=2)),
        greet_live,
        speak_live,
        call_tool_live,
        heard_live,
        has_result_openai,
    ),
]
every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


class Caller:
    """A session, what it told, and a way to wait for it."""

    def __init__(self, backend: RealtimeBackend) -> None:
        self.backend = backend
        self.events: list[RealtimeEvent] = []
        self._arrival = asyncio.Event()
        session = backend.create_session(self._take)
        assert isinstance(session, WireSession)
        self.session: RealtimeSession = session

    def _take(self, event: RealtimeEvent) -> None:
        self.events.append(event)
        self._arrival.set()

    async def open(self, **changes: object) -> None:
        capabilities = self.backend.capabilities
        tools = (ToolDefinition("look_up", "Looks up.", {"type": "object", "properties": {}}),)
        input_format, output_format = capabilities.input_formats[0], capabilities.output_formats[0]
        settings = SessionSettings(input_format=input_format, output_format=output_format, tools=tools)
        await self.session.open(replace(settings, **changes))  # type: ignore[arg-type]

    async def told(self, kind: type[RealtimeEvent]) -> None:
        while not any(isinstance(event, kind) for event in self.events):
            self._arrival.clear()
            await self._arrival.wait()


@every_service
async def test_speech_goes_both_ways_byte_for_byte(service: Service) -> None:
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        await service.greet(peer)
        while sum(map(len, received)) < 10 * 960:
            audio = service.heard(json.loads(await peer.connection.recv()))
            received.extend(() if audio is None else (audio,))
        await service.speak(peer, SPEECH)
        await peer.connection.wait_closed()

    async with realtime_server(script) as server:
        caller = Caller(service.make(server.url))
        await caller.open()
        said = [bytes([number]) * 960 for number in range(10)]
        for frame in said:
            caller.session.append_audio(frame)
        await caller.told(ResponseDone)
        await caller.session.aclose()
    assert b"".join(received) == b"".join(said)
    deltas = [event for event in caller.events if isinstance(event, AudioDelta)]
    assert [delta.audio for delta in deltas] == SPEECH
    assert len({(delta.response_id, delta.item_id) for delta in deltas}) == 1
    started = next(event for event in caller.events if isinstance(event, ResponseStarted))
    assert started.response_id == deltas[0].response_id
    assert caller.events.index(started) < caller.events.index(deltas[0])


@every_service
async def test_tool_is_called_and_its_result_reaches_the_service(service: Service) -> None:
    async def script(peer: Peer) -> None:
        await service.greet(peer)
        await service.call_tool(peer)
        while not service.has_result(json.loads(await peer.connection.recv())):
            pass
        await service.speak(peer, SPEECH)
        await peer.connection.wait_closed()

    async with realtime_server(script) as server:
        caller = Caller(service.make(server.url))
        await caller.open()
        await caller.told(ToolCall)
        [call] = [event for event in caller.events if isinstance(event, ToolCall)]
        assert (call.call_id, call.name, json.loads(call.arguments)) == ("call_1", "look_up", {})
        caller.session.send_tool_result("call_1", '{"found":true}')
        await caller.told(AudioDelta)
        await caller.session.aclose()


@every_service
async def test_rubbish_from_the_service_changes_nothing(service: Service) -> None:
    async def script(peer: Peer) -> None:
        await service.greet(peer)
        for message in ("", "{", "[]", "null", '{"type":"hologram"}', b"\xff\x00", "[" * 10_000):
            await peer.send_raw(message)
        await service.speak(peer, SPEECH)
        await peer.connection.wait_closed()

    async with realtime_server(script) as server:
        caller = Caller(service.make(server.url))
        await caller.open()
        await caller.told(ResponseDone)
        assert [event.audio for event in caller.events if isinstance(event, AudioDelta)] == SPEECH
        await caller.session.aclose()


@every_service
async def test_lost_session_is_told_once_and_last(service: Service) -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await service.greet(peer)
        await go.wait()
        await service.speak(peer, SPEECH[:1])
        await peer.close(1011, "internal error")

    async with realtime_server(script) as server:
        caller = Caller(service.make(server.url))
        await caller.open()
        go.set()
        await caller.told(SessionFailed)
        caller.session.append_audio(bytes(960))
        caller.session.create_response("Hello?")
        caller.session.truncate("item_1", 10)
        caller.session.cancel_response()
        caller.session.send_tool_result("call_1", "{}")
        caller.session.start_turn()
        caller.session.end_turn()
        await caller.session.aclose()
        await caller.session.aclose()
    assert sum(isinstance(event, SessionFailed) for event in caller.events) == 1
    assert isinstance(caller.events[-1], SessionFailed)


@every_service
async def test_service_that_confirms_nothing_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.connection.wait_closed()

    async with realtime_server(script) as server:
        backend = service.make(server.url)
        caller = Caller(backend)
        timing = caller.session._timing  # type: ignore[attr-defined]
        monkeypatch.setattr(caller.session, "_timing", type(timing)(settings_timeout_s=0.05))
        with pytest.raises(ModelTimeoutError):
            await caller.open()
        assert caller.events == []


async def overheard(service: Service, act: Callable[["Caller"], None], **settings: object) -> str:
    """What the service is sent when a call acts after the service's speech, all messages in one text."""
    received: list[str] = []

    async def script(peer: Peer) -> None:
        await service.greet(peer)
        await peer.send_raw(b"{}")
        await service.speak(peer, [bytes(4800)])
        received.extend([str(message) async for message in peer.connection])

    async with realtime_server(script) as server:
        caller = Caller(service.make(server.url))
        await caller.open(**settings)
        await caller.told(AudioDelta)
        act(caller)
        await caller.session.aclose()
    return "\n".join(received)


@every_service
async def test_only_a_service_that_can_forget_is_told_what_was_not_heard(service: Service) -> None:
    def cut(caller: Caller) -> None:
        [delta] = [event for event in caller.events if isinstance(event, AudioDelta)]
        caller.session.truncate(delta.item_id, 20)

    sent = await overheard(service, cut)
    assert ("truncate" in sent) == service.make("ws://unused").capabilities.can_truncate


@every_service
async def test_words_beside_the_conversation_are_asked_for_where_they_can_be_had(service: Service) -> None:
    """A backend that has none says so at once: whoever asked does not wait."""
    answers: list[TextAnswer] = []

    def ask(caller: Caller) -> None:
        caller.session.ask_aside("a1", "Sum up.")
        answers.extend(event for event in caller.events if isinstance(event, TextAnswer))

    sent = await overheard(service, ask)
    asks = service.make("ws://unused").capabilities.answers_aside
    assert ("Sum up." in sent) == asks
    assert answers == ([] if asks else [TextAnswer("a1", None)])


@every_service
async def test_turns_that_the_gateway_detects_reach_a_service_that_can_take_them(service: Service) -> None:
    def speak(caller: Caller) -> None:
        caller.session.start_turn()
        caller.session.append_audio(bytes(960))
        caller.session.end_turn()

    sent = await overheard(service, speak, turn_detection=None)
    if service.name == "gemini":
        assert sent.index("activityStart") < sent.index('"data"') < sent.index("activityEnd")
    elif service.name == "openai_live":
        assert len(sent.splitlines()) == 1  # the model alone decides
    else:
        assert sent.index(".append") < sent.index(".commit") < sent.index("response.create")


@every_service
async def test_every_format_that_a_backend_names_is_taken(service: Service) -> None:
    async def script(peer: Peer) -> None:
        await service.greet(peer)
        await peer.connection.wait_closed()

    async with realtime_server(script) as server:
        backend = service.make(server.url)
        for audio_format in backend.capabilities.input_formats:
            both = audio_format if audio_format in backend.capabilities.output_formats else None
            caller = Caller(backend)
            caller_formats = {"output_format": both} if both else {}
            await caller.open(input_format=audio_format, **caller_formats)
            caller.session.append_audio(bytes(20 * audio_format.bytes_per_ms))
            await caller.session.aclose()
            assert caller.events == []


@every_service
async def test_backend_that_resumes_gives_a_handle(service: Service) -> None:
    async def script(peer: Peer) -> None:
        await service.greet(peer)
        await send_binary(peer, {"sessionResumptionUpdate": {"newHandle": "handle-1", "resumable": True}})
        await service.speak(peer, SPEECH)
        await peer.connection.wait_closed()

    async with realtime_server(script) as server:
        backend = service.make(server.url)
        caller = Caller(backend)
        await caller.open()
        await caller.told(AudioDelta)
        handle = getattr(caller.session, "resumption_handle", None)
        assert (handle is not None) == backend.capabilities.resumes
        await caller.session.aclose()
