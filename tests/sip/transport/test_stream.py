"""SIP over real TCP and TLS connections on loopback."""

import asyncio
import itertools
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from sip.event import Acknowledged, AgentEvent, Answered, Ended, Failed
from sip.framing import KeepAlive
from sip.header import NameAddr
from sip.message import Request, Response, parse_message
from sip.reception import Refusal
from sip.transport.census import ConnectionLimits
from sip.transport.flow import Address
from sip.transport.udp import UdpListener
from sip.uri import Uri
from tests.helpers.sip import OFFER, request
from tests.helpers.sip_stream import VIA, StreamPeer, options
from tests.helpers.stream_phone import Book, Phone, started, tcp, tls
from tests.helpers.tls_authority import Authority, client_of

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]

# -- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_call_over_tcp_uses_one_connection_from_invite_to_bye(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], host: str
) -> None:
    async def main() -> None:
        alice, bob = Phone(tcp(host)), Phone(tcp(host))
        async with started(alice, bob):
            bracketed = f"[{host}]" if ":" in host else host
            call = alice.call(f"sip:bob@{bracketed}:{bob.port};transport=tcp")
            await alice.wait_for(Answered)
            await bob.wait_for(Acknowledged)
            assert call.dialog is not None
            assert f"{bracketed}:{bob.port};transport=tcp" in str(call.dialog.remote_target)
            alice.endpoint.perform(call.bye)
            await bob.wait_for(Ended)
            assert alice.endpoint.connection_count == bob.endpoint.connection_count == 1
            assert not alice.agent.counters["retransmission_sent"]
        assert bob.endpoint.connection_count == 0

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


async def test_a_callee_hangs_up_over_the_connection_that_the_call_came_on() -> None:
    """The caller's Contact is of no use (it stands behind NAT): the flow leads there (RFC 5626)."""
    bob = Phone(tcp())
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(bytes(request(via=VIA, contact="<sip:alice@127.0.0.1:9;transport=tcp>")))
        assert [await peer.status() for _ in range(3)] == [100, 180, 200]
        (session,) = bob.agent.sessions
        bob.endpoint.perform(session.hang_up)  # without ACK: the BYE waits for nobody
        bye = await peer.receive()
        assert isinstance(bye, Request | Response)


async def test_a_request_is_sent_again_when_its_connection_breaks_before_the_answer() -> None:
    """The connection that is there may be one that the peer gave up long ago: reopened for in-dialog requests."""
    taken: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.read(65536))
        if len(taken) == 2:
            invite = request_of(taken[1])
            writer.write(bytes(invite.create_response(486, to_tag="busy")))
            await reader.read(65536)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    alice = Phone(tcp())
    async with started(alice):
        alice.call(f"sip:bob@127.0.0.1:{port};transport=tcp")
        failed = await alice.wait_for(Failed)
        assert failed.status == 486
        assert taken[0] == taken[1]
        assert alice.agent.counters["resent_on_new_connection"] == 1
    server.close()


async def test_a_server_that_breaks_every_connection_fails_the_call_in_the_end() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    alice = Phone(tcp())
    async with started(alice):
        alice.call(f"sip:bob@127.0.0.1:{server.sockets[0].getsockname()[1]};transport=tcp")
        failed = await alice.wait_for(Failed)
        assert failed.status == 503
        assert alice.agent.counters["resent_on_new_connection"] <= 2
    server.close()


async def test_the_next_address_is_tried_where_one_does_not_answer__rfc3263_4_3() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = Address("127.0.0.1", closed.getsockname()[1])
        bob = Phone(tcp())
        await bob.endpoint.start()
        book = Book(trunk_example_net=[dead, dead, bob.endpoint.addresses[0]])
        alice = Phone(tcp(), resolver=book)
        async with started(alice):
            alice.call("sip:bob@trunk.example.net;transport=tcp")
            await alice.wait_for(Answered)
            assert alice.agent.counters["connect_failed"] == 2
        await bob.endpoint.aclose()


@pytest.mark.parametrize("is_last_good", [True, False])
async def test_a_server_that_says_503_is_followed_by_the_next__rfc3263_4_3(is_last_good: bool) -> None:
    full, good = Phone(tcp()), Phone(tcp())
    for phone in (full, good) if is_last_good else (full,):
        await phone.endpoint.start()
    full.agent.screen = lambda request, flow: Refusal(503, "full", "Full House")
    servers = [phone.endpoint.addresses[0] for phone in ((full, good) if is_last_good else (full,))]
    alice = Phone(tcp(), resolver=Book(trunk_example_net=servers))
    async with started(alice):
        alice.call("sip:bob@trunk.example.net;transport=tcp")
        if is_last_good:
            await alice.wait_for(Answered)
        else:
            failed = await alice.wait_for(Failed)
            assert (failed.status, failed.reason) == (503, "Full House")
        assert alice.agent.counters["next_server"] == 1
    for phone in (full, good) if is_last_good else (full,):
        await phone.endpoint.aclose()


