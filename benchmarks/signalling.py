"""Signalling alone: INVITE, 180, 200, ACK, BYE, 200 with no media, on one core.

Usage, from the project's root: `.venv/bin/python -m benchmarks.signalling [--whole] [--rate CALLS_A_SECOND]`. What is
measured is the SIP stack with the gate before it, or, with `--whole`, the real `trunkline serve`, in which each call
also opens and closes a model session over a WebSocket and two RTP sockets, and leaves log lines and a record. All is as
the configuration has it by default, but for the trunk's rate. The callers and a model server that costs little
(benchmarks.plane_model) are one process on the other core. Each call is placed at its time, whatever became of those
before it, acknowledged, and ended at once. Exits with 1 where the bar is missed.
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
from typing import IO, Any, Final, cast

import uvloop

from benchmarks.first_light import ROOT
from benchmarks.measure import Measure, at_most, exactly, exit_code, show, told
from benchmarks.media_calls import Gateway, Usage, configuration, free_port
from benchmarks.plane_model import serve_model
from benchmarks.processor import GATEWAY_CORE, LOAD_CORE, before_others, waited_seconds
from benchmarks.sip_caller import GOOD, Caller, CallError
from tests.helpers.rtp_capture import percentile

RATE: Final = 250.0
SECONDS_LIMIT: Final = 15.0
WARM_UP_CALLS: Final = 200
WARM_UP_SECONDS: Final = 2.0
DISCARD_PORT: Final = 40_000  # nobody sends there: a call that ends at once has no media
TITLE: Final = "Trunkline, signalling"
EMPTY_WITHIN: Final = 20.0
# Places for calls, each with two ports that rest for five seconds after use: 250 a second want 1,250 places.
PLACES: Final = 2500


def whole_configuration(folder: Path, sip_port: int, model_port: int) -> dict[str, Any]:
    """The defaults, but for the trunk's rate: what is measured is what the process can do, not what it allows."""
    settings = configuration(folder, sip_port, model_port, "silent", PLACES, srtp="allowed")
    rate = {"per_second": 10_000, "burst": 10_000}
    return settings | {
        "limits": {"calls": PLACES, "overload": {"trunk_rate": rate}, "drain_timeout_seconds": 1},
        "logging": {"level": "info"},
    }


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
    usage = Usage.of(pid)
    return usage.user_s + usage.system_s


async def measure_whole(rate: float, seconds: float, folder: Path) -> list[Measure]:
    """Starts the gateway, warms it up, measures, and waits until nothing is left."""
    os.sched_setaffinity(0, {LOAD_CORE})
    sip_port = free_port()
    settings = whole_configuration(folder, sip_port, await serve_model())
    gateway = await asyncio.to_thread(Gateway, folder, sip_port, settings, GATEWAY_CORE, 0)
    sys.stdout.write(f"gateway {gateway.pid}, load {os.getpid()}, logs {folder}\n")
    sys.stdout.flush()
    try:
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_datagram_endpoint(lambda: Caller((GOOD, sip_port)), local_addr=(GOOD, 0))
        await load(caller, WARM_UP_CALLS / WARM_UP_SECONDS, WARM_UP_SECONDS)
        waits, used = [waited_seconds(pid) for pid in (gateway.pid, os.getpid())], cpu_seconds(gateway.pid)
        set_up_ms, failures, took = await load(caller, rate, seconds)
        waited, load_waited = (
            waited_seconds(pid) - before for pid, before in zip((gateway.pid, os.getpid()), waits, strict=True)
        )
        worked = cpu_seconds(gateway.pid) - used
        state = await asyncio.to_thread(empty_state, gateway)
    finally:
        log = await asyncio.to_thread(gateway.end)
    return [
        *judge(rate, set_up_ms, failures, took, worked),
        told(
            "  waited for a core: gateway, load",
            f"{waited * 1000:.0f} ms, {load_waited * 1000:.0f} ms of {took:.1f} s",
        ),
        exactly("  ports, dialogs, calls left", state["ports"] + state["dialogs"] + state["calls"]),
        exactly("  tracebacks in its log", log.count("Traceback")),
        exactly("  records missing", round(rate * seconds) + WARM_UP_CALLS - record_count(folder)),
    ]


def record_count(folder: Path) -> int:
    """Call records that were written."""
    return len(list((folder / "records").glob("*.json")))


def empty_state(gateway: Gateway) -> dict[str, Any]:
    """The gateway's state once it holds no call, or after a while."""
    deadline = time.monotonic() + EMPTY_WITHIN
    while True:
        state = gateway.state()
        if not any(state[kind] for kind in ("calls", "dialogs", "ports")) or time.monotonic() > deadline:
            return state
        time.sleep(0.1)


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
    parser.add_argument("--first", action="store_true", help="before all others on a busy machine (root only)")
    parser.add_argument("--folder", type=Path, default=None, help="where logs go")
    arguments = parser.parse_args()
    seconds = min(arguments.seconds, SECONDS_LIMIT)
    gc.disable()  # a collection here would be taken for a late answer
    if not arguments.whole:
        measures = measure_stack(arguments.rate, seconds)
        show(measures, TITLE)
        return exit_code(measures)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="signalling-"))
    folder.mkdir(parents=True, exist_ok=True)
    with before_others(arguments.first):
        measures = uvloop.run(measure_whole(arguments.rate, seconds, folder.resolve()))
    show(measures, TITLE)
    return exit_code(measures)


if __name__ == "__main__":
    sys.exit(main())
