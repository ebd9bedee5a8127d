"""Who may call, and who answers: trunks by source address, agents by the number that was dialled.

The source address is the only authentication of an inbound trunk (facts on carriers: origination has no digest), so the
look-up runs on every datagram before a byte of it is parsed. It is a dictionary for addresses seen before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from ipaddress import ip_address
from typing import Final

from gateway.config.agent import AgentSettings
from gateway.config.trunk import NumberSource, TrunkSettings
from sip.errors import SipError
from sip.header import NameAddr
from sip.message import Request
from sip.transport.flow import Address

# Source addresses whose verdict is remembered. A flood from forged addresses must not grow the process; when the
# dictionary is full it is emptied, which costs each live peer one slow look-up.
VERDICT_LIMIT: Final = 8192

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
    TRUNK_FULL = ("trunk_full", 503)
    GATEWAY_FULL = ("gateway_full", 503)
    DRAINING = ("draining", 503)
    NO_BACKEND = ("no_backend", 503)
    NO_PORT = ("no_port", 503)
    BAD_OFFER = ("bad_offer", 488)

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
    agent_name: str
    agent: AgentSettings
    dialled: str
    caller: str


class Admission:
    """The trunks and their numbers, as one place that answers both questions."""

    def __init__(self, trunks: Mapping[str, TrunkSettings], agents: Mapping[str, AgentSettings]) -> None:
        self._trunks = trunks
        self._agents = agents
        self._verdicts: dict[str, str | None] = {}

    def admits(self, transport: str, source: Address) -> bool:
        """Whether a datagram from `source` may be looked at."""
        return self.trunk_of(source[0]) is not None

    def trunk_of(self, host: str) -> str | None:
        """The name of the trunk that a source address belongs to, or None for a stranger."""
        try:
            return self._verdicts[host]
        except KeyError:
            pass
        if len(self._verdicts) >= VERDICT_LIMIT:
            self._verdicts.clear()
        verdict = self._verdicts[host] = self._look_up(host)
        return verdict

    def route(self, trunk_name: str, invite: Request) -> Route | None:
        """The agent that answers the number that was dialled, or None where nobody does."""
        trunk = self._trunks[trunk_name]
        found = trunk.route(_dialled_candidates(invite, trunk.number_order))
        if found is None:
            return None
        dialled, agent_name = found
        return Route(
            trunk_name=trunk_name,
            trunk=trunk,
            agent_name=agent_name,
            agent=self._agents[agent_name],
            dialled=dialled,
            caller=invite.from_.uri.user or "anonymous",
        )

    def _look_up(self, host: str) -> str | None:
        address = ip_address(host.partition("%")[0])
        # An IPv4 peer of a dual-stack socket shows as ::ffff:a.b.c.d.
        address = getattr(address, "ipv4_mapped", None) or address
        return next((name for name, trunk in self._trunks.items() if trunk.admits(address)), None)


def _dialled_candidates(invite: Request, order: Iterable[NumberSource]) -> Iterable[str]:
    for source in order:
        match source:
            case NumberSource.REQUEST_URI:
                yield invite.uri.user or ""
            case NumberSource.DIVERSION:
                yield from _diverted_numbers(invite)
            case NumberSource.TO:
                yield invite.to.uri.user or ""


def _diverted_numbers(invite: Request) -> Iterable[str]:
    """User parts of the Diversion headers (RFC 5806) that the carrier itself added."""
    for value in invite.headers.values("Diversion"):
        try:
            diversion = NameAddr.parse(value)
        except SipError:
            continue  # a header that only informs; the number may stand elsewhere
        host = diversion.uri.host.lower()
        if host == TWILIO_DOMAIN or host.endswith(f".{TWILIO_DOMAIN}"):
            yield diversion.uri.user or ""
