"""A conversation as it was heard, for a new session that takes over from a lost one."""

from collections.abc import Sequence
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


def unanswered_tools(history: Sequence[ConversationTurn]) -> dict[str, str]:
    """The names of the tools that were still at work when a session ended, by the ids of their calls."""
    return {turn.call_id: turn.name for turn in history if isinstance(turn, ToolExchange) and turn.output is None}


def answered_tools(history: Sequence[ConversationTurn]) -> frozenset[str]:
    """The ids of the tool calls whose results the history tells."""
    return frozenset(turn.call_id for turn in history if isinstance(turn, ToolExchange) and turn.output is not None)
