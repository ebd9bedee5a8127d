"""The published JSON Schema, by which editors complete and check the YAML (config/gateway.schema.json)."""

import json
from typing import Any, Final

from gateway.config.model import GatewayConfiguration

SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# A value may be left to the environment wherever a number, a boolean or a word of a list is expected.
PLACEHOLDER: Final = {"type": "string", "pattern": r"\$\{[A-Za-z_]", "title": "value from the environment"}
_REFERENCE: Final = {"$ref": "#/$defs/Placeholder"}
_STAYS_OUTSIDE: Final = frozenset({"title", "description", "default", "writeOnly"})
_NARROW: Final = frozenset({"enum", "const", "pattern"})


def published_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, as text editors want it."""
    schema = GatewayConfiguration.model_json_schema()
    definitions = {name: _widen(definition, name) for name, definition in sorted(schema.pop("$defs").items())}
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "Trunkline gateway",
        **{key: value for key, value in _widen(schema, "").items() if key != "title"},
        "required": ["trunks", "backends"],
        "$defs": {**definitions, "Placeholder": PLACEHOLDER},
    }


def schema_text() -> str:
    """The published schema as the text of its file."""
    return json.dumps(published_schema(), indent=2, ensure_ascii=False) + "\n"


def _widen(schema: Any, key: str) -> Any:
    """Lets a placeholder stand for every value that is not free text, and closes mappings with named entries."""
    if isinstance(schema, list):
        return [_widen(item, key) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {
        name: value if name in {"default", "examples", "required", "discriminator", "enum"} else _widen(value, name)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str))
    }
    if "patternProperties" in result:
        result["additionalProperties"] = False
    if key == "type" or not (result.get("type") in {"integer", "number", "boolean"} or result.keys() & _NARROW):
        return result  # the key `type` chooses the shape of a section, so it stays what it is
    outside = {name: value for name, value in result.items() if name in _STAYS_OUTSIDE}
    inside = {name: value for name, value in result.items() if name not in _STAYS_OUTSIDE}
    return {**outside, "anyOf": [inside, _REFERENCE]}
