"""Floods against the real gateway process while fifty calls talk and good calls are placed.

Usage, from the project's root: `.venv/bin/python -m benchmarks.flood [SCENARIO ...]`. The gateway has one core, the
flood and the callers the other; all traffic stays on loopback, ten seconds a flood. It prints one table, leaves the
figures as JSON in `bench-flood/`, and exits with 1 where a bar is missed.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from benchmarks.first_light import Measure, at_most, exactly, show, told
from tests.helpers.gateway_process import SILENT, GatewayProcess, Record
from tests.helpers.rtp_capture import SILENT_FRAME, RtpPeer, percentile

ROOT: Final = Path(__file__).resolve().parents[1]
GATEWAY_CORE: Final = 0
PRIORITY: Final = -15
# Of the session among others.
FIRST: Final = "-20"
AS_OTHERS: Final = "0"
LOAD_CORE: Final = 1
TALKERS: Final = 50
CALLS: Final = 200
FLOOD_SECONDS: Final = 10.0
GOOD_CALL_EVERY: Final = 0.2
ANSWER_WITHIN: Final = 5.0
T1: Final = 0.5
RECOVERY_TRIES: Final = 50
EMPTY_WITHIN: Final = 45.0  # 64*T1 and the BYE's own transaction
STRANGER: Final = "127.0.2.1"
FIRST_OF_TRUNK: Final = "127.0.1.1"
GOOD: Final = "127.0.0.1"
TO_TAG: Final = re.compile(rb"\r\nTo:[^\r]*;tag=([^\s;]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One flood."""

    title: str
    arguments: tuple[str, ...]
    gap_ms: float = 30.0
    listens: float = 0.0


def _invites(host: str, *more: str) -> tuple[str, ...]:
    return ("INVITE", "--host", host, "--rate", "2000", *more)


SCENARIOS: Final = {
    "stranger": Scenario("3,000 INVITEs/s from one stranger", ("INVITE", "--host", STRANGER, "--rate", "3000")),
    "trunk": Scenario("2,000 INVITEs/s, no ACK, one trunk address", _invites(FIRST_OF_TRUNK), listens=34.0),
    "turncoat": Scenario(
        "2,000 INVITEs/s, no ACK, a trunk address that acknowledged before", _invites(FIRST_OF_TRUNK, "--prove")
    ),
    "many": Scenario("2,000 INVITEs/s, no ACK, 200 trunk addresses", _invites(FIRST_OF_TRUNK, "--sources", "200")),
    "strangers": Scenario("2,000 INVITEs/s from 200 strangers", _invites(STRANGER, "--sources", "200")),
    "options": Scenario("5,000 OPTIONS/s from the good trunk's address", ("OPTIONS", "--host", GOOD, "--rate", "5000")),
    "bye": Scenario("5,000 BYEs/s from the good trunk's address", ("BYE", "--host", GOOD, "--rate", "5000")),
    "noise": Scenario("20,000 datagrams of noise/s, same address", ("noise", "--host", GOOD, "--rate", "20000")),
}


class Caller(asyncio.DatagramProtocol):
    """A plain SIP caller: INVITE, ACK, BYE, and retransmissions after T1, 2*T1, 4*T1."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._waiting: dict[tuple[bytes, bytes], asyncio.Future[bytes]] = {}
        self._serial = 0
        self.byes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answers a BYE; gives final responses to whoever waits."""
        if data.startswith(b"BYE "):
            self.byes += 1
            head = [
                line for line in data.split(b"\r\n") if line.startswith((b"Via", b"From", b"To", b"Call-ID", b"CSeq"))
            ]
            self._transport.sendto(b"SIP/2.0 200 OK\r\n" + b"\r\n".join(head) + b"\r\nContent-Length: 0\r\n\r\n", addr)
            return
        if not data.startswith(b"SIP/2.0 ") or data[8:9] == b"1":
            return
        key = (_field(data, b"Call-ID"), _field(data, b"CSeq"))
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(data)

    async def place(self, rtp_port: int, hold: float = 0.0) -> "PlacedCall":
        """Calls and acknowledges; raises TimeoutError without an answer, CallError with a refusal."""
        self._serial += 1
        call = PlacedCall(self, f"good-{os.getpid()}-{self._serial}", self._port, rtp_port)
        await call.set_up()
        if hold:
            await asyncio.sleep(hold)
            await call.end()
        return call

    async def ask(self, data: bytes, call_id: str, cseq: str, within: float = ANSWER_WITHIN) -> bytes:
        """Sends a request until its final response."""
        key = (call_id.encode(), cseq.encode())
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        interval = T1
        try:
            async with asyncio.timeout(within):
                while True:
                    self.send(data)
                    with suppress(TimeoutError):
                        return await asyncio.wait_for(asyncio.shield(answer), interval)
                    interval *= 2
        finally:
            del self._waiting[key]

    def send(self, data: bytes) -> None:
        """Sends to the gateway."""
        self._transport.sendto(data, self._target)


