"""From a backend's configuration to the backend."""

from typing import assert_never

from gateway.backends.gemini.backend import GeminiBackend, GeminiEndpoint
from gateway.backends.openai.backend import OpenAiBackend, OpenAiEndpoint
from gateway.backends.openai.dialect import DIALECTS
from gateway.backends.openai_live.backend import OpenAiLiveBackend, OpenAiLiveEndpoint
from gateway.config.backend import (
    BackendValue,
    EmbeddedSettings,
    GeminiSettings,
    OpenAiLiveSettings,
    OpenAiSettings,
)
from gateway.realtime.session import RealtimeBackend


def create_backend(name: str, settings: BackendValue, *, embedded_url: str) -> RealtimeBackend:
    """Makes the backend that the configuration describes under this name. Nothing is connected.

    `embedded_url` is where the embedded server listens (`ws://127.0.0.1:PORT/v1/realtime`).
    """
    match settings:
        case OpenAiSettings():
            return OpenAiBackend(name, _openai_endpoint(settings))
        case GeminiSettings():
            endpoint = GeminiEndpoint(
                url=settings.url, api_key=settings.key, model=settings.model, voice=settings.voice
            )
            return GeminiBackend(name, endpoint)
        case OpenAiLiveSettings():
            return OpenAiLiveBackend(name, _openai_live_endpoint(settings))
        case EmbeddedSettings():
            return OpenAiBackend(name, OpenAiEndpoint(url=embedded_url, model=f"embedded-{settings.mode.value}"))
        case _:
            assert_never(settings)


def _openai_endpoint(settings: OpenAiSettings) -> OpenAiEndpoint:
    return OpenAiEndpoint(
        url=settings.url,
        api_key=settings.key,
        model=settings.model,
        dialect=DIALECTS[settings.dialect.value],
        headers=_charged(settings),
        voice=settings.voice,
    )


def _openai_live_endpoint(settings: OpenAiLiveSettings) -> OpenAiLiveEndpoint:
    return OpenAiLiveEndpoint(
        url=settings.url,
        api_key=settings.key,
        model=settings.model,
        delegate_model=settings.delegate_model,
        headers=_charged(settings),
        voice=settings.voice,
    )


def _charged(settings: OpenAiSettings | OpenAiLiveSettings) -> tuple[tuple[str, str], ...]:
    headers = (("OpenAI-Organization", settings.organization), ("OpenAI-Project", settings.project))
    return tuple((name, value) for name, value in headers if value)
