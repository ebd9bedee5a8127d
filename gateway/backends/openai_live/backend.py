"""GPT-Live, as sessions are had from it."""

import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.openai_live.protocol import OpenAiLiveProtocol
from gateway.backends.session import SessionTiming, WireSession
from gateway.realtime.capability import AudioFormat, RealtimeCapabilities
from gateway.realtime.session import EventSink

OPENAI_LIVE_URL: Final = "wss://api.openai.com/v1/live/sessions"
_FORMATS: Final = (AudioFormat.PCMU, AudioFormat.PCMA, AudioFormat.PCM16_16K, AudioFormat.PCM16_24K)
CAPABILITIES: Final = RealtimeCapabilities(
    input_formats=_FORMATS,
    output_formats=_FORMATS,
    one_format=True,
    can_truncate=False,
    takes_turns=True,
)


@dataclass(frozen=True, slots=True)
class OpenAiLiveEndpoint:
    """Where the service is. `delegate_model` does the work with tools that the speaking model hands on."""

    url: str = OPENAI_LIVE_URL
    api_key: str = field(default="", repr=False)
    model: str = "gpt-live-1"
    delegate_model: str = "gpt-5.5"
    headers: tuple[tuple[str, str], ...] = ()
    open_timeout_s: float = 5.0
    settings_timeout_s: float = 5.0
    append_ms: int = 20
    voice: str | None = None  # goes before the one that the settings name


class OpenAiLiveBackend:
    """The `RealtimeBackend` for GPT-Live. Its sessions cost by the second from the moment they are open."""

    def __init__(self, name: str, endpoint: OpenAiLiveEndpoint) -> None:
        self.name: Final = name
        self.capabilities: Final = CAPABILITIES
        self._endpoint = endpoint
        key = (("Authorization", f"Bearer {endpoint.api_key}"),) if endpoint.api_key else ()
        self._timing = SessionTiming(endpoint.settings_timeout_s, endpoint.append_ms)
        self._wire = WireEndpoint(
            url=endpoint.url,
            headers=(*key, *endpoint.headers),
            tls=ssl.create_default_context() if urlsplit(endpoint.url).scheme == "wss" else None,
            open_timeout_s=endpoint.open_timeout_s,
        )

    def create_session(self, sink: EventSink) -> WireSession:
        """Makes a session that is still to be opened."""
        protocol = OpenAiLiveProtocol(self._endpoint.model, self._endpoint.delegate_model)
        return WireSession(self._wire, protocol, self.capabilities, sink, self._timing, self._endpoint.voice)
