"""How trunks prove who they are, beside their source address: credentials that callers show, and those that we show."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from gateway.config.value import Settings
from sip.errors import SipError
from sip.uri import Uri, is_host

# What RFC 7616 §3.4 cannot carry in a user name, beside control characters: the separator of A1.
_FORBIDDEN_IN_USER = ":"


def parse_user(value: str) -> str:
    """A user name of digest access authentication."""
    if not value or not value.isprintable() or _FORBIDDEN_IN_USER in value:
        raise ValueError("is not a user name: it must have no colon and no control character")
    return value


def parse_registrar(value: str) -> str:
    """A registrar: host, host:port, or a sip: URI without user."""
    text = value if value.lower().startswith(("sip:", "sips:")) else f"sip:{value}"
    try:
        uri = Uri.parse(text)
    except SipError:
        raise ValueError(f"{value!r} is not a registrar such as sip.example.com or sip:192.0.2.1:5080") from None
    if uri.user is not None or not is_host(uri.host) or uri.headers:
        raise ValueError(f"{value!r} is not a registrar: it must be a host without a user")
    return text


Realm = Annotated[str, Field(min_length=1, max_length=255, pattern=r'^[^"\\\x00-\x1f]+$')]
UserName = Annotated[str, AfterValidator(parse_user)]


class CredentialSettings(Settings):
    """A name and a password."""

    user: UserName
    """User name."""
    password: SecretStr
    """Password. Write it as ${NAME}, never in the file."""


class OutboundCredentialSettings(CredentialSettings):
    """A name and a password for one realm of the other side."""

    realm: Realm
    """The realm that these credentials are for, exactly as the challenge names it. They go to no other."""


class RegisterSettings(CredentialSettings):
    """Registration with a carrier or PBX that wants to be told where its calls go."""

    registrar: Annotated[str, AfterValidator(parse_registrar)]
    """Registrar: sip.example.com, 192.0.2.1:5080, or a sip: URI. Its addresses must be among those that the trunk
    accepts, or its answers meet silence too."""
    realm: Realm | None = None
    """The realm that the password is for, as the registrar's challenge names it. When absent, the registrar's host."""
    expires_seconds: Annotated[int, Field(ge=60, le=86400)] = 3600
    """How long a registration is asked for; the registrar may grant less. It is refreshed at half of what it grants."""

    @property
    def registrar_uri(self) -> Uri:
        """The Request-URI of REGISTER."""
        return Uri.parse(self.registrar)

    @property
    def effective_realm(self) -> str:
        """The realm that is answered."""
        return self.realm or self.registrar_uri.host
