"""From a Target to the addresses it stands for."""

import asyncio
import socket
from typing import Final, Protocol

from sip.transport.flow import DEFAULT_PORTS, Address, Target

RESOLVE_SECONDS: Final = 3.0  # below Twilio's 4 s of patience with an unanswered INVITE


class ResolveError(OSError):
    """A target has no address."""


class Resolver(Protocol):
    """Finds the addresses of a target, best first. Never used for answering: answers go back on their flow."""

    async def resolve(self, target: Target) -> list[Address]:
        """Raises ResolveError (also for a timeout)."""


class SystemResolver:
    """Looks up A and AAAA records through the system, as /etc/hosts and its cache have them."""

    async def resolve(self, target: Target) -> list[Address]:
        """Raises ResolveError where the name has no address, or none in time."""
        port = target.port or DEFAULT_PORTS.get(target.transport, 5060)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await loop.getaddrinfo(target.host, port, type=socket.SOCK_DGRAM)
        except (TimeoutError, OSError, UnicodeError) as error:
            raise ResolveError(f"{target.host!r} has no address: {error}") from error
        return [Address(str(address[0]), int(address[1])) for *_, address in found]
