"""A peer that speaks SIP over a TCP or TLS connection by hand."""

import asyncio
import ssl
from types import TracebackType
from typing import Final, Self

from sip.framing import KeepAlive, StreamFramer
from sip.message import Request, Response, parse_message
from tests.helpers.sip import request

VIA: Final = "SIP/2.0/TCP 192.0.2.1:5060;branch={branch}"

Item = Request | Response | KeepAlive


class StreamPeer:
    """One outgoing connection: bytes out as they are, messages and keep-alives in."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None = None, name: str | None = None) -> None:
        self._address = address
        self._tls = tls
        self._name = name
        self._framer = StreamFramer()
        self._items: list[Item] = []
        self.reader = asyncio.StreamReader()
        self.writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        name = self._name or (self._address[0] if self._tls else None)
        async with asyncio.timeout(10):
            self.reader, self.writer = await asyncio.open_connection(
                *self._address, ssl=self._tls, server_hostname=name
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self.writer is not None
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:  # the other side was quicker
            return

    def send(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)

    async def receive(self) -> Item:
        """The next message or keep-alive. Raises EOFError when the peer has closed."""
        async with asyncio.timeout(10):
            while not self._items:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError("The connection was closed")
                for item in self._framer.feed(data):
                    self._items.append(item if isinstance(item, KeepAlive) else parse_message(item))
        return self._items.pop(0)

    async def status(self) -> int:
        """The status of the next response; provisional ones included."""
        item = await self.receive()
        assert isinstance(item, Response), item
        return item.status

    async def closed(self) -> bool:
        """Whether the peer closes, or resets, the connection within ten seconds."""
        try:
            async with asyncio.timeout(10):
                while await self.reader.read(65536):
                    continue
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


def options(number: int = 1, *, padding: int = 0) -> bytes:
    """An OPTIONS, other than those of other numbers."""
    headers = (("X-Padding", "x" * padding),) if padding else ()
    return bytes(request("OPTIONS", via=VIA, branch=f"z9hG4bK{number}", call_id=f"c{number}", headers=headers))