class CallError(Exception):
    """A call was refused."""


class PlacedCall:
    """One call of ours."""

    def __init__(self, caller: Caller, call_id: str, port: int, rtp_port: int) -> None:
        self._caller = caller
        self._call_id = call_id
        self._port = port
        self._rtp_port = rtp_port
        self._to_tag = ""
        self.set_up_ms = 0.0

    def _request(self, method: str, cseq: int, body: str = "") -> bytes:
        content = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"{method} sip:{SILENT}@127.0.0.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {GOOD}:{self._port};rport;branch=z9hG4bK{self._call_id}{method}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:+15550002222@{GOOD}>;tag={self._call_id}\r\nTo: <sip:{SILENT}@127.0.0.1>{self._to_tag}\r\n"
            f"Call-ID: {self._call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:good@{GOOD}:{self._port}>\r\n"
            f"{content}Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    async def set_up(self) -> None:
        """INVITE, final response, ACK."""
        body = (
            f"v=0\r\no=- 1 1 IN IP4 {GOOD}\r\ns=-\r\nc=IN IP4 {GOOD}\r\nt=0 0\r\n"
            f"m=audio {self._rtp_port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        )
        began = time.monotonic()
        answer = await self._caller.ask(self._request("INVITE", 1, body), self._call_id, "1 INVITE")
        self.set_up_ms = (time.monotonic() - began) * 1000
        if (tag := TO_TAG.search(answer)) is not None:
            self._to_tag = f";tag={tag[1].decode()}"
        self._caller.send(self._request("ACK", 1))
        if not answer.startswith(b"SIP/2.0 200"):
            raise CallError(answer[:60].decode(errors="replace"))

    async def end(self) -> bool:
        """Hangs up; whether the gateway still knew the call."""
        with suppress(TimeoutError):
            answer = await self._caller.ask(self._request("BYE", 2), self._call_id, "2 BYE")
            return answer.startswith(b"SIP/2.0 200")
        return False


def _field(data: bytes, name: bytes) -> bytes:
    _, _, rest = data.partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0]


@asynccontextmanager
async def talking(caller: Caller, count: int) -> AsyncIterator[list[tuple[RtpPeer, PlacedCall]]]:
    """Calls with RTP both ways, ended by the caller at the end."""
    async with asyncio.TaskGroup() as group:
        talkers: list[tuple[RtpPeer, PlacedCall]] = []
        contexts = [RtpPeer.open() for _ in range(count)]
        speakers: list[asyncio.Task[list[float]]] = []
        try:
            for context in contexts:
                peer = await context.__aenter__()
                call = await caller.place(peer.port)
                await peer.first_packet()
                talkers.append((peer, call))
                speakers.append(group.create_task(peer.play(_silence())))
                await asyncio.sleep(0.02)
            yield talkers
        finally:
            for speaker in speakers:
                speaker.cancel()
            for context in contexts[: len(talkers)]:
                await context.__aexit__(None, None, None)


def _silence() -> Iterator[bytes]:
    while True:
        yield SILENT_FRAME


