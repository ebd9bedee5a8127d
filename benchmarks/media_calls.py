"""What a call costs the real gateway process, and how it sounds, from 10 to 400 calls on one core.

    python -m benchmarks.media_calls [--calls 10 100 200 400] [--seconds 12] [--mode echo|talk|silent] [--srtp] [--pcm]

`trunkline serve` runs on one core; every far end (SIP, RTP and the model, benchmarks.plane_peer) is another process on
the other core. CPU is /proc/PID/stat of the gateway, memory its resident set. The far ends' own CPU and lateness stand
in the table: while they are small, they were not the limit. On a machine that others use too, trust the CPU figures,
which count only this process, more than the delays, and compare figures of runs in which "a sendto", taken right before
in a loop of its own, cost about the same: that is how fast the machine was.

`--srtp` lets every caller speak SRTP. `--pcm` puts a model of linear samples behind the gateway, 16 kHz in and 24 kHz
out, so that everything is decoded, resampled and encoded; it talks, and no tone comes back through it.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.processor import datagram_cost_us

ROOT: Final = Path(__file__).parents[1]
HOST: Final = "127.0.0.1"
SETTLE_S: Final = 3.0
FIRST_PORT: Final = 20_000
PORTS_A_CALL: Final = 2
TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
Figures = dict[str, float]

COLUMNS: Final = (
    ("calls", "calls", "{:.0f}"),
    ("cpu_ms", "CPU ms/call-s", "{:.2f}"),
    ("system_ms", "of it kernel", "{:.2f}"),
    ("core_percent", "core %", "{:.0f}"),
    ("append_ms", "append ms", "{:.0f}"),
    ("received_percent", "RTP out %", "{:.2f}"),
    ("heard_percent", "model heard %", "{:.2f}"),
    ("gap_p99_ms", "gap p99 ms", "{:.1f}"),
    ("delay_p50_ms", "tone p50 ms", "{:.1f}"),
    ("delay_p99_ms", "tone p99 ms", "{:.1f}"),
    ("memory_kb", "kB/call", "{:.0f}"),
    ("lag_p99_ms", "lag p99 ms", "{:.1f}"),
    ("sendto_us", "a sendto µs", "{:.1f}"),
    ("generator_cpu_percent", "far end core %", "{:.0f}"),
    ("generator_late_p99_ms", "its lateness p99", "{:.1f}"),
    ("generator_sent_percent", "it sent %", "{:.1f}"),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far."""

    user_s: float
    system_s: float
    resident_kb: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """Reads /proc."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(int(fields[11]) / TICKS_A_SECOND, int(fields[12]) / TICKS_A_SECOND, pages * 4)


def backend(model_port: int, mode: str) -> dict[str, Any]:
    """The model: Gemini's protocol for the mode `pcm`, else OpenAI's with the mode as the model's name."""
    if mode == "pcm":
        return {"type": "gemini", "url": f"ws://{HOST}:{model_port}/live", "model": "pcm", "api_key": "none"}
    return {
        "type": "openai",
        "dialect": "compatible",
        "url": f"ws://{HOST}:{model_port}/v1/realtime",
        "model": f"embedded-{mode}",
    }


def configuration(folder: Path, sip_port: int, model_port: int, mode: str, calls: int, *, srtp: str) -> dict[str, Any]:
    """One trunk, one agent, one backend."""
    return {
        "network": {
            "sip": [{"transport": "udp", "bind": HOST, "port": sip_port}],
            "public_address": HOST,
            "rtp": {"bind": HOST, "first_port": FIRST_PORT, "last_port": FIRST_PORT + PORTS_A_CALL * calls * 2 - 1},
        },
        "trunks": {"loopback": {"allow": [f"{HOST}/32"], "numbers": {"*": "agent"}, "srtp": srtp}},
        "agents": {"agent": {"backends": ["model"], "instructions": "Measure."}},
        "backends": {"model": backend(model_port, mode)},
        "records": {"directory": str(folder / "records")},
        "recording": {"enabled": False},
        # What is measured is the cost of calls, not the refusal of more of them on a machine that others use too.
        "limits": {
            "calls": calls,
            "drain_timeout_seconds": 1,
            "overload": {"lag_ms": 1000, "occupancy": 1, "half_open": calls},
        },
        "logging": {"level": "warning"},
    }


