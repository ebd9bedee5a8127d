"""Who answers: the agents as the configuration has them now, each with its version, its tools and its stored words.

A reload puts new editions here; a call keeps the edition that it began with.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pydantic.main import IncEx

from gateway.audio_file import AudioFileError
from gateway.call.prompt import Prompts, load_prompts
from gateway.config.agent import AgentSettings, PromptSettings
from gateway.config.model import GatewayConfiguration
from gateway.config.tool import ToolValue
from gateway.tools.catalog import Equipment, ToolCatalog, tools_of
from gateway.tools.errors import ToolConfigurationError

# Of SHA-256, in hexadecimal: two versions of one agent that share these by chance come once in 2^48.
VERSION_DIGITS: Final = 12
_PERCENT: Final = 100
# Its share of calls and the name of the version are not what an agent is; tools and sounds are added as what they are.
_NOT_CONTENT: Final[Mapping[str, IncEx | bool]] = {
    "candidate": True,
    "version": True,
    "tools": True,
    "shared_tools": True,
    "model_loss": {"filler": {"file"}, "apology": {"file"}},
    "dead_air": {"filler": {"file"}},
    "hold": {"music"},
    "announcements": {"__all__": {"file"}},
}


@dataclass(frozen=True)
class AgentEdition:
    """An agent as one reading of the configuration has it.

    `version` is a hash of all that the agent is, behind the name that its author gave to the version, if any.
    `candidate_of` names the agent whose calls it shares, in a call that was given to it as that one's candidate.
    """

    name: str
    settings: AgentSettings
    version: str = ""
    equipment: Equipment = field(default_factory=lambda: Equipment({}, {}), compare=False)
    prompts: Prompts = field(default_factory=Prompts)
    candidate_of: str | None = None


class Roster:
    """The agents of a process, by name."""

    def __init__(self, editions: Iterable[AgentEdition] = ()) -> None:
        self._editions: dict[str, AgentEdition] = {}
        self._candidates: dict[str, tuple[float, AgentEdition]] = {}
        self.replace(editions)

    def __iter__(self) -> Iterator[AgentEdition]:
        return iter(self._editions.values())

    def get(self, name: str) -> AgentEdition | None:
        """The agent of this name, without regard to candidates."""
        return self._editions.get(name)

    def replace(self, editions: Iterable[AgentEdition]) -> None:
        """Lets calls that begin from now on be answered by these."""
        self._editions = {edition.name: edition for edition in editions}
        self._candidates = {
            edition.name: (share.percent, replace(candidate, candidate_of=edition.name))
            for edition in self._editions.values()
            if (share := edition.settings.candidate) is not None
            and (candidate := self._editions.get(share.agent)) is not None
        }

    def choose(self, name: str, key: str) -> AgentEdition | None:
        """Who answers a call for an agent: the agent, or for its share of calls the candidate; None for a stranger.

        Args:
            name: the agent that the number leads to.
            key: the call's own, such as its Call-ID: the same call always finds the same edition.
        """
        if name in self._candidates:
            percent, candidate = self._candidates[name]
            if bucket(name, key) < percent:
                return candidate
        return self._editions.get(name)


def bucket(name: str, key: str) -> float:
    """Where a call falls among the calls of an agent: evenly from 0 to 100, and always at the same place."""
    digest = hashlib.sha256(f"{name}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 * _PERCENT


def create_editions(configuration: GatewayConfiguration, catalog: ToolCatalog) -> tuple[AgentEdition, ...]:
    """Makes every agent of a configuration. It reads files and imports modules: a running loop calls it in a thread.

    Raises:
        ToolConfigurationError: a tool cannot be made.
        AudioFileError: stored words cannot be read.
    """
    return tuple(
        create_edition(name, agent, configuration.tools, catalog) for name, agent in configuration.agents.items()
    )


def create_edition(
    name: str, agent: AgentSettings, shared: Mapping[str, ToolValue], catalog: ToolCatalog
) -> AgentEdition:
    """Makes one agent, as `create_editions` does; the error names it."""
    try:
        return AgentEdition(
            name=name,
            settings=agent,
            version=version_of(agent, tools_of(agent, shared)),
            equipment=catalog.equip(agent, shared),
            prompts=load_prompts(agent),
        )
    except (AudioFileError, ToolConfigurationError) as error:
        raise type(error)(f"agents.{name}: {error}") from error


def version_of(agent: AgentSettings, tools: Mapping[str, ToolValue]) -> str:
    """A name for exactly this content: the agent's settings, its tools, and the sound of its stored words.

    Secrets are not part of it, so a new key makes no new version.
    """
    settings = agent.model_dump(mode="json", exclude=dict(_NOT_CONTENT))
    described = json.dumps(
        [settings, {name: tool.model_dump(mode="json") for name, tool in tools.items()}], sort_keys=True
    )
    content = hashlib.sha256(described.encode())
    for file in sound_files(agent):
        content.update(_contents(file))
    digest = content.hexdigest()[:VERSION_DIGITS]
    return digest if agent.version is None else f"{agent.version}+{digest}"


def sound_files(agent: AgentSettings) -> tuple[Path, ...]:
    """The sound files of an agent's own."""
    prompts: tuple[PromptSettings | None, ...] = (
        agent.model_loss.filler,
        agent.model_loss.apology,
        agent.dead_air.filler,
    )
    music = () if agent.hold is None else (agent.hold.music,)
    announcements = (agent.announcements[name].file for name in sorted(agent.announcements))
    return (*(prompt.file for prompt in prompts if prompt is not None), *music, *announcements)


def _contents(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""  # whoever loads it says what is wrong with it
