"""Which server to try first: the choices of RFC 2782 and RFC 3263 §4.1 among records that are there, sans-I/O."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

# RFC 3263 §4.1 and the IANA registry: the NAPTR services that lead to a transport.
NAPTR_SERVICES: Final = {"udp": "SIP+D2U", "tcp": "SIP+D2T", "tls": "SIPS+D2T"}
SRV_PREFIXES: Final = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """A server of a domain (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class NaptrRecord:
    """A service of a domain (RFC 3403); only flag "s", which leads to SRV records, is of use for SIP."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


def order_servers(records: Iterable[SrvRecord], randomness: random.Random) -> list[SrvRecord]:
    """All servers, in the order in which to try them: by priority, and by RFC 2782's lottery of weights within one.

    "arrange all SRV RRs (that have not been ordered yet) in any order, except that all those with weight 0 are placed
    at the beginning of the list"; a target of "." says "decidedly not available".
    """
    remaining = [record for record in records if record.target not in {"", "."}]
    ordered: list[SrvRecord] = []
    for priority in sorted({record.priority for record in remaining}):
        group = sorted((record for record in remaining if record.priority == priority), key=_weightless_first)
        while group:
            ordered.append(group.pop(_draw(group, randomness)))
    return ordered


def _draw(group: Sequence[SrvRecord], randomness: random.Random) -> int:
    drawn = randomness.randint(0, sum(record.weight for record in group))
    running = 0
    for index, record in enumerate(group):
        running += record.weight
        if running >= drawn:
            return index
    return len(group) - 1


def _weightless_first(record: SrvRecord) -> int:
    return min(record.weight, 1)


def services_for(records: Iterable[NaptrRecord], transport: str) -> list[str]:
    """The names of the SRV records that a domain gives for a transport, best first."""
    wanted = NAPTR_SERVICES.get(transport)
    return [record.replacement for record in _ranked(records) if record.service.upper() == wanted]


def preferred_transport(records: Iterable[NaptrRecord], ours: Iterable[str], *, sips: bool) -> str | None:
    """The transport that the domain likes best among those that we speak; a sips: URI leaves TLS only (§4.1)."""
    speakable = {NAPTR_SERVICES[name]: name for name in ours if name in NAPTR_SERVICES and (name == "tls" or not sips)}
    found = (speakable[record.service.upper()] for record in _ranked(records) if record.service.upper() in speakable)
    return next(found, None)


def _ranked(records: Iterable[NaptrRecord]) -> list[NaptrRecord]:
    usable = [record for record in records if record.flags.lower() == "s"]
    return sorted(usable, key=lambda record: (record.order, record.preference))
