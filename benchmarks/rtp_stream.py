"""What a packet costs: microseconds per received and per sent packet, of the sans-I/O core and through real sockets.

    python -m benchmarks.rtp_stream [--calls 100] [--rounds 50]

The core is measured with datagrams in memory. The socket path sends from plain sockets to `MediaSockets` over loopback
and back, in rounds: all calls receive one packet, all calls send one; each half is timed by itself. What bare system
calls of the plain sockets take is printed beside it, so what Python adds can be told from what the kernel takes.
"""

import argparse
import random
import secrets
import socket
import sys
import time
from collections.abc import Callable

from rtp.clock import MediaClock
from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from rtp.port_pool import PortPool
from rtp.sink import NullSink
from rtp.socket import MediaPort, MediaSockets
from rtp.source_lock import Address
from rtp.stream import RtpStream

FAR_END: Address = ("127.0.0.1", 9)


class Call(NullSink):
    """One leg: what the gateway does with a stream, without the model."""

    def __init__(self, remote: Address = FAR_END) -> None:
        self.octets = 0
        self.port: MediaPort | None = None
        self.stream = RtpStream(
            StreamParameters(remote=remote),
            self,
            ssrc=secrets.randbits(32),
            sequence_number=secrets.randbits(16),
            timestamp=secrets.randbits(32),
            now=0.0,
        )

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """Counts, as cheaply as Python can."""
        self.octets += len(payload)

    def tick(self, now: float) -> None:
        """One turn of the media clock."""
        packet, remote = self.stream.tick(now), self.stream.remote
        if packet is not None and remote is not None and self.port is not None:
            self.port.rtp.send(packet, remote)

    def skip(self, turns: int) -> None:
        """The clock was late."""
        self.stream.skip(turns)


def best_us(work: Callable[[], object], packets: int, rounds: int) -> float:
    """The cheapest of `rounds` runs, per packet: other processes only ever add."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best * 1e6 / packets


def datagrams(count: int) -> list[bytes]:
    """A talking far end."""
    payload = random.Random(1).randbytes(160)
    return [bytes(RtpPacket(0, number & 0xFFFF, number * 160, 7, payload)) for number in range(count)]


def measure_core(rounds: int) -> dict[str, float]:
    """The sans-I/O core by itself."""
    call = Call()
    figures: dict[str, float] = {}
    stream = datagrams(1000 * (rounds + 1))
    position = 0

    def receive() -> None:
        nonlocal position
        receive_datagram = call.stream.receive_datagram
        for number in range(position, position + 1000):
            receive_datagram(stream[number], FAR_END, number * 0.02)
        position += 1000

    def send() -> None:
        tick = call.stream.tick
        now = position * 0.02
        for _ in range(1000):
            tick(now)

    def speak() -> None:
        call.stream.playout.enqueue("item", bytes(160_000))
        send()

    figures["core, received in order"] = best_us(receive, 1000, rounds)
    figures["core, sent silence"] = best_us(send, 1000, rounds)
    figures["core, sent speech"] = best_us(speak, 1000, rounds)
    stranger = ("192.0.2.1", 5)

    def refuse() -> None:
        receive_datagram = call.stream.receive_datagram
        for number in range(1000):
            receive_datagram(stream[number], stranger, 0.0)

    figures["core, stranger refused"] = best_us(refuse, 1000, rounds)
    return figures


def measure_sockets(calls: int, rounds: int) -> dict[str, float]:
    """The same through the kernel, loopback."""

    def fault(*culprits: object) -> None:
        raise RuntimeError(culprits)

    clock = MediaClock(fault)
    sockets = MediaSockets("127.0.0.1", PortPool(40_000, 49_999, choose=secrets.randbelow), clock, fault)
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(calls)]
    legs: list[Call] = []
    for peer in peers:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        leg = Call(peer.getsockname())
        leg.port = sockets.open(leg.stream.receive_datagram, leg.stream.receive_datagram)
        legs.append(leg)
    stream = datagrams(rounds)
    best = dict.fromkeys(
        ("socket, received", "socket, sent", "kernel sendto alone", "kernel recvfrom alone"), float("inf")
    )

    def keep(name: str, started: float) -> None:
        best[name] = min(best[name], (time.perf_counter() - started) * 1e6 / calls)

    for number in range(rounds):
        now = number * 0.02
        started = time.perf_counter()
        for peer, leg in zip(peers, legs, strict=True):
            if leg.port is not None:
                peer.sendto(stream[number], leg.port.rtp.local)
        keep("kernel sendto alone", started)
        started = time.perf_counter()
        taken = sockets.drain(now)
        keep("socket, received", started)
        if taken != calls:
            raise RuntimeError(f"{taken} of {calls} packets arrived")
        started = time.perf_counter()
        for leg in legs:
            leg.tick(now)
        keep("socket, sent", started)
        started = time.perf_counter()
        for peer in peers:
            peer.recvfrom(2048)
        keep("kernel recvfrom alone", started)
    best["socket, stranger's flood"] = measure_flood(sockets, legs[0], rounds)
    if any(leg.octets != 160 * rounds for leg in legs):
        raise RuntimeError("A call has not heard everything")
    sockets.close()
    for peer in peers:
        peer.close()
    return best


def measure_flood(sockets: MediaSockets, victim: Call, rounds: int) -> float:
    """What one packet of a stranger costs who floods one port, 100 in 5 ms."""
    noise = bytes(172)
    best = float("inf")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(rounds):
            for _ in range(100):
                if victim.port is not None:
                    stranger.sendto(noise, victim.port.rtp.local)
            started = time.perf_counter()
            taken = sockets.drain(0.0)
            best = min(best, (time.perf_counter() - started) * 1e6 / taken)
    return best


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    figures = measure_core(arguments.rounds) | measure_sockets(arguments.calls, arguments.rounds)
    for name, microseconds in figures.items():
        sys.stdout.write(f"{name:28s} {microseconds:7.2f} us a packet\n")
    total = figures["socket, received"] + figures["socket, sent"]
    sys.stdout.write(f"{'one call, 50 packets each way':28s} {total * 50 / 1000:7.3f} ms a second\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
