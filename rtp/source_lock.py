"""Where a stream's packets may come from, and where it sends to.

No packet goes to an address that was not negotiated or latched. The latch is taken once, soon after negotiation, and
only as far as the policy allows; every other source is a stranger for the rest of the stream.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from typing import Final

from rtp.errors import AddressRefusedError
from rtp.sequence import sequence_add

Address = tuple[str, int]

LATCH_WINDOW_S: Final = 3.0
"""A far end behind NAT speaks at once; a stranger who comes later must not be taken for it."""
LATCH_PACKETS: Final = 4
"""In sequence, from one address and SSRC: not a scan, and not a guess."""
FORMER_S: Final = 1.0
"""Twice the longest round trip of a telephone call: what was under way when a far end moved has arrived by then."""
_MAX_CANDIDATES: Final = 8
"""Addresses that may try at once; the oldest gives way, so a flood of forged sources costs no memory."""


class SourcePolicy(Enum):
    """Whom a trunk lets speak."""

    NEGOTIATED = "negotiated"
    """Only the address and port of the description."""
    SAME_HOST = "same-host"
    """Any port of the described host: the first valid packet from it latches."""
    LATCH = "latch"
    """As SAME_HOST at once; another host after four packets in sequence."""


class Verdict(Enum):
    """What to do with a packet from a source that is not the locked one."""

    STRANGER = "stranger"
    CANDIDATE = "candidate"
    """Held by the lock until its source has proved itself."""
    LOCKED = "locked"
    """The source is now the stream's; play the packets of `take_held`."""
    FORMER = "former"
    """The source of before a move: play the packet, and go on waiting for the new one."""


def validated_address(host: str, port: int) -> Address:
    """The address, if a datagram may be sent there. Raises `AddressRefusedError`.

    A host name would make `sendto` ask the DNS and block the loop; a port out of range raises in it.
    """
    validated = _validated_host(host)
    if not 0 < port <= 0xFFFF:
        raise AddressRefusedError(f"Media port {port} is not between 1 and 65535")
    return validated, port


# Hosts that were validated lately: carriers send from a few dozen.
_VALIDATED_HOSTS: Final = 1024


@functools.lru_cache(maxsize=_VALIDATED_HOSTS)
def _validated_host(host: str) -> str:
    """The host as the kernel writes it, for sources are compared with it."""
    try:
        ip = ip_address(host)
    except ValueError as error:
        raise AddressRefusedError(f"Media address {host!r} is not an IP address") from error
    if ip.is_unspecified or ip.is_multicast or host == "255.255.255.255":
        raise AddressRefusedError(f"Media address {host} is not one host")
    return str(ip)


@dataclass(slots=True)
class _Candidate:
    ssrc: int
    successor: int
    packets: list[bytes] = field(default_factory=list)


class SourceLock:
    """The lock of one stream, from one negotiation to the next.

    `former` is the source that was locked until now. Where the far end has moved (`has_moved`) it may speak for a
    moment longer, but must not be taken for the new one: it goes on until our answer has reached it. Where the
    description names the same place as before, it is locked again at its first packet.
    """

    __slots__ = (
        "_allowed",
        "_candidates",
        "_has_moved",
        "_held",
        "_negotiated_at",
        "_policy",
        "former",
        "negotiated",
        "source",
    )

    def __init__(
        self,
        policy: SourcePolicy,
        negotiated: Address | None,
        now: float,
        allowed: Callable[[str], bool] | None = None,
        *,
        former: Address | None = None,
        has_moved: bool = True,
    ) -> None:
        self._policy = policy
        self.former, self._has_moved = former, has_moved
        self._allowed = allowed
        self._negotiated_at = now
        self._candidates: dict[Address, _Candidate] = {}
        self._held: list[bytes] = []
        self.negotiated = validated_address(*negotiated) if negotiated is not None else None
        self.source: Address | None = None
        """Where packets come from, once known. Nobody else is heard afterwards."""

    @property
    def remote(self) -> Address | None:
        """Where packets are sent to."""
        return self.source or self.negotiated

    def consider(self, source: Address, data: bytes, sequence_number: int, ssrc: int, now: float) -> Verdict:
        """Judges a valid packet from a source that is not (yet) the locked one."""
        negotiated = self.negotiated
        if self.source is not None or negotiated is None:
            return Verdict.STRANGER
        if source == negotiated:
            return self._lock(source, [data])
        if self._policy is SourcePolicy.NEGOTIATED or now - self._negotiated_at > LATCH_WINDOW_S:
            return Verdict.STRANGER
        is_former = source == self.former
        if is_former and not self._has_moved:
            return self._lock(source, [data])
        if source[0] == negotiated[0]:
            if is_former and now - self._negotiated_at < FORMER_S:
                return Verdict.FORMER
            return self._lock(source, [data])
        if self._policy is SourcePolicy.SAME_HOST or (self._allowed is not None and not self._allowed(source[0])):
            return Verdict.STRANGER
        if is_former and now - self._negotiated_at < FORMER_S:
            return Verdict.FORMER
        return self._try(source, data, sequence_number, ssrc)

    def take_held(self) -> list[bytes]:
        """The packets of the locked source that came while it was a candidate, the locking one included."""
        held, self._held = self._held, []
        return held

    def _try(self, source: Address, data: bytes, sequence_number: int, ssrc: int) -> Verdict:
        candidate = self._candidates.get(source)
        if candidate is None or candidate.ssrc != ssrc or candidate.successor != sequence_number:
            self._candidates.pop(source, None)
            if len(self._candidates) >= _MAX_CANDIDATES:
                del self._candidates[next(iter(self._candidates))]
            candidate = self._candidates[source] = _Candidate(ssrc, sequence_number)
        candidate.successor = sequence_add(sequence_number, 1)
        candidate.packets.append(data)
        if len(candidate.packets) < LATCH_PACKETS:
            return Verdict.CANDIDATE
        return self._lock(source, candidate.packets)

    def _lock(self, source: Address, packets: list[bytes]) -> Verdict:
        self.source = source
        self._held = packets
        self._candidates.clear()
        return Verdict.LOCKED
