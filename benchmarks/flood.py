"""Floods against the real gateway process while fifty calls talk and good calls are placed.

Usage, from the project's root: `.venv/bin/python -m benchmarks.flood [SCENARIO ...]`. The gateway has one core, the
flood and the callers the other; all traffic stays on loopback, ten seconds a flood. It prints one table, leaves the
figures as JSON in `bench-flood/`, and exits with 1 where a bar is missed.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, cast

from benchmarks.first_light import ROOT
from benchmarks.measure import Measure, at_most, exactly, exit_code, keep, show, told
from benchmarks.processor import LOAD_CORE, before_others, pin, waited_seconds
from benchmarks.sip_caller import GOOD, Caller, CallError, PlacedCall
from tests.helpers.gateway_process import GatewayProcess, Record
from tests.helpers.rtp_capture import SILENT_FRAME, RtpPeer, percentile

TALKERS: Final = 50
CALLS: Final = 200
FLOOD_SECONDS: Final = 10.0
GOOD_CALL_EVERY: Final = 0.2
RECOVERY_TRIES: Final = 50
EMPTY_WITHIN: Final = 45.0  # 64*T1 and the BYE's own transaction
STRANGER: Final = "127.0.2.1"
FIRST_OF_TRUNK: Final = "127.0.1.1"


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
        keep(measures, folder)
    show(measures, "Trunkline, floods")
    return exit_code(measures)


if __name__ == "__main__":
    sys.exit(main())
