"""A conversation as a new session is told of it: what was said, what was heard, what tools gave, in their order."""

from collections.abc import Iterable
from typing import Final

from gateway.call.conversation import Conversation, Speaker, Utterance
from gateway.realtime.conversation import AgentTurn, CallerTurn, ConversationTurn, SystemNote
from gateway.tools.desk import ToolWork

# Turns that a new session is told. Each is a message that the service must take before it answers: 200 are some
# twenty minutes of talk, and a model that needs more than that has lost more than its session.
TURNS_LIMIT: Final = 200


def history_of(
    conversation: Conversation, works: Iterable[ToolWork] = (), notes: Iterable[tuple[float, str]] = ()
) -> tuple[ConversationTurn, ...]:
    """The turns of a conversation, oldest first; of the agent's words only those that were heard.

    Args:
        conversation: what was said.
        works: the tools that were asked for, with or without a result.
        notes: what the model was told beside that, each with its moment in monotonic seconds.
    """
    timed: list[tuple[float, ConversationTurn]] = [
        (utterance.at_ms, turn) for utterance in conversation.utterances if (turn := _turn(utterance)) is not None
    ]
    timed += [((work.began - conversation.started) * 1000, work.exchange) for work in works]
    timed += [((at - conversation.started) * 1000, SystemNote(text)) for at, text in notes]
    timed.sort(key=lambda entry: entry[0])
    return tuple(turn for _, turn in timed[-TURNS_LIMIT:])


def _turn(utterance: Utterance) -> ConversationTurn | None:
    text = utterance.heard_text.strip()
    if not text:
        return None
    return AgentTurn(text) if utterance.speaker is Speaker.AGENT else CallerTurn(text)
