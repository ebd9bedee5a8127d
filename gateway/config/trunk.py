"""The trunks section: who may call, and which number leads to which agent."""

import enum
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Final

import phonenumbers
from pydantic import AfterValidator, Field

from gateway.carrier import PROFILES, Carrier, CarrierProfile, Network
from gateway.config.access import CredentialSettings, OutboundCredentialSettings, Realm, RegisterSettings
from gateway.config.identity import IdentityPolicySettings
from gateway.config.outbound import OutboundSettings, ReferSettings, ReplacesPolicy
from gateway.config.overload import RateSettings
from gateway.config.value import (
    ANY_NUMBER,
    E164,
    Address,
    AddressRange,
    DialledNumber,
    Name,
    Settings,
    parse_address,
)
from gateway.identity.number import canonical_number

EVERYONE: Final[tuple[Network, ...]] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


_CERTIFICATE_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.\-:]{0,252})")


def parse_certificate_name(value: str) -> str:
    """A SIP domain identity of RFC 5922 §7.1, in the form in which certificates are read."""
    name = value.lower().rstrip(".")
    if not _CERTIFICATE_NAME.fullmatch(name):
        raise ValueError(f"{value!r} is not a name in a certificate such as pbx.example.net")
    return name


CertificateName = Annotated[str, AfterValidator(parse_certificate_name)]


def parse_country(value: str) -> str:
    """A country as ISO 3166-1 names it with two letters, of those with a numbering plan."""
    country = value.upper()
    if country not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"{value!r} is not a country in two letters, such as US or GB")
    return country


Country = Annotated[str, AfterValidator(parse_country)]


class NumberSource(enum.StrEnum):
    """A place of the INVITE in which the dialled number can stand."""

    REQUEST_URI = "request_uri"
    DIVERSION = "diversion"
    TO = "to"


class MediaSource(enum.StrEnum):
    """Which sources a call's media may come from, beside the address and port that its SDP names."""

    NEGOTIATED = "negotiated"  # nothing but the SDP's address and port
    SAME_HOST = "same_host"  # the SDP's address, any port
    CARRIER = "carrier"  # the SDP's address, and the media ranges of the trunk
    ANY = "any"  # the first source with four packets in sequence: for callers behind NAT


class Codec(enum.StrEnum):
    """An audio codec that a trunk may speak."""

    PCMU = "pcmu"
    PCMA = "pcma"
    G722 = "g722"
    OPUS = "opus"
    L16 = "l16"


class Srtp(enum.StrEnum):
    """Whether a trunk's media is encrypted, with keys from its session descriptions (SDES)."""

    FORBIDDEN = "forbidden"
    ALLOWED = "allowed"
    REQUIRED = "required"


class InbandDigits(enum.StrEnum):
    """Where digits are looked for in the sound."""

    AUTO = "auto"  # where the far end sends no telephone-events
    ON = "on"
    OFF = "off"


