"""The gateway process ends when it is told to, whatever its far ends, its models and the machine do, with all records.

Nobody here answers a BYE. `GatewayProcess.stop` holds the process to its end: in time, with exit code 0.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.helpers.gateway_process import ECHO, SILENT, STALLED, GatewayProcess, Record, gateway_configuration
from tests.helpers.raw_caller import RawCaller, described, status_of
from tests.helpers.sipp import free_udp_ports

pytestmark = pytest.mark.process

ROOM = "3000"
PAUSE_S = 2.0
Do = Callable[[GatewayProcess], None]


def with_room(configuration: Record) -> None:
    configuration["conferences"] = {"room": {"seats": [{"number": ROOM}], "agent": "echo"}}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pause(gateway: GatewayProcess) -> None:
    os.kill(gateway.pid, signal.SIGSTOP)
    time.sleep(PAUSE_S)
    os.kill(gateway.pid, signal.SIGCONT)


def end_while_paused(gateway: GatewayProcess) -> None:
    os.kill(gateway.pid, signal.SIGSTOP)
    os.kill(gateway.pid, signal.SIGTERM)
    time.sleep(PAUSE_S)
    os.kill(gateway.pid, signal.SIGCONT)


def pause_while_it_ends(gateway: GatewayProcess) -> None:
    os.kill(gateway.pid, signal.SIGTERM)
    gateway.wait_for_event("draining")
    pause(gateway)


def end_twice(gateway: GatewayProcess) -> None:
    os.kill(gateway.pid, signal.SIGTERM)
    gateway.wait_for_event("draining")
    os.kill(gateway.pid, signal.SIGTERM)


def freeze_the_models(gateway: GatewayProcess) -> None:
    """Whoever closes a connection gets no answer."""
    for child in children(gateway.pid):
        os.kill(child, signal.SIGSTOP)


@pytest.mark.parametrize("act", [pause, end_while_paused, pause_while_it_ends, end_twice, freeze_the_models])
def test_a_gateway_ends_with_calls_of_every_kind(tmp_path: Path, act: Do) -> None:
    with GatewayProcess(tmp_path, calls=50, adapt=with_room) as gateway, ExitStack() as stack:
        callers: list[RawCaller] = []

        def caller(number: str) -> RawCaller:
            callers.append(stack.enter_context(RawCaller(gateway.sip_address, number)))
            return callers[-1]

        for number in [ECHO] * 5 + [SILENT] * 3 + [ROOM] * 2:
            assert status_of(caller(number).ask("INVITE", described())) == 200
        for number in (ECHO, ROOM):  # answered, and never acknowledged
            unacknowledged = caller(number)
            unacknowledged.send(unacknowledged.write("INVITE", described()))
            assert status_of(unacknowledged.final("INVITE")) == 200
        for number in [STALLED] * 3 + [ECHO] * 5:  # in the midst of their set-up
            early = caller(number)
            early.send(early.write("INVITE", described()))
        gateway.wait_until_state(lambda state: state["calls"] == len(callers))
        act(gateway)
        gateway.stop()
        for each in callers:
            assert gateway.wait_for_record(each.sip_call_id)["end"]["by"] in {"gateway", "caller"}
        assert gateway.log_events[-1]["event"] == "stopped"


def test_a_gateway_that_cannot_end_is_ended_by_force_and_says_where_it_stood(tmp_path: Path) -> None:
    """A tool's module has left a thread behind, for which the interpreter would wait for ever."""
    (tmp_path / "clinging.py").write_text(
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, name='clinging').start()\n"
        "def look_up() -> str:\n"
        "    'Looks something up.'\n"
        "    return ''\n"
    )
    (port,) = free_udp_ports(1)
    configuration = gateway_configuration(tmp_path, sip_port=port)
    configuration["agents"]["echo"]["tools"] = {"look_up": {"type": "python", "function": "clinging:look_up"}}
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(configuration))
    program = (
        "import sys; from pathlib import Path; from gateway.cli import serve\n"
        "serve.LAST_RESORT_SECONDS = 1.0\n"
        "sys.exit(serve.run(Path(sys.argv[1])))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if '"event": "ready"' in line:
                process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 70, lines
    log = "".join(lines)
    assert '"event": "stopped"' in log
    assert '"event": "ended_by_force"' in log
    assert "most recent call first" in log  # the stacks of all threads
