"""pydantic's errors as sentences that the writer of a YAML file can act on."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

from gateway.config.model import GatewayConfiguration
from gateway.config.source import Source, Tree, TreePath
from gateway.config.value import suggestion

_Words = Mapping[str, Any]
_KEY_MARKER: Final = "[key]"  # how pydantic says that a mapping's key is at fault
_INSTEAD_OF_WHAT_MAY_BE_PRIVATE: Final = "the value from the environment"

_SENTENCES: Final[Mapping[str, Callable[[_Words, str], str]]] = {
    "missing": lambda ctx, value: "is required",
    "int_parsing": lambda ctx, value: f"must be a whole number, not {value}",
    "int_type": lambda ctx, value: f"must be a whole number, not {value}",
    "int_parsing_size": lambda ctx, value: "is too large a number",
    "float_parsing": lambda ctx, value: f"must be a number, not {value}",
    "float_type": lambda ctx, value: f"must be a number, not {value}",
    "finite_number": lambda ctx, value: f"must be a number, not {value}",
    "bool_parsing": lambda ctx, value: f"must be true or false, not {value}",
    "bool_type": lambda ctx, value: f"must be true or false, not {value}",
    "string_type": lambda ctx, value: f"must be text, not {value}",
    "tuple_type": lambda ctx, value: f"must be a list, not {value}",
    "mapping_type": lambda ctx, value: f"must be a mapping of keys to values, not {value}",
    "dict_type": lambda ctx, value: f"must be a mapping of keys to values, not {value}",
    "model_type": lambda ctx, value: f"must be a mapping of keys to values, not {value}",
    "model_attributes_type": lambda ctx, value: f"must be a mapping of keys to values, not {value}",
    "enum": lambda ctx, value: f"must be {ctx['expected']}, not {value}",
    "literal_error": lambda ctx, value: f"must be {ctx['expected']}, not {value}",
    "union_tag_invalid": lambda ctx, value: f"must be {ctx['expected_tags'].replace(', ', ' or ')}, not {value}",
    "union_tag_not_found": lambda ctx, value: "needs a type",
    "greater_than": lambda ctx, value: f"must be greater than {ctx['gt']:g}, not {value}",
    "greater_than_equal": lambda ctx, value: f"must be at least {ctx['ge']:g}, not {value}",
    "less_than": lambda ctx, value: f"must be less than {ctx['lt']:g}, not {value}",
    "less_than_equal": lambda ctx, value: f"must be at most {ctx['le']:g}, not {value}",
    "string_too_short": lambda ctx, value: "must not be empty",
    "string_too_long": lambda ctx, value: f"must have at most {ctx['max_length']} characters",
    "too_short": lambda ctx, value: "must not be empty",
    "string_pattern_mismatch": lambda ctx, value: f"{value} does not have the form {ctx['pattern']}",
    "value_error": lambda ctx, value: str(ctx["error"]),
}


@functools.cache
def _schema() -> dict[str, Any]:
    return GatewayConfiguration.model_json_schema()


def known_keys(location: TreePath) -> tuple[str, ...]:
    """The keys that the model knows at a pydantic location (which holds the tags of unions beside keys)."""
    schema = _resolve(_schema())
    for part in location:
        schema = _resolve(_step(schema, part))
    return tuple(schema.get("properties", {}))


def _step(schema: dict[str, Any], part: str | int) -> dict[str, Any]:
    choices: dict[str, str] = schema.get("discriminator", {}).get("mapping", {})
    if part in choices:
        return {"$ref": choices[str(part)]}
    named = next(iter(schema.get("patternProperties", {}).values()), None)
    found = schema.get("properties", {}).get(part) or named or schema.get("items")
    return found if isinstance(found, dict) else {}


def _resolve(schema: dict[str, Any]) -> dict[str, Any]:
    reference: str | None = schema.get("$ref")
    return _schema()["$defs"][reference.rsplit("/", 1)[-1]] if reference else schema


def is_about_key(error: ErrorDetails) -> bool:
    """Whether the key itself is at fault, and not its value."""
    return error["type"] == "extra_forbidden" or error["loc"][-1:] == (_KEY_MARKER,)


def tree_path(source: Source, error: ErrorDetails) -> TreePath:
    """Where an error is in the tree: pydantic's location holds the tags of unions and a marker for keys beside keys."""
    location: TreePath = error["loc"]
    if location[-1:] == (_KEY_MARKER,):
        location = location[:-1]
    if error["type"] == "union_tag_invalid":
        location = (*location, error["ctx"]["discriminator"].strip("'"))
    path: TreePath = ()
    for index, part in enumerate(location):
        if (*path, part) in source.values or index == len(location) - 1:
            path = (*path, part)
    return path


def explain(error: ErrorDetails, path: TreePath, source: Source) -> str:
    """What is wrong, in a sentence without a subject: the key stands before it."""
    if error["type"] == "extra_forbidden":
        return f"is not known here{suggestion(str(path[-1]), known_keys(error['loc'][:-1]))}"
    value = describe(str(path[-1]) if is_about_key(error) else value_at(source.tree, path))
    sentence = _SENTENCES.get(error["type"])
    reason = sentence(error.get("ctx", {}), value) if sentence else error["msg"]
    return reason.replace(value, _INSTEAD_OF_WHAT_MAY_BE_PRIVATE) if path in source.filled and value != "''" else reason


def value_at(tree: Tree, path: TreePath) -> Tree:
    """The value that stands at a path; None where nothing does."""
    for part in path:
        if isinstance(tree, dict) and isinstance(part, str):
            tree = tree.get(part)
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            return None
    return tree


def describe(value: Tree) -> str:
    """A value as it is shown in a sentence."""
    match value:
        case None:
            return "nothing"
        case str():
            return repr(value)
        case list():
            return "a list"
        case dict():
            return "a mapping"
