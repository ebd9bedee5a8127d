"""A conversation as it was heard, for a new session that takes over from a lost one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallerTurn:
    """What the caller said."""

    text: str


@dataclass(frozen=True, slots=True)
class AgentTurn:
    """What the caller heard the agent say: never more than left the socket."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolExchange:
    """A tool call with its result; `output` None while the tool has not answered."""

    call_id: str
    name: str
    arguments: str
    output: str | None


@dataclass(frozen=True, slots=True)
class SystemNote:
    """Something the model was told that nobody said, such as a digit that was pressed."""

    text: str


ConversationTurn = CallerTurn | AgentTurn | ToolExchange | SystemNote
