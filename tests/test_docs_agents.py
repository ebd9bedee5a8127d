"""docs/agents.md: its configurations are fine, its functions are tools, and its check of signatures holds."""

import importlib.util
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import yaml

from gateway.config.agent import AgentSettings
from gateway.config.load import inspect
from gateway.config.model import GatewayConfiguration
from gateway.roster import Roster, create_editions
from gateway.tools.catalog import ToolCatalog
from gateway.tools.function import FunctionTool
from gateway.tools.tool import ToolPolicy
from gateway.tools.webhook import sign, signing_key

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "agents.md"
BLOCK: Final = re.compile(r"```(?:yaml|python)\n# (?P<file>\S+)\n(?P<text>.*?)```", re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's files, as a reader would write them."""
    (tmp_path / "agents").mkdir()
    for block in BLOCK.finditer(PAGE.read_text()):
        (tmp_path / block["file"]).write_text(block["text"])
    return tmp_path


def module(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, loaded)
    spec.loader.exec_module(loaded)
    return loaded


def configuration(folder: Path) -> GatewayConfiguration:
    inspection = inspect(folder / "gateway.yaml", {})
    assert inspection.faults == ()
    assert inspection.configuration is not None
    return inspection.configuration


def test_every_block_is_in_a_file_or_part_of_an_agent() -> None:
    text = PAGE.read_text()
    parts = re.findall(r"```yaml\n((?!# \S+\n).*?)```", text, re.DOTALL)
    assert len(BLOCK.findall(text)) + len(parts) == len(re.findall(r"```(?:yaml|python)\n", text))
    for part in parts:
        AgentSettings.model_validate({"backends": ["model"], "instructions": "Be brief.", **yaml.safe_load(part)})


def test_the_configuration_is_fine_and_its_agents_can_be_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(folder, "kitchen", monkeypatch)
    editions = {edition.name: edition for edition in create_editions(configuration(folder), ToolCatalog())}
    assert set(editions) == {"reception", "reception-next"}
    assert editions["reception"].version.startswith("winter-menu+")
    tools = editions["reception"].equipment.toolbox()
    assert set(tools) == {
        "end_call", "transfer_call", "pause_recording", "resume_recording", "book_table", "free_tables",
    }  # fmt: skip
    assert list(editions["reception"].equipment.entries) == ["crm"]
    chosen = [Roster(editions.values()).choose("reception", f"call-{number}") for number in range(400)]
    assert 0 < sum(edition is not None and edition.candidate_of == "reception" for edition in chosen) < 100


def test_the_function_is_a_tool(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    function = module(folder, "kitchen", monkeypatch).book_table
    definition = FunctionTool("book_table", function, ToolPolicy(), ThreadPoolExecutor(1)).definition
    assert definition.description == "Books a table."
    parameters: Any = definition.parameters
    assert parameters["required"] == ["guests", "day"]
    assert parameters["properties"]["seat"]["description"] == "Where to sit."


def test_the_check_of_signatures_knows_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_ours = module(folder, "verify", monkeypatch).is_ours
    secret, now = "whsec_a2l0Y2hlbi1zZWNyZXQ=", 1_800_000_000.0
    headers = {"webhook-id": "c1-t1", "webhook-timestamp": str(int(now))}
    headers["webhook-signature"] = sign(signing_key(secret), "c1-t1", headers["webhook-timestamp"], b"{}")
    assert is_ours(secret, headers, b"{}", now)
    assert not is_ours(secret, headers, b"{ }", now)
    assert not is_ours(secret, headers, b"{}", now + 301)
