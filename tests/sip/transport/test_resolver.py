"""RFC 3263 look-ups: against records in memory, and against a name server on loopback."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.asyncresolver
import dns.message
import dns.rrset
import pytest

from sip.transport.flow import Address, Target
from sip.transport.resolver import (
    LONGEST_TTL,
    NEGATIVE_TTL,
    Answer,
    CachedDns,
    DnsResolver,
    NameServers,
    ResolveError,
    SystemResolver,
)
from sip.transport.srv import NaptrRecord, SrvRecord

Records = dict[tuple[str, str], tuple[SrvRecord | NaptrRecord | str, ...]]

CARRIER: Records = {
    ("example.net", "NAPTR"): (NaptrRecord(10, 10, "s", "SIPS+D2T", "_sips._tcp.edge.example.net"),),
    ("_sips._tcp.edge.example.net", "SRV"): (
        SrvRecord(20, 0, 5062, "b.example.net"),
        SrvRecord(10, 0, 5061, "a.example.net"),
    ),
    ("_sip._udp.example.net", "SRV"): (SrvRecord(10, 0, 5070, "a.example.net"),),
    ("example.net", "A"): ("192.0.2.9",),
    ("a.example.net", "A"): ("192.0.2.1", "192.0.2.2"),
    ("b.example.net", "A"): ("192.0.2.3",),
    ("b.example.net", "AAAA"): ("2001:db8::3",),
    ("plain.example.net", "A"): ("192.0.2.7",),
}


class Zone:
    """A Dns that answers from a dictionary, and counts."""

    def __init__(self, records: Records, ttl: float = 60.0) -> None:
        self.records = records
        self.ttl = ttl
        self.asked: Counter[tuple[str, str]] = Counter()

    async def query(self, name: str, kind: str) -> Answer:
        self.asked[name, kind] += 1
        await asyncio.sleep(0)
        return Answer(self.records.get((name, kind), ()), self.ttl)


class Nowhere(SystemResolver):
    async def resolve(self, target: Target) -> list[Address]:
        raise ResolveError(f"{target.host!r} has no address")


def resolver(zone: Zone) -> DnsResolver:
    return DnsResolver(zone, randomness=random.Random(1), fallback=Nowhere())


@pytest.mark.parametrize(
    ("target", "addresses"),
    [
        (Target("tls", "example.net"), ["192.0.2.1:5061", "192.0.2.2:5061", "192.0.2.3:5062", "2001:db8::3:5062"]),
        (Target("udp", "example.net"), ["192.0.2.1:5070", "192.0.2.2:5070"]),  # no NAPTR for it: SRV straight
        (Target("tcp", "example.net"), ["192.0.2.9:5060"]),  # neither
        (Target("tls", "plain.example.net"), ["192.0.2.7:5061"]),
        (Target("tls", "example.net", 5999), ["192.0.2.9:5999"]),  # a port: addresses only
        (Target("udp", "192.0.2.4"), ["192.0.2.4:5060"]),
        (Target("tls", "[2001:db8::4]", 5070), ["2001:db8::4:5070"]),
    ],
)
async def test_servers_of_a_target__rfc3263_4_2(target: Target, addresses: list[str]) -> None:
    assert [f"{host}:{port}" for host, port in await resolver(Zone(CARRIER)).resolve(target)] == addresses


async def test_what_dns_does_not_know_the_hosts_file_may() -> None:
    found = DnsResolver(Zone({}), randomness=random.Random(1))
    assert Address("127.0.0.1", 5060) in await found.resolve(Target("udp", "localhost"))
    with pytest.raises(ResolveError, match="has no address"):
        await resolver(Zone({})).resolve(Target("udp", "nowhere.example.net"))


async def test_silent_name_servers_end_as_a_resolve_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        async def query(self, name: str, kind: str) -> Answer:
            await asyncio.Event().wait()
            return Answer((), 0)

    monkeypatch.setattr("sip.transport.resolver.RESOLVE_SECONDS", 0.01)
    with pytest.raises(ResolveError, match="could not be looked up"):
        await DnsResolver(Silent(), randomness=random.Random(1)).resolve(Target("udp", "example.net"))


@pytest.mark.parametrize(
    ("target", "ours", "transport"),
    [
        (Target("", "example.net"), ("udp", "tcp", "tls"), "tls"),  # NAPTR
        (Target("", "example.net"), ("udp", "tcp"), "udp"),  # SRV
        (Target("", "plain.example.net"), ("udp", "tcp", "tls"), "udp"),
        (Target("", "plain.example.net", sips=True), ("udp", "tls"), "tls"),
        (Target("", "192.0.2.1"), ("tcp",), "udp"),
        (Target("", "example.net", 5060), ("udp", "tls"), "udp"),
    ],
)
async def test_transport_of_a_uri_that_names_none__rfc3263_4_1(
    target: Target, ours: tuple[str, ...], transport: str
) -> None:
    assert await resolver(Zone(CARRIER)).choose_transport(target, ours) == transport


async def test_answers_are_kept_for_their_ttl_and_asked_for_once_at_a_time() -> None:
    now = 0.0
    zone = Zone(CARRIER, ttl=60.0)
    cached = CachedDns(zone, lambda: now)
    answers = await asyncio.gather(*(cached.query("A.Example.net.", "A") for _ in range(5)))
    assert {answer.records for answer in answers} == {("192.0.2.1", "192.0.2.2")}
    assert zone.asked.total() == 1
    now = 59.0
    await cached.query("a.example.net", "A")
    assert zone.asked.total() == 1
    now = 61.0
    await cached.query("a.example.net", "A")
    assert zone.asked.total() == 2


async def test_ttls_are_bounded_and_so_is_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sip.transport.resolver.CACHE_LIMIT", 3)
    now = 0.0
    zone = Zone(CARRIER, ttl=1e9)
    cached = CachedDns(zone, lambda: now)
    await cached.query("a.example.net", "A")
    now = LONGEST_TTL + 1
    await cached.query("a.example.net", "A")
    assert zone.asked["a.example.net", "A"] == 2
    zone.ttl = 0.0
    await cached.query("b.example.net", "A")
    await cached.query("b.example.net", "A")
    assert zone.asked["b.example.net", "A"] == 1
    for name in "cdef":
        await cached.query(name, "A")
    assert len(cached._answers) == 3


ZONE = [
    dns.rrset.from_text("example.net.", 300, "IN", "NAPTR", '10 10 "s" "SIP+D2U" "" _sip._udp.example.net.'),
    dns.rrset.from_text("_sip._udp.example.net.", 300, "IN", "SRV", "10 5 5062 gw.example.net."),
    dns.rrset.from_text("gw.example.net.", 120, "IN", "A", "192.0.2.1"),
    dns.rrset.from_text("gw.example.net.", 120, "IN", "AAAA", "2001:db8::1"),
]


class NameServer(asyncio.DatagramProtocol):
    """Answers from ZONE."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        asked = query.question[0]
        response.answer = [found for found in ZONE if (found.name, found.rdtype) == (asked.name, asked.rdtype)]
        self.transport.sendto(response.to_wire(), addr)


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServers]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    client = dns.asyncresolver.Resolver(configure=False)
    client.nameservers = ["127.0.0.1"]
    client.port = transport.get_extra_info("sockname")[1]
    try:
        yield NameServers(client)
    finally:
        transport.close()


async def test_a_real_name_server_is_asked() -> None:
    async with name_server() as servers:
        found = await DnsResolver(servers, randomness=random.Random(1)).resolve(Target("udp", "example.net"))
        assert found == [Address("192.0.2.1", 5062), Address("2001:db8::1", 5062)]
        assert (await servers.query("gw.example.net", "A")).ttl == 120
        assert await servers.query("no.example.net", "A") == Answer((), NEGATIVE_TTL)
        assert await servers.query("no such name..", "A") == Answer((), NEGATIVE_TTL)


async def test_the_system_resolver_takes_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sip.transport.resolver.RESOLVE_SECONDS", 0.0)
    with pytest.raises(ResolveError, match="has no address"):
        await SystemResolver().resolve(Target("udp", "localhost"))
