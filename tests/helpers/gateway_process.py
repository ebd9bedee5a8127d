"""Starts the real gateway, `trunkline serve -c FILE`, as a process of its own and looks at it from outside.

What a test learns comes by the ways that an operator has: log lines on stderr, call records in a folder, the `state`
line that SIGUSR1 asks for, and /proc.
"""

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from tests.helpers.sipp import LOOPBACK, Address, free_udp_ports

READY_WITHIN_S: Final = 60.0  # the embedded server loads its models first
STOPPED_WITHIN_S: Final = 20.0
ANSWERED_WITHIN_S: Final = 5.0
POLL_S: Final = 0.02
RTP_PORTS_FROM: Final = 20_000
RTP_PORTS_BELOW: Final = 32_000  # the kernel's ephemeral ports start above

ECHO: Final = "1000"
TALK: Final = "1001"
SILENT: Final = "1002"
BRIEF: Final = "1003"  # the gateway hangs up after a second
STALLED: Final = "1004"  # the model server takes the connection and never says a word: the call rings on
UNREACHABLE: Final = "1005"  # nobody listens where the model should be
AGENT: Final = "1006"
TWILIO_NUMBER: Final = "+15550001111"  # as BRIEF
UNKNOWN_NUMBER: Final = "2999"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SipTimers:
    """The values of RFC 3261 §17.1.1.1; tests that wait for 64*T1 make them small."""

    t1_ms: int = 500
    t2_ms: int = 4000
    t4_ms: int = 5000


