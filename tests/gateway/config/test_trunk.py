"""A trunk: whom it admits, and which agent answers a number."""

from ipaddress import ip_address

import pytest
from pydantic import ValidationError

from gateway.carrier import Carrier
from gateway.config.trunk import NumberSource, TrunkSettings


def trunk(**values: object) -> TrunkSettings:
    return TrunkSettings.model_validate({"numbers": {"*": "reception"}, **values})


@pytest.mark.parametrize("address", ["54.172.60.1", "54.244.51.3", "35.156.191.130", "177.71.206.195"])
def test_twilio_trunk_admits_every_edge(address: str) -> None:
    assert trunk(carrier="twilio").admits(ip_address(address))


@pytest.mark.parametrize("address", ["54.172.60.4", "127.0.0.1", "168.86.128.1", "2001:db8::1"])
def test_twilio_trunk_admits_nobody_else(address: str) -> None:
    assert not trunk(carrier="twilio").admits(ip_address(address))


def test_allow_adds_to_the_ranges_of_the_carrier() -> None:
    both = trunk(carrier="telnyx", allow=["192.0.2.0/24"])
    assert both.admits(ip_address("192.0.2.9"))
    assert both.admits(ip_address("192.76.120.10"))


def test_media_allow_adds_to_the_media_ranges_of_the_carrier() -> None:
    networks = [str(network) for network in trunk(carrier="twilio", media_allow=["192.0.2.0/24"]).media_networks]
    assert networks == ["168.86.128.0/18", "192.0.2.0/24"]


def test_media_of_the_carrier_comes_from_its_media_ranges() -> None:
    twilio = trunk(carrier="twilio", media_allow=["2001:db8::/32"])
    assert twilio.admits_media("168.86.130.1")
    assert twilio.admits_media("2001:db8::1")
    assert not twilio.admits_media("54.172.60.1")


def test_trunk_for_anyone_admits_both_families() -> None:
    assert trunk(anyone=True).admits(ip_address("203.0.113.1"))
    assert trunk(anyone=True).admits(ip_address("2001:db8::1"))


def test_trunk_is_custom_and_admits_nobody_until_it_is_told() -> None:
    assert trunk().carrier is Carrier.CUSTOM
    assert not trunk().admits(ip_address("127.0.0.1"))


NUMBERS = {"+15550001111": "sales", "reception": "front", "100": "office"}


@pytest.mark.parametrize(
    ("candidates", "route"),
    [
        (["+15550001111"], ("+15550001111", "sales")),
        (["15550001111"], ("15550001111", "sales")),  # Telnyx can leave the plus sign out
        (["reception"], ("reception", "front")),
        (["100"], ("100", "office")),
        (["gateway", "+15550001111"], ("+15550001111", "sales")),  # Twilio: fixed user, number in Diversion
        (["reception", "+15550001111"], ("reception", "front")),
        (["", "100"], ("100", "office")),
        (["Reception"], None),  # RFC 3261 §19.1.4: the user part is case-sensitive
        (["+15550002222"], None),
        (["*"], None),
        ([], None),
    ],
)
def test_first_candidate_that_is_listed_decides(candidates: list[str], route: tuple[str, str] | None) -> None:
    assert trunk(numbers=NUMBERS).route(candidates) == route


@pytest.mark.parametrize(
    ("candidates", "dialled"),
    [
        (["+15550002222"], "+15550002222"),
        (["gateway", "+15550002222"], "+15550002222"),
        (["gateway"], "gateway"),
        (["*"], "*"),
        ([], ""),
    ],
)
def test_star_takes_what_is_not_listed(candidates: list[str], dialled: str) -> None:
    assert trunk(numbers={**NUMBERS, "*": "reception"}).route(candidates) == (dialled, "reception")


def test_listed_number_goes_before_star_wherever_it_stands() -> None:
    assert trunk(numbers={"*": "reception", "100": "office"}).route(["gateway", "100"]) == ("100", "office")


def test_number_is_looked_for_where_twilio_puts_it() -> None:
    assert trunk().number_order == (NumberSource.REQUEST_URI, NumberSource.DIVERSION, NumberSource.TO)


@pytest.mark.parametrize("dialled", ["5550001111", "15550001111", "+15550001111", "555-000-1111"])
def test_a_number_in_national_form_is_found_by_the_trunks_country(dialled: str) -> None:
    assert trunk(country="us", numbers={"+15550001111": "office"}).route([dialled]) == (dialled, "office")
    assert trunk(country="GB", numbers={"+15550001111": "office"}).route(["5550001111"]) is None


def test_a_country_has_a_numbering_plan() -> None:
    with pytest.raises(ValidationError, match="not a country in two letters"):
        trunk(country="USA", numbers={"*": "office"})
