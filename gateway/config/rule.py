"""Rules that no single value can break: references between sections, addresses that collide, ports that do not fit.

Each rule is a generator over the whole configuration. It also runs on a configuration from which faulty parts were left
out, so that the user sees every fault at once; `Subject` therefore carries the names as they were written.
"""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from itertools import combinations
from typing import Final

from gateway.backends.openai.dialect import DIALECTS
from gateway.carrier import Carrier, Network
from gateway.config.access_rule import (
    credentials_are_usable,
    identity_policies_are_consistent,
    registrars_are_reachable,
)
from gateway.config.availability import MCP_IS_MISSING, has_mcp
from gateway.config.backend import OPENAI_URL, Dialect, EmbeddedSettings, OpenAiSettings
from gateway.config.errors import FaultLevel
from gateway.config.fallback import TransferFallbackSettings
from gateway.config.finding import Finding, Subject
from gateway.config.media_rule import files_can_be_played, recordings_can_be_kept, rooms_have_doors_of_their_own
from gateway.config.network import ListenerSettings
from gateway.config.outbound_rule import referrals_can_be_dialled
from gateway.config.source import TreePath
from gateway.config.tool import BuiltInTool, McpToolSettings
from gateway.config.trunk import MediaSource, TrunkSettings
from gateway.config.value import suggestion

# A range wider than this is not somebody's network, it is a slip or a wish to be open, which `anyone` says plainly.
WIDEST_IPV4_PREFIX: Final = 8
WIDEST_IPV6_PREFIX: Final = 16


def sections_are_there(subject: Subject) -> Iterator[Finding]:
    """Without a trunk nobody can call, without an agent nobody answers, without a backend nobody speaks."""
    configuration = subject.configuration
    for name, present in (
        ("trunks", configuration.trunks),
        ("agents", subject.agent_names),
        ("backends", subject.backend_names),
    ):
        if not present:
            yield Finding((name,), f"at least one is needed under {name}")


def numbers_lead_to_agents(subject: Subject) -> Iterator[Finding]:
    """A number names an agent that exists, and stands once in its trunk."""
    for name, trunk in subject.configuration.trunks.items():
        for number, agent in trunk.numbers.items():
            path = ("trunks", name, "numbers", number)
            if subject.agent_names is not None and agent not in subject.agent_names:
                yield Finding(path, f"there is no agent {agent!r}{suggestion(agent, subject.agent_names)}")
            if number.isdigit() and f"+{number}" in trunk.numbers:
                yield Finding(path, f"is the same number as +{number}; one of them is enough", at_key=True)


def agents_have_backends(subject: Subject) -> Iterator[Finding]:
    """An agent names backends that exist, each once."""
    for name, agent in subject.configuration.agents.items():
        for index, backend in enumerate(agent.backends):
            path = ("agents", name, "backends", index)
            if backend in agent.backends[:index]:
                yield Finding(path, f"names the backend {backend!r} a second time")
            elif subject.backend_names is not None and backend not in subject.backend_names:
                yield Finding(path, f"there is no backend {backend!r}{suggestion(backend, subject.backend_names)}")


def transfers_lead_somewhere(subject: Subject) -> Iterator[Finding]:
    """Who may transfer calls has a list of destinations, and a list has somebody who may use it."""
    for name, agent in subject.configuration.agents.items():
        may_transfer = BuiltInTool.TRANSFER_CALL in agent.built_in_tools
        if may_transfer and agent.transfer is None:
            reason = "transfer_call needs a list of destinations; write them under transfer"
            yield Finding(("agents", name, "built_in_tools"), reason)
        falls_back = isinstance(agent.model_loss.fallback, TransferFallbackSettings)
        if agent.transfer is not None and not may_transfer and not falls_back:
            reason = "has no effect without transfer_call among the agent's built_in_tools"
            yield Finding(("agents", name, "transfer"), reason, FaultLevel.WARNING, at_key=True)


def costs_can_be_counted(subject: Subject) -> Iterator[Finding]:
    """A call's cost is limited where its backends have prices; the embedded server may be free."""
    backends = subject.configuration.backends
    for name, agent in subject.configuration.agents.items():
        own = {backend: backends[backend] for backend in agent.backends if backend in backends}
        if agent.max_cost is None or len(own) < len(set(agent.backends)):
            continue
        free = [backend for backend, it in own.items() if it.prices is None and not isinstance(it, EmbeddedSettings)]
        if all(it.prices is None for it in own.values()):
            reason = "has no effect: none of the agent's backends has prices"
        elif free:
            reason = f"counts nothing of what {', '.join(free)} costs: no prices stand there"
        else:
            continue
        yield Finding(("agents", name, "max_cost"), reason, FaultLevel.WARNING, at_key=True)


