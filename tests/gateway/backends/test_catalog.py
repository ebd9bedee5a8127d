"""From the configuration to a backend."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.backends.catalog import create_backend
from gateway.backends.openai.backend import OpenAiEndpoint
from gateway.backends.openai.dialect import AZURE
from gateway.config.availability import obstacle
from gateway.config.backend import (
    BackendSettings,
    BackendValue,
    Dialect,
    EmbeddedMode,
    EmbeddedSettings,
    GeminiSettings,
    OpenAiLiveSettings,
    OpenAiSettings,
)
from gateway.realtime.capability import AudioFormat
from gateway.realtime.settings import SessionSettings
from tests.fakes.realtime_server import Peer, realtime_server


async def greet(peer: Peer) -> None:
    await peer.greet()
    await peer.drain()


async def test_openai_settings_reach_the_server() -> None:
    async with realtime_server(greet) as server:
        settings = OpenAiSettings.model_validate(
            {"type": "openai", "url": server.url, "api_key": "sk-1", "model": "gpt-x", "project": "proj_1"}
        )
        session = create_backend("main", settings, embedded_url="ws://unused").create_session(lambda _event: None)
        await session.open(SessionSettings())
        assert server.peers[0].path == "/v1/realtime?model=gpt-x"
        assert server.peers[0].headers["Authorization"] == "Bearer sk-1"
        assert server.peers[0].headers["OpenAI-Project"] == "proj_1"
        assert "OpenAI-Organization" not in server.peers[0].headers
        await session.aclose()


@pytest.mark.parametrize("mode", EmbeddedMode)
async def test_embedded_mode_is_the_model_and_needs_no_key(mode: EmbeddedMode) -> None:
    async with realtime_server(greet) as server:
        settings = EmbeddedSettings(type="embedded", mode=mode)
        backend = create_backend("demo", settings, embedded_url=server.url)
        session = backend.create_session(lambda _event: None)
        await session.open(SessionSettings())
        assert server.peers[0].path == f"/v1/realtime?model=embedded-{mode.value}"
        assert "Authorization" not in server.peers[0].headers
        await session.aclose()


@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_of_the_configuration_makes_a_backend_that_takes_telephone_audio(dialect: Dialect) -> None:
    settings = OpenAiSettings.model_validate({"type": "openai", "dialect": dialect, "api_key": "k"})
    backend = create_backend("main", settings, embedded_url="ws://unused")
    assert backend.name == "main"
    assert AudioFormat.PCMU in backend.capabilities.input_formats


async def test_gemini_settings_reach_the_server_and_its_voice_goes_before_the_agent_s() -> None:
    async def script(peer: Peer) -> None:
        setup = json.loads(await peer.connection.recv())["setup"]
        assert setup["model"] == "models/gemini-x"
        assert setup["generationConfig"]["speechConfig"]["voiceConfig"] == {
            "prebuiltVoiceConfig": {"voiceName": "Kore"}
        }
        await peer.send_raw(b'{"setupComplete":{}}')
        await peer.connection.wait_closed()

    async with realtime_server(script) as server:
        settings = GeminiSettings.model_validate(
            {"type": "gemini", "url": server.url, "api_key": "k-1", "model": "gemini-x", "voice": "Kore"}
        )
        session = create_backend("main", settings, embedded_url="ws://unused").create_session(lambda _event: None)
        await session.open(SessionSettings(voice="marin", input_format=AudioFormat.PCM16_16K))
        assert server.peers[0].headers["x-goog-api-key"] == "k-1"
        await session.aclose()


async def test_live_settings_reach_the_server() -> None:
    async def script(peer: Peer) -> None:
        started = await peer.receive("session.start")
        assert started["session"]["model"] == "gpt-live-x"  # type: ignore[index]
        await peer.send({"type": "session.started", "session": {"id": "live_1"}})
        await peer.connection.wait_closed()

    async with realtime_server(script) as server:
        settings = OpenAiLiveSettings.model_validate(
            {"type": "openai_live", "url": server.url, "api_key": "k-1", "model": "gpt-live-x", "project": "proj_1"}
        )
        session = create_backend("main", settings, embedded_url="ws://unused").create_session(lambda _event: None)
        await session.open(SessionSettings())
        assert server.peers[0].headers["Authorization"] == "Bearer k-1"
        assert server.peers[0].headers["OpenAI-Project"] == "proj_1"
        await session.aclose()


@pytest.mark.parametrize("kind", ["gemini", "openai_live"])
def test_key_does_not_travel_in_clear(kind: str) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(BackendSettings)
    with pytest.raises(ValidationError, match="would send the key unencrypted"):
        adapter.validate_python({"type": kind, "url": "ws://example.com/live", "api_key": "k"})
    adapter.validate_python({"type": kind, "url": "ws://127.0.0.1:1/live", "api_key": "k"})


@pytest.mark.parametrize("kind", ["gemini", "openai_live"])
def test_backend_without_its_key_is_left_out(kind: str) -> None:
    adapter: TypeAdapter[BackendValue] = TypeAdapter(BackendSettings)
    assert obstacle(adapter.validate_python({"type": kind})) == "it has no api_key"
    assert obstacle(adapter.validate_python({"type": kind, "api_key": "k"})) is None


def test_model_joins_the_query_that_is_there() -> None:
    endpoint = OpenAiEndpoint(url="wss://host/openai/v1/realtime?region=eu&model=old", model="my deployment")
    assert endpoint.session_url == "wss://host/openai/v1/realtime?region=eu&model=my+deployment"


def test_key_is_never_shown() -> None:
    assert "sk-secret" not in repr(OpenAiEndpoint(api_key="sk-secret", dialect=AZURE))
