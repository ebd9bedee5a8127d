"""Media sockets over loopback, on both event loops."""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest
import uvloop

from rtp.clock import MediaClock
from rtp.datagram import MAX_DATAGRAM_OCTETS
from rtp.errors import PortsExhaustedError
from rtp.port_pool import PortPool
from rtp.socket import COALESCE_FROM, MAX_DATAGRAMS_PER_DRAIN, MediaSockets
from rtp.source_lock import Address

LOOPS = pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
Factory = Callable[[], asyncio.AbstractEventLoop]
FIRST, LAST = 31_000, 31_199


@dataclass
class Ear:
    datagrams: list[tuple[bytes, Address]] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, data: bytes, source: Address, now: float) -> None:
        assert abs(time.monotonic() - now) < 60
        self.datagrams.append((data, source))
        self.heard.set()


class Idle:
    def tick(self, now: float) -> None:
        """Only counts as a call."""

    def skip(self, turns: int) -> None:
        """Never mind."""


def no_fault(*culprits: object) -> None:
    raise AssertionError(culprits)


def sockets(host: str = "127.0.0.1", last: int = LAST) -> tuple[MediaSockets, MediaClock]:
    clock = MediaClock(no_fault)
    pool = PortPool(FIRST, last, choose=random.Random().randrange)
    return MediaSockets(host, pool, clock, no_fault), clock


def run(factory: Factory, scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())


@LOOPS
def test_datagrams_arrive_with_their_source_on_both_ports(factory: Factory) -> None:
    async def scenario() -> None:
        subject, _ = sockets()
        subject.start(asyncio.get_running_loop())
        rtp, rtcp, other = Ear(), Ear(), Ear()
        here, there = subject.open(rtp, rtcp), subject.open(other, other)
        assert here.rtp.local == ("127.0.0.1", here.port)
        assert here.rtcp.local == ("127.0.0.1", here.port + 1)
        there.rtp.send(b"sound", here.rtp.local)
        there.rtcp.send(b"report", here.rtcp.local)
        await asyncio.wait_for(rtp.heard.wait(), 5)
        await asyncio.wait_for(rtcp.heard.wait(), 5)
        assert rtp.datagrams == [(b"sound", there.rtp.local)]
        assert rtcp.datagrams == [(b"report", there.rtcp.local)]
        subject.close()
        assert subject.open_ports == 0

    run(factory, scenario)


@LOOPS
def test_with_many_calls_the_clock_drains(factory: Factory) -> None:
    async def scenario() -> None:
        subject, clock = sockets()
        loop = asyncio.get_running_loop()
        subject.start(loop)
        clock.start(loop)
        ear = Ear()
        here, there = subject.open(ear, ear), subject.open(Ear(), Ear())
        calls = [Idle() for _ in range(COALESCE_FROM)]
        for call in calls:
            clock.register(call)
        stepped = asyncio.Event()
        clock.add_step_hook(lambda now: stepped.set())
        await asyncio.wait_for(stepped.wait(), 5)
        before = clock.lag.steps
        there.rtp.send(b"one", here.rtp.local)
        await asyncio.wait_for(ear.heard.wait(), 5)
        assert clock.lag.steps > before
        assert subject.counters.drains >= clock.lag.steps
        for call in calls:
            clock.unregister(call)
        ear.heard.clear()
        there.rtp.send(b"two", here.rtp.local)
        await asyncio.wait_for(ear.heard.wait(), 5)
        await asyncio.sleep(0.02)
        ear.heard.clear()
        # The clock rests now, and the loop watches again.
        there.rtp.send(b"three", here.rtp.local)
        await asyncio.wait_for(ear.heard.wait(), 5)
        clock.stop()
        subject.close()

    run(factory, scenario)


def test_what_has_arrived_is_heard_before_a_call_is_served() -> None:
    subject, clock = sockets()
    order: list[str] = []

    class Call(Idle):
        def tick(self, now: float) -> None:
            order.append("turn")

    port = subject.open(lambda data, source, now: order.append("heard"), Ear())
    loop = asyncio.new_event_loop()
    subject.start(loop)
    clock.register(Call())
    clock.wind(100.0)
    port.rtp.send(b"x", port.rtp.local)
    for step in range(1, 5):
        clock.advance(100.0 + step * 0.005)
    assert order == ["heard", "turn"]
    subject.close()
    loop.close()


