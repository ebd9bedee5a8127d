"""From the configuration of agents to their tools. What tools share, such as sessions with servers, is held here."""

import asyncio
import importlib
import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio.lowlevel
import httpx

from gateway.config.agent import AgentSettings
from gateway.config.availability import MCP_IS_MISSING, has_mcp
from gateway.config.tool import BuiltInTool, McpToolSettings, PythonToolSettings, ToolValue, WebhookToolSettings
from gateway.daemon_pool import DaemonPool
from gateway.tools.built_in import BUILT_IN
from gateway.tools.errors import ToolConfigurationError
from gateway.tools.function import FunctionTool, load_function
from gateway.tools.hold import HoldCaller, PlayAnnouncement
from gateway.tools.tool import Tool, ToolPolicy
from gateway.tools.transfer import TransferCall
from gateway.tools.webhook import WebhookTool, create_client

if TYPE_CHECKING:
    from gateway.tools.mcp_server import McpServer, ServerAddress

# Plain functions that run at once, in all calls. The next one waits, within its own timeout.
FUNCTION_THREADS: Final = 32
# How long the start waits for the tools of servers; one that is away then is connected when it comes.
FIRST_LISTING_SECONDS: Final = 10.0

Toolbox = Mapping[str, Tool]
"""The tools of one call, by the name that the model uses."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Source:
    """A server whose tools an agent may use."""

    entry: str
    settings: McpToolSettings
    policy: ToolPolicy
    server: "McpServer"


class Equipment:
    """The tools of one agent, as of one reading of its configuration.

    Args:
        fixed: tools that are always the same.
        entries: servers that list theirs, by their names in the configuration.
    """

    def __init__(self, fixed: Toolbox, entries: Mapping[str, McpToolSettings]) -> None:
        self.entries = entries
        self._fixed = fixed
        self._sources: tuple[_Source, ...] = ()

    @property
    def servers(self) -> "tuple[McpServer, ...]":
        """The sessions with its servers, once they are connected."""
        return tuple(source.server for source in self._sources)

    def connect(self, sources: Iterable[_Source]) -> None:
        """Takes the sessions that stand behind `entries`."""
        self._sources = tuple(sources)
        for source in self._sources:
            source.server.users.add(self)

    def toolbox(self) -> Toolbox:
        """The tools of a call that begins now."""
        if not self._sources:
            return self._fixed
        from gateway.tools.mcp_tool import mcp_tools  # where there are sources, the extra is installed

        tools = dict(self._fixed)
        for source in self._sources:
            tools |= mcp_tools(source.entry, source.settings, source.server, source.policy, tools)
        return tools


class ToolCatalog:
    """Makes the tools of agents. Leave the context to close what they share."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._executor = DaemonPool(FUNCTION_THREADS, "tool")
        self._client = create_client()
        self._servers: dict[ServerAddress, McpServer] = {}

    async def __aenter__(self) -> "ToolCatalog":
        await self._stack.enter_async_context(self._client)
        # What the client runs on is loaded at its first use, which would be 30 ms in the midst of calls.
        await anyio.lowlevel.checkpoint()
        # A function that hangs is not waited for: its call is long over.
        self._stack.callback(self._executor.close, 0.0)
        self._stack.push_async_callback(self._close_servers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def equip(self, agent: AgentSettings, shared: Mapping[str, ToolValue] | None = None) -> Equipment:
        """Makes the tools of an agent; `connect` follows. It may import modules: a running loop calls it in a thread.

        Args:
            agent: whose tools.
            shared: tools of the process, of which the agent names some.

        Raises:
            ToolConfigurationError: one of them cannot be made.
        """
        fixed: dict[str, Tool] = {
            built_in.value: BUILT_IN[built_in] for built_in in agent.built_in_tools if built_in in BUILT_IN
        }
        if BuiltInTool.TRANSFER_CALL in agent.built_in_tools and agent.transfer is not None:
            fixed[BuiltInTool.TRANSFER_CALL.value] = TransferCall(agent.transfer)
        if BuiltInTool.HOLD_CALLER in agent.built_in_tools and agent.hold is not None:
            fixed[BuiltInTool.HOLD_CALLER.value] = HoldCaller(agent.hold)
        if BuiltInTool.PLAY_ANNOUNCEMENT in agent.built_in_tools and agent.announcements:
            fixed[BuiltInTool.PLAY_ANNOUNCEMENT.value] = PlayAnnouncement(dict(agent.announcements))
        entries: dict[str, McpToolSettings] = {}
        for name, settings in tools_of(agent, shared or {}).items():
            if isinstance(settings, McpToolSettings):
                if not has_mcp():
                    raise ToolConfigurationError(f"{name}: {MCP_IS_MISSING}")
                importlib.import_module("gateway.tools.mcp_tool")
                entries[name] = settings
            else:
                fixed[name] = create_tool(name, settings, self._executor, self._client)
        return Equipment(fixed, entries)

    def connect(self, equipment: Equipment) -> None:
        """Gives an agent's tools the sessions that they need: one for each server, whoever uses it."""
        equipment.connect(
            _Source(name, settings, policy_of(settings), self._server(name, settings))
            for name, settings in equipment.entries.items()
        )
        for server in equipment.servers:
            server.start()

    async def listed(self) -> None:
        """Waits until every server has listed its tools, and says which ones have not."""
        waits = [asyncio.create_task(server.listed.wait()) for server in self._servers.values()]
        if waits:
            await asyncio.wait(waits, timeout=FIRST_LISTING_SECONDS)
        for wait in waits:
            wait.cancel()
        for server in self._servers.values():
            if not server.listed.is_set():
                _log.error("tool server cannot be reached: its tools are missing", extra={"server": server.name})

    def _server(self, name: str, settings: McpToolSettings) -> "McpServer":
        from gateway.tools.mcp_server import McpServer, ServerAddress

        address = ServerAddress.of(settings)
        server = self._servers.get(address)
        if server is None or server.is_closed:
            server = self._servers[address] = McpServer(name, address)
        return server

    async def _close_servers(self) -> None:
        await asyncio.gather(*(server.aclose() for server in self._servers.values()))


def tools_of(agent: AgentSettings, shared: Mapping[str, ToolValue]) -> Mapping[str, ToolValue]:
    """An agent's own tools and those of the process that it names; its own go first."""
    return {name: shared[name] for name in agent.shared_tools if name in shared} | dict(agent.tools)


def policy_of(settings: ToolValue) -> ToolPolicy:
    """How a call treats a tool of the configuration."""
    return ToolPolicy(
        timeout_seconds=settings.timeout_seconds,
        fallback=settings.fallback,
        filler=settings.filler,
        filler_after_seconds=settings.filler_after_seconds,
        confirm=settings.confirm,
    )


def create_tool(
    name: str,
    settings: PythonToolSettings | WebhookToolSettings,
    executor: Executor,
    client: httpx.AsyncClient,
) -> Tool:
    """One tool of the configuration. Raises ToolConfigurationError."""
    if isinstance(settings, PythonToolSettings):
        return FunctionTool(name, load_function(settings.function), policy_of(settings), executor, settings.description)
    return WebhookTool(name, settings, policy_of(settings), client, time.time)
