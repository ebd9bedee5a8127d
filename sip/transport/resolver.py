"""From a Target to the addresses it stands for: RFC 3263, DNS through dnspython, hosts files through the system.

Answers never come this way: they go back on their flow. So no look-up stands in the path of an incoming message.
"""

import asyncio
import logging
import random
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from sip.transport.flow import DEFAULT_PORTS, Address, Target, is_ip_literal
from sip.transport.srv import (
    SRV_PREFIXES,
    NaptrRecord,
    SrvRecord,
    order_servers,
    preferred_transport,
    services_for,
)

RESOLVE_SECONDS: Final = 3.0  # below Twilio's 4 s of patience with an unanswered INVITE
QUERY_SECONDS: Final = 1.5  # for one query with its repetitions, so that an address still follows a silent NAPTR
CACHE_LIMIT: Final = 1024  # answers; beyond it the oldest goes
SHORTEST_TTL: Final = 5.0  # seconds: a TTL of 0 must not mean a query for every request
LONGEST_TTL: Final = 3600.0  # a carrier that moves is found within the hour, whatever its TTL said
NEGATIVE_TTL: Final = 30.0  # for what is not there, and for servers that do not answer
SERVER_LIMIT: Final = 16  # SRV targets whose addresses are looked up; Twilio and Telnyx publish fewer than 10

R = TypeVar("R")

logger = logging.getLogger(__name__)


class ResolveError(OSError):
    """A target has no address."""


class Resolver(Protocol):
    """Finds the addresses of a target, best first. Never used for answering: answers go back on their flow."""

    async def resolve(self, target: Target) -> list[Address]:
        """Raises ResolveError (also for a timeout)."""

    async def choose_transport(self, target: Target, ours: Iterable[str]) -> str:
        """The transport for a URI that names none (RFC 3263 §4.1)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What DNS says of a name and a type: records, none where there are none, and for how many seconds it holds."""

    records: tuple[SrvRecord | NaptrRecord | str, ...]
    ttl: float


class Dns(Protocol):
    """Asks the name servers."""

    async def query(self, name: str, kind: str) -> Answer:
        """Records of kind NAPTR, SRV, A or AAAA. Never raises; what cannot be had is an answer without records."""


class SystemResolver:
    """Looks up A and AAAA records through the system, as /etc/hosts and its cache have them."""

    async def resolve(self, target: Target) -> list[Address]:
        """Raises ResolveError where the name has no address, or none in time."""
        port = target.port or DEFAULT_PORTS.get(target.transport, 5060)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await loop.getaddrinfo(target.host, port, type=socket.SOCK_DGRAM)
        except (TimeoutError, OSError, UnicodeError) as error:
            raise ResolveError(f"{target.host!r} has no address: {error}") from error
        return [Address(str(address[0]), int(address[1])) for *_, address in found]

    async def choose_transport(self, target: Target, ours: Iterable[str]) -> str:
        """The default: a hosts file knows neither NAPTR nor SRV."""
        del ours
        return "tls" if target.sips else "udp"


class NameServers:
    """DNS as /etc/resolv.conf has it."""

    def __init__(self, resolver: dns.asyncresolver.Resolver | None = None) -> None:
        self._resolver = resolver

    async def query(self, name: str, kind: str) -> Answer:
        """As Dns says."""
        try:
            self._resolver = self._resolver or dns.asyncresolver.Resolver()
            async with asyncio.timeout(QUERY_SECONDS):
                found = await self._resolver.resolve(
                    name, kind, raise_on_no_answer=False, lifetime=QUERY_SECONDS, search=False
                )
        except (dns.exception.DNSException, TimeoutError, OSError, UnicodeError) as error:
            logger.debug("%s %s: %s", name, kind, error)
            return Answer((), NEGATIVE_TTL)
        records = tuple(_record(kind, data) for data in found.rrset or ())
        return Answer(records, found.chaining_result.minimum_ttl if records else NEGATIVE_TTL)


class CachedDns:
    """Keeps answers for their TTL, within bounds; questions asked at the same time are asked once."""

    def __init__(self, dns_client: Dns, clock: Callable[[], float]) -> None:
        self._dns = dns_client
        self._clock = clock
        self._answers: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[Answer]] = {}

    async def query(self, name: str, kind: str) -> Answer:
        """As Dns says."""
        key = (name.lower().rstrip("."), kind)
        known = self._answers.get(key)
        if known is not None and known[0] > self._clock():
            return known[1]
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._ask(key))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)  # one who gives up takes it from nobody

    async def _ask(self, key: tuple[str, str]) -> Answer:
        answer = await self._dns.query(*key)
        ttl = min(max(answer.ttl, SHORTEST_TTL), LONGEST_TTL)
        self._answers.pop(key, None)
        while len(self._answers) >= CACHE_LIMIT:
            self._answers.popitem(last=False)
        self._answers[key] = (self._clock() + ttl, answer)
        return answer