def test_one_drain_is_bounded_and_serves_every_port() -> None:
    subject, _ = sockets()
    flooded, quiet = Ear(), Ear()
    victim, neighbour = subject.open(flooded, flooded), subject.open(quiet, quiet)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        for _ in range(200):
            flood.sendto(b"noise", victim.rtp.local)
        flood.sendto(b"voice", neighbour.rtp.local)
    assert subject.drain(time.monotonic()) == 201
    assert len(flooded.datagrams) == 200
    assert len(quiet.datagrams) == 1
    assert subject.counters.datagrams == 201 <= MAX_DATAGRAMS_PER_DRAIN
    subject.close()


def test_a_giant_datagram_is_cut_and_harms_nobody() -> None:
    subject, _ = sockets()
    ear = Ear()
    port = subject.open(ear, ear)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(bytes(60_000), port.rtp.local)
        sender.sendto(b"next", port.rtp.local)
    subject.drain(time.monotonic())
    assert [len(data) for data, _ in ear.datagrams] == [MAX_DATAGRAM_OCTETS, 4]
    subject.close()


def test_a_port_that_another_process_holds_is_passed_over() -> None:
    subject, _ = sockets(last=FIRST + 3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", FIRST + 1))
        assert subject.open(Ear(), Ear()).port == FIRST + 2
        with pytest.raises(PortsExhaustedError):
            subject.open(Ear(), Ear())
    subject.close()


def test_closing_frees_both_ports_and_may_be_repeated() -> None:
    subject, _ = sockets()
    port = subject.open(Ear(), Ear())
    numbers = (port.port, port.port + 1)
    port.close()
    port.close()
    assert port.rtp.fileno() == -1
    for number in numbers:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", number))
    assert subject.drain(time.monotonic()) == 0
    subject.close()


def test_a_port_that_is_closed_by_a_receiver_is_not_read_any_more() -> None:
    subject, _ = sockets()
    calls: list[bytes] = []
    ports = [subject.open(lambda data, source, now: close(data), Ear()) for _ in range(2)]

    def close(data: bytes) -> None:
        calls.append(data)
        for port in ports:
            port.close()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in ports:
            sender.sendto(b"x", port.rtp.local)
    subject.drain(time.monotonic())
    assert calls == [b"x"]
    subject.close()


def test_a_fault_in_a_receiver_ends_nothing_but_itself() -> None:
    faults: list[str] = []
    clock = MediaClock(no_fault)
    pool = PortPool(FIRST, LAST, choose=random.Random().randrange)
    subject = MediaSockets("127.0.0.1", pool, clock, lambda error: faults.append(str(error)))
    heard: list[bytes] = []

    def receive(data: bytes, source: Address, now: float) -> None:
        if data == b"bad":
            raise ValueError("cannot bear it")
        heard.append(data)

    port = subject.open(receive, receive)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for data in (b"bad", b"good"):
            sender.sendto(data, port.rtp.local)
    subject.drain(time.monotonic())
    assert (faults, heard) == (["cannot bear it"], [b"good"])
    subject.close()


def test_what_the_network_refuses_is_counted() -> None:
    subject, _ = sockets()
    port = subject.open(Ear(), Ear())
    port.rtp.send(bytes(70_000), ("127.0.0.1", 9))
    port.rtp.send(b"x", ("2001:db8::1", 9))
    assert subject.counters.send_errors == 2
    port.close()
    port.rtp.send(b"x", ("127.0.0.1", 9))
    assert subject.counters.send_errors == 3
    subject.close()


def test_packets_carry_expedited_forwarding() -> None:
    subject, _ = sockets()
    port = subject.open(Ear(), Ear())
    with socket.socket(fileno=socket.dup(port.rtp.fileno())) as twin:
        assert twin.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
    subject.close()


def test_a_host_that_is_not_ours_is_an_error_and_leaves_nothing_open() -> None:
    subject, _ = sockets("203.0.113.1")
    with pytest.raises(OSError, match="Cannot assign"):
        subject.open(Ear(), Ear())
    assert subject.open_ports == 0
    subject.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_sources_are_host_and_port_over_ipv6_too() -> None:
    subject, _ = sockets("::1")
    ear = Ear()
    try:
        port = subject.open(ear, ear)
    except OSError:
        subject.close()
        pytest.skip("no IPv6 loopback here")
    port.rtp.send(b"six", port.rtp.local)
    subject.drain(time.monotonic())
    assert ear.datagrams == [(b"six", port.rtp.local)]
    subject.close()