def free_port() -> int:
    """A UDP port that nobody holds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def end_process(process: "subprocess.Popen[Any]", seconds: float) -> None:
    """Waits for a process that was asked to end; one that does not is left to nobody."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


class FarEnds:
    """The other process."""

    def __init__(self, core: int, niceness: int, *, srtp: bool = False) -> None:
        command = [
            "nice",
            "-n",
            str(niceness),
            "taskset",
            "-c",
            str(core),
            sys.executable,
            "-m",
            "benchmarks.plane_peer",
        ]
        self._process = subprocess.Popen(  # noqa: S603 - our own file
            [*command, "--srtp"] if srtp else command,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self.model_port = int(self._hear()["model_port"])

    def _hear(self) -> Figures:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit("the far ends ended")
        return dict(json.loads(line))

    def tell(self, order: Figures) -> None:
        """One order."""
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def ask(self, order: Figures) -> Figures:
        """One order, and what comes of it."""
        self.tell(order)
        return self._hear()

    def end(self) -> None:
        """Hangs up."""
        with suppress(BrokenPipeError):  # it has ended already, and said why
            self.tell({"end": 1})
        end_process(self._process, 20)


class Gateway:
    """The process that is measured."""

    def __init__(self, folder: Path, sip_port: int, settings: dict[str, Any], core: int, niceness: int) -> None:
        path = folder / "gateway.yaml"
        path.write_text(yaml.safe_dump(settings))
        self._log = folder / "gateway.log"
        trunkline = Path(sys.executable).with_name("trunkline")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                ["nice", "-n", str(niceness), "taskset", "-c", str(core), str(trunkline), "serve", "-c", str(path)],  # noqa: S607
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, cwd=folder,
            )  # fmt: skip
        self.pid = self._process.pid
        for _ in range(300):
            if f":{sip_port:04X}" in Path("/proc/net/udp").read_text():
                return
            time.sleep(0.1)
        raise SystemExit(f"the gateway does not listen:\n{self._log.read_text()}")

    def state(self) -> dict[str, Any]:
        """What it holds and counts; empty where it does not answer."""
        seen = self._log.read_text().count("media_clock")
        self._process.send_signal(signal.SIGUSR1)
        for _ in range(100):
            time.sleep(0.05)
            lines = [line for line in self._log.read_text().splitlines() if "media_clock" in line]
            if len(lines) > seen:
                return dict(json.loads(lines[-1]))
        return {}

    def clock_lag(self) -> Figures:
        """The media clock's lag since it was asked last."""
        return dict(self.state().get("media_clock", {}))

    def end(self) -> str:
        """Stops it; returns its log."""
        self._process.terminate()
        end_process(self._process, 60)
        return self._log.read_text()


def measure(arguments: argparse.Namespace, folder: Path) -> list[Figures]:
    """All steps, in one life of the gateway."""
    cores = sorted(os.sched_getaffinity(0))
    far_ends = FarEnds(cores[-1], arguments.nice, srtp=arguments.srtp)
    sip_port = free_port()
    most = max(arguments.calls)
    mode, srtp = "pcm" if arguments.pcm else arguments.mode, "required" if arguments.srtp else "allowed"
    settings = configuration(folder, sip_port, far_ends.model_port, mode, most + 10, srtp=srtp)
    settings["logging"]["level"] = "info"  # the clock's lag is told in the log
    gateway = Gateway(folder, sip_port, settings, cores[0], arguments.nice)
    idle: float | None = None
    steps: list[Figures] = []
    try:
        far_ends.tell({"sip_port": sip_port})
        for calls in arguments.calls:
            idle = idle or Usage.of(gateway.pid).resident_kb
            placed = far_ends.ask({"dial": calls})
            if placed["calls"] != calls:
                refused = f"{placed['refused']:g} refused, the last with {placed['status']:g}"
                raise SystemExit(f"{placed['calls']:g} of {calls} calls run; {refused}")
            time.sleep(SETTLE_S)
            speed = {"sendto_us": datagram_cost_us(cores[0])}
            steps.append(measure_step(gateway, far_ends, arguments.seconds, idle) | speed)
            show(steps[-1:])
    finally:
        try:
            far_ends.end()
        finally:
            log = gateway.end()
    if "Traceback" in log:
        raise SystemExit(f"the gateway's log holds a traceback:\n{log}")
    return steps


