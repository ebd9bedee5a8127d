"""A WebSocket past its transport, to a server's end that a test drives octet by octet."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.opening import open_wire
from gateway.backends.wire import Closure, Wire

Script = Callable[["Far"], Awaitable[None]]


class Receiver:
    """What the wire told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.react: Callable[[], None] = lambda: None
        self.closure: asyncio.Future[Closure] = asyncio.get_running_loop().create_future()
        self.resumed = asyncio.Event()

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)
        self.react()

    def writing_resumed(self) -> None:
        self.resumed.set()

    def wire_closed(self, closure: Closure) -> None:
        self.closure.set_result(closure)


class Far:
    """The server's end: its bytes as they are, and its protocol for reading frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.core = ServerProtocol()

    async def accept(self) -> None:
        self.core.receive_data(await self.reader.readuntil(b"\r\n\r\n"))
        self.core.send_response(self.core.accept(self.core.events_received()[0]))  # type: ignore[arg-type]
        self.writer.write(b"".join(self.core.data_to_send()))

    def say(self, message: bytes) -> None:
        self.writer.write(Frame(Opcode.TEXT, message).serialize(mask=False))

    async def frames(self, count: int) -> list[Frame]:
        """The next frames of the client."""
        found: list[Frame] = []
        while len(found) < count:
            data = await self.reader.read(65536)
            if not data:
                break
            self.core.receive_data(data)
            found += [frame for frame in self.core.events_received() if isinstance(frame, Frame)]
        return found

    def connection(self) -> socket.socket:
        """Its socket, for what is to happen while the loop does not turn. Whoever asks for it closes it."""
        return socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno()))

    def reset(self) -> None:
        """Ends the connection with an RST."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def wired(script: Script) -> AsyncIterator[tuple[Wire, Receiver]]:
    """A wire that has left its transport, to a server that does what the script says."""
    failures: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = Far(reader, writer)
        try:
            await far.accept()
            await script(far)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        port = server.sockets[0].getsockname()[1]
        receiver = Receiver()
        wire = await open_wire(WireEndpoint(f"ws://127.0.0.1:{port}/", close_timeout_s=0.5), receiver)
        wire.take_shortcut()
        before = wire.has_shortcut
        try:
            yield wire, receiver
        finally:
            await wire.close()
            assert (before, wire.has_shortcut) == (True, False)
    assert failures == []