async def test_no_address_that_answers_is_503() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        alice = Phone(tcp())
        async with started(alice):
            alice.call(f"sip:bob@127.0.0.1:{closed.getsockname()[1]};transport=tcp")
            failed = await alice.wait_for(Failed)
            assert failed.status == 503


async def test_an_outbound_proxy_takes_what_is_for_others__rfc3261_8_1_2() -> None:
    bob = Phone(tcp())
    await bob.endpoint.start()
    alice = Phone(UdpListener("127.0.0.1", 0), tcp(), resolver=Book())
    async with started(alice):
        alice.endpoint.perform(
            alice.agent.invite,
            target=Uri.parse("sip:+15550001111@trunk.pstn.example.net"),
            from_=NameAddr.parse("<sip:alice@127.0.0.1>"),
            offer=OFFER,
            route=[f"<sip:127.0.0.1:{bob.port};transport=tcp;lr>"],
        )
        await alice.wait_for(Answered)
        (session,) = bob.agent.sessions
        assert str(session.request.uri) == "sip:+15550001111@trunk.pstn.example.net"
        assert session.request.top_via.transport == "TCP"
    await bob.endpoint.aclose()


# -- framing ---------------------------------------------------------------------------------------------------------


async def test_messages_come_in_any_fragments_and_many_at_once() -> None:
    bob = Phone(tcp())
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        for byte in options(1):
            peer.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await peer.status() == 200
        peer.send(b"".join(options(number) for number in range(2, 302)))
        assert [await peer.status() for _ in range(300)] == [200] * 300


async def test_a_ping_is_answered_with_a_pong__rfc5626_3_5_1() -> None:
    bob = Phone(tcp())
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(b"\r\n\r\n")
        assert await peer.receive() is KeepAlive.PONG
        peer.send(b"\r\n\r\n" + options() + b"\r\n\r\n")
        assert isinstance(await peer.receive(), Response)


@pytest.mark.parametrize(
    ("lengths", "status"),
    [
        ("Content-Length: 0\r\nl: 5\r\n", 400),
        ("", 400),
        ("Content-Length: x\r\n", 400),
        ("Content-Length: 99999\r\n", 413),
    ],
)
async def test_a_stream_that_lost_its_place_gets_its_answer_and_a_close(lengths: str, status: int) -> None:
    bob = Phone(tcp())
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(options().replace(b"Content-Length: 0\r\n", lengths.encode()) + options(2) * 20)
        assert await peer.status() == status
        assert await peer.closed()
        await bob.until(lambda: bob.endpoint.connection_count == 0)


async def test_noise_is_closed_without_a_word() -> None:
    bob = Phone(tcp())
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(b"\x16\x03\x01" + b"\r\n\r\n" * 20)
        assert await peer.closed()
        assert bob.events == []


async def test_a_user_s_fault_ends_neither_the_stream_nor_what_comes_behind_it() -> None:
    bob = Phone(tcp())
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context["exception"]))

    def refuse(event: AgentEvent) -> None:
        raise ValueError("the user's fault")

    bob.endpoint._on_event = refuse
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(bytes(request(via=VIA)) + options(2))
        assert [await peer.status() for _ in range(2)] == [100, 200]
        assert [str(fault) for fault in faults] == ["the user's fault"]


# -- limits ----------------------------------------------------------------------------------------------------------


async def test_strangers_are_closed_before_anything_is_read() -> None:
    asked: list[tuple[str, str]] = []

    def admit(transport: str, source: Address) -> bool:
        asked.append((transport, source.host))
        return False

    bob = Phone(tcp(), admit=admit)
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(options())
        assert await peer.closed()
        assert asked == [("tcp", "127.0.0.1")]
        assert bob.agent.counters == {"stranger": 1}


async def test_one_connection_too_many_is_closed_and_the_others_live() -> None:
    bob = Phone(tcp(), limits=ConnectionLimits(each_address=2))
    async with started(bob):
        address = bob.endpoint.addresses[0]
        async with StreamPeer(address) as first, StreamPeer(address) as second:
            for peer in (first, second):
                peer.send(options())
                assert await peer.status() == 200
            async with StreamPeer(address) as third:
                assert await third.closed()
            first.send(options(2))
            assert await first.status() == 200
            assert bob.agent.counters["connection_limit_of_address"] == 1
        await bob.until(lambda: bob.endpoint.connection_count == 0)
        async with StreamPeer(address) as fourth:
            fourth.send(options(3))
            assert await fourth.status() == 200


