"""The backends of a process: what cannot be used is left out, and embedded servers are shared."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.backends.openai.backend import OpenAiBackend
from gateway.config.model import GatewayConfiguration
from gateway.model_supply import create_supply, say_availability

OPENAI = {"type": "openai", "url": "wss://model.invalid/v1/realtime"}


def configuration(agents: Mapping[str, list[str]] | None = None, **backends: Mapping[str, Any]) -> GatewayConfiguration:
    return GatewayConfiguration.model_validate(
        {
            "backends": backends,
            "agents": {name: {"backends": wanted, "instructions": "Go."} for name, wanted in (agents or {}).items()},
        }
    )


async def test_backends_with_one_script_have_one_embedded_server() -> None:
    settings = configuration(one={"type": "embedded", "mode": "talk"}, two={"type": "embedded", "mode": "silent"})
    async with AsyncExitStack() as stack:
        supply = await create_supply(settings.backends, stack)
        backends = [supply.backends[name] for name in ("one", "two")]
        urls = [backend._wire.url for backend in backends if isinstance(backend, OpenAiBackend)]
    assert [url.partition("?")[2] for url in urls] == ["model=embedded-talk", "model=embedded-silent"]
    assert len({url.partition("?")[0] for url in urls}) == 1


async def test_a_backend_without_its_key_is_left_out() -> None:
    settings = configuration(keyless=OPENAI, keyed={**OPENAI, "api_key": "key"})
    async with AsyncExitStack() as stack:
        supply = await create_supply(settings.backends, stack)
    assert list(supply.backends) == ["keyed"]
    assert supply.pools == ()


async def test_the_counters_are_those_of_all_pools() -> None:
    settings = configuration(one={**OPENAI, "api_key": "key", "warm": 1}, two={**OPENAI, "api_key": "key", "warm": 1})
    async with AsyncExitStack() as stack:
        supply = await create_supply(settings.backends, stack)
        for pool in supply.pools:
            pool.counters["asked"] += 1
        assert supply.counters["asked"] == 2


def test_an_agent_without_a_usable_backend_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    say_availability(
        configuration(
            {"mute": ["keyless"], "well": ["keyless", "keyed"]}, keyless=OPENAI, keyed={**OPENAI, "api_key": "k"}
        )
    )
    said = [(record.levelname, record.__dict__["agent"], record.__dict__.get("backend")) for record in caplog.records]
    assert said == [
        ("WARNING", "mute", "keyless"),
        ("ERROR", "mute", None),
        ("WARNING", "well", "keyless"),
        ("INFO", "well", "keyed"),
    ]
