"""A transport without a socket: what a wire writes, kept for a server's protocol to read."""

import asyncio

from gateway.backends.wire import Wire


class FakeTransport(asyncio.Transport):
    """Takes what is written, for websockets' own server protocol to read."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire
        self.written = bytearray()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = True
            asyncio.get_running_loop().call_soon(self.wire.connection_lost, None)
