"""Which of our addresses a peer is told: one for each listener, since a machine may have a public and an inner side."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from sip.transport.flow import Address, Flow, Target

UNADVERTISED: Final = Address("unadvertised.invalid", 5060)  # RFC 6761: for a transport that no listener serves
_UNSPECIFIED: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 compared with, not bound to


@dataclass(frozen=True, slots=True)
class Listening:
    """One listener: where it is bound, and what Via and Contact say of it (behind 1:1 NAT the public address).

    `bound` is None for what the configuration says of a transport before its listeners are bound.
    """

    transport: str
    bound: Address | None
    told: Address


class ListeningTable:
    """The listeners of a user agent, in the order of their configuration."""

    def __init__(self) -> None:
        self._all: list[Listening] = []

    def add(self, listening: Listening) -> None:
        """Adds one. The first of a transport serves where nothing speaks for another."""
        kept = [
            known
            for known in self._all
            if known.transport != listening.transport or known.bound not in {None, listening.bound}
        ]
        self._all = [*kept, listening]

    def find(self, transport: str, near: Flow | Target | None = None) -> Listening | None:
        """The listener for a peer, by the flow that it came on or the target that is to be reached.

        A request that came in is answered with the address of the listener that took it. What we send first goes out
        from the listener of the target's IP version, public towards public addresses and inner towards inner ones.
        """
        candidates = [known for known in self._all if known.transport == transport]
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        if isinstance(near, Flow):
            taken = [known for known in candidates if _has_taken(known, near)]
            candidates = taken or candidates
        host = None if near is None else near.remote.host if isinstance(near, Flow) else near.host
        kind = _kind(host)
        for wanted in (kind, None if kind is None else kind[:1]):
            for known in candidates:
                told = _kind(known.told.host)
                if wanted is not None and told is not None and told[: len(wanted)] == wanted:
                    return known
        return candidates[0]

    def address(self, transport: str, near: Flow | Target | None = None) -> Address:
        """What Via and Contact say."""
        found = self.find(transport, near)
        return UNADVERTISED if found is None else found.told


def _has_taken(listening: Listening, flow: Flow) -> bool:
    bound = listening.bound
    if bound is None:
        return False
    return flow.local == bound or (flow.local.port == bound.port and bound.host in _UNSPECIFIED)


def _kind(host: str | None) -> tuple[int, bool] | None:
    """IP version and whether it is an inner address; None for names."""
    if host is None:
        return None
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return address.version, not address.is_global
