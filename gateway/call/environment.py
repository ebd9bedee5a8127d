"""What the process gives to its calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.call.prompt import Prompts
from gateway.config.price import PriceSettings
from gateway.realtime.session import RealtimeBackend
from gateway.recording_archive import RecordingArchive
from gateway.tools.catalog import Toolbox

# Runs a method of a SIP session at the endpoint's `now` and sends what comes of it.
Perform = Callable[..., None]


def _no_tools(agent_name: str) -> Toolbox:
    """What an agent has that nobody equipped."""
    return {}


@dataclass(frozen=True, slots=True)
class CallEnvironment:
    """What every call of a process has in common: SIP, backends, folders, clock, tools."""

    perform: Perform
    backends: Mapping[str, RealtimeBackend]
    records: Path
    recordings: RecordingArchive | None
    setup_timeout_seconds: float
    clock: Callable[[], float]
    tools_of: Callable[[str], Toolbox] = _no_tools
    prompts: Mapping[str, Prompts] = field(default_factory=dict)
    prices: Mapping[str, PriceSettings] = field(default_factory=dict)
