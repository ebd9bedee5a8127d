"""A signing provider of our own: roots, intermediates, certificates with TNAuthList, and the PASSporTs they sign."""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateway.identity.certificate import TN_AUTH_LIST, CertificateChain, TrustList
from sip.message import Request, parse_message

NOW: Final = 1_790_000_000.0  # September 2026
CALLER: Final = "15552223333"
CALLED: Final = "15550001111"
X5U: Final = "https://cr.example.com/shaken.pem"
# SEQUENCE { [0] EXPLICIT IA5String "1234" }: one service provider code (RFC 8226 §9).
_TN_AUTH_LIST_DER: Final = bytes.fromhex("3008a006160431323334")


@dataclass
class Authority:
    """A certificate authority."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    issuer: "Authority | None" = None
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        self.certificate = issue(self.name, self.key, self.issuer or self, is_authority=True)


@dataclass
class Provider:
    """Who signs calls."""

    authority: Authority
    x5u: str = X5U
    with_list: bool = True
    begins: float = NOW - 86_400
    ends: float = NOW + 86_400
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.certificate = issue(
            "SHAKEN 1234", self.key, self.authority, with_list=self.with_list, begins=self.begins, ends=self.ends
        )

    @property
    def chain(self) -> CertificateChain:
        above = (self.authority.certificate,) if self.authority.issuer is not None else ()
        return CertificateChain(self.certificate, above)

    @property
    def pem(self) -> bytes:
        chain = self.chain
        return b"".join(one.public_bytes(Encoding.PEM) for one in (chain.leaf, *chain.intermediates))

    def identity(self, *, header: Mapping[str, Any] | None = None, parameters: str | None = None, **claims: Any) -> str:
        """An Identity header value. Claims and fields of the header replace those of an ordinary call; None removes."""
        ppt = (header or {}).get("ppt", "shaken")
        joined = _merged({"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": self.x5u}, header or {})
        basic = {"orig": {"tn": CALLER}, "dest": {"tn": [CALLED]}, "iat": int(NOW)}
        if ppt == "shaken":
            basic |= {"attest": "A", "origid": "123e4567-e89b-12d3-a456-426655440000"}
        signing_input = f"{encode(joined)}.{encode(_merged(basic, claims))}"
        if parameters is None:
            parameters = f";info=<{self.x5u}>;alg=ES256;ppt={ppt}"
        return f"{signing_input}.{_base64(self.sign(signing_input.encode()))}{parameters}"

    def diversion(self, *, div: str, dest: str, **claims: Any) -> str:
        """An Identity header value of type div."""
        return self.identity(header={"ppt": "div"}, div={"tn": div}, dest={"tn": [dest]}, **claims)

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def issue(
    name: str,
    key: Any,
    issuer: Authority,
    *,
    is_authority: bool = False,
    with_list: bool = False,
    begins: float = NOW - 86_400,
    ends: float = NOW + 86_400,
) -> x509.Certificate:
    """A certificate in the form of ATIS-1000080."""
    subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "US"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_name = subject if issuer.name == name else issuer.certificate.subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(begins, UTC))
        .not_valid_after(datetime.fromtimestamp(ends, UTC) + timedelta(seconds=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority, content_commitment=False, key_encipherment=False,
                data_encipherment=False, key_agreement=False, key_cert_sign=is_authority, crl_sign=is_authority,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if with_list:
        builder = builder.add_extension(x509.UnrecognizedExtension(TN_AUTH_LIST, _TN_AUTH_LIST_DER), critical=False)
    return builder.sign(issuer.key, SHA256())


def trust(*authorities: Authority) -> TrustList:
    return TrustList([authority.certificate for authority in authorities])


def encode(value: object) -> str:
    """Base64url of JSON, as RFC 8225 §9 writes it."""
    return _base64(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _merged(basic: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**basic, **changes}.items() if value is not None}


class GatedFetcher:
    """Gives a chain of certificates when its gate is open."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.gate = asyncio.Event()

    async def fetch(self, url: str) -> bytes:
        await self.gate.wait()
        return self.body


def invite(*fields: str, uri: str = f"sip:+{CALLED}@192.0.2.1") -> Request:
    """A call from CALLER with these header fields; only its Request-URI says whom it is for."""
    lines = [
        f"INVITE {uri} SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa",
        f"From: <sip:+{CALLER}@example.com>;tag=1",
        "To: <sip:reception@192.0.2.1>",
        "Call-ID: a",
        "CSeq: 1 INVITE",
        "Contact: <sip:a@192.0.2.9>",
        *fields,
        "Content-Length: 0",
    ]
    message = parse_message("\r\n".join([*lines, "", ""]).encode())
    assert isinstance(message, Request)
    return message
