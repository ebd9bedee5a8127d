"""The reference of docs/configuration.md, written from the model so that it cannot disagree with it."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from gateway.config.model import GatewayConfiguration

BEGIN: Final = "<!-- keys: written by `trunkline schema --reference`, do not edit by hand -->"
END: Final = "<!-- end of keys -->"
# What a key of the user's own choice is called in the headings.
_PLACES: Final = {"trunks": "TRUNK", "agents": "AGENT", "backends": "BACKEND"}
_SCALARS: Final = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
_FORMATS: Final = {"password": "secret text", "ip-address": "IP address", "cidr": "address range", "path": "path"}


def reference() -> str:
    """Every key with its type, default and meaning, as Markdown."""
    schema = GatewayConfiguration.model_json_schema()
    lines = [BEGIN, ""]
    for heading, section in _sections("", schema, schema["$defs"]):
        lines += [f"### {heading}", "", section.get("description", ""), ""] if heading else []
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [_row(key, field, section, schema["$defs"]) for key, field in section["properties"].items()]
        lines.append("")
    return "\n".join([*lines, END])


def with_reference(page: str) -> str:
    """The page with a fresh reference between its markers.

    Raises:
        ValueError: the page has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the reference; it needs the lines {BEGIN} and {END}")
    return f"{before}{reference()}{after}"


def _sections(path: str, section: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield f"`{path}`" if path else "", section
    for key, field in section["properties"].items():
        place = f"{path}.{key}".lstrip(".")
        for suffix, inner in _inner(key, field, definitions):
            for heading, found in _sections(place, inner, definitions):
                yield heading.replace(f"`{place}", f"`{place}{suffix}", 1), found


def _inner(key: str, field: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sections that stand below a key, each with what is put behind the key in its heading."""
    named = next(iter(field.get("patternProperties", {}).values()), None)
    suffix, target = (f".{_PLACES.get(key, 'NAME')}", named) if named else ("", field)
    if "items" in target:
        suffix, target = f"{suffix}[]", target["items"]
    for choice in target.get("oneOf", [target]):
        found = _definition(_present(choice), definitions)
        if "properties" in found:
            tag = found["properties"].get("type", {}).get("const")
            yield (f"{suffix} (type: {tag})" if "oneOf" in target else suffix), found


def _present(field: dict[str, Any]) -> dict[str, Any]:
    """What stands in a field that may be absent."""
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else field


def _definition(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference: str | None = field.get("$ref")
    return definitions[reference.rsplit("/", 1)[-1]] if reference else field


def _row(key: str, field: dict[str, Any], section: dict[str, Any], definitions: dict[str, Any]) -> str:
    meaning = field.get("description") or _definition(field, definitions).get("description", "")
    cells = (f"`{key}`", _type(field, definitions), _default(key, field, section, definitions), meaning)
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"


def _default(key: str, field: dict[str, Any], section: dict[str, Any], definitions: dict[str, Any]) -> str:
    if key in section.get("required", ()) or "minProperties" in field:
        return "**required**"
    value = field.get("default")
    if value in (None, [], {}):
        return "" if _is_section(field, definitions) else "none"
    if isinstance(value, dict):
        return f"`type: {value['type']}`" if "type" in value else ""
    if isinstance(value, list):
        return f"`{json.dumps(value)[1:-1]}`".replace('"', "")
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _is_section(field: dict[str, Any], definitions: dict[str, Any]) -> bool:
    return "properties" in _definition(field, definitions)


def _type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    found = _definition(field, definitions)
    if "anyOf" in found:
        return " or ".join(_type(choice, definitions) for choice in found["anyOf"] if choice.get("type") != "null")
    if "enum" in found:
        return ", ".join(f"`{word}`" for word in found["enum"])
    if "const" in found:
        return f"`{found['const']}`"
    if found.get("type") == "array":
        return f"list of {_type(found['items'], definitions)}"
    if "properties" in found or "oneOf" in found:
        return "section"
    if found.get("type") == "object":
        return "mapping by name" if "patternProperties" in found else "mapping of text to name"
    return _scalar(found)


def _scalar(found: dict[str, Any]) -> str:
    kind = _FORMATS.get(found.get("format", "")) or _SCALARS[found["type"]]
    low, high = found.get("minimum", found.get("exclusiveMinimum")), found.get("maximum")
    if low is None:
        return kind
    above = "above " if "exclusiveMinimum" in found else ""
    return f"{kind}, {above}{low}–{high}" if high is not None else f"{kind}, from {above}{low}"
