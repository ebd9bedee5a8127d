"""What a trunk's far ends may have us dial, and where the calls go that we place on it."""

import enum
import re
from typing import Annotated, Final
from urllib.parse import quote

from pydantic import AfterValidator, Field

from gateway.config.access import parse_registrar
from gateway.config.transfer import SipHost, number_in, parse_permission, permits
from gateway.config.value import Settings
from sip.errors import SipError
from sip.transport.flow import DEFAULT_PORTS
from sip.uri import Uri

# Any user at one host: sip:*@pbx.example.net. A PBX's telephones are too many to be listed one by one.
_ANY_USER: Final = "*"
_HOST_PERMISSION: Final = re.compile(r"sips?:\*@[A-Za-z0-9\-.\[\]:]+(;[A-Za-z0-9\-_.;=+]+)?")
# RFC 3261 §25.1: `unreserved` without alphanumerics, and `user-unreserved`.
_USER_PUNCTUATION: Final = "-_.!~*'()&=+$,;?/"
# A telephone rings for a minute at most before voicemail takes the call.
LONGEST_RINGING_SECONDS: Final = 180


def parse_referral(value: str) -> str:
    """What a far end may name: as in an agent's list of transfers, or any user of one host."""
    if _HOST_PERMISSION.fullmatch(value):
        return value
    value = parse_permission(value)
    if not value.startswith("+"):
        try:
            Uri.parse(value)
        except SipError:
            raise ValueError(f"{value!r} is not a SIP URI such as sip:sales@pbx.example.net") from None
    return value


Referral = Annotated[str, AfterValidator(parse_referral)]


class ReplacesPolicy(enum.StrEnum):
    """Whose calls an INVITE with Replaces may take over."""

    SAME_TRUNK = "same_trunk"
    ANY_TRUNK = "any_trunk"
    NEVER = "never"


class OutboundSettings(Settings):
    """Where the calls go that the gateway places on a trunk. It places none but those that `refer` allows."""

    proxy: Annotated[str, AfterValidator(parse_registrar)] | None = None
    """The server that takes them all: pbx.example.net, 192.0.2.1:5080, or a sip: URI. When absent, they go to the host
    of the URI that is dialled."""
    sip_host: SipHost | None = None
    """Host of the SIP URI that a number becomes (sip:+15557778888@HOST). When absent, that of `proxy`."""

    @property
    def route(self) -> tuple[str, ...]:
        """The preloaded route set (RFC 3261 §8.1.2), as header values."""
        return () if self.proxy is None else (f"<{self.proxy};lr>",)

    @property
    def takes_numbers(self) -> bool:
        """Whether numbers can be dialled."""
        return self.sip_host is not None or self.proxy is not None

    def uri_of(self, number: str) -> Uri | None:
        """The URI of a number in E.164 form."""
        if self.sip_host is not None:
            return Uri.parse(f"sip:{number}@{self.sip_host}")
        if self.proxy is None:
            return None
        proxy = Uri.parse(self.proxy)
        return Uri(proxy.scheme, number, None, proxy.host, proxy.port, proxy.params)


class ReferSettings(Settings):
    """Where far ends of a trunk may send the agent's conversation (REFER, and 302 answers to what is dialled for it).

    Everything here is dialled at your cost. What is not listed is declined with 603, and causes no traffic.
    """

    allow: tuple[Referral, ...] = ()
    """Numbers in E.164 form, prefixes of numbers (+1555*), SIP URIs, or every user of a host
    (sip:*@pbx.example.net). A number is dialled at the trunk's `outbound`, whatever host a far end puts behind it."""
    timeout_seconds: Annotated[float, Field(gt=0, le=LONGEST_RINGING_SECONDS)] = 45.0
    """How long the new destination may ring; then it is cancelled, and the call goes on as it was."""

    def resolve(self, wish: Uri, outbound: OutboundSettings) -> Uri | None:
        """The URI to dial where a far end names `wish`; None where that is not listed.

        It is made of what the list says: no host, port or parameter of the wire chooses a destination.
        """
        if (wish.params.get("method") or "INVITE").upper() != "INVITE":
            return None  # RFC 3515 lets a far end ask for any method
        number = number_in(wish.decoded_user or "") if wish.scheme in {"tel", "sip", "sips"} else None
        if number is not None and any(permits(permission, number) for permission in self.allow):
            return outbound.uri_of(number)
        for permission in self.allow:
            if not permission.startswith("+") and (found := _agreed(Uri.parse(permission), wish)) is not None:
                return found
        return None


def _agreed(listed: Uri, wish: Uri) -> Uri | None:
    """What a listed URI makes of a wish, or None where the wish is another."""
    if listed.scheme != wish.scheme or listed.host.lower() != wish.host.lower() or _port(listed) != _port(wish):
        return None
    if listed.user != _ANY_USER:
        return listed if listed.decoded_user == wish.decoded_user else None
    if not wish.decoded_user:
        return None
    user = quote(wish.decoded_user, safe=_USER_PUNCTUATION)
    return Uri(listed.scheme, user, None, listed.host, listed.port, listed.params)


def _port(uri: Uri) -> int:
    return uri.port or DEFAULT_PORTS["tls" if uri.scheme == "sips" or uri.transport == "tls" else "udp"]
