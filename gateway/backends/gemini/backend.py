"""Gemini Live, as sessions are had from it."""

import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.gemini.protocol import GeminiProtocol
from gateway.backends.session import SessionTiming, WireSession
from gateway.realtime.capability import AudioFormat, RealtimeCapabilities
from gateway.realtime.session import EventSink

GEMINI_URL: Final = (
    "wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService"
    ".BidiGenerateContent"
)
CAPABILITIES: Final = RealtimeCapabilities(
    input_formats=(AudioFormat.PCM16_16K,),
    output_formats=(AudioFormat.PCM16_24K,),
    can_truncate=False,
    takes_turns=True,
    resumes=True,
    session_limit_s=600.0,  # of one connection; goAway comes first
)


@dataclass(frozen=True, slots=True)
class GeminiEndpoint:
    """Where the service is. `bearer` sends the key as an OAuth token, as the Enterprise platform wants it."""

    url: str = GEMINI_URL
    api_key: str = field(default="", repr=False)
    model: str = "gemini-3.8-live"
    bearer: bool = False
    open_timeout_s: float = 5.0
    settings_timeout_s: float = 5.0
    append_ms: int = 20
    voice: str | None = None  # goes before the one that the settings name


class GeminiBackend:
    """The `RealtimeBackend` for Gemini Live."""

    def __init__(self, name: str, endpoint: GeminiEndpoint) -> None:
        self.name: Final = name
        self.capabilities: Final = CAPABILITIES
        self._model = endpoint.model
        self._voice = endpoint.voice
        self._timing = SessionTiming(endpoint.settings_timeout_s, endpoint.append_ms)
        self._wire = WireEndpoint(
            url=endpoint.url,
            headers=_credentials(endpoint),
            tls=ssl.create_default_context() if urlsplit(endpoint.url).scheme == "wss" else None,
            open_timeout_s=endpoint.open_timeout_s,
        )

    def create_session(self, sink: EventSink) -> WireSession:
        """Makes a session that is still to be opened."""
        return self._session(sink, None)

    def resume_session(self, sink: EventSink, handle: str) -> WireSession:
        """Makes a session that will go on where the one with this handle stood."""
        return self._session(sink, handle)

    def _session(self, sink: EventSink, handle: str | None) -> WireSession:
        protocol = GeminiProtocol(self._model, handle)
        return WireSession(self._wire, protocol, self.capabilities, sink, self._timing, self._voice)


def _credentials(endpoint: GeminiEndpoint) -> tuple[tuple[str, str], ...]:
    if not endpoint.api_key:
        return ()
    return (
        (("Authorization", f"Bearer {endpoint.api_key}"),)
        if endpoint.bearer
        else (("x-goog-api-key", endpoint.api_key),)
    )
