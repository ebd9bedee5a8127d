"""Runs a SIPp scenario and tells what happened.

Every run has its own folder: messages, errors, statistics, response times and the console output stay there for whoever
looks into a failure. `run_sipp` blocks; a test that has something else to do meanwhile calls it in a thread.
"""

import csv
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

ROOT: Final = Path(__file__).resolve().parents[2]
SCENARIOS: Final = ROOT / "sipp-scenarios"
LOOPBACK: Final = "127.0.0.1"
IPV6_LOOPBACK: Final = "::1"
SIPP_TRANSPORTS: Final = {"udp": "u1", "tcp": "t1"}
TRACE_LIMIT_CHARACTERS: Final = 12_000  # of each trace, in a failure's message

Address = tuple[str, int]


def is_sipp_installed() -> bool:
    """Whether there is a sipp program on the path."""
    return shutil.which("sipp") is not None


def may_open_raw_sockets() -> bool:
    """Whether SIPp can play a pcap here: it sends those packets through a raw socket."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP).close()
    except PermissionError:
        return False
    return True


def free_udp_ports(count: int, host: str = LOOPBACK) -> list[int]:
    """Even ports, each free at this moment together with the odd one above it.

    SIPp takes a media port and the ports up to three above it, so the ports are at least four apart.
    """
    ports: list[int] = []
    while len(ports) < count:
        with socket.socket(_family(host), socket.SOCK_DGRAM) as first:
            first.bind((host, 0))
            port = first.getsockname()[1] & ~1
        if port not in ports and all(abs(port - other) >= 4 for other in ports) and _is_free(host, port, span=4):
            ports.append(port)
    return ports


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_free(host: str, port: int, span: int) -> bool:
    for candidate in range(port, port + span):
        with socket.socket(_family(host), socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((host, candidate))
            except OSError:
                return False
    return True


@dataclass(frozen=True, slots=True)
class SippMessage:
    """One line of SIPp's message trace: what was sent or received, as text."""

    is_sent: bool
    text: str

    @property
    def start_line(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def method(self) -> str:
        """The method of the CSeq header field."""
        return (self.header("CSeq") or "").rpartition(" ")[2]

    @property
    def status(self) -> int | None:
        """The status code of a response, None for a request."""
        match = re.match(r"SIP/2\.0 (\d{3})", self.text)
        return int(match[1]) if match else None

    def headers(self, name: str) -> list[str]:
        """The values of the header field, one a line, in the order of the message."""
        head = self.text.partition("\n\n")[0]
        return [
            line.partition(":")[2].strip()
            for line in head.splitlines()[1:]
            if line.partition(":")[0].strip().lower() == name.lower()
        ]

    def header(self, name: str) -> str | None:
        """The first value of the header field."""
        return next(iter(self.headers(name)), None)

    @property
    def body(self) -> str:
        return self.text.partition("\n\n")[2]

    def to_tag(self) -> str | None:
        """The tag parameter of the To header field."""
        match = re.search(r";\s*tag=([^;\s]+)", self.header("To") or "")
        return match[1] if match else None


@dataclass(frozen=True, slots=True)
class SippRun:
    """What came of one run of SIPp."""

    scenario: str
    exit_code: int
    successful: int
    failed: int
    unexpected: int  # messages that the scenario does not know at that point, and those of no or a dead call
    retransmissions: int  # by SIPp, and received by it
    timed_out: int  # waited for in vain
    messages: tuple[SippMessage, ...] = field(repr=False)
    response_times_ms: tuple[float, ...] = field(repr=False)  # of the scenario's response time
    trace: str = field(repr=False)

    @property
    def is_clean(self) -> bool:
        return self.exit_code == 0 and self.successful > 0 and self.failed == 0 and self.unexpected == 0

    def received(self, *, status: int | None = None, method: str | None = None) -> list[SippMessage]:
        """Received responses with this status (to this method), or received requests of this method."""
        return [
            message
            for message in self.messages
            if not message.is_sent and message.status == status and (method is None or message.method == method)
        ]

    @property
    def call_ids(self) -> list[str]:
        """The Call-ID of each call, in the order of their first message."""
        return list(dict.fromkeys(value for message in self.messages if (value := message.header("Call-ID"))))

    @property
    def sip_call_id(self) -> str:
        """The Call-ID of the only call."""
        (call_id,) = self.call_ids
        return call_id

    def assert_clean(self) -> None:
        """Fails, with the traces in the message, unless every call went as the scenario says."""
        if not self.is_clean:
            raise AssertionError(f"SIPp scenario {self.scenario} did not go as written: {self!r}\n{self.trace}")


class Scene(Protocol):
    """Runs a scenario against a gateway and fails unless it went as written; takes `run_sipp`'s options."""

    def __call__(
        self,
        scenario: str,
        *,
        number: str = ...,
        hold_ms: int = ...,
        local_port: int | None = ...,
        keys: Mapping[str, str | int] | None = ...,
        options: Sequence[str] = ...,
    ) -> SippRun: ...


def run_sipp(
    scenario: str,
    remote: Address,
    folder: Path,
    *,
    number: str = "1000",
    calls: int = 1,
    calls_a_second: float = 10,
    at_once: int | None = None,
    hold_ms: int = 1000,
    local_port: int | None = None,
    keys: Mapping[str, str | int] | None = None,
    options: Sequence[str] = (),
    timeout_s: float = 30,
    trace_messages: bool = True,
    transport: str = "udp",
) -> SippRun:
    """Runs `sipp-scenarios/<scenario>.xml` against `remote` and waits for its end.

    Args:
        number: the user part of the Request-URI.
        calls_a_second: how fast calls are started; the first starts after one period.
        hold_ms: how long the pauses without a length of their own last.
        keys: values for the scenario's own [keywords].
        timeout_s: SIPp ends itself with a fault after this time.
        trace_messages: off for load runs, where writing each message would be the load.
        transport: udp or tcp (one connection for all calls). The IP version is that of `remote`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    media = folder / "media"  # the scenarios name their sound relative to the working folder
    if not media.exists():
        media.symlink_to(SCENARIOS / "media")
    host = IPV6_LOOPBACK if ":" in remote[0] else LOOPBACK
    sip_port, media_port = free_udp_ports(2, host)
    destination = f"[{remote[0]}]" if ":" in remote[0] else remote[0]
    command = [
        *(
            "sipp",
            f"{destination}:{remote[1]}",
            "-t",
            SIPP_TRANSPORTS[transport],
            "-sf",
            str(SCENARIOS / f"{scenario}.xml"),
        ),
        *("-i", host, "-mi", host, "-p", str(local_port or sip_port), "-mp", str(media_port)),
        *("-s", number, "-m", str(calls), "-l", str(at_once or calls), "-d", str(hold_ms)),
        *("-r", f"{calls_a_second:g}", "-nostdin", "-timeout", f"{timeout_s:g}s", "-timeout_error"),
        *("-default_behaviors", "all,-bye", "-cid_str", f"%u-%p-{media_port}@%s"),
        *("-trace_err", "-error_file", "errors.log", "-trace_stat", "-stf", "statistics.csv", "-fd", "1"),
        *("-trace_rtt", "-rtt_freq", "1", "-trace_counts", "-trace_screen", "-screen_file", "screen.log"),
    ]
    if trace_messages:
        command += ["-trace_msg", "-message_file", "messages.log"]
    for key, value in (keys or {}).items():
        command += ["-key", key, str(value)]
    command += options
    environment = {**os.environ, "TERM": os.environ.get("TERM") or "dumb"}
    with (folder / "console.log").open("wb") as console:
        completed = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            timeout=timeout_s + 15, check=False,
        )  # fmt: skip
    return _read_run(scenario, folder, completed.returncode)


def _read_run(scenario: str, folder: Path, exit_code: int) -> SippRun:
    statistics = _last_row(folder / "statistics.csv")

    def count(*names: str) -> int:
        return sum(int(statistics.get(f"{name}(C)") or 0) for name in names)

    counts = _last_row(next(iter(sorted(folder.glob("*_counts.csv"))), folder / "none"))

    def counted(suffix: str) -> int:
        return sum(int(value) for name, value in counts.items() if name and name.endswith(suffix) and value)

    return SippRun(
        scenario=scenario,
        exit_code=exit_code,
        successful=count("SuccessfulCall"),
        failed=count("FailedCall"),
        unexpected=counted("_Unexp") + count("OutOfCallMsgs", "DeadCallMsgs"),
        retransmissions=counted("_Retrans"),
        timed_out=counted("_Timeout") + count("FailedTimeoutOnRecv"),
        messages=tuple(_read_messages(folder / "messages.log")),
        response_times_ms=tuple(_read_response_times(folder)),
        trace="\n".join(_excerpt(folder / name) for name in ("errors.log", "messages.log", "console.log")),
    )


def _last_row(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    with path.open(newline="", errors="replace") as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    return rows[-1] if rows else {}


def _read_response_times(folder: Path) -> list[float]:
    times: list[float] = []
    for path in folder.glob("*_rtt.csv"):
        with path.open(newline="") as lines:
            times += [float(row["response_time_ms"]) for row in csv.DictReader(lines, delimiter=";")]
    return times


_ENTRY: Final = re.compile(r"^-{10,}[^\n]*\n\w+ message (sent|received) ?[^\n]*:\n\n", re.MULTILINE)


def _read_messages(path: Path) -> list[SippMessage]:
    if not path.exists():
        return []
    text = path.read_bytes().decode(errors="replace").replace("\r\n", "\n")
    entries = list(_ENTRY.finditer(text))
    ends = [entry.start() for entry in entries[1:]] + [len(text)]
    return [
        SippMessage(is_sent=entry[1] == "sent", text=text[entry.end() : end].rstrip("\n") + "\n")
        for entry, end in zip(entries, ends, strict=True)
    ]


def _excerpt(path: Path) -> str:
    if not path.exists():
        return f"--- {path.name}: not written"
    text = path.read_bytes().decode(errors="replace")
    if path.name == "console.log":
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()]B|\r", "", text)[-TRACE_LIMIT_CHARACTERS // 4 :]
    return f"--- {path}\n{text[-TRACE_LIMIT_CHARACTERS:]}"
