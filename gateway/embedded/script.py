"""The script: what the embedded agent understands and says, as YAML.

    greeting: Good evening, this is …
    not_understood: [I am sorry, I did not understand.]
    slots:
      guests: [two, three, four]
    turns:
      - name: booking
        heard: ["a table for {guests} please"]
        say: Let me see.                         # optional words before the tool
        call: {tool: book_table, arguments: {guests: "{guests}"}}
        results:                                 # words for the tool's result; the first that fits
          - contains: '"ok": true'
            say: Your table for {guests} is booked.
          - say: I am sorry, we have no table.
        without_tool: I cannot book tables now.  # where the session does not offer the tool

Every phrase and every sentence may name slots in braces; a phrase stands for all values of its slots.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.embedded.errors import ScriptError, ScriptFault
from gateway.embedded.phrase import split_words

# What the recogniser still tells apart, and what it can hold in memory without slowing down.
MAX_PHRASES: Final = 400
_MAX_SCRIPT_BYTES: Final = 256 * 1024
_SLOT: Final = re.compile(r"\{([a-z_]+)\}")


def _check_phrase(text: str) -> str:
    words = split_words(_SLOT.sub("slot", text))
    if not words:
        raise ValueError("has no words")
    if any(character.isdigit() for word in words for character in word):
        raise ValueError("has digits; numbers are written as they are spoken")
    return text


Phrase = Annotated[str, AfterValidator(_check_phrase)]
Words = Annotated[str, Field(min_length=1, max_length=1000)]
ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
SlotName = Annotated[str, Field(pattern=r"^[a-z_]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Call(_Part):
    """A tool to call, with arguments; slots in their texts are filled in."""

    tool: ToolName
    arguments: Mapping[str, str | int | float | bool | None] = Field(default_factory=dict)


class ToolReply(_Part):
    """Words for a tool's result. Without `contains` they fit every result."""

    say: Words
    contains: str | None = None


class Turn(_Part):
    """One thing that a caller may want: how it is said, and what happens then."""

    name: str
    heard: Annotated[tuple[Phrase, ...], Field(min_length=1)]
    say: Words | None = None
    call: Call | None = None
    results: tuple[ToolReply, ...] = ()
    without_tool: Words | None = None

    @model_validator(mode="after")
    def _does_something(self) -> "Turn":
        if self.say is None and self.call is None:
            raise ValueError("needs words in `say` or a tool in `call`")
        if self.call is None and (self.results or self.without_tool):
            raise ValueError("`results` and `without_tool` need a `call`")
        return self


class Script(_Part):
    """A whole script."""

    name: str
    greeting: Words
    not_understood: Annotated[tuple[Words, ...], Field(min_length=1)]
    idle: Words = "Are you still there?"
    slots: Mapping[SlotName, Annotated[tuple[Phrase, ...], Field(min_length=1)]] = Field(default_factory=dict)
    turns: Annotated[tuple[Turn, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _phrases_are_usable(self) -> "Script":
        seen: dict[tuple[str, ...], str] = {}
        for phrase, meaning in self._expand():
            other = seen.setdefault(split_words(phrase), meaning.turn.name)
            if other != meaning.turn.name:
                raise ValueError(f"the phrase {phrase!r} belongs to the turns {other!r} and {meaning.turn.name!r}")
            if len(seen) > MAX_PHRASES:
                raise ValueError(f"the phrases stand for more than {MAX_PHRASES} ways of saying things")
        return self

    @cached_property
    def meanings(self) -> "Mapping[str, Meaning]":
        """Every phrase with its slots filled, and what it means."""
        return dict(self._expand())

    @cached_property
    def meanings_by_words(self) -> "Mapping[tuple[str, ...], Meaning]":
        """The same by the words that recognition compares."""
        return {split_words(phrase): meaning for phrase, meaning in self.meanings.items()}

    def _expand(self) -> "Iterator[tuple[str, Meaning]]":
        for turn in self.turns:
            for phrase in turn.heard:
                names = list(dict.fromkeys(_SLOT.findall(phrase)))
                unknown = [name for name in names if name not in self.slots]
                if unknown:
                    raise ValueError(f"the phrase {phrase!r} names the slot {unknown[0]!r}, which `slots` lacks")
                for values in itertools.product(*(self.slots[name] for name in names)):
                    filled = dict(zip(names, values, strict=True))
                    yield fill(phrase, filled), Meaning(turn, filled)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a phrase means: a turn of the script and the values of the slots in the phrase."""

    turn: Turn
    slots: Mapping[str, str]


def fill(text: str, slots: Mapping[str, str]) -> str:
    """The text with the slots' values; names without a value stay as they are."""
    return _SLOT.sub(lambda match: slots.get(match[1], match[0]), text)


def load_script(path: Path) -> Script:
    """The script in a file. Raises ScriptError with every fault, its line and its key."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ScriptError((ScriptFault(str(path), 1, "script", f"cannot be read: {error.strerror}"),)) from error
    if len(source) > _MAX_SCRIPT_BYTES:
        raise ScriptError((ScriptFault(str(path), 1, "script", f"is longer than {_MAX_SCRIPT_BYTES} bytes"),))
    return parse_script(source, str(path))


def parse_script(source: bytes | str, file: str) -> Script:
    """The script in a text; `file` names it in faults."""
    try:
        root = yaml.compose(source, Loader=yaml.SafeLoader)
        value = yaml.safe_load(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark is not None else 1
        reason = f"is not YAML: {getattr(error, 'problem', None) or error}"
        raise ScriptError((ScriptFault(file, line, "script", reason),)) from error
    try:
        return Script.model_validate(value)
    except ValidationError as error:
        raise ScriptError(
            tuple(_fault(file, root, detail["loc"], detail["msg"]) for detail in error.errors())
        ) from error


def _fault(file: str, root: yaml.Node | None, location: tuple[int | str, ...], message: str) -> ScriptFault:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or "script"
    return ScriptFault(file, _line(root, location), key, message.removeprefix("Value error, "))


def _line(node: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    """The line of the innermost node that exists on the way to the key."""
    line = 1
    for part in location:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, found = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line + 1
        if found is None:
            break
        node = found
    return line