@dataclass(slots=True)
class GoodCalls:
    """What came of the good calls placed during a flood."""

    set_up_ms: list[float]
    failures: list[str]

    @property
    def success_percent(self) -> float:
        """Of those placed; 0 where none was."""
        placed = len(self.set_up_ms) + len(self.failures)
        return 100 * len(self.set_up_ms) / max(1, placed)


async def place_good_calls(caller: Caller, seconds: float) -> GoodCalls:
    """A good call every 200 ms, each held for half a second."""
    good = GoodCalls([], [])

    async def one() -> None:
        try:
            call = await caller.place(40_000, hold=0.5)
        except TimeoutError:
            good.failures.append("no answer")
        except CallError as error:
            good.failures.append(str(error))
        else:
            good.set_up_ms.append(call.set_up_ms)

    async with asyncio.TaskGroup() as group:
        for _ in range(round(seconds / GOOD_CALL_EVERY)):
            group.create_task(one())
            await asyncio.sleep(GOOD_CALL_EVERY)
    return good


async def recovery_seconds(caller: Caller) -> float:
    """From the end of a flood to the first good call with a set-up below 200 ms, seen at its start."""
    began = time.monotonic()
    for _ in range(RECOVERY_TRIES):
        at = time.monotonic() - began
        with suppress(TimeoutError, CallError):
            call = await caller.place(40_000)
            await call.end()
            if call.set_up_ms <= 200:
                return at
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def measure(scenario: Scenario, gateway: GatewayProcess) -> list[Measure]:
    """Runs one flood."""
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_datagram_endpoint(lambda: Caller(gateway.sip_address), local_addr=(GOOD, 0))
    for _ in range(10):
        await caller.place(40_000, hold=0.05)
    await _empty(gateway)
    descriptors = gateway.descriptor_count()
    async with talking(caller, TALKERS) as talkers:
        source = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.flood_source", *scenario.arguments, str(gateway.sip_address[1]),
            "--seconds", str(FLOOD_SECONDS), "--listen", str(scenario.listens), "--core", str(LOAD_CORE),
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        orders, news = cast("asyncio.StreamWriter", source.stdin), cast("asyncio.StreamReader", source.stdout)
        await news.readline()
        await asyncio.sleep(1)
        quiet = [len(peer.packets) for peer, _ in talkers]
        waited = waited_seconds(gateway.pid)
        resident, worked, began = gateway.resident_bytes(), gateway.cpu_seconds(), time.monotonic()
        orders.write(b"go\n")
        good = await place_good_calls(caller, FLOOD_SECONDS - 0.5)
        most_resident = gateway.resident_bytes()
        busy = (gateway.cpu_seconds() - worked) / (time.monotonic() - began)
        waited = waited_seconds(gateway.pid) - waited
        await news.readline()
        recovered = await recovery_seconds(caller)
        gaps = [gap for (peer, _), skip in zip(talkers, quiet, strict=True) for gap in peer.gaps_ms(skip=skip)]
        lost = await _hang_up(talkers)
    orders.close()
    result: Record = json.loads(await news.readline())
    await source.wait()
    state = await _empty(gateway)
    return [
        told(f"[bold]{scenario.title}[/]", f"{result['rate']}/s sent; answers {result['answers']}"),
        at_most(f"  RTP gap p99 of {TALKERS} talking calls", percentile(gaps, 99), scenario.gap_ms, "ms"),
        told("  RTP gap p99.9 and greatest", f"{percentile(gaps, 99.9):.1f} ms, {max(gaps):.1f} ms"),
        exactly("  talking calls lost", lost),
        Measure(
            f"  good calls that succeed, of {len(good.set_up_ms) + len(good.failures)}", "≥ 99 %",
            f"{good.success_percent:.1f} % {' '.join(sorted(set(good.failures)))}", good.success_percent >= 99,
        ),
        at_most("  their set-up, p99", percentile(good.set_up_ms or [9999.0], 99), 200, "ms"),
        told("  their set-up, median", f"{percentile(good.set_up_ms or [9999.0], 50):.1f} ms"),
        at_most("  recovery", recovered, 1, "s"),
        at_most("  memory growth", (most_resident - resident) / 2**20, 50, "MB"),
        exactly("  descriptors more than before", gateway.descriptor_count() - descriptors),
        exactly("  ports, dialogs, calls left", state["ports"] + state["dialogs"] + state["calls"]),
        at_most("  bytes sent for one INVITE, in its size", result["amplification"], 12, "x"),
        told(
            "  the gateway's processor time",
            f"{busy * 100:.0f} % of a core; {waited * 1000:.0f} ms of {FLOOD_SECONDS:g} s waited for it",
        ),
        told("  counters", _told_counters(state["counters"])),
    ]  # fmt: skip


