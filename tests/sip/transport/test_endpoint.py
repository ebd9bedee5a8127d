"""The endpoint over real loopback sockets, on asyncio's loop and on uvloop."""

import asyncio
import itertools
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.event import AgentEvent, Answered, Ended, Failed
from sip.transport.endpoint import SipEndpoint
from sip.transport.flow import Address, Flow, Target, Transmit, is_ip_literal
from sip.transport.resolver import ResolveError, SystemResolver
from sip.transport.udp import BATCH_LIMIT, UdpListener, UdpSocket
from tests.helpers.sip import ANSWER, request
from tests.helpers.stream_phone import Phone

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main)


def udp(host: str = "127.0.0.1", **options: object) -> Phone:
    """A phone over UDP."""
    return Phone(UdpListener(host, 0), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_call_from_invite_to_bye(loop_factory: Callable[[], asyncio.AbstractEventLoop], host: str) -> None:
    async def main() -> None:
        alice, bob = udp(), udp()
        await alice.endpoint.start()
        await bob.endpoint.start()
        call = alice.call(f"sip:bob@{host}:{bob.address.port}")
        answered = await alice.wait_for(Answered)
        assert answered.body == ANSWER
        alice.endpoint.perform(call.bye)
        await bob.wait_for(Ended)
        assert bob.agent.session_count == alice.agent.session_count == 0
        await alice.endpoint.aclose()
        await bob.endpoint.aclose()
        await bob.endpoint.aclose()

    run(loop_factory, main())


def test_calls_over_ipv6() -> None:
    async def main() -> None:
        alice, bob = udp(host="::1"), udp(host="::1")
        await alice.endpoint.start()
        await bob.endpoint.start()
        alice.call(f"sip:bob@[::1]:{bob.address.port}")
        await alice.wait_for(Answered)
        assert alice.agent.contact("udp") == f"<sip:[::1]:{alice.address.port}>"
        await alice.endpoint.aclose()
        await bob.endpoint.aclose()

    asyncio.run(main())


def test_timers_run_on_the_loop() -> None:
    """An INVITE to a socket that never answers is resent by the loop's own clock."""

    async def main() -> None:
        alice = udp()
        await alice.endpoint.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            silent.setblocking(False)
            alice.call(f"sip:bob@127.0.0.1:{silent.getsockname()[1]}")
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(10):
                first = await loop.sock_recv(silent, 65535)
                second = await loop.sock_recv(silent, 65535)
        assert first == second
        await alice.endpoint.aclose()

    asyncio.run(main())


def test_strangers_are_counted_before_anything_is_parsed() -> None:
    async def main() -> None:
        asked: list[tuple[str, str]] = []

        def admit(transport: str, source: Address) -> bool:
            asked.append((transport, source.host))
            return False

        alice, bob = udp(), udp(admit=admit)
        await alice.endpoint.start()
        await bob.endpoint.start()
        alice.call(f"sip:bob@127.0.0.1:{bob.address.port}")
        bob.endpoint._readable(bob.endpoint._sockets[0])  # loopback delivers at once
        assert bob.agent.counters["stranger"] == 1
        assert asked[0] == ("udp", "127.0.0.1")
        assert bob.events == []
        await alice.endpoint.aclose()
        await bob.endpoint.aclose()

    asyncio.run(main())


def test_a_name_without_address_fails_the_call_with_503() -> None:
    class Nowhere(SystemResolver):
        async def resolve(self, target: Target) -> list[Address]:
            raise ResolveError(f"{target.host!r} has no address")

    async def main() -> None:
        alice = udp()
        alice.endpoint._resolver = Nowhere()
        await alice.endpoint.start()
        alice.call("sip:bob@trunk.invalid:5060")
        failed = await alice.wait_for(Failed)
        assert failed.status == 503
        assert alice.agent.counters["unresolved"] == 1
        await alice.endpoint.aclose()

    asyncio.run(main())


def test_a_transport_that_no_listener_serves_fails_the_call_with_503() -> None:
    async def main() -> None:
        alice = udp()
        await alice.endpoint.start()
        for uri in ("sip:bob@127.0.0.1:5060;transport=sctp", "sip:bob@[::1]:5060"):
            alice.call(uri)
        assert [event.status for event in alice.events if isinstance(event, Failed)] == [503, 503]
        await alice.endpoint.aclose()

    asyncio.run(main())


def test_look_ups_under_way_are_bounded_and_end_with_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(SystemResolver):
        async def resolve(self, target: Target) -> list[Address]:
            await asyncio.Event().wait()
            return []

    monkeypatch.setattr("sip.transport.delivery.RESOLUTION_LIMIT", 2)

    async def main() -> None:
        alice = udp()
        alice.endpoint._resolver = Slow()
        await alice.endpoint.start()
        for _ in range(3):
            alice.call("sip:bob@trunk.invalid:5060")
        assert alice.agent.counters["resolution_limit"] == 1
        await alice.endpoint.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_an_event_callback_that_raises_ends_neither_the_drain_nor_the_endpoint() -> None:
    async def main() -> None:
        bob = udp(answers=False)
        await bob.endpoint.start()
        flow = Flow("udp", bob.address, Address("127.0.0.1", 9), 0)

        def refuse(event: AgentEvent) -> None:
            raise ValueError("the user's fault")

        bob.endpoint._on_event = refuse
        with pytest.raises(ValueError, match="the user's fault"):
            bob.endpoint._receive(bytes(request()), flow)
        bob.endpoint._on_event = bob._keep
        bob.endpoint._receive(bytes(request(call_id="call-2", branch="z9hG4bK2")), flow)
        assert len(bob.events) == 1
        assert bob.endpoint._timer is not None
        await bob.endpoint.aclose()

    asyncio.run(main())


def test_a_listener_that_cannot_be_bound_leaves_nothing_open() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            agent = UserAgent(AgentConfiguration(), token=lambda: "t")
            listeners = [UdpListener("127.0.0.1", 0), UdpListener("127.0.0.1", taken.getsockname()[1])]
            endpoint = SipEndpoint(agent, listeners=listeners, on_event=lambda event: None)
            with pytest.raises(OSError, match="in use"):
                await endpoint.start()
            assert endpoint.addresses == []

    asyncio.run(main())


def test_an_endpoint_that_was_never_started_says_so() -> None:
    endpoint = SipEndpoint(
        UserAgent(AgentConfiguration(), token=lambda: "t"), listeners=[], on_event=lambda event: None
    )
    with pytest.raises(RuntimeError, match="has not been started"):
        endpoint.perform(endpoint.agent.handle_timer)


def test_closing_waits_for_the_bye_s_answer() -> None:
    async def main() -> None:
        alice, bob = udp(), udp()
        await alice.endpoint.start()
        await bob.endpoint.start()
        call = alice.call(f"sip:bob@127.0.0.1:{bob.address.port}")
        await alice.wait_for(Answered)
        alice.endpoint.perform(call.hang_up)
        await alice.endpoint.aclose(patience=0.05)
        await bob.wait_for(Ended)
        await bob.endpoint.aclose()

    asyncio.run(main())


def test_a_batch_is_bounded_and_the_rest_waits_for_the_next_turn() -> None:
    agent = UserAgent(AgentConfiguration(), token=lambda: "t")
    bound = UdpSocket(UdpListener("127.0.0.1", 0), 0, agent.counters)
    taken: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(BATCH_LIMIT + 5):
            sender.sendto(str(number).encode(), bound.address)
        bound.receive_batch(lambda *_: True, lambda data, flow: taken.append(data), lambda: 0.0)
        assert len(taken) == BATCH_LIMIT
        bound.receive_batch(lambda *_: True, lambda data, flow: taken.append(data), lambda: 0.0)
        assert [int(data) for data in taken] == list(range(BATCH_LIMIT + 5))
        for number in range(5):
            sender.sendto(str(number).encode(), bound.address)
        taken.clear()
        clock = itertools.count(0.0, 0.001).__next__
        bound.receive_batch(lambda *_: True, lambda data, flow: taken.append(data), clock)
        assert len(taken) == 2  # 2 ms are over
        assert agent.counters["batch_cut"] == 1
    bound.close()


def test_what_the_socket_refuses_is_counted_and_never_raised() -> None:
    agent = UserAgent(AgentConfiguration(), token=lambda: "t")
    bound = UdpSocket(UdpListener("127.0.0.1", 0), 0, agent.counters)
    assert not bound.send(b"x", Address("127.0.0.1", 0))
    assert not bound.send(b"x", Address("127.0.0.1", 70000))
    assert not bound.send(b"x" * 65536, Address("127.0.0.1", 5060))
    assert not bound.send(b"x" * 65530, Address("127.0.0.1", 5060))  # fits the limit, not the protocol
    assert agent.counters == {"unsendable": 3, "send_error": 1}
    bound.close()
    bound.receive_batch(lambda *_: True, lambda data, flow: None, lambda: 0.0)
    assert agent.counters["receive_error"] == BATCH_LIMIT


def test_a_full_send_buffer_is_a_lost_datagram(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = UserAgent(AgentConfiguration(), token=lambda: "t")
    bound = UdpSocket(UdpListener("127.0.0.1", 0), 0, agent.counters)

    class Full:
        def sendto(self, data: bytes, address: Address) -> int:
            raise BlockingIOError

    real, bound._socket = bound._socket, Full()  # type: ignore[assignment]
    assert bound.send(b"x", Address("127.0.0.1", 5060))
    assert agent.counters["send_buffer_full"] == 1
    real.close()


def test_the_system_resolver_finds_localhost_and_reports_nonsense() -> None:
    async def main() -> None:
        resolver = SystemResolver()
        found = await resolver.resolve(Target("udp", "localhost"))
        assert Address("127.0.0.1", 5060) in found
        with pytest.raises(ResolveError, match="has no address"):
            await resolver.resolve(Target("udp", "no such name"))

    asyncio.run(main())


def test_values_of_flows() -> None:
    assert is_ip_literal("192.0.2.1")
    assert is_ip_literal("[2001:db8::1]")
    assert not is_ip_literal("example.net")
    assert Target("tls", "x").is_reliable
    assert not Flow("udp", Address("a", 1), Address("b", 2)).is_reliable
    assert Transmit(b"x", Target("udp", "x")) == Transmit(b"x", Target("udp", "x"), owner=object())
