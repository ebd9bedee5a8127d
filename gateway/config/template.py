"""Texts with places to be filled in for each call: Jinja2's syntax, in its sandbox.

Faults in a text are found when the configuration is read: it may only name what a call has.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from jinja2 import Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator

# What a call has, by the name that a text uses.
KNOWN_NAMES: Final = frozenset({"caller", "dialled", "trunk", "agent", "verdict", "headers", "variables"})
# Values come from the wire and become part of what a model is told: long enough for a name or an account number.
VALUE_LIMIT: Final = 256
# What begins an expression, a statement or a comment, and the line end that is written otherwise.
_MARKS: Final = ("{{", "{%", "{#", "\r")
_ENVIRONMENT: Final = ImmutableSandboxedEnvironment(autoescape=False, keep_trailing_newline=True)


class HeaderValues(dict[str, str]):
    """SIP headers by their names in any case; empty for one that did not come."""

    def __missing__(self, name: str) -> str:
        return dict.get(self, name.lower(), "")


@dataclass(frozen=True, slots=True)
class CallValues:
    """What a text can be filled with. `verdict` is empty where nobody checked the caller's number."""

    caller: str
    dialled: str
    trunk: str
    agent: str
    headers: Mapping[str, str] = field(default_factory=HeaderValues)
    variables: Mapping[str, str] = field(default_factory=dict)
    verdict: str = ""


def header_values(headers: Iterable[tuple[str, str]]) -> HeaderValues:
    """The headers of an INVITE that a text may use: those of the customer's own making, `X-…`."""
    return HeaderValues({name.lower(): clean(value) for name, value in headers if name.lower().startswith("x-")})


def clean(value: str) -> str:
    """A value from the wire as one short line."""
    return "".join(character for character in value if character.isprintable())[:VALUE_LIMIT]


def parse_template(text: str) -> str:
    """A text that can be filled in. Raises ValueError with the line where it is at fault."""
    try:
        names = meta.find_undeclared_variables(_ENVIRONMENT.parse(text))
    except TemplateError as error:
        raise ValueError(f"is at fault in line {getattr(error, 'lineno', 1)}: {error.message}") from None
    if unknown := sorted(names - KNOWN_NAMES):
        raise ValueError(f"names {unknown[0]!r}, which no call has; there is {', '.join(sorted(KNOWN_NAMES))}")
    return text


def is_plain(text: str) -> bool:
    """Whether `fill` would return the text as it stands, since there is nothing in it to be filled in."""
    return not any(mark in text for mark in _MARKS)


@functools.lru_cache(maxsize=256)
def names(text: str, name: str) -> bool:
    """Whether a text that can be filled in uses a name."""
    return not is_plain(text) and name in meta.find_undeclared_variables(_ENVIRONMENT.parse(text))


def fill(text: str, values: CallValues) -> str:
    """The text with a call's values.

    Raises:
        TemplateError: an expression in it cannot be evaluated, or would leave the sandbox.
    """
    return _compiled(text).render(
        caller=clean(values.caller),
        dialled=clean(values.dialled),
        trunk=values.trunk,
        agent=values.agent,
        verdict=values.verdict,
        headers=values.headers,
        variables=values.variables,
    )


@functools.lru_cache(maxsize=256)
def _compiled(text: str) -> Template:
    return _ENVIRONMENT.from_string(text)


TemplateText = Annotated[str, AfterValidator(parse_template)]
