"""What the embedded agent answers: the script applied to one conversation."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from gateway.embedded.phrase import split_words
from gateway.embedded.script import Meaning, Script, fill

# Instructions may quote the words to be said: Greet the caller with these words: "Good morning."
_QUOTED: Final = re.compile('["\u201c]([^"\u201c\u201d]+)["\u201d]')


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A tool to call. `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What one response holds: words to say, then tools to call."""

    words: str | None = None
    calls: tuple[FunctionCall, ...] = ()
    meaning: Meaning | None = None


class Brain:
    """Answers for one conversation. It keeps no audio and no ids, only what was meant."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._misunderstood = 0

    def answer(self, text: str | None, tools: Collection[str]) -> Reply:
        """The answer to a caller's words; None stands for speech that was not understood."""
        meaning = None if text is None else self._script.meanings_by_words.get(split_words(text))
        if meaning is None:
            pleas = self._script.not_understood
            self._misunderstood += 1
            return Reply(pleas[(self._misunderstood - 1) % len(pleas)])
        self._misunderstood = 0
        turn = meaning.turn
        words = None if turn.say is None else fill(turn.say, meaning.slots)
        if turn.call is None:
            return Reply(words)
        if turn.call.tool not in tools:
            excuse = turn.without_tool or words or self._script.not_understood[0]
            return Reply(fill(excuse, meaning.slots))
        arguments = {
            name: fill(value, meaning.slots) if isinstance(value, str) else value
            for name, value in turn.call.arguments.items()
        }
        return Reply(words, (FunctionCall(turn.call.tool, json.dumps(arguments)),), meaning)

    def report(self, meaning: Meaning | None, output: str) -> Reply:
        """What to say to a tool's result. A turn without words for it says nothing more."""
        if meaning is None:
            return Reply()
        for reply in meaning.turn.results:
            if reply.contains is None or reply.contains in output:
                return Reply(fill(reply.say, meaning.slots))
        return Reply()

    def greet(self) -> Reply:
        """The greeting of the script."""
        return Reply(self._script.greeting)

    def prompt(self) -> Reply:
        """Words for a caller who says nothing."""
        return Reply(self._script.idle)


def quoted_words(instructions: str) -> str | None:
    """The words that instructions quote to be said: all texts in double quotation marks, joined; None without any."""
    quotes = [quote.strip() for quote in _QUOTED.findall(instructions) if quote.strip()]
    return " ".join(quotes) or None
