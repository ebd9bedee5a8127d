"""One call's check: what is known at once, what has to be fetched first, and what follows from it.

The check never holds up 100 and 180. It runs while the model session opens and is bounded in time; the call asks for
its outcome before it answers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from gateway.carrier import PROFILES, Carrier
from gateway.config.identity import IdentityCheckKind, IdentityPolicySettings
from gateway.config.trunk import TrunkSettings
from gateway.identity.certificate import CertificateChain, TrustList
from gateway.identity.errors import IdentityError
from gateway.identity.fetch import CertificateSource
from gateway.identity.verdict import REFUSAL_STATUS, Verdict, sentence, stir_reason
from gateway.identity.verification import CallNumbers, Examination, examine, judge
from gateway.identity.verstat import VERSTAT_HEADER, disbelieve, judge_verstat
from gateway.roster import AgentEdition, Roster
from sip.message import Request

Finish = Callable[[], Awaitable[Verdict]]


class IdentityCheck:
    """The check of one call.

    Args:
        policy: the trunk's.
        choose: who answers for an agent that the policy routes to.
        outcome: the verdict, or what gets it; that must end by itself.
    """

    def __init__(
        self,
        policy: IdentityPolicySettings,
        choose: Callable[[str], AgentEdition | None],
        outcome: Verdict | Finish,
    ) -> None:
        self.policy = policy
        self._choose = choose
        self.verdict = outcome if isinstance(outcome, Verdict) else None
        self._outcome = outcome

    async def settle(self) -> Verdict:
        """The verdict, after waiting where that is needed."""
        if self.verdict is None:
            self.verdict = self._outcome if isinstance(self._outcome, Verdict) else await self._outcome()
        return self.verdict

    @property
    def chooses_agent(self) -> bool:
        """Whether the agent is known only with the verdict."""
        return bool(self.policy.route)

    @property
    def agent(self) -> AgentEdition | None:
        """Who answers instead of the number's own agent."""
        name = None if self.verdict is None else self.policy.route.get(self.verdict.status)
        return None if name is None else self._choose(name)

    @property
    def is_refused(self) -> bool:
        """Whether the call must not be taken."""
        return self.verdict is not None and self.verdict.status in self.policy.refuse

    @property
    def refusal(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Status and header fields of the response that refuses the call."""
        reason = None if self.verdict is None else stir_reason(self.verdict)
        return REFUSAL_STATUS, () if reason is None else (("Reason", reason),)

    @property
    def detail(self) -> str | None:
        """The verdict for logs and records."""
        return None if self.verdict is None else f"caller's number: {self.verdict.status.value}: {self.verdict.detail}"

    @property
    def sentence(self) -> str | None:
        """What the agent is told; None where it is told nothing, or nothing yet."""
        return sentence(self.verdict) if self.policy.tell_agent and self.verdict is not None else None


class IdentityDesk:
    """Where calls are checked, one for the process.

    Args:
        trust: the roots.
        source: certificates by URL.
        wall_clock: seconds since 1970: PASSporTs say when they were signed.
        timeout_seconds: longest wait for certificates.
        roster: the agents that a policy may route to.
    """

    def __init__(
        self,
        trust: TrustList,
        source: CertificateSource,
        wall_clock: Callable[[], float],
        timeout_seconds: float,
        roster: Roster,
    ) -> None:
        self._trust = trust
        self._source = source
        self._wall_clock = wall_clock
        self._timeout_seconds = timeout_seconds
        self._roster = roster

    def begin(self, trunk: TrunkSettings, invite: Request, host: str, dialled: str) -> IdentityCheck | None:
        """The check of a call; None where its trunk asks for none.

        Args:
            trunk: the call's.
            invite: its INVITE.
            host: the address that the INVITE came from.
            dialled: the number that it was routed by.
        """

        def choose(name: str) -> AgentEdition | None:
            return self._roster.choose(name, invite.call_id)

        match trunk.identity.verify:
            case IdentityCheckKind.OFF:
                return None
            case IdentityCheckKind.CARRIER:
                values = invite.headers.get_all(VERSTAT_HEADER)
                believed = trunk.carrier is Carrier.TWILIO and is_twilio(host)
                outcome = judge_verstat(values) if believed else disbelieve(values)
                return IdentityCheck(trunk.identity, choose, outcome)
            case IdentityCheckKind.PASSPORT:
                return IdentityCheck(trunk.identity, choose, self._check_passports(trunk, invite, dialled))

    def _check_passports(self, trunk: TrunkSettings, invite: Request, dialled: str) -> Verdict | Finish:
        numbers = CallNumbers.of(invite, dialled, trunk.country)
        examination = examine(invite.headers.get_all("Identity"), numbers, self._wall_clock())
        chains = {url: self._source.known(url) for url in examination.certificate_urls}
        known = {url: chain for url, chain in chains.items() if chain is not None}
        if len(known) == len(chains):
            return self._judge(examination, known)
        return lambda: self._fetch_and_judge(examination)

    async def _fetch_and_judge(self, examination: Examination) -> Verdict:
        chains: dict[str, CertificateChain | IdentityError] = {}

        async def obtain(url: str) -> None:
            chains[url] = await self._source.obtain(url)

        try:
            async with asyncio.timeout(self._timeout_seconds), asyncio.TaskGroup() as tasks:
                for url in examination.certificate_urls:
                    tasks.create_task(obtain(url))
        except TimeoutError:
            pass  # what is not there by now is judged as not available
        return self._judge(examination, chains)

    def _judge(self, examination: Examination, chains: dict[str, CertificateChain | IdentityError]) -> Verdict:
        return judge(examination, chains, self._trust, self._wall_clock())


def is_twilio(host: str) -> bool:
    """Whether an address is one of Twilio's signalling addresses, whatever else a trunk lets in."""
    address = ip_address(host.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in PROFILES[Carrier.TWILIO].signalling_networks)
