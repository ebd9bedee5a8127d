"""What every kind of tool is to a call."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from pydantic import BaseModel, ValidationError

from gateway.realtime.settings import ToolDefinition
from gateway.tools.errors import ToolArgumentsError, ToolFailedError

Arguments = Mapping[str, object]

# Longer arguments are a model that has lost its way, not a form that somebody filled in by telephone.
ARGUMENTS_LIMIT: Final = 64_000
# A result becomes part of the model's context, and is paid for again with every answer.
RESULT_LIMIT: Final = 32_000
# How many of pydantic's findings a model is told: it corrects one after the other.
_FINDINGS_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class TransferOutcome:
    """What the far end said of a transfer at last: a SIP status and its reason."""

    status: int
    reason: str

    @property
    def is_done(self) -> bool:
        """Whether the caller is with somebody else now."""
        return 200 <= self.status < 300


class Line(Protocol):
    """The call, as far as tools may touch it."""

    def end_call(self) -> None:
        """Hangs up when the agent's last word has been heard."""

    def send_digits(self, digits: str) -> bool:
        """Sends keys to the caller's side; False where the far end takes none."""

    async def transfer_call(self, uri: str) -> TransferOutcome:
        """Hands the caller over once the agent's last word has been heard. The call ends where that succeeds."""
        ...

    async def hold_caller(self, music: Path, max_seconds: float) -> bool:
        """Plays music to the caller until the agent speaks again; False where that cannot be."""
        ...

    async def play_announcement(self, file: Path) -> bool:
        """Plays a file to the caller, to its end; False where that cannot be."""
        ...

    def pause_recording(self) -> bool:
        """Keeps nothing of what is said from now on, in sound or in writing; False where there is no recording."""

    async def resume_recording(self) -> bool:
        """Keeps again what is said once the agent's words of the pause have been heard; False where nothing records."""
        ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """For which call a tool runs. `tool_call_id` is the model's name of this request.

    `verdict` is what became of the check of the caller's number (empty where nobody checked), `headers` are those of
    the INVITE that begin with X-, by their lower-case names: the caller's words, not yours.
    """

    call_id: str
    tool_call_id: str
    caller: str
    dialled: str
    line: Line
    trunk: str = ""
    agent: str = ""
    verdict: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """How a call treats a tool: the keys of the same names in the configuration say more.

    `answers`: whether the model gets a result; without one it says nothing about it.
    """

    timeout_seconds: float = 10.0
    fallback: str | None = None
    filler: str | None = None
    filler_after_seconds: float = 1.5
    confirm: bool = False
    answers: bool = True


class Tool(Protocol):
    """One tool of an agent; it is shared by all calls and holds nothing of any."""

    @property
    def definition(self) -> ToolDefinition:
        """What the model is told."""
        ...

    @property
    def policy(self) -> ToolPolicy:
        """How the call treats it."""
        ...

    def check(self, arguments: str) -> Arguments:
        """The model's JSON text as values. Raises ToolArgumentsError; nothing may run then."""
        ...

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """Does it, and returns something that can be written as JSON. Raises ToolError."""
        ...


def check_arguments(model: type[BaseModel], arguments: str) -> dict[str, object]:
    """Holds a model's JSON text against a schema; a truncated text is as wrong as a missing value.

    Raises:
        ToolArgumentsError: with what is wrong, in words that the model can act on.
    """
    if len(arguments) > ARGUMENTS_LIMIT:
        raise ToolArgumentsError(f"The arguments are longer than {ARGUMENTS_LIMIT} characters.")
    try:
        checked = model.model_validate_json(arguments or "{}")
    except ValidationError as error:
        findings = [
            f"{'.'.join(map(str, finding['loc'])) or 'arguments'}: {finding['msg']}"
            for finding in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise ToolArgumentsError("; ".join(findings[:_FINDINGS_TOLD])) from None
    return {name: getattr(checked, name) for name in type(checked).model_fields}


def schema_of(model: type[BaseModel]) -> dict[str, object]:
    """The JSON Schema of a tool's arguments, without the titles that pydantic adds."""
    schema = {"properties": {}, **model.model_json_schema()}
    return {key: value for key, value in _untitled(schema).items() if key != "description"}


def _untitled(schema: dict[str, object]) -> dict[str, object]:
    """A schema's own titles are noise to a model; a property that is called `title` is not."""
    cleaned: dict[str, object] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in {"properties", "$defs"} and isinstance(value, dict):
            cleaned[key] = {
                name: _untitled(inner) if isinstance(inner, dict) else inner for name, inner in value.items()
            }
        elif isinstance(value, dict) and key in {"items", "additionalProperties"}:
            cleaned[key] = _untitled(value)
        else:
            cleaned[key] = value
    return cleaned


def as_output(result: object) -> str:
    """A result as the text that the model reads. A str stays as it is; everything else becomes JSON.

    Raises:
        ToolFailedError: it cannot be written as JSON.
    """
    try:
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=_as_json)
    except Exception as error:
        # A value of any kind may be in it, with code of its own.
        raise ToolFailedError(f"The result cannot be written as JSON: {type(error).__name__}: {error}") from error
    if len(text) > RESULT_LIMIT:
        return json.dumps({"truncated": True, "beginning": text[:RESULT_LIMIT]}, ensure_ascii=False)
    return text


def _as_json(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
