"""What a call costs in the whole media plane: clock, sockets and streams on an event loop, another process as far end.

    python -m benchmarks.rtp_calls [--calls 200] [--seconds 10]

Both processes run the same media plane; the far end speaks, the process that is measured sends the caller's audio back.
Where two cores are there each process keeps to its own. Printed: CPU per call-second of the measured process, the lag
of its clock, what arrived at the far end and the gaps between packets there. The far end's CPU shows that it was not
the limit.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from rtp.clock import MediaClock
from rtp.parameters import StreamParameters
from rtp.port_pool import PortPool
from rtp.sink import NullSink
from rtp.socket import COALESCE_FROM, MediaSockets
from rtp.source_lock import Address
from rtp.stream import RtpStream

SETTLE_S = 1.0
"""Left out of the measurement: start, first packets, caches."""


def fault(*culprits: object) -> None:
    """A benchmark with a fault measures nothing."""
    raise RuntimeError(culprits)


class Leg(NullSink):
    """One call's media."""

    def __init__(self, sockets: MediaSockets, *, echoes: bool) -> None:
        self._echoes = echoes
        self._stream: RtpStream | None = None
        self.port = sockets.open(self._receive, self._receive)
        self.gaps_ms: list[float] = []
        self._arrived_at = 0.0

    def connect(self, remote: Address) -> None:
        """Takes what would have been negotiated."""
        self._stream = RtpStream(
            StreamParameters(remote=remote),
            self,
            ssrc=secrets.randbits(32),
            sequence_number=secrets.randbits(16),
            timestamp=secrets.randbits(32),
            now=time.monotonic(),
        )

    def _receive(self, data: bytes, source: Address, now: float) -> None:
        if self._stream is not None:
            self._stream.receive_datagram(data, source, now)
        if not self._echoes:
            self.gaps_ms.append((now - self._arrived_at) * 1000)
            self._arrived_at = now

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """Sends the caller's audio back, as the model `echo` would."""
        if self._echoes and self._stream is not None:
            self._stream.playout.enqueue("echo", payload)

    def tick(self, now: float) -> None:
        """One turn."""
        stream = self._stream
        if stream is not None and (packet := stream.tick(now)) is not None and stream.remote is not None:
            self.port.rtp.send(packet, stream.remote)

    def skip(self, turns: int) -> None:
        """The clock was late."""
        if self._stream is not None:
            self._stream.skip(turns)


async def carry(calls: int, seconds: float, first_port: int, *, echoes: bool) -> dict[str, float]:
    """One process's half: opens its ports, learns the other's, talks, and returns its figures."""
    loop = asyncio.get_running_loop()
    clock = MediaClock(fault)
    pool = PortPool(first_port, first_port + 9999, choose=secrets.randbelow)
    # The far end reads each packet when it comes, so that the gaps it measures are those on the wire.
    coalesce_from = COALESCE_FROM if echoes else sys.maxsize
    sockets = MediaSockets("127.0.0.1", pool, clock, fault, coalesce_from=coalesce_from)
    sockets.start(loop)
    clock.start(loop)
    legs = [Leg(sockets, echoes=echoes) for _ in range(calls)]
    sys.stdout.write(json.dumps([leg.port.port for leg in legs]) + "\n")
    sys.stdout.flush()
    ports: list[int] = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    for leg, port in zip(legs, ports, strict=True):
        leg.connect(("127.0.0.1", port))
        clock.register(leg)
    await asyncio.sleep(SETTLE_S)
    clock.lag.reset()
    for leg in legs:
        leg.gaps_ms.clear()
    counted_before, cpu_before = sockets.counters.datagrams, os.times()
    await asyncio.sleep(seconds)
    cpu, packets = os.times(), sockets.counters.datagrams - counted_before
    user_s, system_s = cpu.user - cpu_before.user, cpu.system - cpu_before.system
    cpu_s = user_s + system_s
    gaps_ms = sorted(gap for leg in legs for gap in leg.gaps_ms)
    figures = {
        "CPU per call-second (ms)": cpu_s * 1000 / seconds / calls,
        "of that in the kernel (ms)": system_s * 1000 / seconds / calls,
        "share of a core (%)": cpu_s * 100 / seconds,
        "packets received (%)": packets * 100 / (calls * seconds * 50),
        "clock lag p50 (ms)": clock.lag.percentile_ms(50),
        "clock lag p99 (ms)": clock.lag.percentile_ms(99),
        "turns missed": float(clock.lag.missed_turns),
    }
    if gaps_ms:
        figures["RTP gap p99 (ms)"] = gaps_ms[len(gaps_ms) * 99 // 100]
        figures["RTP gap max (ms)"] = gaps_ms[-1]
    await asyncio.sleep(SETTLE_S)
    clock.stop()
    sockets.close()
    return figures


def start(role: str, arguments: argparse.Namespace, core: int) -> subprocess.Popen[str]:
    """Starts one half in a process of its own, on a core of its own."""
    command = [sys.executable, "-m", "benchmarks.rtp_calls", "--role", role]
    command += ["--calls", str(arguments.calls), "--seconds", str(arguments.seconds)]
    half = subprocess.Popen(  # noqa: S603  # our own interpreter and file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(half.pid, {cores[core % len(cores)]})
    return half


def main() -> int:
    """Runs both halves and prints their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--role", choices=["measured", "far-end"])
    arguments = parser.parse_args()
    if arguments.role is not None:
        echoes = arguments.role == "measured"
        first_port = 40_000 if echoes else 50_000
        figures = uvloop.run(carry(arguments.calls, arguments.seconds, first_port, echoes=echoes))
        sys.stdout.write(json.dumps(figures) + "\n")
        return 0
    halves = [start("measured", arguments, 0), start("far-end", arguments, 1)]
    ports = [half.stdout.readline() if half.stdout else "" for half in halves]
    for half, others in zip(halves, reversed(ports), strict=True):
        if half.stdin is not None:
            half.stdin.write(others)
            half.stdin.flush()
    for half, name in zip(halves, ("measured", "far end"), strict=True):
        output, _ = half.communicate(timeout=arguments.seconds + 60)
        for figure, value in json.loads(output).items():
            sys.stdout.write(f"{name:9s} {figure:28s} {value:9.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
