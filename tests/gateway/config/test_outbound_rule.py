"""Rules about what far ends may have us dial: it can be dialled, and its answers are heard."""

import pytest

from tests.gateway.config.conftest import Inspect
from tests.gateway.config.test_access_rule import faults

PBX = "allow: [192.0.2.0/24]"


@pytest.mark.parametrize(
    "keys",
    [
        ("refer: {allow: ['sip:*@192.0.2.9', 'sip:sales@pbx.example.net']}",),
        ("outbound: {sip_host: pbx.example.net}", "refer: {allow: ['+1555*', '+15557778888']}"),
        ("outbound: {proxy: '192.0.2.9:5080'}", "refer: {allow: ['+1555*', 'sip:sales@203.0.113.9']}"),
        ("replaces: never",),
    ],
)
def test_what_can_be_dialled_is_fine(inspect_text: Inspect, keys: tuple[str, ...]) -> None:
    assert faults(inspect_text, PBX, *keys) == []


def test_a_number_needs_a_host(inspect_text: Inspect) -> None:
    (fault,) = faults(inspect_text, PBX, "refer: {allow: ['sip:*@192.0.2.9', '+1555*']}")
    assert fault.startswith("trunks.pbx.refer.allow[1]")
    assert "neither sip_host nor proxy" in fault


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("outbound: {proxy: 203.0.113.9}", "trunks.pbx.outbound.proxy"),
        ("refer: {allow: ['sip:sales@203.0.113.9']}", "trunks.pbx.refer.allow[0]"),
    ],
)
def test_an_address_that_is_not_heard_is_a_fault(inspect_text: Inspect, key: str, place: str) -> None:
    (fault,) = faults(inspect_text, PBX, key)
    assert fault.startswith(place)
    assert "203.0.113.9 is not among the addresses that the trunk accepts" in fault


@pytest.mark.parametrize(
    "text",
    [
        "limits: {dialling: {prefixes: {'1900': 0}}}",
        "limits: {dialling: {prefixes: {'+0': 0}}}",
        "limits: {dialling: {per_minute: -1}}",
        "limits: {dialling: {prefix_digits: 0}}",
    ],
)
def test_caps_that_mean_nothing_are_faults(inspect_text: Inspect, text: str) -> None:
    (fault,) = faults(inspect_text, PBX, text=text)
    assert fault.startswith("limits.dialling")