def _told_counters(counters: dict[str, int]) -> str:
    wanted = ("stranger", "refused", "flood", "batch_cut", "truncated", "dialog_unknown", "not_acknowledged")
    return ", ".join(f"{name} {count}" for name, count in counters.items() if any(word in name for word in wanted))


async def _hang_up(talkers: list[tuple[RtpPeer, PlacedCall]]) -> int:
    heard = [len(peer.packets) for peer, _ in talkers]
    await asyncio.sleep(0.3)
    silent = sum(len(peer.packets) <= before for (peer, _), before in zip(talkers, heard, strict=True))
    known = await asyncio.gather(*(call.end() for _, call in talkers))
    return max(silent, len(talkers) - sum(known))


async def _empty(gateway: GatewayProcess) -> Record:
    def is_empty(state: Record) -> bool:
        return not any(state[kind] for kind in ("calls", "dialogs", "ports"))

    return await asyncio.to_thread(gateway.wait_until_state, is_empty, EMPTY_WITHIN)


def pin(gateway: GatewayProcess) -> None:
    """The gateway on one core; this process, its children and the model server on the other.

    Where the machine has other work, all of them come before it, if the system allows that.
    """
    for process in [os.getpid(), gateway.pid, *_children(gateway.pid)]:
        for task in Path(f"/proc/{process}/task").iterdir():
            os.sched_setaffinity(int(task.name), {GATEWAY_CORE if process == gateway.pid else LOAD_CORE})
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, int(task.name), PRIORITY)


@contextmanager
def before_others(is_wanted: bool) -> Iterator[None]:
    """Lets this process and its children go before all others on a busy machine, where the system allows it (root).

    The kernel shares the cores out between sessions first (sched(7), "The autogroup feature"): priorities of single
    processes do nothing against other sessions.
    """
    group = Path("/proc/self/autogroup")
    if is_wanted:
        group.write_text(FIRST)
    try:
        yield
    finally:
        if is_wanted:
            group.write_text(AS_OTHERS)


def waited_seconds(pid: int) -> float:
    """How long a process was ready to run and had no core: what others on the machine took from it."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _children(parent: int) -> Iterator[int]:
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from _children(int(child))


def open_the_trunk(configuration: Record) -> None:
    """The trunk of the good calls has further addresses, from which the floods come."""
    trunk = configuration["trunks"]["loopback"]
    trunk["allow"] = [*trunk["allow"], "127.0.1.0/24"]


def main() -> int:
    """Runs the chosen floods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "bench-flood", help="where logs and figures go")
    parser.add_argument("--first", action="store_true", help="before all others on a busy machine (root only)")
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}; all when none is given"
    )
    arguments = parser.parse_args()
    folder: Path = arguments.folder / f"{datetime.now():%Y%m%d-%H%M%S}"
    measures: list[Measure] = []
    for name in arguments.scenarios or SCENARIOS:
        with GatewayProcess(folder / name, calls=CALLS, adapt=open_the_trunk) as gateway:
            pin(gateway)
            with before_others(arguments.first):
                measures += asyncio.run(measure(SCENARIOS[name], gateway))
        (folder / "figures.json").write_text(json.dumps([asdict(measure) for measure in measures], indent=2))
    show(measures)
    return int(any(measure.is_met is False for measure in measures))


if __name__ == "__main__":
    sys.exit(main())
