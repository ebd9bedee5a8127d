"""Who may call, and who answers: trunks by source address, agents by the number that was dialled.

The source address is the only authentication of an inbound trunk (facts on carriers: origination has no digest), so the
look-up runs on every datagram before a byte of it is parsed. It is a dictionary for the addresses of trunks, and a few
dictionaries, one for each length of prefix, for everybody else: a stranger costs the same whether seen before or not.
"""

import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from gateway.carrier import Network
from gateway.config.agent import AgentSettings
from gateway.config.trunk import NumberSource, TrunkSettings
from gateway.room import RoomEntry, Rooms
from gateway.roster import AgentEdition, Roster
from sip.errors import SipError
from sip.header import NameAddr
from sip.message import Request
from sip.transport.flow import Address, Flow

# Addresses of trunks that are remembered; strangers never are, so that a flood from forged addresses neither grows the
# process nor drives out a peer. Carriers have dozens; a trunk for anyone may meet more, and the oldest goes then.
VERDICT_LIMIT: Final = 8192

# RFC 4291 §2.5.5.2: an IPv4 peer of a dual-stack socket shows as ::ffff:a.b.c.d.
IPV4_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"

# The host that Twilio puts into the Diversion header that it adds to every call (the older name is
# public-vip.us1.twilio.com); a Diversion with another host tells who forwarded the call, not which number was dialled.
TWILIO_DOMAIN: Final = "twilio.com"


@unique
class RefusalReason(Enum):
    """Why an INVITE of a trunk was not taken: (metric label, SIP status).

    The statuses decide where the carrier goes next (facts on carriers §2): 404 ends the attempt, 503 moves it to the
    next origination URI.
    """

    UNKNOWN_NUMBER = ("unknown_number", 404)
    IDENTITY_REFUSED = ("identity_refused", 603)
    TRUNK_FULL = ("trunk_full", 503)
    GATEWAY_FULL = ("gateway_full", 503)
    DRAINING = ("draining", 503)
    NO_BACKEND = ("no_backend", 503)
    NO_PORT = ("no_port", 503)
    BAD_OFFER = ("bad_offer", 488)
    REPLACES_UNKNOWN = ("replaces_unknown", 481)
    REPLACES_FORBIDDEN = ("replaces_forbidden", 403)
    REPLACES_PENDING = ("replaces_pending", 491)

    @property
    def label(self) -> str:
        """The metric label and the reason in logs."""
        return self.value[0]

    @property
    def sip_status(self) -> int:
        """The final status that refuses the call."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a call goes."""

    trunk_name: str
    trunk: TrunkSettings
    edition: AgentEdition
    dialled: str
    caller: str
    verdict: str = ""
    """What became of the check of the caller's number; empty before it is known, and where nobody asked."""

    @property
    def agent_name(self) -> str:
        """Who answers."""
        return self.edition.name

    @property
    def agent(self) -> AgentSettings:
        """The settings of who answers."""
        return self.edition.settings


class NetworkTable:
    """Address ranges with the number of the trunk that they belong to, searched by prefix.

    Args:
        networks: the ranges of each trunk, in the trunks' order; an address in several belongs to the first.
    """

    def __init__(self, networks: Sequence[Iterable[Network]]) -> None:
        found: dict[int, dict[int, dict[int, int]]] = {4: defaultdict(dict), 6: defaultdict(dict)}
        for number, ranges in enumerate(networks):
            for network in ranges:
                bits = network.max_prefixlen - network.prefixlen
                found[network.version][bits].setdefault(int(network.network_address) >> bits, number)
        self._ipv4 = tuple(found[4].items())
        self._ipv6 = tuple(found[6].items())

    def find(self, host: str) -> int | None:
        """The number of the first trunk with this address; None for a stranger and for what is no address."""
        try:
            if ":" not in host:
                return self._search(self._ipv4, socket.inet_aton(host))
            packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        except OSError:
            return None
        if packed.startswith(IPV4_MAPPED_PREFIX):
            return self._search(self._ipv4, packed[12:])
        return self._search(self._ipv6, packed)

    @staticmethod
    def _search(prefixes: Iterable[tuple[int, Mapping[int, int]]], packed: bytes) -> int | None:
        address = int.from_bytes(packed)
        hits = [ranges[prefix] for bits, ranges in prefixes if (prefix := address >> bits) in ranges]
        return min(hits, default=None)


