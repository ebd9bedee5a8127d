"""From the configuration of agents to their tools, made once for the process."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Final

import httpx

from gateway.config.agent import AgentSettings
from gateway.config.tool import BuiltInTool, PythonToolSettings, ToolValue
from gateway.tools.built_in import BUILT_IN
from gateway.tools.function import FunctionTool, load_function
from gateway.tools.tool import Tool, ToolPolicy
from gateway.tools.transfer import TransferCall
from gateway.tools.webhook import WebhookTool, create_client

# Plain functions that run at once, in all calls. The next one waits, within its own timeout.
FUNCTION_THREADS: Final = 32

Toolbox = Mapping[str, Tool]
"""The tools of one agent, by the name that the model uses."""


class ToolCatalog:
    """The tools of every agent. Leave the context to close what they share."""

    def __init__(self) -> None:
        self._boxes: dict[str, Toolbox] = {}
        self._stack = AsyncExitStack()
        self._executor = ThreadPoolExecutor(FUNCTION_THREADS, thread_name_prefix="tool")
        self._client = create_client()

    async def __aenter__(self) -> "ToolCatalog":
        await self._stack.enter_async_context(self._client)
        # A function that hangs is not waited for: its call is long over.
        self._stack.callback(self._executor.shutdown, wait=False, cancel_futures=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def equip(self, agent_name: str, agent: AgentSettings) -> None:
        """Makes the tools of an agent.

        Raises:
            ToolConfigurationError: one of them cannot be made.
        """
        tools: dict[str, Tool] = {
            built_in.value: BUILT_IN[built_in] for built_in in agent.built_in_tools if built_in in BUILT_IN
        }
        if BuiltInTool.TRANSFER_CALL in agent.built_in_tools and agent.transfer is not None:
            tools[BuiltInTool.TRANSFER_CALL.value] = TransferCall(agent.transfer)
        for name, settings in agent.tools.items():
            tools[name] = create_tool(name, settings, self._executor, self._client)
        self._boxes[agent_name] = tools

    def tools_of(self, agent_name: str) -> Toolbox:
        """The tools of an agent; none for one that was not equipped."""
        return self._boxes.get(agent_name, {})


def create_tool(name: str, settings: ToolValue, executor: ThreadPoolExecutor, client: httpx.AsyncClient) -> Tool:
    """One tool of the configuration. Raises ToolConfigurationError."""
    policy = ToolPolicy(
        timeout_seconds=settings.timeout_seconds,
        fallback=settings.fallback,
        filler=settings.filler,
        filler_after_seconds=settings.filler_after_seconds,
        confirm=settings.confirm,
    )
    if isinstance(settings, PythonToolSettings):
        return FunctionTool(name, load_function(settings.function), policy, executor, settings.description)
    return WebhookTool(name, settings, policy, client, time.time)
