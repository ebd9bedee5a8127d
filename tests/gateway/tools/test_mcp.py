"""Servers of the Model Context Protocol as tools: real servers of the official package, over stdio and HTTP."""

import asyncio
import json
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from pydantic import ValidationError

from gateway.config.agent import AgentSettings
from gateway.config.tool import McpToolSettings
from gateway.tools.catalog import Equipment, ToolCatalog
from gateway.tools.errors import ToolArgumentsError, ToolConfigurationError, ToolFailedError
from gateway.tools.mcp_tool import NAME_LIMIT, legal_name
from gateway.tools.tool import RESULT_LIMIT, Tool, ToolContext, as_output
from tests.fakes.line import SilentLine
from tests.helpers.gateway_process import RTP_PORTS_BELOW, RTP_PORTS_FROM
from tests.helpers.sipp import LOOPBACK


def free_tcp_port() -> int:
    """Below the kernel's ephemeral ports: a client that knocks at one of those again and again can meet itself there,
    and then the server cannot have it."""
    while True:
        port = random.randrange(RTP_PORTS_FROM, RTP_PORTS_BELOW)
        with suppress(OSError), socket.create_server((LOOPBACK, port)):
            return port


PROGRAM = Path(__file__).parents[2] / "fakes" / "mcp_program.py"


CONTEXT = ToolContext("c1", "t1", "+15551234567", "+15550001111", SilentLine())


def stdio(log: Path | None = None, **settings: object) -> dict[str, object]:
    args = [str(PROGRAM), "stdio", *([] if log is None else ["--log", str(log)])]
    return {"type": "mcp", "command": sys.executable, "args": args, **settings}


def agent(**tools: Mapping[str, object]) -> AgentSettings:
    return AgentSettings.model_validate({"backends": ["model"], "instructions": "Be brief.", "tools": tools})


@asynccontextmanager
async def equipped(*agents: AgentSettings) -> AsyncIterator[list[Equipment]]:
    """The tools of agents, whose servers have listed theirs."""
    async with ToolCatalog() as catalog:
        equipment = [catalog.equip(settings) for settings in agents]
        for each in equipment:
            catalog.connect(each)
        await catalog.listed()
        yield equipment


async def use(tool: Tool, **arguments: object) -> Any:
    return await tool.run(tool.check(json.dumps(arguments)), CONTEXT)


async def until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def http_server(port: int, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), "http", str(port), "--log", str(log),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    assert process.returncode is None, "the server did not start"
                    await asyncio.sleep(0.05)
        writer.close()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_programs_tools_are_listed_and_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "of the gateway")
    async with equipped(agent(crm=stdio(env={"CRM_SECRET": "of the program"}))) as (equipment,):
        tools = equipment.toolbox()
        assert set(tools) == {
            "end_call", "crm_look_up", "crm_orders_list_all", "crm_wait", "crm_fail", "crm_much", "crm_too_much",
            "crm_picture", "crm_learn",
        }  # fmt: skip
        definition = tools["crm_look_up"].definition
        assert definition.description == "Looks a customer up."
        assert definition.parameters == {
            "type": "object",
            "properties": {"name": {"title": "Name", "type": "string"}},
            "required": ["name"],
        }
        result = await use(tools["crm_look_up"], name="Ada")
        assert (result["name"], result["secret"]) == ("Ada", "of the program")
        assert result["key"] is None  # the gateway's keys are not the program's
        assert await use(tools["crm_orders_list_all"]) == "none"


async def test_a_servers_tools_over_http_too(tmp_path: Path) -> None:
    port = free_tcp_port()
    entry = {"type": "mcp", "url": f"http://127.0.0.1:{port}/mcp", "allow": ["look_up", "too_much"], "prefix": ""}
    async with http_server(port, tmp_path / "log"), equipped(agent(crm=entry)) as (equipment,):
        tools = equipment.toolbox()
        assert set(tools) == {"end_call", "look_up", "too_much"}
        with pytest.raises(ToolFailedError, match="longer than"):
            await use(tools["too_much"])
        assert (await use(tools["look_up"], name="Ada"))["name"] == "Ada"


