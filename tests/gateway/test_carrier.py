"""Built-in carriers: ranges as the carriers publish them."""

from itertools import combinations

from gateway.carrier import PROFILES, TELNYX, TWILIO, Carrier, certified_domains


def test_twilio_has_eight_edges_of_four_addresses() -> None:
    assert len(TWILIO.signalling) == 8
    assert {network.num_addresses for network in TWILIO.signalling_networks} == {4}


def test_every_carrier_has_a_profile() -> None:
    assert set(PROFILES) == set(Carrier)
    assert all(profile.carrier is carrier for carrier, profile in PROFILES.items())


def test_no_address_belongs_to_two_edges_or_carriers() -> None:
    ranges = [*TWILIO.signalling_networks, *TELNYX.signalling_networks]
    assert not [pair for pair in combinations(ranges, 2) if pair[0].overlaps(pair[1])]


def test_all_ranges_are_public() -> None:
    ranges = [*TWILIO.signalling_networks, *TWILIO.media, *TELNYX.signalling_networks, *TELNYX.media]
    assert all(network.is_global for network in ranges)


def test_carriers_reached_by_address_show_certificates_of_their_domains() -> None:
    assert certified_domains(("54.172.60.0", 5061)) == ("twilio.com",)
    assert "telnyx.com" in certified_domains(("192.76.120.10", 5061))
    assert certified_domains(("192.0.2.1", 5061)) == ()
