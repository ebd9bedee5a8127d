"""From the configuration to a backend."""

import pytest

from gateway.backends.catalog import create_backend
from gateway.backends.openai.backend import OpenAiEndpoint
from gateway.backends.openai.dialect import AZURE
from gateway.config.backend import Dialect, EmbeddedMode, EmbeddedSettings, OpenAiSettings
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


def test_model_joins_the_query_that_is_there() -> None:
    endpoint = OpenAiEndpoint(url="wss://host/openai/v1/realtime?region=eu&model=old", model="my deployment")
    assert endpoint.session_url == "wss://host/openai/v1/realtime?region=eu&model=my+deployment"


def test_key_is_never_shown() -> None:
    assert "sk-secret" not in repr(OpenAiEndpoint(api_key="sk-secret", dialect=AZURE))
