"""Signalling alone: INVITE, 180, 200, ACK, BYE, 200 with no media, on one core.

Usage, from the project's root: `.venv/bin/python -m benchmarks.signalling [--whole] [--rate CALLS_A_SECOND]`. What is
measured is the SIP stack with the gate before it, or, with `--whole`, the whole gateway process, in which each call
also opens and closes a model session and two RTP sockets and leaves a record. The callers (and the model server) have
the other core. Each call is placed at its time, whatever became of those before it, acknowledged, and ended at once.
Exits with 1 where the bar is missed.
"""

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, cast

import uvloop

from benchmarks.first_light import Measure, at_most, exactly, show, told
from benchmarks.flood import GATEWAY_CORE, GOOD, LOAD_CORE, ROOT, Caller, CallError, pin
from tests.helpers.gateway_process import GatewayProcess, Record
from tests.helpers.rtp_capture import percentile

RATE: Final = 250.0
SECONDS_LIMIT: Final = 15.0
WARM_UP_CALLS: Final = 200
WARM_UP_SECONDS: Final = 2.0
DISCARD_PORT: Final = 40_000  # nobody sends there: a call that ends at once has no media


def open_the_gates(configuration: Record) -> None:
    """What is measured is what the process can do, not what it allows."""
    configuration["limits"]["overload"] = {"trunk_rate": {"per_second": 10_000, "burst": 10_000}}


async def place(caller: Caller, set_up_ms: list[float], failures: list[str]) -> None:
    """One call from INVITE to the BYE's 200."""
    try:
        call = await caller.place(DISCARD_PORT)
        if await call.end():
            set_up_ms.append(call.set_up_ms)
        else:
            failures.append("BYE failed")
    except TimeoutError:
        failures.append("no answer")
    except CallError as error:
        failures.append(str(error).partition("\r\n")[0])


async def load(caller: Caller, rate: float, seconds: float) -> tuple[list[float], list[str], float]:
    """Calls at a rate; set-up times, failures, and the seconds it took."""
    set_up_ms: list[float] = []
    failures: list[str] = []
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(round(rate * seconds)):
            with suppress(ValueError):
                await asyncio.sleep(began + number / rate - time.monotonic())
            group.create_task(place(caller, set_up_ms, failures))
    return set_up_ms, failures, time.monotonic() - began


def measure_stack(rate: float, seconds: float) -> list[Measure]:
    """The SIP stack and the gate, in a process of their own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.answering"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    orders, news = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    try:
        port = int(news.readline())
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {GATEWAY_CORE})
        os.sched_setaffinity(0, {LOAD_CORE})
        set_up_ms, failures, took, worked = uvloop.run(load_stack(port, process.pid, rate, seconds))
    finally:
        orders.close()
        counters = news.read().strip()
        process.wait(10)
    return [*judge(rate, set_up_ms, failures, took, worked), told("  counters", counters)]


async def load_stack(port: int, pid: int, rate: float, seconds: float) -> tuple[list[float], list[str], float, float]:
    """Warms up, and loads; beside what `load` returns, the processor time that the process used."""
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_datagram_endpoint(lambda: Caller((GOOD, port)), local_addr=(GOOD, 0))
    await load(caller, WARM_UP_CALLS / WARM_UP_SECONDS, WARM_UP_SECONDS)
    worked = cpu_seconds(pid)
    set_up_ms, failures, took = await load(caller, rate, seconds)
    return set_up_ms, failures, took, cpu_seconds(pid) - worked


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(gateway: GatewayProcess, rate: float, seconds: float) -> list[Measure]:
    """Warms up, measures, and waits until nothing is left."""
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_datagram_endpoint(lambda: Caller(gateway.sip_address), local_addr=(GOOD, 0))
    await load(caller, WARM_UP_CALLS / WARM_UP_SECONDS, WARM_UP_SECONDS)
    worked = gateway.cpu_seconds()
    set_up_ms, failures, took = await load(caller, rate, seconds)
    worked = gateway.cpu_seconds() - worked
    state = await asyncio.to_thread(
        gateway.wait_until_state, lambda state: not any(state[kind] for kind in ("calls", "dialogs", "ports")), 20.0
    )
    return [
        *judge(rate, set_up_ms, failures, took, worked),
        exactly("  ports, dialogs, calls left", state["ports"] + state["dialogs"] + state["calls"]),
    ]


def judge(rate: float, set_up_ms: list[float], failures: list[str], took: float, worked: float) -> list[Measure]:
    """The figures beside the bars."""
    completed = len(set_up_ms) / took
    return [
        Measure(
            f"calls a second, INVITE…BYE, asked for {rate:g}",
            f"≥ {RATE:g}",
            f"{completed:.0f}",
            completed >= RATE * 0.98,
        ),
        exactly("  failed", len(failures)),
        at_most("  INVITE → 200, p99", percentile(set_up_ms or [9999.0], 99), 50, "ms"),
        told("  median and greatest", f"{percentile(set_up_ms or [0], 50):.1f} ms, {max(set_up_ms or [0]):.1f} ms"),
        told(
            "  the gateway's processor time",
            f"{worked / took * 100:.0f} % of a core, {worked / len(set_up_ms or [0]) * 1000:.2f} ms a call",
        ),
        told("  failures", ", ".join(sorted(set(failures))) or "none"),
    ]


def main() -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--whole", action="store_true", help="the whole gateway, model sessions and records included")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--folder", type=Path, default=None, help="where logs go")
    arguments = parser.parse_args()
    seconds = min(arguments.seconds, SECONDS_LIMIT)
    gc.disable()  # a collection here would be taken for a late answer
    if not arguments.whole:
        measures = measure_stack(arguments.rate, seconds)
        show(measures)
        return int(any(one.is_met is False for one in measures))
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="signalling-"))
    with GatewayProcess(folder, calls=1000, adapt=open_the_gates) as gateway:
        pin(gateway)
        sys.stdout.write(f"gateway {gateway.pid}, load {os.getpid()}, logs {folder}\n")
        sys.stdout.flush()
        measures = uvloop.run(measure(gateway, arguments.rate, seconds))
    show(measures)
    return int(any(one.is_met is False for one in measures))


if __name__ == "__main__":
    sys.exit(main())
