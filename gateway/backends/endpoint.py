"""Where a wire leads, and how long it may wait for anything."""

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from typing import Final

# What waits in the kernel unsent, so that stalled audio waits where its age is counted and the oldest can be dropped.
UNSENT_BYTES: Final = 16 * 2**10


@dataclass(frozen=True, slots=True)
class WireEndpoint:
    """Where a wire leads, with every wait bounded. `headers` may hold credentials and are never shown."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tls: ssl.SSLContext | None = None
    open_timeout_s: float = 5.0
    close_timeout_s: float = 1.0
    ping_interval_s: float = 10.0
    ping_timeout_s: float = 10.0
    write_stall_s: float = 5.0

    def bound(self, transport: asyncio.Transport) -> None:
        """Keeps stalled audio out of the kernel, where nobody could drop it, and notices a path that is gone."""
        connection = transport.get_extra_info("socket")
        if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
            return
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            timeout_ms = int((self.ping_interval_s + self.ping_timeout_s) * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
