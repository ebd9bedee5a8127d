"""Reading the configuration again while calls go on: agents, their tools, and which number leads to whom.

Calls that begin afterwards are answered by what was read; running ones keep what they have. A configuration with a
fault changes nothing. What else has changed in the files needs a restart, and the log says so.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from gateway.config.load import Inspection, inspect, read_ephemeral_ports
from gateway.config.model import GatewayConfiguration
from gateway.config.trunk import TrunkSettings
from gateway.config.watch import Fingerprint, fingerprint
from gateway.errors import GatewayError
from gateway.roster import AgentEdition, Roster, create_editions
from gateway.tools.catalog import ToolCatalog

# What a reload takes over. Everything else is bound to sockets, files and sessions that are open.
RELOADED: frozenset[str] = frozenset({"agents", "agents_directory", "agents_watch_seconds", "tools"})

_log = logging.getLogger(__name__)


class Reload:
    """Reads a configuration again, when its files change and when it is asked to.

    Args:
        path: the configuration.
        running: what the process was started with.
        roster: who answers.
        catalog: makes tools.
        backends: names of those that run; others wait for a restart.
        take_trunks: is given the trunks with the numbers as they are now.
        environ: where ${NAME} is looked up.
    """

    def __init__(
        self,
        path: Path,
        running: GatewayConfiguration,
        roster: Roster,
        catalog: ToolCatalog,
        backends: Collection[str],
        take_trunks: Callable[[Mapping[str, TrunkSettings]], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._path = path
        self._started_with = running
        self._current = running
        self._roster = roster
        self._catalog = catalog
        self._backends = backends
        self._take_trunks = take_trunks
        self._environ = environ
        self._asked = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Watches from now on, in a task of its own."""
        self._watching = tasks.create_task(self._watch(), name="reload")

    def stop(self) -> None:
        """Nothing is read any more."""
        if self._watching is not None:
            self._watching.cancel()

    def ask(self) -> None:
        """Reads the configuration soon, whether its files have changed or not."""
        self._asked.set()

    async def _watch(self) -> None:
        seen = await self._look()
        while True:
            await self._pause()
            if self._asked.is_set():
                self._asked.clear()
                seen = await self._look()
            elif (now := await self._look()) != seen:
                seen = await self._settled(now)
            else:
                continue
            await self.read()

    async def read(self) -> bool:
        """Reads the configuration now. False where it has faults: what runs stays as it is."""
        inspection = await asyncio.to_thread(inspect, self._path, self._environ, ephemeral_ports=read_ephemeral_ports())
        if inspection.configuration is None:
            self._refuse([str(fault) for fault in inspection.errors])
            return False
        try:
            editions = await asyncio.to_thread(create_editions, inspection.configuration, self._catalog)
        except GatewayError as error:
            self._refuse([str(error)])
            return False
        self._take(inspection, editions, inspection.configuration)
        return True

    def _refuse(self, faults: list[str]) -> None:
        self.counters["reloads_refused"] += 1
        for fault in faults:
            _log.error("configuration fault", extra={"event": "configuration_fault", "fault": fault})
        _log.error(
            "configuration not reloaded: it has faults, and what runs goes on as it is",
            extra={"event": "reload_refused", "faults": len(faults)},
        )

    def _take(
        self, inspection: Inspection, editions: tuple[AgentEdition, ...], configuration: GatewayConfiguration
    ) -> None:
        for edition in editions:
            self._catalog.connect(edition.equipment)
        former = {edition.name: edition.version for edition in self._roster}
        self._roster.replace(editions)
        self._take_trunks(with_numbers(self._started_with.trunks, configuration.trunks))
        self._current = configuration
        self.counters["reloads"] += 1
        now = {edition.name: edition.version for edition in editions}
        for warning in inspection.warnings:
            _log.warning("configuration", extra={"fault": str(warning)})
        _log.info(
            "configuration reloaded",
            extra={
                "event": "reloaded",
                "changed": {name: version for name, version in now.items() if former.get(name) != version},
                "removed": sorted(former.keys() - now.keys()),
            },
        )
        for edition in editions:
            if not any(name in self._backends for name in edition.settings.backends):
                _log.error(
                    "agent has no backend that runs: its calls are refused with 503",
                    extra={"event": "agent_without_backend", "agent": edition.name},
                )
        if waiting := sorted(needs_restart(self._started_with, configuration)):
            _log.warning("these changes wait for a restart", extra={"event": "restart_needed", "sections": waiting})

    async def _pause(self) -> None:
        """Until the next look, or until somebody asks."""
        seconds = self._current.agents_watch_seconds or None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()

    async def _look(self) -> Fingerprint:
        return await asyncio.to_thread(fingerprint, self._path, self._current.agents_directory)

    async def _settled(self, now: Fingerprint) -> Fingerprint:
        """The files once nobody writes them any more: two looks in a row that see the same."""
        while True:
            before = now
            await self._pause()
            if (now := await self._look()) == before:
                return now


def with_numbers(trunks: Mapping[str, TrunkSettings], now: Mapping[str, TrunkSettings]) -> dict[str, TrunkSettings]:
    """The running trunks, each with the numbers that it has in the configuration now."""
    return {
        name: trunk.model_copy(update={"numbers": now[name].numbers}) if name in now else trunk
        for name, trunk in trunks.items()
    }


def needs_restart(running: GatewayConfiguration, now: GatewayConfiguration) -> Iterator[str]:
    """The sections whose changes a reload does not take over, with the name of the entry where there is one."""
    for key in GatewayConfiguration.model_fields.keys() - RELOADED:
        before, after = getattr(running, key), getattr(now, key)
        if key == "trunks":
            before, after = _without_numbers(before), _without_numbers(after)
        if before == after:
            continue
        if isinstance(before, Mapping):
            yield from (f"{key}.{name}" for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        else:
            yield key


def _without_numbers(trunks: Mapping[str, TrunkSettings]) -> dict[str, TrunkSettings]:
    return {name: trunk.model_copy(update={"numbers": {}}) for name, trunk in trunks.items()}
