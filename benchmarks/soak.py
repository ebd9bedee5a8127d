"""Many short calls whose models suffer from random faults, and what is left of them: nothing.

Usage, from the project's root: `.venv/bin/python -m benchmarks.soak` (200 calls, about half a minute) or
`… -m benchmarks.soak --calls 2000 --rounds 3`: several rounds show whether memory levels off. Every call goes to the
real gateway process over SIP, every fault is acted out by a real embedded server on its own WebSocket, and callers hang
up when they like, also while it rings. It prints one table and exits with 1 where a call did not end, or where a task,
a socket, a port, a dialog or a call is left.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from gateway.caller import Caller, CallFailedError
from gateway.embedded import gemini, live
from gateway.embedded.process import EmbeddedServer
from gateway.embedded.server import PATH, Mode
from tests.helpers.gateway_process import GatewayProcess, Record, SipTimers
from tests.helpers.sipp import LOOPBACK

QUICK_CALLS: Final = 200
AT_ONCE: Final = 20
# A call hangs up after so long at the latest; one that is not over long after that is stuck.
LONGEST_HOLD_S: Final = 1.5
STUCK_S: Final = 15.0
# So many times longer than it should take, and the run is given up.
PATIENCE: Final = 5.0
TIMERS: Final = SipTimers(t1_ms=100, t2_ms=800, t4_ms=1000)  # 64*T1 is 6.4 s: the wait for idle is short
IDLE_WITHIN_S: Final = 40.0
WARM_UP_CALLS: Final = 20
FIRST_NUMBER: Final = 3000

# The faults that any protocol can suffer, and those of the Realtime protocol alone.
WIRE_FAULTS: Final = (
    "",
    "stall,after_ms=100,for_ms=500",
    "stop_reading,after_ms=100,for_ms=500",
    "half_open,after_ms=200",
    "close_at_byte,byte=20000",
    "close,after_ms=200,code=1011",
    "reset,after_ms=200",
    "expire,after_ms=300",
    "duplicate,every=3",
    "malformed,every=2",
    "unknown,every=2",
)
REALTIME_FAULTS: Final = (
    "status,code=401",
    "status,code=429",
    "status,code=503",
    "half_open",
    "reset",
    "burst",
    "delta_storm",
    "reorder,every=5",
    "big_frame,after_ms=200",
    "mute,type=response.created",
    "mute,type=response.done",
    "beta_names",
    "response_race",
    "fail_response",
    "fail_response,code=insufficient_quota",
)


@dataclass(slots=True)
class Line:
    """A line of the table: one kind of backend with one fault, behind a number of its own."""

    kind: str
    fault: str
    number: str
    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def backend(self, server: str) -> Record:
        """The backend's configuration; `server` is host and port."""
        path = {"gemini": gemini.PATH, "openai_live": live.PATH}.get(self.kind, PATH)
        url = f"ws://{server}{path}" + (f"?fault={self.fault}" if self.fault else "")
        backend: Record = {"type": self.kind, "url": url, "api_key": "key", "model": "embedded-talk"}
        return backend | ({"dialect": "compatible"} if self.kind == "openai" else {})


def lines() -> list[Line]:
    """Every fault with every kind of backend that can suffer it."""
    pairs = [("openai", fault) for fault in (*WIRE_FAULTS, *REALTIME_FAULTS)]
    pairs += [(kind, fault) for kind in ("gemini", "openai_live") for fault in WIRE_FAULTS]
    return [Line(kind, fault, str(FIRST_NUMBER + index)) for index, (kind, fault) in enumerate(pairs)]


def adapt(configuration: Record, table: list[Line], server: str) -> None:
    """Gives every line its number, agent and backend."""
    for line in table:
        name = f"soak-{line.number}"
        configuration["backends"][name] = line.backend(server)
        agent = {"backends": [name], "instructions": "Talk.", "greeting": "Hello."}
        configuration["agents"][name] = agent
        configuration["trunks"]["loopback"]["numbers"][line.number] = name
    configuration["limits"]["setup_timeout_seconds"] = 2


