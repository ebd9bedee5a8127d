"""Messages of one connection, as a session's driver reads and writes them."""

from typing import Protocol

from websockets.asyncio.server import ServerConnection

from gateway.embedded.served import ServedSession


class Wire(Protocol):
    """What a driver needs of a connection. All methods but `run` may raise ConnectionClosed."""

    async def run(self, session: ServedSession) -> None:
        """Whatever the wire does by itself beside reading and writing; ends when it has nothing left to do."""
        ...

    async def receive(self) -> bytes:
        """The next message of the client."""
        ...

    async def send(self, data: bytes) -> None:
        """Sends one message."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Closes in good order."""
        ...


class PlainWire:
    """A connection without faults. `text` says in which kind of frame its messages go out."""

    def __init__(self, socket: ServerConnection, *, text: bool = True) -> None:
        self._socket = socket
        self._text = text

    async def run(self, session: ServedSession) -> None:
        """A wire without faults does nothing by itself."""

    async def receive(self) -> bytes:
        """The next message of the client."""
        return await self._socket.recv(decode=False)

    async def send(self, data: bytes) -> None:
        """Sends one message; waits while the client does not read."""
        await self._socket.send(data, text=self._text)

    async def close(self, code: int, reason: str) -> None:
        """Closes in good order."""
        await self._socket.close(code, reason)
