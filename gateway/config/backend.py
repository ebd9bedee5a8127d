"""The backends section: the model services that an agent can speak with."""

import enum
import re
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from gateway.config.price import PriceSettings
from gateway.config.value import InputPath, Settings

OPENAI_URL: Final = "wss://api.openai.com/v1/realtime"
OPENAI_LIVE_URL: Final = "wss://api.openai.com/v1/live/sessions"
GEMINI_URL: Final = (
    "wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService"
    ".BidiGenerateContent"
)
_LOOPBACK_HOST: Final = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")


# More would wait for nobody: a socket is replaced within a second, and that is a call rate of its own.
MOST_WARM_SOCKETS: Final = 32


class Dialect(enum.StrEnum):
    """How a server of the OpenAI Realtime protocol wants to be spoken to."""

    OPENAI = "openai"  # Authorization: Bearer
    AZURE = "azure"  # api-key: …; `model` is the deployment
    XAI = "xai"  # Authorization: Bearer
    COMPATIBLE = "compatible"  # today's words of the protocol; Bearer where there is a key
    BETA = "beta"  # the words of the beta, before May 2026; Bearer where there is a key


class EmbeddedMode(enum.StrEnum):
    """What the embedded server does with a caller."""

    AGENT = "agent"  # listens, and answers from its script
    ECHO = "echo"  # gives the sound back
    TALK = "talk"  # speaks without end
    SILENT = "silent"  # takes everything, says nothing


def parse_websocket_url(value: str) -> str:
    """A ws:// or wss:// URL without user information."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 raises for a port that is none
    except ValueError:  # whose words would quote parts of the URL
        raise ValueError("is not a URL with a host and a port") from None
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ValueError(f"{value!r} is not a WebSocket URL such as {OPENAI_URL}")
    return value


WebSocketUrl = Annotated[str, AfterValidator(parse_websocket_url), Field(pattern="^wss?://")]


def _clear(key: SecretStr | None) -> str:
    return "" if key is None else key.get_secret_value().strip()


def _is_exposed(url: str, key: str) -> bool:
    parts = urlsplit(url)
    return bool(key) and parts.scheme == "ws" and not _LOOPBACK_HOST.fullmatch(parts.hostname or "")


class OpenAiSettings(Settings):
    """OpenAI Realtime, Azure OpenAI, or a server that speaks the same protocol."""

    type: Literal["openai"]
    """OpenAI Realtime, Azure OpenAI, or a server that speaks the same protocol."""
    url: WebSocketUrl = OPENAI_URL
    """Address of the Realtime endpoint, without the model."""
    dialect: Dialect = Dialect.OPENAI
    """Whose variant of the protocol the server speaks: `openai`, `azure` (key in the api-key header), `xai`,
    `compatible` (another server with today's names of events), `beta` (another server with the names from before
    May 2026). The last two need no key."""
    api_key: SecretStr | None = None
    """Key of the service. Write it as ${OPENAI_API_KEY}, never in the file. Without a key the backend is not used,
    except where the dialect needs none."""
    model: Annotated[str, Field(min_length=1)] = "gpt-realtime-2.1"
    """Model, or for Azure the name of the deployment."""
    organization: str | None = None
    """OpenAI organization that is charged, where the key belongs to several."""
    project: str | None = None
    """OpenAI project that is charged, where the key belongs to several."""
    warm: Annotated[int, Field(ge=0, le=MOST_WARM_SOCKETS)] = 0
    """Sockets that are opened before calls want them, so that a call saves the way to the service. Nothing is said over
    them until a call takes one. Not with the dialect `xai`, where it is not known what an idle session costs."""
    voice: str | None = None
    """Voice with this backend, whatever the agent's is: names of voices differ from service to service."""
    prices: PriceSettings | None = None
    """What the service charges, so that the cost of calls can be counted and limited."""

    @property
    def key(self) -> str:
        """The key in clear, empty where there is none."""
        return _clear(self.api_key)

    @property
    def needs_key(self) -> bool:
        """Whether the service refuses who comes without a key."""
        return self.dialect not in {Dialect.COMPATIBLE, Dialect.BETA}

    @property
    def sends_key_in_clear(self) -> bool:
        """Whether the key would leave this machine without encryption."""
        return _is_exposed(self.url, self.key)


class _KeyedSettings(Settings):
    """A service that refuses who comes without a key."""

    api_key: SecretStr | None = None
    """Key of the service. Write it as ${NAME}, never in the file. Without a key the backend is not used."""
    voice: str | None = None
    """Voice with this backend, whatever the agent's is: names of voices differ from service to service."""
    prices: PriceSettings | None = None
    """What the service charges, so that the cost of calls can be counted and limited."""

    @property
    def key(self) -> str:
        """The key in clear, empty where there is none."""
        return _clear(self.api_key)

    @field_validator("url", check_fields=False)
    @classmethod
    def _keep_the_key_secret(cls, url: str, info: ValidationInfo) -> str:
        if _is_exposed(url, _clear(info.data.get("api_key"))):
            raise ValueError("would send the key unencrypted; use wss://")
        return url


class GeminiSettings(_KeyedSettings):
    """Gemini Live of Google. Its audio is linear, so the gateway converts it."""

    type: Literal["gemini"]
    """Gemini Live of Google. Its audio is linear, so the gateway converts it."""
    url: WebSocketUrl = GEMINI_URL
    """Address of the Live endpoint."""
    model: Annotated[str, Field(min_length=1)] = "gemini-3.8-live"
    """Model, with or without `models/` before it."""


class OpenAiLiveSettings(_KeyedSettings):
    """GPT-Live of OpenAI. It costs by the second from the moment a session is open."""

    type: Literal["openai_live"]
    """GPT-Live of OpenAI. It costs by the second from the moment a session is open."""
    url: WebSocketUrl = OPENAI_LIVE_URL
    """Address of the Live endpoint."""
    model: Annotated[str, Field(min_length=1)] = "gpt-live-1"
    """Model that hears and speaks."""
    delegate_model: Annotated[str, Field(min_length=1)] = "gpt-5.5"
    """Model that calls the agent's tools: the speaking one hands that work on."""
    organization: str | None = None
    """OpenAI organization that is charged, where the key belongs to several."""
    project: str | None = None
    """OpenAI project that is charged, where the key belongs to several."""


class EmbeddedSettings(Settings):
    """The model server that comes with the gateway: no account, no network, words from a script."""

    type: Literal["embedded"]
    """The model server that comes with the gateway: no account, no network, words from a script."""
    mode: EmbeddedMode = EmbeddedMode.AGENT
    """`agent` listens and answers from the script, `echo` gives the sound back, `talk` speaks without end, `silent`
    takes everything and says nothing."""
    warm: Annotated[int, Field(ge=0, le=MOST_WARM_SOCKETS)] = 0
    """Sockets that are opened before calls want them."""
    script: InputPath | None = None
    """YAML file with the phrases that it understands and the words that it says. Relative to this
    file; when absent, the demo's script."""
    prices: PriceSettings | None = None
    """What it would charge if it were a service: for trying out limits of cost."""


BackendValue: TypeAlias = OpenAiSettings | GeminiSettings | OpenAiLiveSettings | EmbeddedSettings
BackendSettings = Annotated[BackendValue, Field(discriminator="type")]
