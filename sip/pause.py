"""Servers that want to be left alone for a while: a 503 with Retry-After (RFC 3261 §21.5.4)."""

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from sip.errors import SipError
from sip.grammar import parse_number
from sip.message import Response
from sip.transport.flow import Address, Target

RETRY_AFTER_LIMIT: Final = 300  # seconds: a server that wants to be left alone longer has a wrong clock, or is hostile
PAUSE_LIMIT: Final = 256  # servers remembered

Server = TypeVar("Server", Address, Target)


class ServerPauseError(SipError):
    """The server has answered 503 with Retry-After, and that time is not over."""

    status = 503
    label = "server_pause"


def pause_seconds(response: Response) -> float:
    """For how long the server of a 503 wants nothing new; 0 where it does not say."""
    value = (response.headers.get("Retry-After") or "").partition(";")[0].partition("(")[0].strip()
    return float(min(parse_number(value, 2**31) or 0, RETRY_AFTER_LIMIT))


class Pauses(Generic[Server]):
    """Until when which servers are left alone; beyond `PAUSE_LIMIT` of them no more are remembered."""

    def __init__(self) -> None:
        self._ends: dict[Server, float] = {}

    def add(self, server: Server, seconds: float, now: float) -> None:
        """Leaves a server alone: the client "SHOULD NOT forward any other requests to that server for the duration"."""
        self._ends = {known: until for known, until in self._ends.items() if until > now}
        if len(self._ends) < PAUSE_LIMIT:
            self._ends[server] = now + seconds

    def check(self, server: Server, now: float) -> None:
        """Raises ServerPauseError for a server that is to be left alone."""
        until = self._ends.get(server)
        if until is not None and until > now:
            raise ServerPauseError(f"{server.host} wants no new calls for another {until - now:.0f} s")

    def without(self, servers: Iterable[Server], now: float) -> list[Server]:
        """The servers that may be asked."""
        return [server for server in servers if self._ends.get(server, now) <= now]
