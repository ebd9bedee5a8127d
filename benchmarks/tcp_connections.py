"""Two thousand idle TCP connections, slow senders and half messages, while calls go on over one connection beside them.

Usage, from the project's root: `.venv/bin/python -m benchmarks.tcp_connections` (about 25 s). The crowd is a process of
its own and comes from 127.0.0.2; the gateway's endpoint, with all of `sip/` behind it, is another; this one places the
calls and prints the table.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import secrets
import socket
import statistics
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.event import AgentEvent, Answered, Failed, IncomingInvite
from sip.header import NameAddr
from sip.session.uac import ClientSession
from sip.transport.census import ConnectionLimits
from sip.transport.endpoint import SipEndpoint
from sip.transport.stream import TcpListener
from sip.uri import Uri
from tests.helpers.sip import ANSWER, OFFER, request

LOOPBACK: Final = "127.0.0.1"
CROWD: Final = "127.0.0.2"
HALF_MESSAGE: Final = b"INVITE sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1"
DRIP_SECONDS: Final = 0.05
CALL_SECONDS: Final = 0.02  # between two calls
SETTLE_SECONDS: Final = 13.0  # the 10 s of a partial message, and a sweep


def _agent() -> UserAgent:
    return UserAgent(AgentConfiguration(), token=lambda: secrets.token_hex(8))


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def serve(pipe: Connection, each_address: int) -> None:
    """The endpoint under test; answers {"connections", "resident_mb", "counters"} to whatever the pipe says."""

    async def main() -> None:
        agent = _agent()

        def on_event(event: AgentEvent) -> None:
            if isinstance(event, IncomingInvite):
                endpoint.perform(event.session.answer, ANSWER)

        inbound = 4096 if each_address > 64 else 1024
        limits = ConnectionLimits(each_address=each_address, new_burst=2 * each_address, inbound=inbound)
        endpoint = SipEndpoint(agent, listeners=[TcpListener(LOOPBACK, 0)], on_event=on_event, limits=limits)
        await endpoint.start()
        pipe.send(endpoint.addresses[0].port)
        stopped = asyncio.Event()

        def tell() -> None:
            if pipe.recv() is None:
                stopped.set()
                return
            pipe.send({
                "connections": endpoint.connection_count, "resident_mb": _resident_mb(),
                "cpu_s": time.process_time(), "counters": dict(agent.counters),
            })  # fmt: skip

        asyncio.get_running_loop().add_reader(pipe.fileno(), tell)
        await stopped.wait()
        await endpoint.aclose()

    uvloop.run(main())


def crowd(port: int, idle: int, halves: int, slow: int, pipe: Connection) -> None:
    """Opens the connections, lets the slow ones drip a byte now and then, and reports how many still stand."""
    message = bytes(request("OPTIONS", via="SIP/2.0/TCP 192.0.2.1:5060;branch={branch}"))
    kinds = ["idle"] * idle + ["half"] * halves + ["slow"] * slow
    random.Random(1).shuffle(kinds)
    connections: list[socket.socket] = []
    for kind in kinds:
        made = socket.socket()
        made.bind((CROWD, 0))
        made.connect((LOOPBACK, port))
        made.setblocking(False)
        if kind == "half":
            with contextlib.suppress(OSError):
                made.send(HALF_MESSAGE)
        connections.append(made)
    pipe.send(len(connections))
    drips = [made for made, kind in zip(connections, kinds, strict=True) if kind == "slow"]
    for position in range(10**6):
        if pipe.poll(DRIP_SECONDS):
            break
        for made in drips:
            with contextlib.suppress(OSError):
                made.send(message[position % len(message) :][:1])
    pipe.send(sum(map(_stands, connections)))


def _stands(made: socket.socket) -> bool:
    try:
        return bool(made.recv(4096))
    except BlockingIOError:
        return True
    except OSError:
        return False


class Caller:
    """Places calls one after another over TCP and notes how long each takes to be answered."""

    def __init__(self, port: int) -> None:
        self._agent = _agent()
        self._uri = Uri.parse(f"sip:bob@{LOOPBACK}:{port};transport=tcp")
        self.endpoint = SipEndpoint(self._agent, listeners=[TcpListener(LOOPBACK, 0)], on_event=self._on_event)
        self._begun: dict[ClientSession, float] = {}
        self.setup_ms: list[float] = []
        self.failed = 0

    def _on_event(self, event: AgentEvent) -> None:
        if isinstance(event, Answered) and isinstance(event.session, ClientSession):
            self.setup_ms.append((time.perf_counter() - self._begun.pop(event.session)) * 1000)
            self.endpoint.perform(event.session.bye)
        elif isinstance(event, Failed):
            self.failed += 1

    async def run(self, seconds: float) -> None:
        """Calls go on for so long."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            begun = time.perf_counter()
            call = self.endpoint.perform(
                self._agent.invite, target=self._uri, from_=NameAddr.parse("<sip:alice@127.0.0.1>"), offer=OFFER
            )
            self._begun[call] = begun
            await asyncio.sleep(CALL_SECONDS)

    def take(self) -> tuple[int, int, float, float]:
        """Calls answered, calls lost, p50 and p99 of their set-up since the last look."""
        taken, self.setup_ms = sorted(self.setup_ms), []
        lost, self.failed = self.failed + len(self._begun), 0
        p99 = taken[int(len(taken) * 0.99)] if taken else float("nan")
        return len(taken), lost, statistics.median(taken) if taken else float("nan"), p99