class DnsResolver:
    """RFC 3263: NAPTR, SRV and addresses, and the hosts file for names that DNS does not know.

    The transport is the target's: the Via says it already. Where nobody has chosen one, `choose_transport` comes first.
    Weights are drawn anew for every call, so load spreads as the domain wants it.
    """

    def __init__(self, dns_client: Dns, *, randomness: random.Random, fallback: Resolver | None = None) -> None:
        self._dns = dns_client
        self._random = randomness
        self._fallback = fallback or SystemResolver()

    async def resolve(self, target: Target) -> list[Address]:
        """Raises ResolveError (also for a timeout)."""
        host = target.host.strip("[]")
        default_port = DEFAULT_PORTS.get(target.transport, 5060)
        if is_ip_literal(host):
            return [Address(host, target.port or default_port)]
        if "." in host.rstrip("."):  # single-label names are the hosts file's and the search list's
            try:
                async with asyncio.timeout(RESOLVE_SECONDS):
                    found = await self._locate(target, host, default_port)
            except TimeoutError as error:
                raise ResolveError(f"{host!r} could not be looked up within {RESOLVE_SECONDS:g} s") from error
            if found:
                return found
        return await self._fallback.resolve(target)

    async def choose_transport(self, target: Target, ours: Iterable[str]) -> str:
        """The transport for a URI that names none (RFC 3263 §4.1): by NAPTR, else by SRV, else UDP, or TLS for sips."""
        default = "tls" if target.sips else "udp"
        if target.port is not None or is_ip_literal(target.host):
            return default
        speakable = [name for name in ("udp", "tcp", "tls") if name in set(ours) and (name == "tls" or not target.sips)]
        naptr = await self._dns.query(target.host, "NAPTR")
        chosen = preferred_transport(_only(naptr, NaptrRecord), speakable, sips=target.sips)
        if chosen is not None:
            return chosen
        answers = await asyncio.gather(
            *(self._dns.query(f"{SRV_PREFIXES[name]}.{target.host}", "SRV") for name in speakable)
        )
        return next((name for name, answer in zip(speakable, answers, strict=True) if answer.records), default)

    async def _locate(self, target: Target, host: str, default_port: int) -> list[Address]:
        if target.port is not None or target.transport not in SRV_PREFIXES:
            return await self._addresses(host, target.port or default_port)
        # All at once: one round trip for the many domains that have no NAPTR, or nothing but addresses.
        naptr, srv, addresses = await asyncio.gather(
            self._dns.query(host, "NAPTR"),
            self._dns.query(f"{SRV_PREFIXES[target.transport]}.{host}", "SRV"),
            self._addresses(host, default_port),
        )
        services = services_for(_only(naptr, NaptrRecord), target.transport)
        if services:
            srv = await self._dns.query(services[0], "SRV")
        servers = order_servers(_only(srv, SrvRecord), self._random)[:SERVER_LIMIT]
        if not servers:
            return addresses
        found = await asyncio.gather(*(self._addresses(server.target, server.port) for server in servers))
        return list(dict.fromkeys(address for group in found for address in group))

    async def _addresses(self, host: str, port: int) -> list[Address]:
        """IPv4 first: that is where carriers are; the driver leaves out what no socket of ours can reach."""
        if is_ip_literal(host):
            return [Address(host, port)]
        four, six = await asyncio.gather(self._dns.query(host, "A"), self._dns.query(host, "AAAA"))
        return [Address(text, port) for text in (*_only(four, str), *_only(six, str))]


def default_resolver() -> Resolver:
    """DNS as the system has it, with the loop's clock for the cache. To be called where a loop runs."""
    clock = asyncio.get_running_loop().time
    return DnsResolver(CachedDns(NameServers(), clock), randomness=random.SystemRandom())


def _only(answer: Answer, kind: type[R]) -> list[R]:
    return [record for record in answer.records if isinstance(record, kind)]


def _record(kind: str, data: Any) -> SrvRecord | NaptrRecord | str:
    """A value of dnspython's as one of ours."""
    if kind == "SRV":
        return SrvRecord(data.priority, data.weight, data.port, _text(data.target))
    if kind == "NAPTR":
        flags, service = data.flags.decode("ascii", "replace"), data.service.decode("ascii", "replace")
        return NaptrRecord(data.order, data.preference, flags, service, _text(data.replacement))
    return str(data.address)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)
