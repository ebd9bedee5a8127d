"""`trunkline check`: every fault of a configuration, or what the configuration amounts to."""

import os
import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final, TextIO

from gateway.config.agent import AgentSettings
from gateway.config.availability import AgentAvailability, availability
from gateway.config.load import inspect, read_ephemeral_ports
from gateway.config.model import GatewayConfiguration
from gateway.config.network import ListenerSettings
from gateway.config.trunk import TrunkSettings
from gateway.config.value import ANY_NUMBER
from gateway.errors import GatewayError
from gateway.roster import create_edition
from gateway.tools.catalog import ToolCatalog

FINE: Final = 0
FAULTY: Final = 1
# A carrier brings dozens of ranges; the summary names the user's own and counts the rest.
MOST_RANGES_SHOWN: Final = 6


def run(
    config_path: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    output: TextIO | None = None,
    errors: TextIO | None = None,
) -> int:
    """Checks the file. Faults go one a line to `errors` (standard error), the summary to `output`.

    Returns:
        0 when the gateway would start, else 1.
    """
    output, errors = output or sys.stdout, errors or sys.stderr
    inspection = inspect(config_path, environ, ephemeral_ports=read_ephemeral_ports())
    for fault in inspection.faults:
        errors.write(f"{fault}\n")
    if inspection.configuration is None:
        count = len(inspection.errors)
        errors.write(f"{config_path}: {count} {'fault' if count == 1 else 'faults'}; the gateway would not start\n")
        return FAULTY
    versions, obstacles = _make_agents(inspection.configuration)
    for obstacle in obstacles:
        errors.write(f"{config_path}: {obstacle}\n")
    if obstacles:
        return FAULTY
    output.write("\n".join([f"{config_path} is fine.", *summary(inspection.configuration, versions)]) + "\n")
    return FINE


def _make_agents(configuration: GatewayConfiguration) -> tuple[dict[str, str], list[str]]:
    """The version of each agent, and what is wrong with tools and stored words that only shows when they are made."""
    versions, faults = {}, []
    catalog = ToolCatalog()
    for name, agent in configuration.agents.items():
        try:
            versions[name] = create_edition(name, agent, configuration.tools, catalog).version
        except GatewayError as error:
            faults.append(str(error))
    return versions, faults


def summary(configuration: GatewayConfiguration, versions: Mapping[str, str]) -> Iterator[str]:
    """What the configuration amounts to, line by line; `versions` are those of its agents."""
    network = configuration.network
    yield f"SIP        {', '.join(_listener(listener) for listener in network.sip)}"
    yield f"address    {network.public_address or 'detected at the start'}"
    rtp = network.rtp
    bind = f"[{rtp.bind}]" if isinstance(rtp.bind, IPv6Address) else str(rtp.bind)
    calls = min(rtp.calls, configuration.limits.calls)
    yield f"RTP        {bind}:{rtp.first_port}–{rtp.last_port}, ports for {rtp.calls} calls"
    yield f"limit      {calls} calls at once"
    yield f"recording  {configuration.recording.directory if configuration.recording.enabled else 'off'}"
    yield f"records    {configuration.records.directory}"
    for name, trunk in configuration.trunks.items():
        yield f"trunk      {name} ({trunk.carrier.value}): {_sources(trunk)}"
        for number, agent in trunk.numbers.items():
            yield f"             {'any other number' if number == ANY_NUMBER else number} → {agent}"
    for name, room in configuration.conferences.items():
        yield f"conference {name}: {', '.join(f'{seat.number} ({seat.role.value})' for seat in room.seats)}"
    for agent_availability in availability(configuration).values():
        yield from _agent(agent_availability)
        yield from _edition(configuration.agents[agent_availability.agent], versions[agent_availability.agent])


def _listener(listener: ListenerSettings) -> str:
    host = f"[{listener.bind}]" if isinstance(listener.bind, IPv6Address) else str(listener.bind)
    return f"{listener.transport} {host}:{listener.port or 'any free port'}"


def _sources(trunk: TrunkSettings) -> str:
    if trunk.anyone:
        return "calls from EVERY address"
    shown = [str(network) for network in trunk.allow[:MOST_RANGES_SHOWN]]
    hidden = len(trunk.allow) - len(shown)
    built_in = len(trunk.profile.signalling_networks)
    parts = [f"{built_in} built-in ranges"] if built_in else []
    return "calls from " + ", ".join([*parts, *shown, *([f"{hidden} more"] if hidden else [])])


def _edition(agent: AgentSettings, version: str) -> Iterator[str]:
    share = agent.candidate
    yield f"             version {version}" + ("" if share is None else f"; {share.percent:g} % to {share.agent}")


def _agent(found: AgentAvailability) -> Iterator[str]:
    speaks = f"speaks with {found.usable[0]}" if found.usable else "NO USABLE BACKEND: every call is refused with 503"
    then = f", then {', '.join(found.usable[1:])}" if found.usable[1:] else ""
    yield f"agent      {found.agent}: {speaks}{then}"
    for backend in found.unavailable:
        yield f"             {backend.name} is left out: {backend.reason}"
