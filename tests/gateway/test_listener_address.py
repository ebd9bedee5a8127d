"""Which address the peers of a listener are told, for signalling and for media (RFC 3261 §8.1.1.8, RFC 8866 §5.7)."""

import pytest

from gateway.address import media_host, outward_address, signalling_host
from gateway.config.network import NetworkSettings


def network(**values: object) -> NetworkSettings:
    return NetworkSettings.model_validate(values)


@pytest.mark.parametrize(
    ("listener", "public", "told"),
    [
        ({"bind": "0.0.0.0"}, "203.0.113.9", "203.0.113.9"),
        ({"bind": "10.0.0.5"}, "203.0.113.9", "203.0.113.9"),  # behind 1:1 NAT
        ({"bind": "10.0.0.5", "public_address": "10.0.0.5"}, "203.0.113.9", "10.0.0.5"),
        ({"bind": "10.0.0.5"}, None, "10.0.0.5"),
        ({"bind": "::1"}, "203.0.113.9", "::1"),
        ({"bind": "0.0.0.0"}, None, outward_address(4)),
        ({"bind": "::"}, "203.0.113.9", outward_address(6)),
    ],
)
def test_peers_of_a_listener_are_told_an_address_that_leads_to_it(
    listener: dict[str, object], public: str | None, told: str
) -> None:
    settings = network(sip=[listener], public_address=public)
    assert signalling_host(settings, settings.sip[0]) == told


def test_media_has_the_machines_address() -> None:
    assert media_host(network(public_address="203.0.113.9")) == "203.0.113.9"
    assert media_host(network(rtp={"bind": "127.0.0.1"})) == "127.0.0.1"
    assert media_host(network()) == outward_address(4)
