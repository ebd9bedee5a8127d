"""What a function's docstring tells a model: of the function, and of each parameter.

Read are the sections of Google's style (`Args:`) and the fields of Sphinx (`:param name:`).
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

_ARGUMENTS: Final = re.compile(r"(Args|Arguments|Parameters):\s*")
_SECTION: Final = re.compile(r"[A-Z][A-Za-z ]+:\s*")
_GOOGLE_ENTRY: Final = re.compile(r"(?P<indent>\s+)(?P<name>\w+)\s*(\([^)]*\))?:\s*(?P<text>.*)")
_SPHINX_ENTRY: Final = re.compile(r":param\s+(?:[^:]*\s)?(?P<name>\w+):\s*(?P<text>.*)")
_SPHINX_FIELD: Final = re.compile(r":\w+[^:]*:")


def read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The words about the function, and those about its parameters by name; both empty where there are none."""
    words: list[str] = []
    entries: dict[str, list[str]] = {}
    entry: list[str] | None = None  # where lines that go on belong
    indent: str | None = None  # of the entries of an open `Args:` section
    for line in (inspect.getdoc(function) or "").splitlines():
        if _ARGUMENTS.fullmatch(line):
            indent, entry = "", None
        elif (field := _SPHINX_ENTRY.match(line)) is not None:
            entry = entries.setdefault(field["name"], [field["text"]])
        elif _SPHINX_FIELD.match(line):
            entry = []  # of what is returned or raised: nothing for a model
        elif indent is not None and line.startswith(" "):
            found = _GOOGLE_ENTRY.match(line)
            if found is not None and indent in {"", found["indent"]}:
                indent = found["indent"]
                entry = entries.setdefault(found["name"], [found["text"]])
            elif entry is not None:
                entry.append(line.strip())
        elif entry is not None and line.startswith(" "):
            entry.append(line.strip())
        elif indent is not None and not line.strip():
            entry = None
        elif _SECTION.fullmatch(line):
            indent, entry = None, []  # Returns, Raises: nothing for a model
        else:
            indent = entry = None
            words.append(line)
    return "\n".join(words).strip(), {name: " ".join(lines).strip() for name, lines in entries.items()}
