"""What is published beside the model: the JSON Schema, the example, the reference page."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import inspect, load
from gateway.config.reference import BEGIN, END, reference, with_reference
from gateway.config.schema import published_schema, schema_text
from gateway.config.source import read_source

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "config"
PAGE = ROOT / "docs" / "configuration.md"


def described(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of every section, by section and key."""
    definitions = schema["$defs"]
    for section, definition in [("", schema), *definitions.items()]:
        for key, field in definition.get("properties", {}).items():
            target = definitions[field["$ref"].rsplit("/", 1)[-1]] if "$ref" in field else {}
            yield f"{section}.{key}", {**target, **field}


def test_published_schema_is_current() -> None:
    assert (CONFIG / "gateway.schema.json").read_text() == schema_text(), (
        "run: trunkline schema -o config/gateway.schema.json"
    )


def test_reference_page_is_current() -> None:
    page = PAGE.read_text()
    assert page == with_reference(page), "run: trunkline schema --reference docs/configuration.md"


def test_page_without_a_place_for_the_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="has no place for the reference"):
        with_reference("# A page\n")


def test_renewed_page_keeps_what_stands_around_the_reference() -> None:
    assert with_reference(f"before\n{BEGIN}\nold\n{END}\nafter\n") == f"before\n{reference()}\nafter\n"


def test_every_key_has_a_meaning_in_schema_and_reference() -> None:
    keys = list(described(published_schema()))
    assert len(keys) > 50
    assert [name for name, field in keys if not field.get("description")] == []
    text = reference()
    assert [name for name, _ in keys if f"| `{name.rsplit('.', 1)[-1]}` |" not in text] == []


def test_every_section_refuses_unknown_keys() -> None:
    schema = published_schema()
    sections = [schema, *(definition for definition in schema["$defs"].values() if "properties" in definition)]
    assert all(section["additionalProperties"] is False for section in sections)


def test_references_inside_the_schema_lead_somewhere() -> None:
    schema = published_schema()
    text = json.dumps(schema)
    names = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert names == set(schema["$defs"])


def test_number_may_be_left_to_the_environment() -> None:
    port = published_schema()["$defs"]["ListenerSettings"]["properties"]["port"]
    assert {"$ref": "#/$defs/Placeholder"} in port["anyOf"]


def test_example_runs_without_an_account() -> None:
    inspection = inspect(CONFIG / "gateway.yaml", {})
    assert inspection.faults == ()
    configuration = load(CONFIG / "gateway.yaml", {})
    assert configuration.backends["openai"].type == "openai"
    assert set(configuration.trunks) == {"twilio", "local"}


@pytest.mark.parametrize(
    "file", sorted([*CONFIG.glob("*.yaml"), *CONFIG.glob("agents/*.yaml")]), ids=lambda file: file.name
)
def test_yaml_names_a_schema_that_is_there(file: Path) -> None:
    first = file.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    target, _, fragment = first.partition("$schema=")[2].partition("#/")
    schema = json.loads(file.parent.joinpath(target).read_text())
    for part in filter(None, fragment.split("/")):
        schema = schema[part]
    tree = read_source(file, {}).tree
    assert isinstance(tree, dict)
    assert set(tree) <= set(schema["properties"])


def test_agent_file_of_the_documentation_is_an_agent(tmp_path: Path) -> None:
    page = PAGE.read_text()
    agent = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "workshop.yaml").write_text(agent)
    (tmp_path / "agents" / "reception.yaml").write_text((CONFIG / "agents" / "reception.yaml").read_text())
    (tmp_path / "gateway.yaml").write_text((CONFIG / "gateway.yaml").read_text())
    assert set(load(tmp_path / "gateway.yaml", {}).agents) == {"reception", "workshop"}
    pointer = agent.splitlines()[0].partition("#/$defs/")[2]
    assert pointer in published_schema()["$defs"]