def tools_can_be_had(subject: Subject) -> Iterator[Finding]:
    """What kinds of tools need is installed, names lead to tools, and a name has one meaning."""
    shared, missing = subject.configuration.tools, not has_mcp()
    for name, tool in shared.items():
        if missing and isinstance(tool, McpToolSettings):
            yield Finding(("tools", name, "type"), MCP_IS_MISSING)
    for agent_name, agent in subject.configuration.agents.items():
        path = ("agents", agent_name)
        built_in = {tool.value for tool in agent.built_in_tools}
        for name, tool in agent.tools.items():
            if missing and isinstance(tool, McpToolSettings):
                yield Finding((*path, "tools", name, "type"), MCP_IS_MISSING)
            if name in built_in:
                yield Finding((*path, "tools", name), "is the name of a built-in tool of this agent", at_key=True)
        for index, name in enumerate(agent.shared_tools):
            if name not in shared:
                yield Finding((*path, "shared_tools", index), f"there is no tool {name!r}{suggestion(name, shared)}")
            elif name in agent.tools or name in built_in or name in agent.shared_tools[:index]:
                yield Finding((*path, "shared_tools", index), f"{name!r} is the name of another tool of this agent")


def fallbacks_lead_somewhere(subject: Subject) -> Iterator[Finding]:
    """A caller whom no model can serve is handed over only to what the agent's list of transfers holds."""
    for name, agent in subject.configuration.agents.items():
        fallback = agent.model_loss.fallback
        if not isinstance(fallback, TransferFallbackSettings):
            continue
        path = ("agents", name, "model_loss", "fallback", "destination")
        if agent.transfer is None:
            yield Finding(path, "needs a list of destinations; write them under the agent's transfer")
        elif agent.transfer.resolve(fallback.destination) is None:
            known = suggestion(fallback.destination, agent.transfer.destinations)
            yield Finding(path, f"{fallback.destination!r} is not listed under the agent's transfer{known}")


def candidates_are_other_agents(subject: Subject) -> Iterator[Finding]:
    """A share of calls goes to an agent that exists, is another one, and answers them itself."""
    agents = subject.configuration.agents
    for name, agent in agents.items():
        if (share := agent.candidate) is None:
            continue
        path = ("agents", name, "candidate", "agent")
        if subject.agent_names is not None and share.agent not in subject.agent_names:
            yield Finding(path, f"there is no agent {share.agent!r}{suggestion(share.agent, subject.agent_names)}")
        elif share.agent == name:
            yield Finding(path, "is this agent itself; name another one")
        elif share.agent in agents and (next_one := agents[share.agent].candidate) is not None:
            reason = f"has a candidate of its own ({next_one.agent!r}), which these calls never reach"
            yield Finding(path, reason, FaultLevel.WARNING)


def trunks_admit_somebody(subject: Subject) -> Iterator[Finding]:
    """A trunk has addresses, and is open to the world only where it says so."""
    for name, trunk in subject.configuration.trunks.items():
        path = ("trunks", name)
        if not trunk.signalling_networks and not trunk.client_certificates:
            reason = "admits nobody: the carrier 'custom' has no addresses of its own, so list them under allow"
            yield Finding((*path, "allow"), reason)
        if not trunk.anyone:
            yield from _wide_ranges(path, trunk)
        if trunk.media_allow and trunk.media_source is not MediaSource.CARRIER:
            reason = f"has no effect, since media_source is {trunk.media_source.value!r} and not 'carrier'"
            yield Finding((*path, "media_allow"), reason, FaultLevel.WARNING)


def client_certificates_are_asked_for(subject: Subject) -> Iterator[Finding]:
    """A name in a certificate belongs to one trunk, and some listener asks for certificates."""
    owners: dict[str, str] = {}
    asks = any(listener.client_ca is not None for listener in subject.configuration.network.sip)
    for name, trunk in subject.configuration.trunks.items():
        path = ("trunks", name, "client_certificates")
        if trunk.client_certificates and not asks:
            yield Finding(path, "no listener asks for client certificates; give one of transport tls a client_ca")
        for index, certificate in enumerate(trunk.client_certificates):
            if (owner := owners.setdefault(certificate, name)) != name:
                yield Finding((*path, index), f"{certificate!r} is a name of the trunk {owner!r} already")


