"""Agents that change while calls go on: the real process, real files, real calls."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.caller import Caller
from gateway.config.model import GatewayConfiguration
from gateway.reload import needs_restart, with_numbers
from tests.helpers.gateway_process import ECHO, UNKNOWN_NUMBER, GatewayProcess, Record
from tests.helpers.sipp import LOOPBACK

pytestmark = pytest.mark.process


class Files:
    """The configuration of a running gateway, with its agents in files of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agents = folder / "agents"
        self.agents.mkdir()
        self.write("reception", instructions="You are the first.")

    def write(self, name: str, **values: object) -> None:
        content = {"backends": ["silent"], "instructions": "Say nothing.", **values}
        partial = self.folder / f"{name}.partial"
        partial.write_text(yaml.safe_dump(content))
        partial.replace(self.agents / f"{name}.yaml")

    def adapt(self, configuration: Record) -> None:
        configuration["agents_directory"] = "agents"
        configuration["agents_watch_seconds"] = 0.1
        configuration["trunks"]["loopback"]["numbers"] = {ECHO: "reception"}

    def edit(self, key: str, value: object) -> None:
        path = self.folder / "gateway.yaml"
        configuration: dict[str, Any] = yaml.safe_load(path.read_text())
        section: Any = configuration
        *steps, last = key.split(".")
        for step in steps:
            section = section[step]
        section[last] = value
        partial = path.with_suffix(".partial")
        partial.write_text(yaml.safe_dump(configuration, sort_keys=False))
        partial.replace(path)


CALLERS = itertools.count(15550000000)


@asynccontextmanager
async def called(gateway: GatewayProcess, number: str = ECHO) -> AsyncIterator[str]:
    """A call that is answered; its caller's number tells its record from others."""
    host, port = gateway.sip_address
    name = f"+{next(CALLERS)}"
    async with Caller(LOOPBACK) as caller:
        placed = caller.place(f"sip:{number}@{host}:{port}", caller=name)
        await placed.answered()
        yield name
        placed.hang_up()
        await placed.ended()


async def record_of(gateway: GatewayProcess, name: str) -> Record:
    async with asyncio.timeout(5):
        while not (found := [record for record in gateway.records() if record["caller"] == name]):
            await asyncio.sleep(0.02)
    return found[0]


async def call(gateway: GatewayProcess, number: str = ECHO) -> Record:
    """The record of a short call."""
    async with called(gateway, number) as name:
        pass
    return await record_of(gateway, name)


async def test_changed_agents_answer_new_calls_and_running_calls_keep_theirs(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with GatewayProcess(tmp_path, calls=10, adapt=files.adapt) as gateway:
        first = await call(gateway)
        async with called(gateway) as running:
            files.write("reception", instructions="You are the second.", version="second")
            reloaded = gateway.wait_for_event("reloaded")
            assert list(reloaded["changed"]) == ["reception"]
            second = await call(gateway)
        kept = await record_of(gateway, running)
        assert kept["agent_version"] == first["agent_version"]
        assert second["agent_version"] == reloaded["changed"]["reception"]
        assert second["agent_version"].startswith("second+")


async def test_a_file_with_faults_changes_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with GatewayProcess(tmp_path, calls=10, adapt=files.adapt) as gateway:
        first = await call(gateway)
        files.write("reception", backends=["sillent"])
        fault = gateway.wait_for_event("configuration_fault")["fault"]
        assert "reception.yaml" in fault
        assert "did you mean 'silent'?" in fault
        gateway.wait_for_event("reload_refused")
        assert gateway.state()["counters"]["reloads_refused"] == 1
        files.write("reception", instructions="You are mended.")
        gateway.wait_for_event("reloaded")
        assert (await call(gateway))["agent_version"] != first["agent_version"]
        # A tool that cannot be made is a fault too.
        files.write("reception", tools={"look_up": {"type": "python", "function": "json:no_such_function"}})
        gateway.wait_for_event("reload_refused", after=len(gateway.log_events))
        assert gateway.state()["counters"]["reloads_refused"] == 2


async def test_sighup_reads_numbers_and_new_agents_and_says_what_must_wait(tmp_path: Path) -> None:
    files = Files(tmp_path)

    def adapt(configuration: Record) -> None:
        files.adapt(configuration)
        configuration["agents_watch_seconds"] = 0

    with GatewayProcess(tmp_path, calls=10, adapt=adapt) as gateway:
        files.write("night", instructions="You are the night.")
        files.edit("trunks.loopback.numbers", {ECHO: "reception", UNKNOWN_NUMBER: "night"})
        files.edit("limits.calls", 9)
        files.edit("backends.silent.mode", "echo")
        files.edit("backends.later", {"type": "embedded"})
        files.write("patient", backends=["later"])
        os.kill(gateway.pid, signal.SIGHUP)
        gateway.wait_for_event("reloaded")
        waiting = gateway.wait_for_event("restart_needed")["sections"]
        assert waiting == ["backends.later", "backends.silent", "limits"]
        assert gateway.wait_for_event("agent_without_backend")["agent"] == "patient"
        assert (await call(gateway, UNKNOWN_NUMBER))["agent"] == "night"


async def test_a_share_of_calls_goes_to_the_candidate(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.write("reception", candidate={"agent": "reception-next", "percent": 50})
    files.write("reception-next", version="next")
    with GatewayProcess(tmp_path, calls=50, adapt=files.adapt) as gateway:
        records = [await call(gateway) for _ in range(16)]
    answered = {record["agent"] for record in records}
    assert answered == {"reception", "reception-next"}  # by chance one of them alone: once in 32,768 runs
    for record in records:
        is_candidate = record["agent"] == "reception-next"
        assert record["candidate_of"] == ("reception" if is_candidate else None)
        assert record["agent_version"].startswith("next+") is is_candidate


def configuration(**values: object) -> GatewayConfiguration:
    return GatewayConfiguration.model_validate(
        {
            "trunks": {"pbx": {"allow": ["192.0.2.0/24"], "numbers": {"*": "one"}}},
            "agents": {"one": {"backends": ["model"], "instructions": "Be brief."}},
            "backends": {"model": {"type": "embedded"}},
            **values,
        }
    )


def test_numbers_are_taken_over_and_the_rest_of_a_trunk_is_not() -> None:
    before = configuration()
    numbers = configuration(trunks={"pbx": {"allow": ["192.0.2.0/24"], "numbers": {"1000": "one"}}})
    assert list(needs_restart(before, numbers)) == []
    assert with_numbers(before.trunks, numbers.trunks)["pbx"].numbers == {"1000": "one"}
    moved = configuration(
        trunks={
            "pbx": {"allow": ["198.51.100.0/24"], "numbers": {"1000": "one"}},
            "new": {"allow": ["198.51.100.0/24"], "numbers": {"*": "one"}},
        }
    )
    assert sorted(needs_restart(before, moved)) == ["trunks.new", "trunks.pbx"]
    taken = with_numbers(before.trunks, moved.trunks)
    assert list(taken) == ["pbx"]
    assert taken["pbx"].allow == before.trunks["pbx"].allow
