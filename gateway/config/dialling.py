"""How much may be dialled in a minute, by transfers of ours and by those that far ends ask for."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from gateway.config.value import Settings

_PREFIX: Final = re.compile(r"\+[1-9][0-9]{0,14}")
HIGHEST_CAP: Final = 100_000


def parse_prefix(value: str) -> str:
    """The beginning of a number in E.164 form."""
    if not _PREFIX.fullmatch(value):
        raise ValueError(f"{value!r} is not the beginning of a number such as +1900")
    return value


Prefix = Annotated[str, AfterValidator(parse_prefix)]
Cap = Annotated[int, Field(ge=0, le=HIGHEST_CAP)]


class DiallingSettings(Settings):
    """Caps on what is dialled, REFERs of ours included: an agent, a far end or a fault that dials on costs money.

    What is over a cap is not dialled; the far end or the agent is told, and the call goes on.
    """

    per_minute: Cap = 60
    """Destinations dialled in a minute, all together."""
    per_prefix: Cap = 20
    """Destinations dialled in a minute whose numbers begin with the same `prefix_digits` digits, or whose SIP URIs have
    the same host."""
    prefix_digits: Annotated[int, Field(ge=1, le=15)] = 6
    """How many digits make a prefix: with 6, +15557778888 counts among those of +155577."""
    prefixes: Mapping[Prefix, Cap] = {}
    """Caps a minute for prefixes of your choice, each counted as one; the longest that fits holds instead of
    `per_prefix`. 0: never dialled."""