class Admission:
    """The trunks and their numbers, as one place that answers both questions."""

    def __init__(self, trunks: Mapping[str, TrunkSettings], roster: Roster) -> None:
        self._trunks = trunks
        self._roster = roster
        # A trunk for whoever shows credentials takes those whom no other trunk knows, wherever it stands in the file.
        self._names = tuple(sorted(trunks, key=lambda name: trunks[name].is_fallback))
        self._table = NetworkTable([trunks[name].signalling_networks for name in self._names])
        self._verdicts: dict[str, str] = {}
        self._certified: dict[str, str] = {}
        for name, trunk in trunks.items():
            for certificate in trunk.client_certificates:
                self._certified.setdefault(certificate, name)

    def take_numbers(self, trunks: Mapping[str, TrunkSettings]) -> None:
        """Routes new calls by the numbers of these: the same trunks, as a reload has them now."""
        self._trunks = trunks

    def admits(self, transport: str, source: Address) -> bool:
        """Whether a datagram or connection from `source` may be looked at.

        Over TLS a stranger may shake hands where some trunk is known by its certificate: `trunk_of_flow` judges it
        with its first message.
        """
        return self.trunk_of(source[0]) is not None or self.judges_certificates(transport)

    def judges_certificates(self, transport: str) -> bool:
        """Whether a source that is no trunk by its address can be one by its certificate."""
        return transport == "tls" and bool(self._certified)

    def trunk_of_flow(self, flow: Flow) -> str | None:
        """The trunk whose certificate the peer has shown, or else the one that its address belongs to (RFC 5922 §7)."""
        for name in flow.peer_names:
            if (trunk := self._certified.get(name)) is not None:
                return trunk
        return self.trunk_of(flow.remote.host)

    def trunk_of(self, host: str) -> str | None:
        """The name of the trunk that a source address belongs to, or None for a stranger."""
        verdict = self._verdicts.get(host)
        if verdict is None and (number := self._table.find(host)) is not None:
            if len(self._verdicts) >= VERDICT_LIMIT:
                del self._verdicts[next(iter(self._verdicts))]
            verdict = self._verdicts[host] = self._names[number]
        return verdict

    def entry(self, trunk_name: str, invite: Request, rooms: Rooms) -> RoomEntry | None:
        """The room that the dialled number leads into, or None where it leads to an agent or nowhere."""
        trunk = self._trunks[trunk_name]
        found = rooms.find(trunk_name, _dialled_candidates(invite, trunk.number_order))
        if found is None:
            return None
        room, seat, dialled = found
        return RoomEntry(trunk_name, trunk, room, seat, dialled, invite.from_.uri.decoded_user or "anonymous")

    def trunk(self, trunk_name: str) -> TrunkSettings:
        """The settings of a trunk."""
        return self._trunks[trunk_name]

    def route(self, trunk_name: str, invite: Request) -> Route | None:
        """The agent that answers the number that was dialled, or None where nobody does.

        Of an agent that shares its calls with a candidate, the Call-ID decides which of the two it is.
        """
        trunk = self._trunks[trunk_name]
        found = trunk.route(_dialled_candidates(invite, trunk.number_order))
        if found is None:
            return None
        dialled, agent_name = found
        edition = self._roster.choose(agent_name, invite.call_id)
        if edition is None:
            return None  # its file is gone, and the trunk that still names it waits for a restart
        return Route(
            trunk_name=trunk_name,
            trunk=trunk,
            edition=edition,
            dialled=dialled,
            caller=invite.from_.uri.decoded_user or "anonymous",
        )


def _dialled_candidates(invite: Request, order: Iterable[NumberSource]) -> Iterable[str]:
    for source in order:
        match source:
            case NumberSource.REQUEST_URI:
                yield invite.uri.decoded_user or ""
            case NumberSource.DIVERSION:
                yield from _diverted_numbers(invite)
            case NumberSource.TO:
                yield invite.to.uri.decoded_user or ""


def _diverted_numbers(invite: Request) -> Iterable[str]:
    """User parts of the Diversion headers (RFC 5806) that the carrier itself added."""
    for value in invite.headers.values("Diversion"):
        try:
            diversion = NameAddr.parse(value)
        except SipError:
            continue  # a header that only informs; the number may stand elsewhere
        host = diversion.uri.host.lower()
        if host == TWILIO_DOMAIN or host.endswith(f".{TWILIO_DOMAIN}"):
            yield diversion.uri.decoded_user or ""