@pytest.mark.parametrize("mode", ["auto", "legacy"], ids=["json", "events"])
async def test_a_server_that_says_too_much_over_http_is_counted_too_and_goes_on(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Before 2026 servers answer with an event."""
    monkeypatch.setattr("gateway.tools.mcp_server.Client", partial(Client, mode=mode))
    port, log = free_tcp_port(), tmp_path / "log"
    entry = {"type": "mcp", "url": f"http://127.0.0.1:{port}/mcp"}
    async with http_server(port, log), equipped(agent(crm=entry)) as (equipment,):
        tools = equipment.toolbox()
        waiting = asyncio.create_task(use(tools["crm_wait"], seconds=1))
        await until(lambda: log.exists() and "begun" in log.read_text())
        for _ in range(2):
            with pytest.raises(ToolFailedError, match="answer cannot be used: The answer is longer than 1048576 bytes"):
                await use(tools["crm_too_much"])
        assert (await use(tools["crm_look_up"], name="Ada"))["name"] == "Ada"
        assert await waiting == {"result": "done"}, "another call's tool does not notice"
        (server,) = equipment.servers
        state = server.state()
        assert (state["connected"], state["sessions"], state["too_long"]) == (True, 1, 2)
    assert [getattr(record, "event", "") for record in caplog.records].count("tool_server_too_long") == 2


async def test_a_program_that_says_too_much_is_told_of_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with equipped(agent(crm=stdio())) as (equipment,):
        tools = equipment.toolbox()
        pid = (await use(tools["crm_look_up"], name="Ada"))["pid"]
        for _ in range(2):
            with pytest.raises(ToolFailedError, match="answer cannot be used: The answer is longer than 1048576 bytes"):
                await use(tools["crm_too_much"])
        assert (await use(tools["crm_look_up"], name="Ada"))["pid"] == pid
        (server,) = equipment.servers
        assert server.state() == {
            "name": "crm",
            "connected": True,
            "sessions": 1,
            "tools": len(tools) - 1,
            "too_long": 2,
        }, "all but end_call are the server's"
    assert [getattr(record, "event", "") for record in caplog.records].count("tool_server_too_long") == 2


async def test_a_session_ends_where_nobody_can_tell_whose_answer_was_too_long(tmp_path: Path) -> None:
    program = tmp_path / "backwards.py"
    program.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    tool = {'name': 'look_up', 'inputSchema': {'type': 'object'}}\n"
        "    result = {\n"
        "        'initialize': {'protocolVersion': '2025-06-18', 'capabilities': {'tools': {}},\n"
        "                       'serverInfo': {'name': 'backwards', 'version': '1'}},\n"
        "        'tools/list': {'tools': [tool]},\n"
        "        'tools/call': {'content': [{'type': 'text', 'text': 'x' * 3_000_000}]},\n"
        "    }.get(asked['method'])\n"
        "    said = {'result': result} if result else {'error': {'code': -32601, 'message': 'no'}}\n"
        "    said |= {'id': asked.get('id'), 'jsonrpc': '2.0', 'padding': 'x' * 300}\n"
        "    if 'id' in asked:\n"
        "        print(json.dumps(said), flush=True)\n"
    )
    entry = {"type": "mcp", "command": sys.executable, "args": [str(program)]}
    async with equipped(agent(crm=entry)) as (equipment,):
        with pytest.raises(ToolFailedError, match="not known whether it was done"):
            await use(equipment.toolbox()["crm_look_up"])
        (server,) = equipment.servers
        await until(lambda: server.sessions == 2)


async def test_arguments_that_are_cut_short_or_missing_reach_no_server() -> None:
    async with equipped(agent(crm=stdio())) as (equipment,):
        tool = equipment.toolbox()["crm_look_up"]
        for arguments in ('{"name": "A', "[]", "{}", "[" * 100_000, json.dumps({"name": "x" * 100_000})):
            with pytest.raises(ToolArgumentsError):
                tool.check(arguments)


async def test_results_are_words_of_a_bounded_length() -> None:
    async with equipped(agent(crm=stdio())) as (equipment,):
        tools = equipment.toolbox()
        assert await use(tools["crm_picture"]) == "Here it is.\n[an image was left out]"
        output = json.loads(as_output(await use(tools["crm_much"])))
        assert output["truncated"] is True
        assert len(output["beginning"]) == RESULT_LIMIT
        with pytest.raises(ToolFailedError, match=r"fail"):
            await use(tools["crm_fail"])
        with pytest.raises(ToolFailedError, match=r"seconds"):  # the server says what is wrong with the value
            await use(tools["crm_wait"], seconds="soon")


async def test_cancelling_a_call_cancels_it_at_the_server(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with equipped(agent(crm=stdio(log))) as (equipment,):
        call = asyncio.create_task(use(equipment.toolbox()["crm_wait"]))
        await until(lambda: log.exists() and "begun" in log.read_text())
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: "cancelled" in log.read_text())


async def test_a_program_killed_in_mid_call_fails_the_call_and_is_started_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with equipped(agent(crm=stdio(log))) as (equipment,):
        tools = equipment.toolbox()
        first = (await use(tools["crm_look_up"], name="Ada"))["pid"]
        call = asyncio.create_task(use(tools["crm_wait"]))
        await until(lambda: log.exists() and "begun" in log.read_text())
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(20):
            with pytest.raises(ToolFailedError, match="not known whether it was done"):
                await call
        (server,) = equipment.servers
        await until(lambda: server.sessions == 2)
        assert (await use(tools["crm_look_up"], name="Ada"))["pid"] != first


async def test_a_server_killed_in_mid_call_fails_the_call_and_is_found_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, port = tmp_path / "log", free_tcp_port()
    entry = {"type": "mcp", "url": f"http://127.0.0.1:{port}/mcp"}
    async with http_server(port, log) as process, equipped(agent(crm=entry)) as (equipment,):
        tools = equipment.toolbox()
        call = asyncio.create_task(use(tools["crm_wait"]))
        await until(lambda: log.exists() and "begun" in log.read_text())
        process.kill()
        async with asyncio.timeout(20):
            with pytest.raises(ToolFailedError, match="not known whether it was done"):
                await call
            with pytest.raises(ToolFailedError, match="cannot be reached"):  # at once enough for a caller
                await use(tools["crm_look_up"], name="Ada")
        await process.wait()
        async with http_server(port, log):
            (server,) = equipment.servers
            await until(lambda: server.sessions == 2)
            assert (await use(tools["crm_look_up"], name="Ada"))["name"] == "Ada"
    assert any(getattr(record, "event", "") == "tool_server_lost" for record in caplog.records)


async def test_tools_that_a_server_adds_are_there_for_the_next_call() -> None:
    async with equipped(agent(crm=stdio())) as (equipment,):
        tools = equipment.toolbox()
        assert await use(tools["crm_learn"]) == "ok"
        await until(lambda: "crm_learnt" in equipment.toolbox())
        assert "crm_learnt" not in tools  # a running call keeps what its model was told
        assert await use(equipment.toolbox()["crm_learnt"]) == {"result": "learnt"}


async def test_a_server_of_the_protocol_before_2026_is_served_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins with `initialize`, and says by a message of its own that its tools have changed."""
    monkeypatch.setattr("gateway.tools.mcp_server.Client", partial(Client, mode="legacy"))
    log = tmp_path / "log"
    async with equipped(agent(crm=stdio(log))) as (equipment,):
        tools = equipment.toolbox()
        assert await use(tools["crm_learn"]) == "ok"
        await until(lambda: "crm_learnt" in equipment.toolbox())
        pid = (await use(tools["crm_look_up"], name="Ada"))["pid"]
        call = asyncio.create_task(use(tools["crm_wait"]))
        await until(lambda: log.exists() and "begun" in log.read_text())
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ToolFailedError, match="not known whether it was done"):
            await call
        (server,) = equipment.servers
        await until(lambda: server.sessions == 2)
        assert (await use(tools["crm_look_up"], name="Ada"))["pid"] != pid