@pytest.mark.parametrize(
    ("limits", "sent", "label"),
    [
        (ConnectionLimits(idle=0.0), b"", "connection_idle"),
        (ConnectionLimits(partial=0.0), b"OPTIONS sip:", "partial_message_timeout"),
    ],
)
async def test_whoever_keeps_us_waiting_is_closed(
    limits: ConnectionLimits, sent: bytes, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sip.transport.connections.SWEEP_SECONDS", 0.01)
    bob = Phone(tcp(), limits=limits)
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(sent)
        assert await peer.closed()
        assert bob.agent.counters[label] == 1


async def test_a_connection_with_a_call_on_it_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sip.transport.connections.SWEEP_SECONDS", 0.01)
    bob = Phone(tcp(), limits=ConnectionLimits(idle=0.2))
    async with (
        started(bob),
        StreamPeer(bob.endpoint.addresses[0]) as busy,
        StreamPeer(bob.endpoint.addresses[0]) as idle,
    ):
        busy.send(bytes(request(via=VIA)))
        assert await busy.status() == 100
        assert await idle.closed()
        await asyncio.sleep(0.25)
        assert bob.endpoint.connection_count == 1


async def test_a_peer_that_does_not_read_is_closed_and_waited_for_by_nobody() -> None:
    bob = Phone(tcp())
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        assert peer.writer is not None
        raw = peer.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        long = f'"{"x" * 8000}" <sip:alice@example.net>;tag=alice'  # it comes back in the answer
        async with asyncio.timeout(20):
            for number in itertools.count():
                if bob.agent.counters["slow_reader"]:
                    break
                peer.send(bytes(request("OPTIONS", via=VIA, branch=f"z9hG4bK{number}", from_=long)))
                await asyncio.sleep(0)
        await bob.until(lambda: bob.endpoint.connection_count == 0)
        assert bob.agent.counters["slow_reader"] == 1


async def test_a_flood_on_one_connection_is_taken_in_turns() -> None:
    bob = Phone(tcp())
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(b"".join(options(number) for number in range(500)))
        assert [await peer.status() for _ in range(500)] == [200] * 500
        assert bob.agent.counters["batch_cut"] > 0


async def test_half_a_close_still_gets_its_answer() -> None:
    bob = Phone(tcp())
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(options())
        assert peer.writer is not None
        peer.writer.write_eof()
        assert await peer.status() == 200
        assert await peer.closed()


async def test_who_connects_and_closes_in_a_loop_is_refused_and_others_are_not() -> None:
    bob = Phone(tcp(), limits=ConnectionLimits(new_burst=3, new_each_second=0.001))
    async with started(bob):
        address = bob.endpoint.addresses[0]
        for _ in range(3):
            async with StreamPeer(address) as peer:
                peer.send(options())
                assert await peer.status() == 200
        async with StreamPeer(address) as peer:
            assert await peer.closed()
        assert bob.agent.counters["connection_rate_of_address"] == 1
        reader, writer = await asyncio.open_connection(*address, local_addr=("127.0.0.9", 0))
        writer.write(options(9))
        assert (await reader.readline()).startswith(b"SIP/2.0 200")
        writer.close()


# -- the endpoint ----------------------------------------------------------------------------------------------------


async def test_several_listeners_of_every_kind_at_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    credentials = authority.issue(["127.0.0.1"])
    bob = Phone(UdpListener("127.0.0.1", 0), UdpListener("::1", 0), tcp(), tcp("::1"), tls(credentials))
    async with started(bob):
        assert len(bob.endpoint.addresses) == 5
        for address, context in ((bob.endpoint.addresses[2], None), (bob.endpoint.addresses[3], None),
                                 (bob.endpoint.addresses[4], client_of(authority))):  # fmt: skip
            async with StreamPeer(address, context) as peer:
                peer.send(options())
                assert await peer.status() == 200


async def test_closing_does_not_wait_for_requests_that_were_answered() -> None:
    """Timer K keeps an answered BYE over UDP for 5 s; that is no reason for a process to live on."""
    alice, bob = Phone(UdpListener("127.0.0.1", 0)), Phone(UdpListener("127.0.0.1", 0))
    await alice.endpoint.start()
    await bob.endpoint.start()
    call = alice.call(f"sip:bob@127.0.0.1:{bob.port}")
    await alice.wait_for(Answered)
    alice.endpoint.perform(call.bye)
    await alice.until(lambda: alice.agent.transactions.unanswered_count == 0)
    assert alice.agent.transactions.client_count > 0
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await alice.endpoint.aclose(patience=60.0)
    assert loop.time() - begun < 30
    await bob.endpoint.aclose()


async def test_an_answer_whose_connection_is_gone_is_not_sent_elsewhere() -> None:
    bob = Phone(tcp())
    async with started(bob):
        async with StreamPeer(bob.endpoint.addresses[0]) as peer:
            peer.send(bytes(request(via=VIA)))
            assert await peer.status() == 100
        await bob.until(lambda: bob.endpoint.connection_count == 0)
        (session,) = bob.agent.sessions
        bob.endpoint.perform(session.hang_up)
        assert bob.endpoint.connection_count <= 1  # none to the Contact 192.0.2.1 that answers


def request_of(data: bytes) -> Request:
    parsed = parse_message(data)
    assert isinstance(parsed, Request)
    return parsed
