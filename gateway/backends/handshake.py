"""The client's opening handshake (RFC 6455 §4.1): a request from a template, and the look at the plain answer to it.

A process that takes 250 calls a second opens as many WebSockets. What is the same for all of one endpoint is made once;
an answer that is anything but the plain 101 goes to `websockets`, which says what is wrong with it.
"""

import base64
import functools
import hashlib
import os
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.uri import WebSocketURI, parse_uri

from gateway.realtime.errors import ModelUnresolvedError

# RFC 6455 §4.1: a nonce of 16 random bytes.
NONCE_BYTES: Final = 16
# RFC 6455 §1.3: what the server appends to the key before it hashes it.
ACCEPT_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Endpoints whose requests are remembered: a process has as many as it has backends.
ENDPOINT_LIMIT: Final = 64

_SWITCHING: Final = b"HTTP/1.1 101 "
_WEBSOCKET: Final = b"websocket"
_UPGRADE: Final = b"upgrade"
_NEGOTIATED: Final = frozenset((b"sec-websocket-extensions", b"sec-websocket-protocol"))
# In a request this is the only field that differs from session to session; it stands where the template is cut.
_PLACE_OF_KEY: Final = "0" * 24


class Handshake:
    """The requests to one endpoint.

    Args:
        url: of the endpoint.
        headers: sent besides those of the protocol. They may hold credentials and are never shown.

    Raises:
        ModelUnresolvedError: the URL cannot be used.
    """

    def __init__(self, url: str, headers: tuple[tuple[str, str], ...]) -> None:
        try:
            self.uri: Final[WebSocketURI] = parse_uri(url)
        except InvalidURI as error:
            raise ModelUnresolvedError(f"the backend's URL cannot be used: {error}") from error
        core = ClientProtocol(self.uri)
        core.key = _PLACE_OF_KEY
        request = core.connect()
        for name, value in headers:
            request.headers[name] = value
        self._head, _, self._tail = request.serialize().partition(_PLACE_OF_KEY.encode())

    def request(self, key: bytes) -> bytes:
        """The upgrade with this key."""
        return self._head + key + self._tail


@functools.lru_cache(maxsize=ENDPOINT_LIMIT)
def handshake_with(url: str, headers: tuple[tuple[str, str], ...]) -> Handshake:
    """The handshake of an endpoint, made once. Raises as `Handshake` does."""
    return Handshake(url, headers)


def new_key() -> bytes:
    """A key for one request."""
    return base64.b64encode(os.urandom(NONCE_BYTES))


def accepts(head: bytes, key: bytes) -> bool:
    """Whether the header section of an answer is the plain 101 that RFC 6455 §4.2.2 describes, for this key.

    False says only that somebody else must look at it: a field twice, folded, or of an extension that nobody asked for.
    """
    if not head.startswith(_SWITCHING):
        return False
    fields: dict[bytes, bytes] = {}
    lines = head.split(b"\r\n")
    for line in lines[1:-2]:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or name in fields or name.strip() != name:
            return False
        fields[name] = value.strip(b" \t")
    return (
        fields.get(b"upgrade", b"").lower() == _WEBSOCKET
        and fields.get(b"connection", b"").lower() == _UPGRADE
        and fields.get(b"sec-websocket-accept") == _accept_of(key)
        and _NEGOTIATED.isdisjoint(fields)
    )


def _accept_of(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + ACCEPT_GUID, usedforsecurity=False).digest())