Row = tuple[str, int, float, int, int, float, float]


async def measure(options: argparse.Namespace, each_address: int) -> tuple[list[Row], dict[str, int]]:
    """One run: before, with the crowd, and after what was overdue is reaped."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, each_address), daemon=True)
    server.start()
    port = await asyncio.to_thread(ours.recv)
    caller = Caller(port)
    await caller.endpoint.start()
    rows: list[Row] = []
    counters: dict[str, int] = {}

    async def phase(name: str, seconds: float) -> None:
        await caller.run(seconds)
        await asyncio.sleep(0.3)
        ours.send("state")
        state = await asyncio.to_thread(ours.recv)
        counters.update(state["counters"])
        rows.append((name, state["connections"], state["resident_mb"], *caller.take()))

    await phase("alone", options.seconds)
    crowd_ours, crowd_theirs = context.Pipe()
    arguments = (port, options.idle, options.halves, options.slow, crowd_theirs)
    attackers = context.Process(target=crowd, args=arguments, daemon=True)
    attackers.start()
    await phase("while they come", options.seconds)
    await asyncio.to_thread(crowd_ours.recv)
    await phase("with all of them", SETTLE_SECONDS)
    crowd_ours.send("stop")
    await asyncio.to_thread(crowd_ours.recv)
    attackers.join(10)
    await phase("after they left", options.seconds)
    await caller.endpoint.aclose(patience=2.0)
    ours.send(None)
    server.join(10)
    return rows, counters


def _tables(results: dict[str, tuple[list[Row], dict[str, int]]]) -> Iterator[Table]:
    for title, (rows, counters) in results.items():
        table = Table(title=title)
        for column in ("", "connections", "resident MB", "calls", "lost", "set-up p50 ms", "p99 ms"):
            table.add_column(column, justify="right" if column else "left")
        for name, connections, resident, calls, lost, p50, p99 in rows:
            table.add_row(name, str(connections), f"{resident:.1f}", str(calls), str(lost), f"{p50:.1f}", f"{p99:.1f}")
        told = ("connection_limit_of_address", "partial_message_timeout", "connection_idle")
        table.caption = ", ".join(f"{label} {counters.get(label, 0)}" for label in told)
        yield table


def main() -> None:
    """Runs it under the limits of the house, and once without, to see what they are for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--halves", type=int, default=200)
    parser.add_argument("--slow", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {
        "64 connections an address (the default)": uvloop.run(measure(options, 64)),
        "no limit, for comparison": uvloop.run(measure(options, 4096)),
    }
    for table in _tables(results):
        Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
