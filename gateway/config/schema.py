"""The published JSON Schema, by which editors complete and check the YAML (config/gateway.schema.json)."""

import json
from typing import Any, Final

from gateway.config.model import GatewayConfiguration

SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# A value may be left to the environment wherever a number, a boolean or a word of a list is expected.
PLACEHOLDER: Final = {"type": "string", "pattern": r"\$\{[A-Za-z_]", "title": "value from the environment"}
_REFERENCE: Final = {"$ref": "#/$defs/Placeholder"}
_STAYS_OUTSIDE: Final = frozenset({"description", "default"})
_NARROW_KEYWORDS: Final = frozenset({"enum", "const", "pattern"})
_NARROW_TYPES: Final = frozenset({"integer", "number", "boolean"})


def published_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, as text editors want it."""
    schema = GatewayConfiguration.model_json_schema()
    definitions = {name: _widen(definition, name) for name, definition in sorted(schema.pop("$defs").items())}
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "Trunkline gateway",
        **_widen(schema, ""),
        "required": ["trunks", "backends"],
        "$defs": {**definitions, "Placeholder": PLACEHOLDER},
    }


def schema_text() -> str:
    """The published schema as the text of its file."""
    return json.dumps(published_schema(), indent=2, ensure_ascii=False) + "\n"


def _widen(schema: dict[str, Any], key: str) -> dict[str, Any]:
    """Lets a placeholder stand for every value that is not free text, and closes mappings with named entries."""
    result = {name: _widen_part(name, value, key) for name, value in schema.items() if name != "title"}
    if "patternProperties" in result:
        result["additionalProperties"] = False
    if key == "type" or not (result.get("type") in _NARROW_TYPES or result.keys() & _NARROW_KEYWORDS):
        return result  # the key `type` chooses the shape of a section, so it stays what it is
    outside = {name: value for name, value in result.items() if name in _STAYS_OUTSIDE}
    inside = {name: value for name, value in result.items() if name not in _STAYS_OUTSIDE}
    return {**outside, "anyOf": [inside, _REFERENCE]}


def _widen_part(keyword: str, value: Any, key: str) -> Any:
    match keyword:
        case "properties" | "patternProperties":
            return {name: _widen(inner, name) for name, inner in value.items()}
        case "items" | "additionalProperties" if isinstance(value, dict):
            return _widen(value, key)
        case "anyOf" | "oneOf":
            return [_widen(inner, key) for inner in value]
    return value
