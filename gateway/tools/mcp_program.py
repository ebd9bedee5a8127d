"""A program that speaks the Model Context Protocol on its standard streams, with a bound on what it says at once.

The transport of the package reads a line to its end, however long it is, and copies what it has with every piece.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TextIO, cast

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import StdioServerParameters
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

# What is read at once: a pipe holds no more.
PIECE_OCTETS: Final = 65_536
# How much of a message that is too long is kept at either end: where its id stands.
EDGE_OCTETS: Final = 256
# The code of an error that stands for an answer that was too long: of those that JSON-RPC leaves to implementations.
TOO_LONG: Final = -32_050
# The end of a program, as the protocol wants it: its input is closed, then it is terminated, then it is killed.
FLUSH_SECONDS: Final = 0.5
END_SECONDS: Final = 2.0
GROUP_POLL_SECONDS: Final = 0.02

# The keys before the content, in any order. What the package writes begins like that.
_HEAD: Final = re.compile(
    rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*|"id"\s*:\s*(?P<id>[0-9]{1,18})\s*,\s*)*"(?P<kind>\w+)"\s*:'
)
# Other programs write the id last.
_TAIL: Final = re.compile(rb'"id"\s*:\s*([0-9]{1,18})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
_ANSWERS: Final = frozenset((b"result", b"error"))

Incoming = MemoryObjectSendStream[SessionMessage | Exception]
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


@dataclass(frozen=True, slots=True)
class TooLong:
    """A message that was longer than the limit.

    `is_answer`: whether it answers a request, or may; `request_id` is that request, where it can be told.
    """

    is_answer: bool
    request_id: int | None = None


class MessageLines:
    """Cuts what a program writes into lines, and holds no more than a line may have. Pure.

    Args:
        limit: the longest line, in octets.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()
        self._head: bytes | None = None
        """The beginning of a line that is too long; then `_line` is the end of what has come of it."""

    def feed(self, data: bytes) -> Iterator[bytes | TooLong]:
        """Takes a piece; gives the lines that end in it."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._take()
        self._add(rest)

    def _add(self, part: bytes) -> None:
        self._line += part
        if self._head is None and len(self._line) > self._limit:
            self._head = bytes(self._line[:EDGE_OCTETS])
        if self._head is not None:
            del self._line[:-EDGE_OCTETS]

    def _take(self) -> bytes | TooLong:
        line, head = bytes(self._line), self._head
        self._line.clear()
        self._head = None
        return line if head is None else _recognised(head, line)


def _recognised(head: bytes, tail: bytes) -> TooLong:
    begun = _HEAD.match(head)
    if begun is not None and begun["kind"] not in _ANSWERS:
        return TooLong(is_answer=False)
    if begun is not None and begun["id"] is not None:
        return TooLong(is_answer=True, request_id=int(begun["id"]))
    ended = _TAIL.search(tail)
    return TooLong(is_answer=True, request_id=None if ended is None else int(ended[1]))


class _Program(asyncio.SubprocessProtocol):
    """A running program: its output as a stream, its input with back-pressure, its end as an event."""

    def __init__(self) -> None:
        self.output = asyncio.StreamReader()
        self.has_ended = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)
        self.output.set_transport(cast("asyncio.Transport", self.transport.get_pipe_transport(1)))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.output.feed_data(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self.output.feed_eof()
        else:
            self._may_write.set()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def process_exited(self) -> None:
        self.has_ended.set()

    @property
    def _input(self) -> asyncio.WriteTransport:
        return cast("asyncio.WriteTransport", self.transport.get_pipe_transport(0))

    async def write(self, data: bytes) -> bool:
        """False where the program takes nothing any more."""
        if self._input.is_closing():
            return False
        self._input.write(data)
        await self._may_write.wait()
        return not self._input.is_closing()

    async def end(self) -> None:
        """Closes its input, and kills it with all that it has started where it does not end."""
        self._input.close()
        if not await self._ends():
            # Its group, for it is the first of a session of its own.
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.transport.get_pid(), number)
                if await self._ends() and await self._group_ends():
                    break
        self.transport.close()

    async def _ends(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self.has_ended.wait()
        return self.has_ended.is_set()

    async def _group_ends(self) -> bool:
        """Whether nothing of its session is left, after a while at most. A group ends when it cannot be signalled."""
        for _ in range(round(END_SECONDS / GROUP_POLL_SECONDS)):
            try:
                os.killpg(self.transport.get_pid(), 0)
            except (ProcessLookupError, PermissionError):
                return True
            await asyncio.sleep(GROUP_POLL_SECONDS)
        return False


@asynccontextmanager
async def program_streams(
    parameters: StdioServerParameters, errors: TextIO, limit: int, on_too_long: Callable[[], None]
) -> AsyncIterator[Streams]:
    """Starts a program, and ends it with the context.

    Args:
        parameters: what is started.
        errors: takes its standard error.
        limit: the longest message, in octets. A longer answer is an error for whoever asked; where nobody can tell who
            that is, the session ends. Any other message that is too long is passed over.
        on_too_long: is told of each.

    Raises:
        OSError: it cannot be started.
    """
    loop = asyncio.get_running_loop()
    _, program = await loop.subprocess_exec(
        _Program,
        parameters.command,
        *parameters.args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env=get_default_environment() | (parameters.env or {}),
        cwd=parameters.cwd,
        start_new_session=True,
    )
    incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, outgoing = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        lines = MessageLines(limit)
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):  # the session is over
            async with incoming:
                while data := await program.output.read(PIECE_OCTETS):
                    for line in lines.feed(data):
                        if not await _hand_over(line, incoming, limit, on_too_long):
                            await incoming.aclose()
        while await program.output.read(PIECE_OCTETS):
            pass  # a program that cannot get rid of its last words would not end

    async def write() -> None:
        async with outgoing:
            async for message in outgoing:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                if not await program.write(text.encode() + b"\n"):
                    await incoming.aclose()  # nobody will answer any more
                    return

    tasks = [asyncio.create_task(read()), asyncio.create_task(write())]
    try:
        yield received, sent
    finally:
        with anyio.CancelScope(shield=True):
            received.close()
            sent.close()
            await asyncio.wait(tasks[1:], timeout=FLUSH_SECONDS)
            await program.end()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _hand_over(line: bytes | TooLong, incoming: Incoming, limit: int, on_too_long: Callable[[], None]) -> bool:
    """False where the session cannot go on."""
    if isinstance(line, bytes):
        await incoming.send(_message(line))
        return True
    on_too_long()
    if line.request_id is not None:
        error = mcp_types.ErrorData(code=TOO_LONG, message=f"The answer is longer than {limit} bytes.")
        await incoming.send(SessionMessage(mcp_types.JSONRPCError(jsonrpc="2.0", id=line.request_id, error=error)))
    return line.request_id is not None or not line.is_answer


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error