def _wide_ranges(path: TreePath, trunk: TrunkSettings) -> Iterator[Finding]:
    for index, network in enumerate(trunk.allow):
        widest = WIDEST_IPV4_PREFIX if isinstance(network, IPv4Network) else WIDEST_IPV6_PREFIX
        if network.prefixlen < widest:
            reason = f"{network} is wider than /{widest}; a trunk that is open to everybody says `anyone: true`"
            yield Finding((*path, "allow", index), reason)


def trunks_stay_apart(subject: Subject) -> Iterator[Finding]:
    """A source address belongs to one trunk: it decides which numbers are looked up.

    A trunk for everyone who shows credentials takes what the others leave, so it may stand beside them.
    """
    for (first_name, first), (name, trunk) in combinations(subject.configuration.trunks.items(), 2):
        if (first.is_fallback or trunk.is_fallback) and not (first.anyone and trunk.anyone):
            continue
        shared = next(
            (
                _narrower(one, other)
                for one in first.signalling_networks
                for other in trunk.signalling_networks
                if _overlap(one, other)
            ),
            None,
        )
        if shared is not None:
            reason = f"accepts {shared}, as the trunk {first_name!r} does; put the numbers of both into one trunk"
            yield Finding(("trunks", name), reason, at_key=True)


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _narrower(one: Network, other: Network) -> Network:
    return max(one, other, key=lambda network: network.prefixlen)


def listeners_stay_apart(subject: Subject) -> Iterator[Finding]:
    """No port is bound twice, and SIP does not listen where media does."""
    network = subject.configuration.network
    for index, listener in enumerate(network.sip):
        taken = next((place for place in range(index) if _collide(listener, network.sip[place])), None)
        if taken is not None:
            yield Finding(
                ("network", "sip", index, "port"), f"{listener.port} is already taken by network.sip[{taken}]"
            )
        if listener.transport == "udp" and network.rtp.first_port <= listener.port <= network.rtp.last_port:
            reason = (
                f"{listener.port} lies in the range of the RTP ports, {network.rtp.first_port}–{network.rtp.last_port}"
            )
            yield Finding(("network", "sip", index, "port"), reason)


def tls_listeners_have_certificates(subject: Subject) -> Iterator[Finding]:
    """TLS needs a certificate and its key; UDP and TCP have no use for them."""
    for index, listener in enumerate(subject.configuration.network.sip):
        path = ("network", "sip", index)
        given = {
            "certificate": listener.certificate is not None,
            "key": listener.key is not None,
            "client_ca": listener.client_ca is not None,
            "require_client_certificate": listener.require_client_certificate,
        }
        if listener.transport != "tls":
            useless = (name for name, is_given in given.items() if is_given)
            yield from (
                Finding((*path, name), f"is for TLS; this listener's transport is {listener.transport}")
                for name in useless
            )
            continue
        yield from (Finding((*path, name), "is required for TLS") for name in ("certificate", "key") if not given[name])
        files = {"certificate": listener.certificate, "key": listener.key, "client_ca": listener.client_ca}
        for name, file in files.items():
            if file is not None and not file.is_file():
                yield Finding((*path, name), f"there is no file {file}")
        if listener.require_client_certificate and listener.client_ca is None:
            yield Finding((*path, "client_ca"), "is needed to judge the certificates that are required")


def _collide(one: ListenerSettings, other: ListenerSettings) -> bool:
    if (one.transport == "udp") is not (other.transport == "udp"):
        return False
    if not one.port or one.port != other.port or one.bind.version != other.bind.version:
        return False
    return one.bind == other.bind or one.bind.is_unspecified or other.bind.is_unspecified


def sip_timers_are_in_order(subject: Subject) -> Iterator[Finding]:
    """Intervals between retransmissions begin at T1 and grow to T2."""
    timers = subject.configuration.network.sip_timers
    if timers.t2_ms < timers.t1_ms:
        reason = f"{timers.t2_ms} is less than t1_ms ({timers.t1_ms})"
        yield Finding(("network", "sip_timers", "t2_ms"), reason)


def rtp_ports_fit(subject: Subject) -> Iterator[Finding]:
    """The range holds at least one call, better as many as are allowed, and the kernel hands none of it to others."""
    rtp, limits = subject.configuration.network.rtp, subject.configuration.limits
    path = ("network", "rtp")
    if rtp.calls == 0:
        yield Finding(path, f"{rtp.first_port}–{rtp.last_port} holds no pair of ports (an even one and the next)")
        return
    if rtp.calls < limits.calls:
        reason = f"{rtp.first_port}–{rtp.last_port} carries {rtp.calls} calls, fewer than limits.calls ({limits.calls})"
        yield Finding(path, reason, FaultLevel.WARNING)
    if subject.ephemeral_ports is not None:
        first, last = subject.ephemeral_ports
        if rtp.first_port <= last and rtp.last_port >= first:
            reason = (
                f"{rtp.first_port}–{rtp.last_port} overlaps the kernel's ephemeral ports ({first}–{last}): "
                "other programs will take ports from calls"
            )
            yield Finding(path, reason, FaultLevel.WARNING)


