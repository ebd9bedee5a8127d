"""What can go wrong before there is a verdict.

GatewayError                     gateway/errors.py
  └─ IdentityError
       ├─ PassportError          an Identity header or its PASSporT cannot be used
       ├─ CertificateError       a certificate chain is not trusted, or is none
       ├─ TrustListError         the roots that the configuration names cannot be read
       └─ FetchError             a certificate could not be had from where its URL points
"""

from typing import ClassVar

from gateway.errors import GatewayError


class IdentityError(GatewayError):
    """The root; it never leaves the room but for `TrustListError`."""

    label: ClassVar[str] = "identity"


class PassportError(IdentityError):
    """An Identity header or its PASSporT is malformed, or of a form that is not spoken here."""

    label: ClassVar[str] = "passport"


class CertificateError(IdentityError):
    """A chain that does not lead to a trusted root, or bytes that are no chain."""

    label: ClassVar[str] = "certificate"


class TrustListError(IdentityError):
    """The trust list cannot be read, or holds no certificate."""

    label: ClassVar[str] = "trust_list"


class FetchError(IdentityError):
    """A URL that may not be followed, or that did not lead to a certificate in time."""

    label: ClassVar[str] = "certificate_fetch"
