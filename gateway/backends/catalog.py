"""From a backend's configuration to the backend."""

from typing import assert_never

from gateway.backends.openai.backend import OpenAiBackend, OpenAiEndpoint
from gateway.backends.openai.dialect import DIALECTS
from gateway.config.backend import BackendValue, EmbeddedSettings, OpenAiSettings
from gateway.realtime.session import RealtimeBackend


def create_backend(name: str, settings: BackendValue, *, embedded_url: str) -> RealtimeBackend:
    """Makes the backend that the configuration describes under this name. Nothing is connected.

    `embedded_url` is where the embedded server listens (`ws://127.0.0.1:PORT/v1/realtime`).
    """
    match settings:
        case OpenAiSettings():
            return OpenAiBackend(name, _openai_endpoint(settings))
        case EmbeddedSettings():
            return OpenAiBackend(name, OpenAiEndpoint(url=embedded_url, model=f"embedded-{settings.mode.value}"))
        case _:
            assert_never(settings)


def _openai_endpoint(settings: OpenAiSettings) -> OpenAiEndpoint:
    charged = (("OpenAI-Organization", settings.organization), ("OpenAI-Project", settings.project))
    return OpenAiEndpoint(
        url=settings.url,
        api_key=settings.key,
        model=settings.model,
        dialect=DIALECTS[settings.dialect.value],
        headers=tuple((name, value) for name, value in charged if value),
    )
