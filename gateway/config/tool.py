"""The tools of an agent: what the model may ask the gateway to do, and how long the caller waits for it."""

import enum
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from gateway.config.value import InputPath, Settings, leave_out_empty

# What OpenAI takes as the name of a function; the other services take no less.
_TOOL_NAME: Final = r"^[A-Za-z0-9_\-]{1,64}$"
_REFERENCE: Final = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"
_LOOPBACK_HOST: Final = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
# A caller hangs up on a minute of nothing; a tool that needs longer answers at once and calls back.
LONGEST_TOOL_SECONDS: Final = 60


def parse_tool_url(value: str) -> str:
    """An https:// URL without user information; http:// only to this machine, where nobody listens in."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 raises for a port that is none
    except ValueError:
        raise ValueError("is not a URL with a host and a port") from None
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{value!r} is not a URL such as https://example.com/tools")
    if parts.scheme == "http" and not _LOOPBACK_HOST.fullmatch(parts.hostname):
        raise ValueError("would send what callers say without encryption; use https")
    return value


ToolName = Annotated[str, Field(pattern=_TOOL_NAME)]
ToolUrl = Annotated[str, AfterValidator(parse_tool_url), Field(pattern="^https?://")]


class BuiltInTool(enum.StrEnum):
    """What the gateway can do by itself."""

    END_CALL = "end_call"
    SEND_DIGITS = "send_digits"
    TRANSFER_CALL = "transfer_call"
    PAUSE_RECORDING = "pause_recording"
    RESUME_RECORDING = "resume_recording"
    HOLD_CALLER = "hold_caller"
    PLAY_ANNOUNCEMENT = "play_announcement"


class ParameterType(enum.StrEnum):
    """The type of one argument."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"


class ParameterSettings(Settings):
    """One argument of a tool."""

    type: ParameterType = ParameterType.STRING
    """Type of the value."""
    description: str | None = None
    """What the model is told about it."""
    required: bool = True
    """Whether the tool cannot run without it."""
    choices: tuple[str, ...] = ()
    """The only values that are taken, for a `string`."""


class _Waiting(Settings):
    """What all tools have in common."""

    timeout_seconds: Annotated[float, Field(gt=0, le=LONGEST_TOOL_SECONDS)] = 10.0
    """Longest time that the tool may take. Then the model is told that it failed, and the conversation goes on."""
    fallback: str | None = None
    """What the agent should say when the tool fails or takes too long."""
    filler: str | None = None
    """What the agent says while the tool runs, when it takes longer than `filler_after_seconds`."""
    filler_after_seconds: Annotated[float, Field(ge=0, le=LONGEST_TOOL_SECONDS)] = 1.5
    """How long the caller hears nothing before the agent says the filler."""
    confirm: bool = False
    """Whether the caller must agree first. The first request of the model is answered with the order to ask; the same
    request runs once the caller has spoken since."""


class PythonToolSettings(_Waiting):
    """A Python function."""

    type: Literal["python"]
    """A Python function."""
    function: Annotated[str, Field(pattern=_REFERENCE)]
    """The function as `module:function`; the module must be one that Python finds (installed, or on PYTHONPATH). Its
    typed parameters become the schema of the arguments. A plain function runs in a thread, a coroutine as a task."""
    description: str | None = None
    """What the model is told about the tool. When absent, the function's docstring."""


class WebhookToolSettings(_Waiting):
    """A request to a web server of yours."""

    type: Literal["webhook"]
    """A request to a web server of yours."""
    url: ToolUrl
    """Where the arguments are sent, as JSON by POST. It never depends on what a model says, and redirects are not
    followed, so a tool cannot be talked into asking another server. Without encryption only on this machine."""
    description: Annotated[str, Field(min_length=1)]
    """What the model is told about the tool."""
    parameters: Mapping[ToolName, ParameterSettings] = {}
    """The arguments, by name."""
    secret: SecretStr | None = None
    """Signs each request (HMAC-SHA256, the headers of Standard Webhooks). Write it as ${NAME}, never in the file."""
    public_only: bool = False
    """Whether the server must have a public address, so that whoever writes agents cannot reach what is behind your
    firewall. Leave it off for servers of your own network."""
    idempotent: bool = False
    """Whether the server may be asked twice: then a request that was answered with 502, 503 or 504, or not at all, is
    sent again under the same `Idempotency-Key`. A request that never reached the server is sent again in any case."""


class McpToolSettings(_Waiting):
    """The tools of a server that speaks the Model Context Protocol."""

    type: Literal["mcp"]
    """The tools of a server that speaks the Model Context Protocol. Needs the extra `mcp`."""
    command: Annotated[str, Field(min_length=1)] | None = None
    """Program that the gateway starts and speaks with over its standard input and output. Either this or `url`."""
    args: tuple[str, ...] = ()
    """Arguments of the program."""
    env: Annotated[Mapping[str, SecretStr], BeforeValidator(leave_out_empty)] = {}
    """Environment of the program. Of the gateway's own it gets only PATH, HOME and the like, no keys."""
    directory: InputPath | None = None
    """Folder in which the program runs; relative to that of gateway.yaml. When absent the gateway's own."""
    url: ToolUrl | None = None
    """Address of a server that is running already (streamable HTTP). Without encryption only on this machine."""
    headers: Annotated[Mapping[str, SecretStr], BeforeValidator(leave_out_empty)] = {}
    """Header fields of every request to `url`, such as Authorization. Write secrets as ${NAME}, never in the file."""
    allow: tuple[str, ...] | None = None
    """The server's tools that the model may use, by the server's own names. When absent, all of them."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{0,32}$")] | None = None
    """What stands before the names that the model sees, with an underscore. When absent the name of this entry, so
    that two servers may have tools of the same name; `""` for none."""
    confirm_tools: tuple[str, ...] = ()
    """Tools to whose use the caller must agree first; `confirm` says it of all."""

    @model_validator(mode="after")
    def _name_one_server(self) -> "McpToolSettings":
        if (self.command is None) is (self.url is None):
            raise ValueError("needs either a command or a url")
        if self.command is None and (self.args or self.env or self.directory is not None):
            raise ValueError("args, env and directory are for a command; a url takes headers")
        if self.url is None and self.headers:
            raise ValueError("headers are for a url; a command takes env")
        return self


ToolValue: TypeAlias = PythonToolSettings | WebhookToolSettings | McpToolSettings
ToolSettings = Annotated[ToolValue, Field(discriminator="type")]