async def test_one_session_serves_all_agents() -> None:
    async with equipped(agent(crm=stdio()), agent(other=stdio(allow=["look_up"]))) as (first, second):
        assert first.servers == second.servers
        pids = {
            (await use(tool, name="Ada"))["pid"]
            for tool in (first.toolbox()["crm_look_up"], second.toolbox()["other_look_up"])
        }
        assert len(pids) == 1


async def test_a_server_that_is_not_there_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.tools.catalog.FIRST_LISTING_SECONDS", 0.2)
    entry = {"type": "mcp", "command": "/nowhere/at-all"}
    async with equipped(agent(crm=entry)) as (equipment,):
        assert set(equipment.toolbox()) == {"end_call"}


async def test_a_catalog_closes_while_a_server_is_sought() -> None:
    """A connection that is refused in the moment of the end must not swallow the end."""
    for pause_s in (0.0, 0.001, 0.005, 0.02, 0.25, 0.26, 0.3):
        entry = {"type": "mcp", "url": f"http://127.0.0.1:{free_tcp_port()}/mcp"}
        async with asyncio.timeout(8), ToolCatalog() as catalog:
            equipment = catalog.equip(agent(crm=entry))
            catalog.connect(equipment)
            await asyncio.sleep(pause_s)


async def test_a_session_that_nobody_uses_any_more_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.tools.mcp_server.REFRESH_SECONDS", 0.1)
    async with ToolCatalog() as catalog:
        equipment = catalog.equip(agent(crm=stdio()))
        catalog.connect(equipment)
        await catalog.listed()
        (server,) = equipment.servers
        del equipment
        await until(lambda: server.is_closed)