class TrunkSettings(Settings):
    """One carrier or PBX that sends calls."""

    carrier: Carrier = Carrier.CUSTOM
    """Who sends the calls. The signalling and media ranges of `twilio` and `telnyx` are built in."""
    allow: tuple[AddressRange, ...] = ()
    """Address ranges from which SIP is accepted, beside the carrier's own. Everyone else meets silence."""
    media_allow: tuple[AddressRange, ...] = ()
    """Address ranges from which media is accepted, beside the carrier's own, where `media_source` is `carrier`."""
    anyone: bool = False
    """Accept SIP from every address. Without `credentials` that means calls from everybody: for laboratories. With
    them, the trunk takes whoever belongs to no other trunk."""
    client_certificates: tuple[CertificateName, ...] = ()
    """Names in client certificates. Whoever shows one, signed by the `client_ca` of a TLS listener, is this trunk
    wherever it comes from, even outside `allow`. Names are compared whole: no wildcards."""
    credentials: tuple[CredentialSettings, ...] = ()
    """Names and passwords of which callers must show one (digest, SHA-256 or MD5), beside coming from an address that
    the trunk accepts. For PBXes and telephones; carriers do not answer such challenges."""
    realm: Realm | None = None
    """The realm that callers are challenged for. When absent, the gateway's public address."""
    authenticate: OutboundCredentialSettings | None = None
    """What the gateway shows when this trunk challenges calls that it places."""
    registration: RegisterSettings | None = Field(default=None, alias="register")  # a name that pydantic's base has
    """Registration with this trunk's registrar, so that it sends its calls here."""
    outbound: OutboundSettings = OutboundSettings()
    """Where the calls go that the gateway places on this trunk."""
    refer: ReferSettings = ReferSettings()
    """Where far ends of this trunk may send the agent's conversation."""
    replaces: ReplacesPolicy = ReplacesPolicy.SAME_TRUNK
    """Whose calls an INVITE with Replaces of this trunk may take over: `same_trunk`, `any_trunk` or `never`."""
    identity: IdentityPolicySettings = IdentityPolicySettings()
    """Verification of callers' numbers (STIR/SHAKEN), and what follows from the verdict."""
    numbers: Annotated[Mapping[DialledNumber, Name], Field(min_length=1)]
    """Dialled number → agent. A number in E.164 form (+15550001111), the exact user part of the SIP URI (reception), or
    "*" for every number that is not listed."""
    country: Country | None = None
    """Where numbers without plus sign were dialled, in two letters (US, GB): 5550001111, 15550001111 and +15550001111
    then are one number on a trunk of the United States, for `numbers` and for signed callers."""
    number_order: Annotated[tuple[NumberSource, ...], Field(min_length=1)] = (
        NumberSource.REQUEST_URI,
        NumberSource.DIVERSION,
        NumberSource.TO,
    )
    """Where the dialled number is looked for, in this order; the first place with a number that is listed wins. Twilio
    puts it in `diversion` when the origination URI has a user part of its own."""
    calls: Annotated[int, Field(ge=1)] | None = None
    """Most calls at once on this trunk; one more is answered 503. When absent only `limits.calls` applies."""
    rate: RateSettings | None = None
    """New calls on this trunk; one more is answered 503 with Retry-After. When absent, `limits.overload.trunk_rate`."""
    media_source: MediaSource = MediaSource.SAME_HOST
    """Where media may come from: `negotiated` (the SDP's address and port only), `same_host` (the SDP's address, any
    port), `carrier` (also the carrier's media ranges and `media_allow`), `any` (the first source that sends four
    packets in sequence, for callers behind NAT)."""

    codecs: Annotated[tuple[Codec, ...], Field(min_length=1, max_length=5)] = (Codec.PCMU, Codec.PCMA)
    """Audio codecs in order of preference: `pcmu`, `pcma`, `g722`, `opus`, `l16`. The first that the far end offers too
    is spoken. The telephone network speaks the first two, and models take them undecoded."""
    srtp: Srtp = Srtp.ALLOWED
    """`allowed`: as the far end offers it, plain or encrypted. `required`: a call whose media is plain is refused with
    488, as on a Twilio trunk with secure trunking. `forbidden`: plain only."""
    inband_digits: InbandDigits = InbandDigits.AUTO
    """Whether keys are recognised by their tones: `auto` where the far end did not agree to telephone-events, `on`
    everywhere until the first telephone-event of a call, `off` nowhere. The agent is told keys and hears no tones."""

    @property
    def profile(self) -> CarrierProfile:
        """What is built in for the carrier."""
        return PROFILES[self.carrier]

    @property
    def signalling_networks(self) -> tuple[Network, ...]:
        """Every range from which SIP is accepted."""
        if self.anyone:
            return EVERYONE
        return (*self.profile.signalling_networks, *self.allow)

    @property
    def is_fallback(self) -> bool:
        """Whether the trunk is for whoever belongs to no other trunk and shows credentials."""
        return self.anyone and bool(self.credentials)

    @property
    def media_networks(self) -> tuple[Network, ...]:
        """Every range of the carrier's media; meant for `MediaSource.CARRIER`."""
        return (*self.profile.media, *self.media_allow)

    def admits(self, address: Address) -> bool:
        """Whether SIP from this address belongs to the trunk."""
        return any(address in network for network in self.signalling_networks)

    def admits_media(self, host: str) -> bool:
        """Whether media from this address belongs to the carrier; meant for `MediaSource.CARRIER`."""
        address = parse_address(host)
        return any(address in network for network in self.media_networks)

    def route(self, candidates: Iterable[str]) -> tuple[str, str] | None:
        """The number that was dialled and the agent that answers it.

        Args:
            candidates: user parts, in the order of `number_order`; empty ones are passed over.

        Returns:
            (candidate, agent name) of the first candidate that is listed: as it stands, with a plus sign before its
            digits, or as it is dialled from abroad (`country`). Else the first candidate with the agent of "*"; None
            where nobody answers.
        """
        present = [candidate for candidate in candidates if candidate]
        for candidate in present:
            whole = candidate if self.country is None else canonical_number(candidate, self.country) or candidate
            for number in (candidate, f"+{candidate}", f"+{whole}"):
                if number != ANY_NUMBER and number in self.numbers:
                    return candidate, self.numbers[number]
        if ANY_NUMBER not in self.numbers:
            return None
        # Where nothing is listed, a fixed user part of the origination URI says less than an E.164 number beside it.
        dialled = next((candidate for candidate in present if E164.fullmatch(candidate)), present[0] if present else "")
        return dialled, self.numbers[ANY_NUMBER]
