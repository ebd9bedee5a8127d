"""How many connections there may be, and how long each may keep us waiting: the policy alone, in virtual time.

The figures are those of the project's promises: they bound memory and descriptors whatever peers do, and leave a
carrier, which opens a handful of connections, far from every limit.
"""

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

SOURCE_LIMIT: Final = 4096  # addresses whose rate is remembered
IPV6_SITE_PREFIX: Final = 64  # bits: whoever has one IPv6 address usually has 2**64 of them


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Counts, and durations in seconds."""

    each_address: int = (
        64  # inbound; Twilio and Kamailio keep one connection to a destination, PBXes one a registration
    )
    # New connections of one address: as many a second as a trunk may place calls, for PBXes that open one for each;
    # each costs a TLS handshake (1 to 2 ms with RSA), which a loop of connecting and closing would have for nothing.
    new_each_second: float = 50.0
    new_burst: int = 128
    inbound: int = 1024
    outbound: int = 256  # apart from the inbound ones, so that no crowd keeps our BYEs from going out
    idle: float = 120.0  # Kamailio's tcp_connection_lifetime
    partial: float = 10.0  # from the first byte of a message to its last
    handshake: float = 10.0  # from the connection to the end of the TLS handshake
    farewell: float = 2.0  # for the peer to take our last answer and close


@dataclass(slots=True)
class _Allowance:
    """How many connections an address may open at once; it grows back with time."""

    left: float
    at: float

    def take(self, limits: ConnectionLimits, now: float) -> bool:
        self.left = min(limits.new_burst, self.left + (now - self.at) * limits.new_each_second)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Census:
    """Counts the inbound connections by source, and says who may still come in."""

    def __init__(self, limits: ConnectionLimits, counters: Counter[str]) -> None:
        self._limits: Final = limits
        self._counters = counters
        self._by_source: Counter[str] = Counter()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()
        self.total = 0

    def enter(self, host: str, now: float) -> bool:
        """Counts a connection in; False, and counted as refused, where it is one too many, or comes too soon."""
        source = source_of(host)
        if not self._allowance_of(source, now).take(self._limits, now):
            self._counters["connection_rate_of_address"] += 1
            return False
        if self.total >= self._limits.inbound:
            self._counters["connection_limit"] += 1
            return False
        if self._by_source[source] >= self._limits.each_address:
            self._counters["connection_limit_of_address"] += 1
            return False
        self._by_source[source] += 1
        self.total += 1
        return True

    def _allowance_of(self, source: str, now: float) -> "_Allowance":
        allowance = self._allowances.pop(source, None)
        if allowance is None:
            allowance = _Allowance(float(self._limits.new_burst), now)
            if len(self._allowances) >= SOURCE_LIMIT:
                self._allowances.popitem(last=False)  # heard of longest ago, so it has most of its allowance again
        self._allowances[source] = allowance
        return allowance

    def leave(self, host: str) -> None:
        """Counts a connection out that was let in."""
        source = source_of(host)
        self.total -= 1
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]


def source_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, IPV6_SITE_PREFIX), strict=False))


class Patience:
    """How long one connection may still keep us waiting."""

    __slots__ = ("_handshake_until", "_heard_at", "_limits", "_partial_since", "_until")

    def __init__(self, limits: ConnectionLimits, now: float, *, handshake: bool) -> None:
        self._limits = limits
        self._handshake_until = now + limits.handshake if handshake else None
        self._heard_at = now
        self._partial_since: float | None = None
        self._until: float | None = None

    def heard(self, now: float) -> None:
        """Bytes came, or went out."""
        self._heard_at = now

    def shake_hands(self) -> None:
        """The TLS handshake is over."""
        self._handshake_until = None

    def note_partial(self, now: float, *, unfinished: bool, progressed: bool) -> None:
        """Whether part of a message is waiting for its rest, and whether a message was completed meanwhile."""
        if not unfinished:
            self._partial_since = None
        elif progressed or self._partial_since is None:
            self._partial_since = now

    def bid_farewell(self, now: float) -> None:
        """The last answer is under way; the peer has a moment to take it."""
        self._until = now + self._limits.farewell

    def fault(self, now: float, *, in_use: bool = False) -> str | None:
        """The label of what the peer has exceeded; None while it has time left.

        A connection that carries a call (`in_use`) is not idle, however quiet the call is.
        """
        if self._until is not None:
            return "connection_closed" if now >= self._until else None
        if self._handshake_until is not None:
            return "handshake_timeout" if now >= self._handshake_until else None
        if self._partial_since is not None and now >= self._partial_since + self._limits.partial:
            return "partial_message_timeout"
        if not in_use and self.is_idle(now):
            return "connection_idle"
        return None

    def is_idle(self, now: float) -> bool:
        """Whether nothing has passed for the idle time."""
        return now >= self._heard_at + self._limits.idle