async def test_nothing_is_left_of_a_program_that_ignores_the_end(tmp_path: Path) -> None:
    async with equipped(agent(crm=stdio())) as (equipment,):
        pid = (await use(equipment.toolbox()["crm_look_up"], name="Ada"))["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_programs_complaints_become_log_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    script = tmp_path / "complains.py"
    script.write_text("import sys; sys.stderr.write('no database\\n')")
    entry = McpToolSettings.model_validate({"type": "mcp", "command": sys.executable, "args": [str(script)]})
    async with ToolCatalog() as catalog:
        catalog.connect(catalog.equip(agent(crm=entry.model_dump())))
        await until(lambda: any(getattr(record, "text", "") == "no database" for record in caplog.records))


async def test_named_tools_ask_the_caller_first() -> None:
    async with equipped(agent(crm=stdio(confirm_tools=["fail"], fallback="I cannot."))) as (equipment,):
        tools = equipment.toolbox()
        assert tools["crm_fail"].policy.confirm
        assert tools["crm_fail"].policy.fallback == "I cannot."
        assert not tools["crm_look_up"].policy.confirm


def test_without_the_package_the_fault_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.tools.catalog.has_mcp", lambda: False)
    with pytest.raises(ToolConfigurationError, match=r"trunkline\[mcp\]"):
        ToolCatalog().equip(agent(crm=stdio()))


@pytest.mark.parametrize(
    ("prefix", "name", "taken", "legal"),
    [
        ("crm", "look_up", set(), "crm_look_up"),
        ("", "look up!", set(), "look_up_"),
        ("", "7days", set(), "_7days"),
        ("", "größe", set(), "gr__e"),
    ],
)
def test_names_are_made_legal(prefix: str, name: str, taken: set[str], legal: str) -> None:
    assert legal_name(prefix, name, taken) == legal


def test_a_value_that_the_environment_does_not_have_is_left_out() -> None:
    settings = McpToolSettings.model_validate({"type": "mcp", "command": "a", "env": {"TOKEN": None, "MODE": "test"}})
    assert list(settings.env) == ["MODE"]


def test_names_that_collide_or_are_too_long_are_told_apart() -> None:
    taken: set[str] = set()
    for name in ("a.b", "a b", "a/b", "x" * 80, "x" * 81):
        legal = legal_name("crm", name, taken)
        assert legal not in taken
        assert len(legal) <= NAME_LIMIT
        taken.add(legal)


@pytest.mark.parametrize(
    "values",
    [{}, {"command": "a", "url": "https://a.example"}, {"url": "http://a.example"}, {"url": "https://a@b.example"},
     {"command": "a", "headers": {"x": "y"}}, {"url": "https://a.example", "args": ["x"]},
     {"command": "a", "prefix": "a b"}],
)  # fmt: skip
def test_an_entry_names_one_server(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        McpToolSettings.model_validate({"type": "mcp", **values})