def measure_step(gateway: Gateway, far_ends: FarEnds, seconds: float, idle_kb: float) -> Figures:
    """The figures of one number of calls."""
    far_ends.ask({"settle": 1})
    gateway.clock_lag()
    before = Usage.of(gateway.pid)
    figures = far_ends.ask({"measure": seconds})
    after = Usage.of(gateway.pid)
    lag = gateway.clock_lag()
    call_seconds = figures["calls"] * figures["seconds"]
    user_s, system_s = after.user_s - before.user_s, after.system_s - before.system_s
    return figures | {
        "cpu_ms": (user_s + system_s) * 1000 / call_seconds,
        "system_ms": system_s * 1000 / call_seconds,
        "core_percent": (user_s + system_s) * 100 / figures["seconds"],
        "memory_kb": (after.resident_kb - idle_kb) / figures["calls"],
        "lag_p99_ms": lag.get("p99_ms", 0.0),
        "lag_max_ms": lag.get("max_ms", 0.0),
        "missed_turns": lag.get("missed_turns", 0.0),
    }


def show(steps: list[Figures]) -> None:
    """Prints the table."""
    table = Table()
    for _, heading, _ in COLUMNS:
        table.add_column(heading, justify="right")
    for step in steps:
        table.add_row(*(form.format(step.get(name, 0.0)) for name, _, form in COLUMNS))
    Console(width=200).print(table)


def draw(steps: list[Figures], path: Path) -> None:
    """Four pictures in one: cost, delay, gaps and memory by the number of calls."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    calls = [step["calls"] for step in steps]
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), constrained_layout=True)
    panels = (
        (axes[0][0], "CPU of the gateway (ms per call-second)", ("cpu_ms", "system_ms"), 1.3),
        (axes[0][1], "tone in → tone out (ms)", ("delay_p50_ms", "delay_p99_ms"), None),
        (axes[1][0], "gap between RTP packets, p99, and lag of the clock (ms)", ("gap_p99_ms", "lag_p99_ms"), 25.0),
        (axes[1][1], "memory (kB per call)", ("memory_kb",), 256.0),
    )
    for axis, title, names, bar in panels:
        for name in names:
            axis.plot(calls, [step[name] for step in steps], marker="o", label=name)
        if bar is not None:
            axis.axhline(bar, linestyle="--", linewidth=1, color="grey", label=f"bar: {bar:g}")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("calls")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> int:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[10, 100, 200, 400])
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--mode", choices=["echo", "talk", "silent"], default="echo")
    parser.add_argument("--srtp", action="store_true", help="every caller speaks SRTP")
    parser.add_argument("--pcm", action="store_true", help="the model takes samples at 16 kHz and gives them at 24 kHz")
    parser.add_argument("--nice", type=int, default=0, help="below 0 (root only): before others on the same machine")
    parser.add_argument("--folder", type=Path, default=ROOT / "bench-media")
    arguments = parser.parse_args()
    if shutil.which("taskset") is None:
        raise SystemExit("taskset (util-linux) pins the processes, and is not there")
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    steps = measure(arguments, folder)
    show(steps)
    name = "media-calls" + ("-srtp" if arguments.srtp else "") + ("-pcm" if arguments.pcm else "")
    (folder / f"{name}.json").write_text(json.dumps(steps, indent=2) + "\n")
    draw(steps, folder / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