async def place(caller: Caller, gateway: GatewayProcess, line: Line, hold_s: float) -> None:
    """One call, from INVITE to its end."""
    line.calls += 1
    host, port = gateway.sip_address
    call = caller.place(f"sip:{line.number}@{host}:{port}")
    try:
        async with asyncio.timeout(STUCK_S):
            hang_up = asyncio.get_running_loop().call_later(hold_s, call.hang_up)
            try:
                await call.answered()
                line.outcomes["answered"] += 1
            except CallFailedError as error:
                line.outcomes["cancelled" if error.status == 487 else str(error.status)] += 1
            await call.ended()
            hang_up.cancel()
            line.outcomes["ended by the gateway"] += call.ended_by_peer
    except TimeoutError:
        line.outcomes["stuck"] += 1


async def soak(caller: Caller, gateway: GatewayProcess, table: list[Line], calls: int, chance: random.Random) -> None:
    """So many calls, some at once, each with a fault and an end of its own."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(line: Line, hold_s: float) -> None:
        try:
            await place(caller, gateway, line, hold_s)
        finally:
            free.release()

    async with asyncio.timeout(PATIENCE * calls / AT_ONCE * LONGEST_HOLD_S + STUCK_S), asyncio.TaskGroup() as group:
        for _ in range(calls):
            await free.acquire()
            # Every tenth caller hangs up while it may still be ringing.
            hold_s = chance.uniform(0, 0.1) if chance.random() < 0.1 else chance.uniform(0.2, LONGEST_HOLD_S)
            group.create_task(one(chance.choice(table), hold_s))


def idle(gateway: GatewayProcess) -> Record:
    """The gateway's counts once every transaction has run out."""
    held = ("calls", "dialogs", "transactions", "ports")
    return gateway.wait_until_state(lambda state: not any(state[kind] for kind in held), IDLE_WITHIN_S)


async def measure(folder: Path, calls: int, rounds: int, seed: int) -> bool:
    """Runs the soak, prints its table, and says whether nothing was left."""
    table, chance = lines(), random.Random(seed)
    async with EmbeddedServer(mode=Mode.TALK) as server:
        host = urlsplit(server.url).netloc
        with GatewayProcess(
            folder, timers=TIMERS, adapt=lambda configuration: adapt(configuration, table, host)
        ) as gateway:
            async with Caller(LOOPBACK) as caller:
                await soak(caller, gateway, lines(), WARM_UP_CALLS, chance)
                before = await asyncio.to_thread(idle, gateway)
                descriptors, began = gateway.descriptor_count(), time.monotonic()
                resident = [gateway.resident_bytes()]
                for _ in range(rounds):
                    await soak(caller, gateway, table, calls, chance)
                    after = await asyncio.to_thread(idle, gateway)
                    resident.append(gateway.resident_bytes())
                took_s = time.monotonic() - began
            left = {kind: after[kind] for kind in ("calls", "dialogs", "transactions", "ports")}
            left |= {kind: after[kind] - before[kind] for kind in ("tasks", "sockets")}
            left["descriptors"] = gateway.descriptor_count() - descriptors
    growth = ", ".join(f"{(later - earlier) / 2**20:+.1f}" for earlier, later in pairwise(resident))
    show(table, left, f"{calls * rounds} calls in {took_s:.0f} s, seed {seed}; memory {growth} MB")
    return not any(left.values()) and not any(line.outcomes["stuck"] for line in table)


def show(table: list[Line], left: dict[str, int], caption: str) -> None:
    """Prints what became of the calls, and what is left of them."""
    shown = Table(title="Trunkline, soak", caption=caption)
    for heading in ("backend", "fault", "calls", "what became of them"):
        shown.add_column(heading)
    for line in table:
        became = ", ".join(f"{count} {what}" for what, count in sorted(line.outcomes.items()) if count)
        shown.add_row(line.kind, line.fault or "none", str(line.calls), became)
    shown.add_section()
    shown.add_row(
        "", "left of all", str(sum(line.calls for line in table)), ", ".join(f"{n} {k}" for k, n in left.items())
    )
    Console(width=150).print(shown)


def main() -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=QUICK_CALLS, help=f"how many calls (default: {QUICK_CALLS})")
    parser.add_argument("--rounds", type=int, default=1, help="so often; memory is told for each")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the moments at which callers hang up")
    parser.add_argument("--folder", type=Path, help="where the gateway's log and records go (default: nowhere)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        return int(not asyncio.run(measure(folder, arguments.calls, arguments.rounds, arguments.seed)))


if __name__ == "__main__":
    sys.exit(main())
