"""One session with a server of the Model Context Protocol, shared by all calls and kept alive.

A task of its own connects, lists the tools, lists them again when the server says that they have changed (and now and
then anyhow, which also shows whether it is still there), and connects again with back-off after a loss. Nothing that
the server does stops a call: a request in the midst of a loss fails at once, with a reason that the model can be told.
"""

import asyncio
import importlib.metadata
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TextIO
from weakref import WeakSet

import httpx2
import mcp_types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost

from gateway.config.tool import LONGEST_TOOL_SECONDS, McpToolSettings
from gateway.tools.errors import ToolFailedError
from gateway.tools.mcp_http import BoundedTransport
from gateway.tools.mcp_program import TOO_LONG, program_streams

# Connecting and listing: a program in Python or Node takes one or two seconds to start.
CONNECT_SECONDS: Final = 15.0
# How often a listing is asked for where nothing was said: servers exist that never say that their tools changed.
REFRESH_SECONDS: Final = 30.0
# How long a request waits for a server that is just being connected again.
PATIENCE_SECONDS: Final = 2.0
# What the end of a program may take: it is asked, terminated, and killed, with two seconds for each.
CLOSE_SECONDS: Final = 10.0
# Between two attempts to connect: doubled from the first to the last. A session that lived for a while starts anew.
FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 30.0
LONG_LIFE_SECONDS: Final = 60.0
# OpenAI takes 128 functions a session, of all servers together; a server with more needs an `allow`.
TOOLS_LIMIT: Final = 128
PAGES_LIMIT: Final = 16
# One answer. A model gets 32,000 characters of it; the rest of a megabyte is for lists of tools.
ANSWER_LIMIT: Final = 1 << 20
# What a program writes to its standard error becomes log lines; what is longer is cut.
LINE_LIMIT: Final = 2_000
# A reason may quote the server; the model and the log need no more of it.
REASON_LIMIT: Final = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerTool:
    """One tool as its server lists it. `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """What makes two entries of a configuration the same server."""

    command: str | None
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    directory: str | None
    url: str | None
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, settings: McpToolSettings) -> "ServerAddress":
        """The server of an entry."""
        return cls(
            settings.command,
            settings.args,
            tuple((name, value.get_secret_value()) for name, value in settings.env.items()),
            None if settings.directory is None else str(settings.directory),
            settings.url,
            tuple((name, value.get_secret_value()) for name, value in settings.headers.items()),
        )


class McpServer:
    """A session with one server, for as long as somebody uses it.

    Args:
        name: for the log: the entry of the configuration that named it first.
        address: how it is reached.
    """

    def __init__(self, name: str, address: ServerAddress) -> None:
        self.name = name
        self.tools: tuple[ServerTool, ...] = ()
        """As listed last; it stays while the server is away."""
        self.users: WeakSet[object] = WeakSet()
        """Who may call tools. When the last is gone, the session is closed."""
        self.sessions = 0
        """How often a session was opened."""
        self.too_long = 0
        """Messages that were longer than anybody can use."""
        self.listed = asyncio.Event()
        self._address = address
        self._client: Client | None = None
        self._connected = asyncio.Event()
        self._look = asyncio.Event()
        self._is_lost = False
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it serves nobody any more."""
        return self._task is not None and self._task.done()

    def state(self) -> dict[str, object]:
        """What is known of it, for an operator."""
        return {
            "name": self.name,
            "connected": self._connected.is_set(),
            "sessions": self.sessions,
            "tools": len(self.tools),
            "too_long": self.too_long,
        }

    def start(self) -> None:
        """Connects in a task of its own, unless it has begun to."""
        if self._task is not None:
            return
        self._task = asyncio.create_task(self._run(), name=f"mcp-{self.name}")

    async def aclose(self) -> None:
        """Ends the session; a program that does not end is killed after a few seconds."""
        self._is_closing = True
        while self._task is not None and not self._task.done():
            self._task.cancel()
            # Not again at once: a second one would interrupt the ending of a program.
            await asyncio.wait((self._task,), timeout=CLOSE_SECONDS)

    async def call(self, tool_name: str, arguments: Mapping[str, object]) -> mcp_types.CallToolResult:
        """Calls a tool. Cancelling this tells the server that the result is not wanted any more.

        Raises:
            ToolFailedError: there is no session, it was lost meanwhile, or the server refused.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._connected.wait()
        except TimeoutError:
            raise ToolFailedError("The server of this tool cannot be reached. Nothing was done.") from None
        client = self._client
        if client is None:
            raise ToolFailedError("The server of this tool is going away. Nothing was done.")
        try:
            return await client.call_tool(tool_name, dict(arguments))
        except MCPError as error:
            if error.code == mcp_types.CONNECTION_CLOSED:
                self._lose(client)
                raise ToolFailedError(
                    "The connection to the server of this tool was lost. It is not known whether it was done."
                ) from error
            if error.code == TOO_LONG:
                raise ToolFailedError(f"The server's answer cannot be used: {error.message}") from error
            self._look.set()  # perhaps a session that the server has forgotten: a new listing will tell
            raise ToolFailedError(f"The server refused: {error.message[:REASON_LIMIT]}") from error
        except Exception as error:
            # The edge to code that is not ours: whatever it meets is the tool's failure, not the call's.
            self._look.set()
            raise ToolFailedError(f"The server's answer cannot be used: {_reason(error)}") from error

    def _lose(self, client: Client) -> None:
        """The session is over; requests wait for the next one from now on."""
        if client is self._client:
            self._client = None
            self._connected.clear()
            self._is_lost = True
            self._look.set()

    async def _run(self) -> None:
        """Lives from session to session."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while True:
            began, reason = loop.time(), "the connection was lost"
            try:
                await self._live()
            except Exception as error:  # noqa: BLE001 - the supervised edge of a server that is not ours
                reason = _reason(error)
            finally:
                self._client = None
                self._connected.clear()
            if self._is_closing:  # a connection that breaks in the same moment can swallow the cancellation
                return
            if not self.users:
                _log.info("tool server released", extra={"event": "tool_server_released", "server": self.name})
                return
            if loop.time() - began > LONG_LIFE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            _log.warning(
                "tool server lost",
                extra={"event": "tool_server_lost", "server": self.name, "reason": reason, "again_in_s": pause},
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _live(self) -> None:
        """One session, from its opening to its loss, or until nobody uses the server."""
        self._is_lost = False
        self._look.clear()
        async with self._opened() as client:
            self._client = client
            self.sessions += 1
            self._connected.set()
            _log.info(
                "tool server",
                extra={"event": "tool_server", "server": self.name, "tools": [tool.name for tool in self.tools]},
            )
            listening = asyncio.create_task(self._listen(client), name=f"mcp-{self.name}-listen")
            try:
                while not self._is_lost and self.users:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(REFRESH_SECONDS):
                            await self._look.wait()
                    self._look.clear()
                    if not self._is_lost and self.users:
                        async with asyncio.timeout(CONNECT_SECONDS):
                            await self._list(client)
            finally:
                self._client = None
                self._connected.clear()
                listening.cancel()
                await asyncio.wait((listening,))

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Client]:
        """A session whose tools are listed."""
        async with self._transport() as transport:
            client = Client(
                transport,
                message_handler=self._on_message,
                client_info=_IDENTITY,
                cache=None,
                read_timeout_seconds=None,
            )
            opened = False
            try:
                # Not one timeout around the whole: what has been entered must be left in the same task, unhurried.
                async with asyncio.timeout(CONNECT_SECONDS) as limit, client:
                    await self._list(client)
                    limit.reschedule(None)
                    opened = True
                    yield client
            except TimeoutError:
                if opened:
                    raise
                raise TimeoutError(f"it did not list its tools within {CONNECT_SECONDS:g} s") from None

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[AbstractAsyncContextManager[Any]]:
        address = self._address
        if address.url is not None:
            # No proxy from the environment, as for webhooks. Redirects are followed within the server's origin only.
            async with httpx2.AsyncClient(
                # The limit is one of what is really held.
                headers={"Accept-Encoding": "identity", **dict(address.headers)},
                trust_env=False,
                timeout=httpx2.Timeout(LONGEST_TOOL_SECONDS, read=None),
                transport=BoundedTransport(ANSWER_LIMIT, self._note_too_long),
            ) as http:
                yield streamable_http_client(address.url, http_client=http)
            return
        parameters = StdioServerParameters(
            command=address.command or "", args=list(address.args), env=dict(address.env), cwd=address.directory
        )
        async with _logged_lines(self.name) as errlog:
            yield program_streams(parameters, errlog, ANSWER_LIMIT, self._note_too_long)

    def _note_too_long(self) -> None:
        self.too_long += 1
        _log.warning(
            "tool server says too much at once",
            extra={"event": "tool_server_too_long", "server": self.name, "count": self.too_long, "limit": ANSWER_LIMIT},
        )

    async def _list(self, client: Client) -> None:
        """Takes the tools that the server has now."""
        tools: list[ServerTool] = []
        cursor: str | None = None
        for _ in range(PAGES_LIMIT):
            page = await client.list_tools(cursor=cursor)
            tools += [
                ServerTool(tool.name, tool.description or tool.title or tool.name, tool.input_schema)
                for tool in page.tools
            ]
            cursor = page.next_cursor
            if cursor is None:
                break
        if len(tools) > TOOLS_LIMIT:
            _log.warning("tool server lists too many tools", extra={"server": self.name, "tools": len(tools)})
        former, self.tools = self.tools, tuple(tools[:TOOLS_LIMIT])
        if self.listed.is_set() and former != self.tools:
            names = [tool.name for tool in self.tools]
            _log.info("tools changed", extra={"event": "tools_changed", "server": self.name, "tools": names})
        self.listed.set()

    async def _listen(self, client: Client) -> None:
        """Waits for changes where the protocol's version has a stream for them; before 2026 they are messages."""
        while True:
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    async for _ in changes:
                        self._look.set()
            except ListenNotSupportedError:
                return
            except (MCPError, SubscriptionLost, TimeoutError):
                self._look.set()  # the server may be gone
            await asyncio.sleep(REFRESH_SECONDS)

    async def _on_message(self, message: object) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self._look.set()


_IDENTITY: Final = mcp_types.Implementation(name="trunkline", version=importlib.metadata.version("trunkline"))


def _reason(error: BaseException) -> str:
    """What went wrong in a few words; of a group its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:REASON_LIMIT]


class _Lines(asyncio.Protocol):
    """What a program writes to its standard error, line by line into the log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-LINE_LIMIT:]
        for line in lines:
            if text := line[:LINE_LIMIT].decode("utf-8", "replace").strip():
                _log.info("tool server writes", extra={"server": self._name, "text": text})


@asynccontextmanager
async def _logged_lines(name: str) -> AsyncIterator[TextIO]:
    """A file for a program's standard error."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: _Lines(name), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            yield file
        finally:
            transport.close()
