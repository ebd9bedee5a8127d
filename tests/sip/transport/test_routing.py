"""Where calls that we place go: transport (RFC 3263 §4.1), proxy, pauses that servers ask for (RFC 3261 §21.5.4)."""

import asyncio
import socket
from collections.abc import Iterable
from functools import partial

import pytest

from sip.configuration import AgentConfiguration
from sip.event import AgentEvent, Answered, Ended, Failed
from sip.header import NameAddr
from sip.reception import Refusal
from sip.session.state import EndCause
from sip.transport.flow import Address, Target
from sip.transport.resolver import SystemResolver
from sip.transport.udp import UdpListener
from sip.uri import Uri
from tests.helpers.sip import OFFER
from tests.helpers.stream_phone import Book, Phone, started, tcp

ALICE = NameAddr.parse("<sip:alice@127.0.0.1>")
NAME = "trunk.example.net"


def has_seen(phone: Phone, kind: type[AgentEvent], count: int) -> bool:
    return sum(isinstance(event, kind) for event in phone.events) == count


class Domain(SystemResolver):
    """A domain that wants TCP, and has one server."""

    def __init__(self, server: Address) -> None:
        self.server = server
        self.asked: list[tuple[Target, tuple[str, ...]]] = []

    async def choose_transport(self, target: Target, ours: Iterable[str]) -> str:
        self.asked.append((target, tuple(ours)))
        return "tcp"

    async def resolve(self, target: Target) -> list[Address]:
        return [self.server]


@pytest.mark.parametrize("through_proxy", [False, True])
async def test_a_call_goes_over_the_transport_that_the_domain_wants__rfc3263_4_1(through_proxy: bool) -> None:
    bob = Phone(tcp())
    async with started(bob):
        domain = Domain(bob.endpoint.addresses[0])
        alice = Phone(UdpListener("127.0.0.1", 0), tcp(), resolver=domain)
        async with started(alice):
            target = "sip:bob@elsewhere.example.org" if through_proxy else f"sip:bob@{NAME}"
            route = [f"<sip:{NAME};lr>"] if through_proxy else []
            alice.endpoint.perform(alice.agent.invite, target=Uri.parse(target), route=route, from_=ALICE, offer=OFFER)
            await alice.wait_for(Answered)
            (session,) = bob.agent.sessions
            assert session.request.top_via.transport == "TCP"
            assert f"{alice.endpoint.addresses[1].port};transport=tcp" in (session.request.headers.get("Contact") or "")
        assert [(target.host, ours) for target, ours in domain.asked] == [(NAME, ("udp", "tcp"))]


async def test_a_uri_that_names_its_transport_asks_nobody() -> None:
    bob = Phone(tcp())
    async with started(bob):
        domain = Domain(bob.endpoint.addresses[0])
        alice = Phone(tcp(), resolver=domain)
        async with started(alice):
            alice.call(f"sip:b@{NAME};transport=tcp")
            await alice.wait_for(Answered)
        assert domain.asked == []


class Silent(Domain):
    """A domain whose name servers say nothing."""

    async def choose_transport(self, target: Target, ours: Iterable[str]) -> str:
        self.asked.append((target, tuple(ours)))
        await asyncio.Event().wait()
        return "tcp"


async def test_a_domain_that_says_nothing_gets_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sip.transport.endpoint.RESOLVE_SECONDS", 0.05)
    bob = Phone(UdpListener("127.0.0.1", 0))
    async with started(bob):
        alice = Phone(UdpListener("127.0.0.1", 0), resolver=Silent(bob.endpoint.addresses[0]))
        async with started(alice):
            alice.call(f"sip:bob@{NAME}")
            await alice.wait_for(Answered)
            assert alice.agent.counters["transport_not_chosen"] == 1


async def test_a_call_that_is_cancelled_before_its_transport_is_chosen_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sip.transport.endpoint.RESOLVE_SECONDS", 0.05)
    bob = Phone(UdpListener("127.0.0.1", 0))
    async with started(bob):
        alice = Phone(UdpListener("127.0.0.1", 0), resolver=Silent(bob.endpoint.addresses[0]))
        async with started(alice):
            call = alice.call(f"sip:bob@{NAME}")
            assert alice.endpoint.perform(call.cancel)
            ended = await alice.wait_for(Ended)
            assert ended.cause is EndCause.CANCELLED
            assert alice.agent.session_count == 0
        assert bob.events == []


async def test_choices_are_bounded_and_end_with_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sip.transport.endpoint.RESOLUTION_LIMIT", 1)
    bob = Phone(UdpListener("127.0.0.1", 0))
    async with started(bob):
        alice = Phone(UdpListener("127.0.0.1", 0), resolver=Silent(bob.endpoint.addresses[0]))
        async with started(alice):
            alice.call(f"sip:bob@{NAME}")
            alice.call(f"sip:bob@{NAME}")
            await alice.wait_for(Answered)
            assert alice.agent.counters["resolution_limit"] == 1


async def test_the_hosts_file_knows_no_transport() -> None:
    assert await SystemResolver().choose_transport(Target("udp", "localhost"), ["tcp"]) == "udp"
    assert await SystemResolver().choose_transport(Target("tls", "localhost", sips=True), ["tcp"]) == "tls"


async def test_a_silent_server_is_followed_by_the_next_on_real_sockets__rfc3263_4_3() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        bob = Phone(UdpListener("127.0.0.1", 0))
        async with started(bob):
            servers = [Address(*silent.getsockname()), bob.endpoint.addresses[0]]
            configuration = AgentConfiguration(next_server_after=0.2)
            book = Book(trunk_example_net=servers)
            alice = Phone(UdpListener("127.0.0.1", 0), configuration=configuration, resolver=book)
            async with started(alice):
                alice.call(f"sip:bob@{NAME}")
                await alice.wait_for(Answered)
                assert alice.agent.counters["next_server"] == 1


async def test_a_server_that_asks_for_a_pause_is_left_out_while_there_are_others__rfc3261_21_5_4() -> None:
    full, good = Phone(tcp()), Phone(tcp())
    refused: list[str] = []

    def refuse(request: object, flow: object) -> Refusal:
        refused.append("once more")
        return Refusal(503, "full", headers=(("Retry-After", "60"),))

    full.agent.screen = refuse
    async with started(full, good):
        servers = [phone.endpoint.addresses[0] for phone in (full, good)]
        alice = Phone(tcp(), resolver=Book(trunk_example_net=servers))
        async with started(alice):
            for calls in (1, 2):
                alice.call(f"sip:bob@{NAME};transport=tcp")
                await alice.until(partial(has_seen, alice, Answered, calls))
        assert refused == ["once more"]


async def test_a_name_whose_servers_all_ask_for_a_pause_is_unavailable__rfc3261_21_5_4() -> None:
    full = Phone(tcp())
    full.agent.screen = lambda request, flow: Refusal(503, "full", headers=(("Retry-After", "60 (a minute)"),))
    async with started(full):
        alice = Phone(tcp(), resolver=Book(trunk_example_net=[full.endpoint.addresses[0]]))
        async with started(alice):
            for count in (1, 2):
                alice.call(f"sip:bob@{NAME};transport=tcp")
                await alice.until(partial(has_seen, alice, Failed, count))
        assert [event.status for event in alice.events if isinstance(event, Failed)] == [503, 503]
        assert full.agent.counters["full"] == 1, "the second call did not reach it"