class UnansweredServer(AbstractContextManager["UnansweredServer"]):
    """A TCP port on which connections are made by the kernel and never served."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind((LOOPBACK, 0))
        self._socket.listen(64)

    @property
    def url(self) -> str:
        return f"ws://{LOOPBACK}:{self._socket.getsockname()[1]}/v1/realtime"

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def free_rtp_range(calls: int) -> tuple[int, int]:
    """First and last port of a range with two ports a call, all free at this moment."""
    randomness = random.Random()
    width = calls * 2
    for _ in range(200):
        first = randomness.randrange(RTP_PORTS_FROM, RTP_PORTS_BELOW - width, 2)
        probes: list[socket.socket] = []
        try:
            for port in range(first, first + width):
                probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                probes.append(probe)
                probe.bind((LOOPBACK, port))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return first, first + width - 1
    raise AssertionError(f"No range of {width} free UDP ports was found below {RTP_PORTS_BELOW}")


def gateway_configuration(
    folder: Path,
    *,
    sip_port: int,
    calls: int = 100,
    timers: SipTimers | None = None,
    stalled_url: str = "ws://127.0.0.1:9",
) -> Record:
    """A configuration with one agent for each way in which a model can behave."""
    first_port, last_port = free_rtp_range(calls * 2)  # ports rest for a while after use
    modes = ("echo", "talk", "silent", "agent")
    backends: Record = {mode: {"type": "embedded", "mode": mode} for mode in modes}
    backends["stalled"] = {"type": "openai", "dialect": "compatible", "url": stalled_url, "model": "stalled"}
    backends["unreachable"] = {"type": "openai", "dialect": "compatible", "url": "ws://127.0.0.1:9", "model": "none"}
    agents: Record = {name: {"backends": [name], "instructions": f"You are {name}."} for name in backends}
    agents["talk"]["greeting"] = "Hello."  # it speaks once it is asked to, or hears something
    agents["brief"] = {"backends": ["silent"], "instructions": "Say nothing.", "max_duration_seconds": 1}
    network: Record = {
        "sip": [{"transport": "udp", "bind": LOOPBACK, "port": sip_port}],
        "public_address": LOOPBACK,
        "rtp": {"bind": LOOPBACK, "first_port": first_port, "last_port": last_port},
    }
    if timers is not None:
        network["sip_timers"] = {"t1_ms": timers.t1_ms, "t2_ms": timers.t2_ms, "t4_ms": timers.t4_ms}
    numbers = {
        ECHO: "echo", TALK: "talk", SILENT: "silent", BRIEF: "brief", STALLED: "stalled", UNREACHABLE: "unreachable",
        AGENT: "agent", TWILIO_NUMBER: "brief",
    }  # fmt: skip
    return {
        "network": network,
        "trunks": {"loopback": {"allow": [f"{LOOPBACK}/32"], "numbers": numbers}},
        "agents": agents,
        "backends": backends,
        "records": {"directory": str(folder / "records")},
        "recording": {"enabled": False},
        # What a busy machine does to a test is not what the test is about; benchmarks/flood.py looks at shedding.
        "limits": {"calls": calls, "drain_timeout_seconds": 1, "overload": {"lag_ms": 1000}},
        "logging": {"level": "info", "format": "json"},
    }


class GatewayProcess(AbstractContextManager["GatewayProcess"]):
    """The gateway as a child process.

    Leaving the context ends it with SIGTERM and fails where it does not end cleanly: exit code 0, no traceback.
    `adapt` may change the configuration before it is written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        calls: int = 100,
        timers: SipTimers | None = None,
        adapt: Callable[[Record], None] = lambda configuration: None,
    ) -> None:
        self._folder = folder
        self._calls = calls
        self._timers = timers
        self._adapt = adapt
        self._server = UnansweredServer()
        self._lines: list[str] = []
        self._events: list[Record] = []
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._has_crashed = False
        self.sip_address: Address = (LOOPBACK, 0)

    def __enter__(self) -> Self:
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "records").mkdir(exist_ok=True)
        self.sip_address = (LOOPBACK, free_udp_ports(1)[0])
        configuration = gateway_configuration(
            folder, sip_port=self.sip_address[1], calls=self._calls, timers=self._timers, stalled_url=self._server.url
        )
        self._adapt(configuration)
        path = folder / "gateway.yaml"
        path.write_text(yaml.safe_dump(configuration, sort_keys=False))
        trunkline = Path(sys.executable).with_name("trunkline")
        with (folder / "stdout.log").open("wb") as stdout:
            self._process = subprocess.Popen(
                [str(trunkline), "serve", "-c", str(path)],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read_stderr, name="gateway stderr", daemon=True)
        self._reader.start()
        try:
            self.wait_for_event("ready", READY_WITHIN_S)
        except AssertionError:
            self._kill()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is not None:
            self._kill()
        else:
            self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All of stderr so far."""
        with self._changed:
            return "\n".join(self._lines)

    @property
    def log_events(self) -> list[Record]:
        """The log lines so far."""
        with self._changed:
            return list(self._events)

    def crash(self) -> None:
        """Ends the gateway as a crash does: nothing is written, flushed or told any more. `stop` asks for no more."""
        self._kill()
        self._has_crashed = True

    def stop(self) -> None:
        """Ends the gateway as an operator does, and asserts that it goes cleanly."""
        assert self._process is not None
        if self._has_crashed:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            exit_code = self._process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._kill()
            raise AssertionError(
                f"The gateway did not end within {STOPPED_WITHIN_S} s of SIGTERM\n{self._tail()}"
            ) from None
        self._kill()
        assert exit_code == 0, f"The gateway ended with exit code {exit_code}\n{self._tail()}"
        assert "Traceback" not in self.log, f"The gateway's log holds a traceback\n{self._tail()}"

    def wait_for_event(self, event: str, within_s: float = ANSWERED_WITHIN_S, *, after: int = 0) -> Record:
        """The first log line with this `event` among those from number `after` on."""

        def found() -> Record | None:
            return next((line for line in self._events[after:] if line.get("event") == event), None)

        deadline = time.monotonic() + within_s
        with self._changed:
            while (line := found()) is None:
                remaining = deadline - time.monotonic()
                has_ended = self._reader is not None and not self._reader.is_alive()
                if remaining <= 0 or has_ended:
                    break
                self._changed.wait(min(remaining, 0.2))
        assert line is not None, f"The gateway did not log {event!r} within {within_s} s\n{self._tail()}"
        return line

    def state(self) -> Record:
        """The counts that the gateway logs on SIGUSR1: calls, dialogs, transactions, ports, tasks, sockets …"""
        assert self._process is not None
        after = len(self.log_events)
        self._process.send_signal(signal.SIGUSR1)
        return self.wait_for_event("state", after=after)

    def wait_until_state(self, satisfies: Callable[[Record], bool], within_s: float = ANSWERED_WITHIN_S) -> Record:
        """The first state that satisfies the condition."""
        deadline = time.monotonic() + within_s
        while not satisfies(state := self.state()):
            assert time.monotonic() < deadline, f"The gateway's state stayed {state}\n{self._tail()}"
            time.sleep(POLL_S)
        return state

    def records(self) -> list[Record]:
        """All call records, in no order."""
        return [json.loads(path.read_text()) for path in (self._folder / "records").rglob("*.json")]

    def wait_for_record(self, sip_call_id: str, within_s: float = ANSWERED_WITHIN_S) -> Record:
        """The only record of the call with this Call-ID."""
        deadline = time.monotonic() + within_s
        while not (found := [record for record in self.records() if record["sip_call_id"] == sip_call_id]):
            assert time.monotonic() < deadline, f"No record was written of {sip_call_id}\n{self._tail()}"
            time.sleep(POLL_S)
        assert len(found) == 1, f"{len(found)} records were written of one call, {sip_call_id}"
        return found[0]

    def resident_bytes(self) -> int:
        """The process's memory, the embedded server's not counted."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * 4096

    def descriptor_count(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def cpu_seconds(self) -> float:
        """Processor time that the process has used, in user and kernel mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        ticks_a_second = 100
        return (int(fields[11]) + int(fields[12])) / ticks_a_second

    def _read_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with (self._folder / "stderr.log").open("a") as kept:
                kept.write(line)
            event = _parse_event(line)
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                if event is not None:
                    self._events.append(event)
                self._changed.notify_all()

    def _kill(self) -> None:
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(5)
        if process.stderr is not None:
            process.stderr.close()
        self._server.__exit__()

    def _tail(self, lines: int = 60) -> str:
        with self._changed:
            log = "\n".join(self._lines[-lines:])
        stdout = (self._folder / "stdout.log").read_text(errors="replace")[-2000:]
        return f"--- the gateway's stderr, last {lines} lines\n{log}\n--- its stdout\n{stdout}"


def _parse_event(line: str) -> Record | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, Mapping) else None  # type: ignore[return-value]
