"""The line that SIGUSR1 asks for: what a running gateway holds and has counted."""

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.realtime_server import realtime_server
from tests.helpers.gateway_process import Record
from tests.helpers.house import House, calling, house, obliging
from tests.helpers.patience import until
from tests.helpers.s3_server import BUCKET, HOST, KEY_ID, SECRET

PROGRAM = Path(__file__).parents[1] / "fakes" / "mcp_program.py"


def state_of(gateway: House, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    caplog.clear()
    gateway.service.log_state()
    (line,) = (vars(record) for record in caplog.records if record.message == "state")
    return line


async def test_faults_of_recordings_are_counted_in_the_state_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with realtime_server(obliging) as model, house(tmp_path, model.url) as gateway:
        assert state_of(gateway, caplog)["counters"].get("recording_fault", 0) == 0
        shutil.rmtree(tmp_path / "recordings")
        (tmp_path / "recordings").write_text("no folder")
        async with calling(gateway) as call:
            await until(lambda: len(call.captured) > 1600)
        assert (await gateway.record())["recording"]["fault"]
        state = state_of(gateway, caplog)
    assert state["counters"]["recording_fault"] == 1
    assert state["uploads_waiting"] == 0
    assert state["tool_servers"] == []


async def test_uploads_that_wait_and_fail_are_counted_in_the_state_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def adapt(configuration: Record) -> None:
        configuration["recording"]["upload"] = {
            "bucket": BUCKET,
            "endpoint": f"http://{HOST}:9",  # where nobody listens
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
        }

    async with realtime_server(obliging) as model, house(tmp_path, model.url, adapt=adapt) as gateway:
        async with calling(gateway) as call:
            await until(lambda: len(call.captured) > 1600)
        await until(lambda: state_of(gateway, caplog)["counters"].get("upload_fault", 0) == 1)
        assert state_of(gateway, caplog)["uploads_waiting"] == 1


async def test_servers_of_tools_stand_in_the_state_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tool = {"type": "mcp", "command": sys.executable, "args": [str(PROGRAM), "stdio"]}

    def adapt(configuration: Record) -> None:
        for agent in configuration["agents"].values():
            agent["tools"] = {"crm": tool}

    async with realtime_server(obliging) as model, house(tmp_path, model.url, adapt=adapt) as gateway:
        (server,) = state_of(gateway, caplog)["tool_servers"]
    assert server["name"] == "crm"
    assert server["connected"]
    assert (server["sessions"], server["too_long"]) == (1, 0)
    assert server["tools"] > 0
