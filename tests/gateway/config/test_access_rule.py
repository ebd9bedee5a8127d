"""Rules about credentials, registrations and the verification of numbers."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.gateway.config.conftest import Inspect
from tests.helpers.stir import Authority

VERIFY = "trunks.pbx.identity.verify"
TRUNK = """
trunks:
  twilio: {{carrier: twilio, numbers: {{"*": reception}}}}
  pbx:
    {keys}
    numbers: {{"*": reception}}
agents:
  reception: {{backends: [model], instructions: Be brief.}}
backends:
  model: {{type: embedded}}
"""


def faults(inspect_text: Inspect, *keys: str, text: str = "") -> list[str]:
    full = TRUNK.format(keys="\n    ".join(keys)) + text
    return [str(fault).partition(": ")[2] for fault in inspect_text(full, {"SECRET": "s"}).faults]


def test_digest_trunk_for_everyone_may_stand_beside_carriers(inspect_text: Inspect) -> None:
    assert faults(inspect_text, "anyone: true", "credentials: [{user: phone, password: '${SECRET}'}]") == []


def test_open_trunk_without_credentials_may_not(inspect_text: Inspect) -> None:
    (fault,) = faults(inspect_text, "anyone: true")
    assert "accepts 54.172.60.0/30" in fault


def test_twilio_is_never_challenged(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace("allow: [192.0.2.0/24]", "carrier: twilio\n    credentials: [{user: a, password: b}]")
    (fault,) = inspect_text(text).errors
    assert fault.key == "trunks.pbx.credentials"
    assert fault.reason.startswith("would fail every call: Twilio answers no challenge")


def test_user_stands_once_and_realm_needs_credentials(inspect_text: Inspect) -> None:
    twice = "credentials: [{user: a, password: b}, {user: a, password: c}]"
    assert faults(inspect_text, "allow: [192.0.2.0/24]", twice) == [
        "trunks.pbx.credentials[1].user: 'a' stands a second time"
    ]
    assert faults(inspect_text, "allow: [192.0.2.0/24]", "realm: pbx") == [
        "trunks.pbx.realm: warning: has no effect, since the trunk has no credentials"
    ]


def test_password_that_is_missing_is_a_fault_and_never_shown(inspect_text: Inspect) -> None:
    assert faults(inspect_text, "allow: [192.0.2.0/24]", "credentials: [{user: 'a:b', password: '${EMPTY:-}'}]") == [
        "trunks.pbx.credentials[0].user: is not a user name: it must have no colon and no control character",
        "trunks.pbx.credentials[0].password: is required",
    ]


@pytest.mark.parametrize("registrar", ["sip.example.com", "192.0.2.9:5080", "sip:192.0.2.9;transport=tcp"])
def test_registrar_is_a_host_or_a_uri(inspect_text: Inspect, registrar: str) -> None:
    register = f"register: {{registrar: '{registrar}', user: gateway, password: x}}"
    assert faults(inspect_text, "allow: [192.0.2.0/24]", register) == []


@pytest.mark.parametrize("registrar", ["sip:user@192.0.2.9", "a b", "tel:+1555", "http://x"])
def test_other_registrars_are_faults(inspect_text: Inspect, registrar: str) -> None:
    register = f"register: {{registrar: '{registrar}', user: gateway, password: x}}"
    (fault,) = faults(inspect_text, "allow: [192.0.2.0/24]", register)
    assert "is not a registrar" in fault


def test_registrar_must_be_heard(inspect_text: Inspect) -> None:
    register = "register: {registrar: 198.51.100.1, user: gateway, password: x}"
    (fault,) = faults(inspect_text, "allow: [192.0.2.0/24]", register)
    assert fault.startswith("trunks.pbx.register.registrar: 198.51.100.1 is not among the addresses")


def test_twilio_keeps_no_registrations(inspect_text: Inspect, minimal: str) -> None:
    register = "register: {registrar: sip.twilio.com, user: a, password: b}"
    (fault,) = inspect_text(minimal.replace("allow: [192.0.2.0/24]", f"carrier: twilio\n    {register}")).errors
    assert fault.reason == "is not for Twilio: its trunks keep no registrations"


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        ("{verify: off}", None),
        (
            "{verify: carrier}",
            f"{VERIFY}: 'carrier' is for trunks of the carrier 'twilio'; nobody else's header is believed",
        ),
        ("{refuse: [failed]}", "trunks.pbx.identity: warning: has no effect, since verify is 'off'"),
        (
            "{verify: passport, route: {failed: recption}}",
            "trunks.pbx.identity.route.failed: there is no agent 'recption'; did you mean 'reception'?",
        ),
        (
            "{verify: passport, refuse: [failed], route: {failed: reception}}",
            "trunks.pbx.identity.route.failed: has no effect, since 'failed' is refused",
        ),
    ],
)
def test_policies_are_consistent(inspect_text: Inspect, policy: str, fault: str | None) -> None:
    found = faults(inspect_text, "allow: [192.0.2.0/24]", f"identity: {policy}")
    assert [one for one in found if "trust_list" not in one] == ([] if fault is None else [fault])


def test_verifying_without_a_trust_list_is_warned_of(inspect_text: Inspect) -> None:
    (fault,) = faults(inspect_text, "allow: [192.0.2.0/24]", "identity: {verify: passport}")
    assert fault.startswith("trunks.pbx.identity.verify: warning: without identity.trust_list")


def test_trust_list_must_hold_certificates(inspect_text: Inspect, tmp_path: Path) -> None:
    keys = ("allow: [192.0.2.0/24]", "identity: {verify: passport}")
    (fault,) = faults(inspect_text, *keys, text="identity: {trust_list: roots.pem}\n")
    assert fault.startswith("identity.trust_list: The trust list ")
    (tmp_path / "roots.pem").write_bytes(Authority("Root").certificate.public_bytes(Encoding.PEM))
    assert faults(inspect_text, *keys, text="identity: {trust_list: roots.pem}\n") == []
