"""What the gateway knows of carriers before anybody configures anything: the addresses their calls come from.

An inbound trunk has no other authentication than the source address (Twilio has nowhere to configure credentials for
origination), so these ranges are the allow-list of a trunk that names its carrier. Bandwidth is not here: its addresses
differ per account and belong in the `allow` list of a trunk whose carrier is `custom`.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from types import MappingProxyType
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


class Carrier(enum.StrEnum):
    """Who stands at the other end of a trunk."""

    TWILIO = "twilio"
    TELNYX = "telnyx"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class CarrierProfile:
    """A carrier's addresses, as it publishes them."""

    carrier: Carrier
    signalling: Mapping[
        str, tuple[Network, ...]
    ]  # by edge or region; calls fail over between edges, so all are allowed
    media: tuple[Network, ...]
    media_first_port: int = 1024
    media_last_port: int = 65535
    domains: tuple[str, ...] = ()  # one of them stands in the carrier's certificates, or one below them

    @property
    def signalling_networks(self) -> tuple[Network, ...]:
        """Every signalling range, whatever the edge."""
        return tuple(network for edge in self.signalling.values() for network in edge)


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(IPv4Network(text) for text in texts)


# Twilio Elastic SIP Trunking, "IP addresses for your SIP trunk"
# (https://www.twilio.com/docs/sip-trunking/ip-addresses).
TWILIO: Final = CarrierProfile(
    carrier=Carrier.TWILIO,
    signalling=MappingProxyType(
        {
            "ashburn": _networks("54.172.60.0/30"),
            "umatilla": _networks("54.244.51.0/30"),
            "dublin": _networks("54.171.127.192/30"),
            "frankfurt": _networks("35.156.191.128/30"),
            "tokyo": _networks("54.65.63.192/30"),
            "singapore": _networks("54.169.127.128/30"),
            "sydney": _networks("54.252.254.64/30"),
            "sao-paulo": _networks("177.71.206.192/30"),
        }
    ),
    media=_networks("168.86.128.0/18"),
    media_first_port=10000,
    media_last_port=60000,
    domains=("twilio.com",),
)

# Telnyx, https://sip.telnyx.com (the machine-readable form is https://sip.telnyx.com/voice.json). Inbound calls in the
# United States have been seen from 192.76.120.14, which that page does not list.
TELNYX: Final = CarrierProfile(
    carrier=Carrier.TELNYX,
    signalling=MappingProxyType(
        {
            "us": _networks("192.76.120.10/32", "192.76.120.14/32", "64.16.250.10/32"),
            "eu": _networks("185.246.41.140/32", "185.246.41.141/32"),
            "au": _networks("103.115.244.145/32", "103.115.244.146/32"),
            "ca": _networks("192.76.120.31/32", "64.16.250.13/32"),
            "asia": _networks("103.115.244.158/32", "103.115.244.159/32"),
        }
    ),
    media=_networks(
        "36.255.198.128/25",
        "50.114.136.128/25",
        "50.114.144.0/21",
        "64.16.226.0/24",
        "64.16.227.0/24",
        "64.16.228.0/24",
        "64.16.229.0/24",
        "64.16.230.0/24",
        "64.16.246.96/27",
        "64.16.246.128/26",
        "64.16.248.0/24",
        "64.16.249.0/24",
        "103.115.244.128/25",
        "103.115.247.0/24",
        "185.246.41.128/25",
        "185.246.42.128/28",
    ),
    media_first_port=16384,
    media_last_port=32768,
    domains=("telnyx.com", "telnyx.eu"),
)

CUSTOM: Final = CarrierProfile(carrier=Carrier.CUSTOM, signalling=MappingProxyType({}), media=())

PROFILES: Final[Mapping[Carrier, CarrierProfile]] = MappingProxyType(
    {profile.carrier: profile for profile in (TWILIO, TELNYX, CUSTOM)}
)


def certified_domains(address: tuple[str, int]) -> tuple[str, ...]:
    """What a peer's certificate must name that is reached over TLS by its address (host, port) alone.

    Record-Route and Contact of Twilio hold addresses, its certificates hold names such as *.pstn.twilio.com.
    """
    host = ip_address(address[0])
    profiles = (profile for profile in PROFILES.values() if any(host in net for net in profile.signalling_networks))
    return next((profile.domains for profile in profiles), ())
