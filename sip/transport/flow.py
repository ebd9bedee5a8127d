"""Where a message came from and where one is to go: values only, shared by the core and the drivers."""

import ipaddress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

RELIABLE_TRANSPORTS: Final = frozenset({"tcp", "tls"})
DEFAULT_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}


class Address(NamedTuple):
    """A transport address. `host` is an IP literal without brackets; in what is advertised it may be a name."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Flow:
    """A path between two transport addresses (RFC 5626): a message arrives on one, and its answer goes back on it.

    `id` names the socket or connection; the driver that made the flow knows which. `peer_names` are the names in the
    client certificate that the peer has shown and that we have verified (RFC 5922 §7.1); without one there are none.
    """

    transport: str
    local: Address
    remote: Address
    id: int = 0
    peer_names: tuple[str, ...] = ()

    @property
    def is_reliable(self) -> bool:
        """Whether the transport retransmits by itself, so that timers A, E and G stay silent (RFC 3261 §17)."""
        return self.transport in RELIABLE_TRANSPORTS


@dataclass(frozen=True, slots=True)
class Target:
    """A destination still to be resolved: finding its addresses is the transport's work (RFC 3263).

    `after` is the branch of an earlier attempt that met silence or 503: this one goes to the address that comes next
    (RFC 3263 §4.3). Where no address is left it fails at once.
    """

    transport: str
    host: str
    port: int | None = None
    sips: bool = False
    after: str = ""
    is_new: bool = False  # begins a call: a server that asked for a pause (503 with Retry-After) is left alone

    @property
    def is_reliable(self) -> bool:
        """As for a Flow."""
        return self.transport in RELIABLE_TRANSPORTS


@dataclass(frozen=True, slots=True)
class Transmit:
    """One message to be sent.

    `prefer` is the flow that the dialog began on: the driver sends from the same socket, and over the same
    connection where that leads to the target. `owner` is opaque to the driver; it comes back with a failure. `branch`
    names the client transaction: its retransmissions, its ACK and its CANCEL take the way that its request took.
    """

    data: bytes
    to: Flow | Target
    prefer: Flow | None = None
    owner: object | None = field(default=None, repr=False, compare=False)
    branch: str = ""


def is_usable_port(port: int) -> bool:
    """Whether `sendto` may see this port: an unchecked one from the wire raises OverflowError."""
    return 0 < port < 65536


def is_ip_literal(host: str) -> bool:
    """Whether the host needs no look-up. IPv6 literals may stand in brackets."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
