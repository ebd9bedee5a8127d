"""TLS: contexts that can be reloaded, and the record layer as a sans-I/O step between socket and framer.

Why not asyncio's own TLS: here a connection is admitted before the handshake costs anything, its handshake has our
deadline, the certificate can change between two connections, and no task waits for a peer.
"""

import logging
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sip.transport.certificate import names_of

READ_SIZE: Final = 16 * 1024  # bytes: the largest TLS record
ALPN: Final = ("sip",)  # IANA's name for SIP; peers that offer nothing are served as well

logger = logging.getLogger(__name__)


class TlsError(OSError):
    """A certificate, a key or an authority cannot be used, or a peer is not who it should be."""


@dataclass(frozen=True, slots=True)
class TlsListener:
    """Where to listen for TLS. Port 0 takes a free one.

    The certificate file holds the chain, our certificate first, in PEM, RSA or ECDSA. With `client_ca` clients are
    asked for a certificate; without one they are still served unless `client_required`.
    """

    host: str
    port: int
    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_required: bool = False
    advertised: str = ""  # the host that others are told


class ServerCredentials:
    """The context of a TLS listener, made anew when its files change; connections keep the one that they began with."""

    def __init__(self, listener: TlsListener) -> None:
        """Raises TlsError where a file cannot be used."""
        self._listener = listener
        self._stamps = self._read_stamps()
        self.context = self._load()

    def reload(self) -> None:
        """Takes the files as they are now. Raises TlsError, and keeps what it has, where they cannot be used."""
        self._stamps = self._read_stamps()
        self.context = self._load()

    def reload_if_changed(self, counters: Counter[str]) -> bool:
        """Looks at the files' times; True where there was something new and good. Never raises."""
        if self._read_stamps() == self._stamps:
            return False
        try:
            self.reload()
        except TlsError as error:
            counters["certificate_reload_failed"] += 1
            logger.error("The certificate stays as it was: %s", error)
            return False
        counters["certificate_reloaded"] += 1
        logger.info("The certificate in %s was loaded", self._listener.certificate)
        return True

    def _read_stamps(self) -> tuple[tuple[int, int], ...]:
        files = (self._listener.certificate, self._listener.key, self._listener.client_ca)
        return tuple(_stamp(path) for path in files if path is not None)

    def _load(self) -> ssl.SSLContext:
        listener = self._listener
        context = _harden(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        try:
            # The empty password: OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(listener.certificate, listener.key, password="")
        except (OSError, ValueError) as error:
            raise TlsError(f"{listener.certificate} with {listener.key} cannot be used: {error}") from error
        if listener.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED if listener.client_required else ssl.CERT_OPTIONAL
            _load_authorities(context, listener.client_ca)
        return context


def client_context(
    authorities: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """The context of outgoing connections. The peer's chain must end in `authorities`, or in what the system trusts.

    The host's name is checked by the connection (see `sip.transport.certificate`), not by OpenSSL. Raises TlsError.
    """
    context = _harden(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    if authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_authorities(context, authorities)
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError) as error:
            raise TlsError(f"{certificate} with {key} cannot be used: {error}") from error
    return context


class TlsLayer:
    """One TLS connection without its socket: `receive` ciphertext, `read` plaintext, `write`, and send `outgoing`.

    Raises ssl.SSLError from every method where the peer breaks the protocol; `outgoing` then holds the alert.
    """

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self.is_established = False
        self.is_ended = False  # the peer has said that nothing more comes

    def receive(self, data: bytes) -> None:
        """Takes what came from the socket."""
        self._incoming.write(data)

    def shake_hands(self) -> bool:
        """Goes on with the handshake; whether it is complete."""
        if not self.is_established:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                return False
            self.is_established = True
        return True

    def read(self) -> bytes:
        """The next plaintext; empty where more ciphertext is needed or nothing more comes."""
        try:
            data = self._ssl.read(READ_SIZE)
        except ssl.SSLWantReadError:
            return b""
        self.is_ended = not data  # the peer's close_notify
        return data

    def write(self, data: bytes) -> None:
        """Takes plaintext. Only once the handshake is complete."""
        self._ssl.write(data)

    def end(self) -> None:
        """Says that nothing more comes from us."""
        try:
            self._ssl.unwrap()
        except ssl.SSLError:
            return  # the peer's own word is not waited for

    def outgoing(self) -> bytes:
        """What the socket is to send."""
        return self._outgoing.read()

    def peer_names(self) -> tuple[str, ...]:
        """The names in the peer's certificate, which is verified; none where it has shown none."""
        certificate = self._ssl.getpeercert()
        return names_of(certificate) if certificate else ()


def _harden(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(list(ALPN))
    return context


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except (OSError, ValueError) as error:
        raise TlsError(f"{path} holds no certificate authorities: {error}") from error


def _stamp(path: Path) -> tuple[int, int]:
    """Time and inode; a symbolic link, as certbot keeps them, is followed."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_ino)
