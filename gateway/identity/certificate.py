"""Certificates that sign PASSporTs (RFC 8226, ATIS-1000080): reading a chain, and following it to a trusted root."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from gateway.identity.errors import CertificateError, TrustListError

# RFC 8226 §9: the numbers and providers that the holder may sign for. Its presence tells a certificate of the STI from
# a certificate of a web server.
TN_AUTH_LIST: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.26")
# Leaf, one or two intermediates, and the root that some providers add.
CHAIN_LIMIT: Final = 5
_PEM: Final = b"-----BEGIN CERTIFICATE-----"
_TRUST_FILE_SUFFIXES: Final = frozenset({".pem", ".crt", ".cer"})


@dataclass(frozen=True, slots=True)
class CertificateChain:
    """A signing certificate and what its provider sent with it. Nothing about it is believed yet."""

    leaf: x509.Certificate
    intermediates: tuple[x509.Certificate, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> "CertificateChain":
        """Reads what an x5u points at: PEM, the leaf first (RFC 7515 §4.1.5), or a single DER certificate.

        Raises:
            CertificateError: it is neither, or too long.
        """
        if data.count(_PEM) > CHAIN_LIMIT:
            raise CertificateError(f"The chain has more than {CHAIN_LIMIT} certificates")
        try:
            if _PEM in data:
                leaf, *others = x509.load_pem_x509_certificates(data)
            else:
                leaf, others = x509.load_der_x509_certificate(data), []
        except ValueError as error:
            raise CertificateError(f"It is no certificate: {error}") from None
        return cls(leaf, tuple(others))

    def has_signed(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether the leaf's key made this ES256 signature: r and s one after the other (RFC 7518 §3.4), not DER.

        Raises:
            CertificateError: the leaf has no key for ES256.
        """
        try:
            key = self.leaf.public_key()
        except (ValueError, TypeError) as error:  # an algorithm or a point that the library does not take
            raise CertificateError(f"The certificate's key cannot be read: {error}") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise CertificateError("The certificate's key is not on the curve P-256")
        half = len(signature) // 2
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        try:
            key.verify(encode_dss_signature(r, s), signing_input, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class TrustList:
    """The roots that are trusted: in the United States, those on the list of the STI-PA.

    Args:
        roots: none of them means that nothing is trusted.
    """

    def __init__(self, roots: Sequence[x509.Certificate] = ()) -> None:
        self._store = Store(list(roots)) if roots else None
        self._ca_policy = ExtensionPolicy.webpki_defaults_ca()
        # The profile of ATIS-1000080 has neither subjectAltName nor extendedKeyUsage, which the web's profile asks for.
        self._leaf_policy = ExtensionPolicy.permit_all()

    @classmethod
    def load(cls, path: Path) -> "TrustList":
        """Reads a bundle of PEM certificates, or every .pem, .crt and .cer file of a folder.

        Raises:
            TrustListError: it is not there, cannot be read, or holds no certificate.
        """
        try:
            files = _trust_files(path) if path.is_dir() else [path]
            roots = [root for file in files for root in x509.load_pem_x509_certificates(file.read_bytes())]
        except (OSError, ValueError) as error:
            raise TrustListError(f"The trust list {path} cannot be read: {error}") from None
        if not roots:
            raise TrustListError(f"The trust list {path} holds no certificate")
        return cls(roots)

    def check(self, chain: CertificateChain, now: float) -> None:
        """Follows the chain to a root.

        Args:
            chain: leaf and intermediates.
            now: seconds since 1970.

        Raises:
            CertificateError: no root is trusted, none stands behind the chain at this time, or the leaf is not meant
                for signing calls.
        """
        if self._store is None:
            raise CertificateError("No trust list is configured")
        try:
            chain.leaf.extensions.get_extension_for_oid(TN_AUTH_LIST)
        except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
            raise CertificateError("The certificate has no TNAuthList: it is not meant for signing calls") from None
        verifier = (
            PolicyBuilder()
            .store(self._store)
            .time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None))
            .max_chain_depth(CHAIN_LIMIT)
            .extension_policies(ca_policy=self._ca_policy, ee_policy=self._leaf_policy)
            .build_client_verifier()
        )
        try:
            verifier.verify(chain.leaf, list(chain.intermediates))
        except (VerificationError, ValueError) as error:
            raise CertificateError(f"No trusted root stands behind the certificate: {error}") from None


def _trust_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _TRUST_FILE_SUFFIXES)