def public_address_is_reachable(subject: Subject) -> Iterator[Finding]:
    """What is advertised is one host's address, of the family in which media is received."""
    network = subject.configuration.network
    address, path = network.public_address, ("network", "public_address")
    if address is None:
        return
    if address.is_unspecified or address.is_multicast:
        yield Finding(path, f"{address} is not the address of one machine")
        return
    if network.rtp.bind.version == 4 and address.version == 6:
        yield Finding(path, f"{address} is IPv6, but media is received on {network.rtp.bind} (network.rtp.bind)")
    carriers = [trunk.carrier for trunk in subject.configuration.trunks.values() if trunk.carrier is not Carrier.CUSTOM]
    if carriers and (address.is_private or address.is_link_local):
        yield Finding(path, f"{address} cannot be reached by {carriers[0].value}", FaultLevel.WARNING)


def listeners_tell_addresses_of_their_own(subject: Subject) -> Iterator[Finding]:
    """What the peers of a listener are told is one machine's address, of the IP version that it listens on."""
    for index, listener in enumerate(subject.configuration.network.sip):
        address, path = listener.public_address, ("network", "sip", index, "public_address")
        if address is None:
            continue
        if address.is_unspecified or address.is_multicast:
            yield Finding(path, f"{address} is not the address of one machine")
        elif address.version != listener.bind.version:
            yield Finding(path, f"{address} is not of the IP version of {listener.bind}, where this listener is bound")
        elif address.version != subject.configuration.network.rtp.bind.version:
            bind = subject.configuration.network.rtp.bind
            yield Finding(
                path, f"{address} is IPv{address.version}, but media is received on {bind} (network.rtp.bind)"
            )


def backends_are_usable(subject: Subject) -> Iterator[Finding]:
    """Keys travel encrypted, a server that is not OpenAI has an address of its own, and a script is there."""
    for name, backend in subject.configuration.backends.items():
        path = ("backends", name)
        match backend:
            case OpenAiSettings():
                if backend.sends_key_in_clear:
                    yield Finding((*path, "url"), "would send the key unencrypted; use wss://")
                if backend.warm and DIALECTS[backend.dialect.value].capabilities.rest_s is None:
                    yield Finding((*path, "warm"), f"the dialect {backend.dialect.value!r} has no sockets that wait")
                if backend.dialect is not Dialect.OPENAI and backend.url == OPENAI_URL:
                    reason = f"is needed for the dialect {backend.dialect.value!r}; {OPENAI_URL} speaks 'openai'"
                    yield Finding((*path, "url"), reason)
            case EmbeddedSettings(script=script) if script is not None and not script.is_file():
                yield Finding((*path, "script"), f"there is no file {script}")


def directories_are_directories(subject: Subject) -> Iterator[Finding]:
    """Where something is to be written, no file stands in the way."""
    for section, directory in (
        ("recording", subject.configuration.recording.directory),
        ("records", subject.configuration.records.directory),
    ):
        if directory.exists() and not directory.is_dir():
            yield Finding((section, "directory"), f"{directory} is a file, not a directory")


RULES: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = (
    sections_are_there,
    numbers_lead_to_agents,
    agents_have_backends,
    costs_can_be_counted,
    transfers_lead_somewhere,
    files_can_be_played,
    tools_can_be_had,
    candidates_are_other_agents,
    fallbacks_lead_somewhere,
    recordings_can_be_kept,
    rooms_have_doors_of_their_own,
    trunks_admit_somebody,
    client_certificates_are_asked_for,
    trunks_stay_apart,
    listeners_stay_apart,
    tls_listeners_have_certificates,
    sip_timers_are_in_order,
    rtp_ports_fit,
    public_address_is_reachable,
    listeners_tell_addresses_of_their_own,
    backends_are_usable,
    directories_are_directories,
    credentials_are_usable,
    referrals_can_be_dialled,
    registrars_are_reachable,
    identity_policies_are_consistent,
)


def findings(subject: Subject) -> Iterator[Finding]:
    """Every broken rule."""
    for rule in RULES:
        yield from rule(subject)
