"""Where a URL from the wire may lead: never into our own networks (server-side request forgery).

Whoever sends an INVITE writes the URL of the certificate. Without a guard it would make the gateway knock at addresses
behind the firewall: a cloud's metadata service, the database, itself.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.identity.errors import FetchError

# ATIS-1000084 §6: certificate repositories answer on 443 or 8443.
PORTS: Final = frozenset({443, 8443})
URL_LIMIT: Final = 1_024

# Ranges that carry an IPv4 address inside, through which a private one could be reached: NAT64, 6to4, Teredo.
_TUNNELS: Final = tuple(
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)


@dataclass(frozen=True, slots=True)
class Location:
    """A URL that may be followed, taken apart. `path` holds the query too."""

    host: str
    port: int
    path: str


def locate(url: str, ports: frozenset[int] = PORTS) -> Location:
    """Takes a URL apart.

    Raises:
        FetchError: it is not https, carries a user name, has no host, or a port other than those.
    """
    if len(url) > URL_LIMIT or not url.isascii() or any(character <= " " for character in url):
        raise FetchError("The certificate's URL is too long or holds characters that no URL has")
    try:
        parts = urlsplit(url)
        port = 443 if parts.port is None else parts.port
    except ValueError:
        raise FetchError("The certificate's URL is malformed") from None
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or "\\" in parts.netloc:
        raise FetchError("The certificate's URL is not a plain https URL")
    if port not in ports:
        raise FetchError(f"The certificate's URL has port {port}; {' and '.join(map(str, sorted(ports)))} are allowed")
    path = parts.path or "/"
    return Location(parts.hostname, port, f"{path}?{parts.query}" if parts.query else path)


def is_public(address: str) -> bool:
    """Whether an address belongs to the public Internet: not private, loopback, link-local, shared, or multicast."""
    try:
        value = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(value, ipaddress.IPv6Address):
        if value.ipv4_mapped is not None:
            return is_public(str(value.ipv4_mapped))
        if any(value in tunnel for tunnel in _TUNNELS):
            return False
    return value.is_global and not (value.is_multicast or value.is_reserved or value.is_unspecified)


def choose_address(host: str, addresses: Iterable[str]) -> str:
    """The address to connect to, out of those that a name resolved to.

    One address that is not public condemns the name: honest repositories have none, and those who rebind names do.

    Raises:
        FetchError: there is none, or one of them is not public.
    """
    found = list(addresses)
    if not found:
        raise FetchError(f"{host} has no address")
    for address in found:
        if not is_public(address):
            raise FetchError(f"{host} leads to {address}, which is not a public address")
    return found[0]
