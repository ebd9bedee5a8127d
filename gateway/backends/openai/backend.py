"""A server of the OpenAI Realtime protocol, as sessions are had from it."""

import ssl
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.openai.dialect import OPENAI, Dialect
from gateway.backends.openai.protocol import OpenAiProtocol
from gateway.backends.session import SessionTiming, WarmStart, WireSession
from gateway.backends.warm import WarmPool
from gateway.realtime.capability import RealtimeCapabilities
from gateway.realtime.session import EventSink

OPENAI_URL: Final = "wss://api.openai.com/v1/realtime"


@dataclass(frozen=True, slots=True)
class OpenAiEndpoint:
    """Where a server is and how it wants to be spoken to. An empty `api_key` is not sent.

    `url` without the model; `headers` are sent besides the key (`OpenAI-Organization`, `OpenAI-Safety-Identifier`, …).
    `append_ms` is how much of the caller's audio goes into one message. All waits are in seconds.
    """

    url: str = OPENAI_URL
    api_key: str = field(default="", repr=False)
    model: str = "gpt-realtime-2.1"
    dialect: Dialect = OPENAI
    headers: tuple[tuple[str, str], ...] = ()
    open_timeout_s: float = 5.0
    settings_timeout_s: float = 5.0
    close_timeout_s: float = 1.0
    ping_interval_s: float = 10.0
    ping_timeout_s: float = 10.0
    write_stall_s: float = 5.0
    append_ms: int = 20
    voice: str | None = None  # goes before the one that the settings name

    @property
    def session_url(self) -> str:
        """The URL with the model in its query."""
        parts = urlsplit(self.url)
        query = [(name, value) for name, value in parse_qsl(parts.query) if name != "model"]
        return urlunsplit(parts._replace(query=urlencode([*query, ("model", self.model)])))


class OpenAiBackend:
    """The `RealtimeBackend` for OpenAI, Azure, xAI, compatible servers and the embedded one."""

    def __init__(self, name: str, endpoint: OpenAiEndpoint) -> None:
        self.name: Final = name
        self.capabilities: RealtimeCapabilities = endpoint.dialect.capabilities
        self._dialect = endpoint.dialect
        self._voice = endpoint.voice
        self._timing = SessionTiming(endpoint.settings_timeout_s, endpoint.append_ms)
        secure = urlsplit(endpoint.url).scheme == "wss"
        self._wire = WireEndpoint(
            url=endpoint.session_url,
            headers=(*_credentials(endpoint), *endpoint.headers),
            tls=ssl.create_default_context() if secure else None,  # one for all sessions: it reads the CA store
            open_timeout_s=endpoint.open_timeout_s,
            close_timeout_s=endpoint.close_timeout_s,
            ping_interval_s=endpoint.ping_interval_s,
            ping_timeout_s=endpoint.ping_timeout_s,
            write_stall_s=endpoint.write_stall_s,
        )

        self._warm: WarmStart | None = None

    def keep_warm(self, sockets: int) -> WarmPool | None:
        """Makes a pool of sockets that wait for sessions, still to be started; None where the service has none.

        A session that begins on one is as old as its socket, so all are taken to end that much earlier.
        """
        rest_s, limit_s = self.capabilities.rest_s, self.capabilities.session_limit_s
        if rest_s is None:
            return None
        if limit_s is not None:
            self.capabilities = replace(self.capabilities, session_limit_s=limit_s - rest_s)
        pool = WarmPool(self.name, self._wire, sockets, rest_s)
        self._warm = WarmStart(pool, self._create_protocol)
        return pool

    def create_session(self, sink: EventSink) -> WireSession:
        """Makes a session that is still to be opened."""
        protocol = self._create_protocol()
        return WireSession(self._wire, protocol, self.capabilities, sink, self._timing, self._voice, self._warm)

    def _create_protocol(self) -> OpenAiProtocol:
        return OpenAiProtocol(self._dialect)


def _credentials(endpoint: OpenAiEndpoint) -> tuple[tuple[str, str], ...]:
    if not endpoint.api_key:
        return ()
    if endpoint.dialect.api_key_header is not None:
        return ((endpoint.dialect.api_key_header, endpoint.api_key),)
    return (("Authorization", f"Bearer {endpoint.api_key}"),)
