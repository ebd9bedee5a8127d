"""Addresses of this machine."""

import socket
from ipaddress import ip_address
from typing import Final

from gateway.config.network import ListenerSettings, NetworkSettings

LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
# Documentation addresses (RFC 5737, RFC 3849): routed like any other far host, and nothing is ever sent to them.
FAR_HOST: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
_DISCARD_PORT: Final = 9


def outward_address(version: int) -> str:
    """The address of the interface that the machine reaches the world through; loopback where it has no route.

    Args:
        version: 4 or 6, of the Internet Protocol.
    """
    return address_towards(FAR_HOST[version])


def address_towards(host: str) -> str:
    """Our address as `host`, an IP literal, sees it. Nothing is sent; the kernel is asked for its route."""
    version = ip_address(host).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, _DISCARD_PORT))
        except OSError:
            return LOOPBACK[version]
        return str(ip_address(probe.getsockname()[0]))


def media_host(network: NetworkSettings) -> str:
    """The address that far ends are told for media: configured, bound, or that of the interface that leads outside."""
    if network.public_address is not None:
        return str(network.public_address)
    bound = network.rtp.bind
    return outward_address(bound.version) if bound.is_unspecified else str(bound)


def signalling_host(network: NetworkSettings, listener: ListenerSettings) -> str:
    """The address that the peers of a listener are told: its own, or the machine's of the same IP version."""
    if listener.public_address is not None:
        return str(listener.public_address)
    version = listener.bind.version
    if network.public_address is not None and network.public_address.version == version:
        return str(network.public_address)
    if not listener.bind.is_unspecified:
        return str(listener.bind)
    host = media_host(network)
    return host if ip_address(host).version == version else outward_address(version)
