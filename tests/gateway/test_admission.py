"""Who is heard, and which number was dialled."""

import pytest

from gateway.admission import VERDICT_LIMIT, Admission, NetworkTable, Route
from gateway.config.agent import AgentSettings
from gateway.config.trunk import TrunkSettings
from gateway.roster import AgentEdition, Roster
from sip.message import Request, parse_message
from sip.transport.flow import Address

DIALLED = "+15550001111"
TWILIO_DIVERSION = f"<sip:{DIALLED}@twilio.com>;reason=unconditional"


def trunk(**values: object) -> TrunkSettings:
    return TrunkSettings.model_validate({"numbers": {DIALLED: "reception", "desk": "desk"}, **values})


def admission(**trunks: TrunkSettings) -> Admission:
    settings = AgentSettings.model_validate({"backends": ["model"], "instructions": "Be brief."})
    return Admission(trunks, Roster(AgentEdition(name, settings) for name in ("reception", "desk")))


def invite(
    uri: str = "sip:edge@192.0.2.1", *, to: str = "<sip:edge@192.0.2.1>", caller: str = "+15552223333", extra: str = ""
) -> Request:
    message = parse_message(
        (
            f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 54.172.60.0:5060;branch=z9hG4bK1\r\n{extra}"
            f"From: <sip:{caller}@pstn.twilio.com>;tag=1\r\nTo: {to}\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
            "Max-Forwards: 70\r\nContact: <sip:172.25.10.1:5060>\r\nContent-Length: 0\r\n\r\n"
        ).encode()
    )
    assert isinstance(message, Request)
    return message


def route(request: Request, **values: object) -> Route | None:
    return admission(carrier=trunk(**values)).route("carrier", request)


# Sources.


@pytest.mark.parametrize("host", ["54.172.60.0", "54.172.60.3", "::ffff:54.172.60.3", "::FFFF:54.172.60.3"])
def test_a_carriers_address_is_heard_over_either_family(host: str) -> None:
    heard = admission(carrier=trunk(carrier="twilio"))
    assert heard.admits("udp", Address(host, 5060))
    assert heard.trunk_of(host) == "carrier"


@pytest.mark.parametrize("host", ["54.172.60.4", "54.172.59.255", "::ffff:203.0.113.1", "2001:db8::1", "localhost", ""])
def test_everybody_else_is_a_stranger(host: str) -> None:
    assert not admission(carrier=trunk(carrier="twilio")).admits("udp", Address(host, 5060))


def test_an_ipv6_address_with_a_zone_belongs_to_its_range() -> None:
    heard = admission(local=trunk(allow=["fe80::/10"]))
    assert heard.trunk_of("fe80::1%eth0") == "local"
    assert heard.trunk_of("fec0::1") is None


def test_an_address_of_two_trunks_belongs_to_the_first() -> None:
    wide, narrow = trunk(allow=["192.0.2.0/24"]), trunk(allow=["192.0.2.7/32"])
    assert admission(wide=wide, narrow=narrow).trunk_of("192.0.2.7") == "wide"
    assert admission(narrow=narrow, wide=wide).trunk_of("192.0.2.7") == "narrow"
    assert admission(narrow=narrow, wide=wide).trunk_of("192.0.2.8") == "wide"


def test_a_trunk_for_anyone_takes_whom_no_other_trunk_knows() -> None:
    heard = admission(carrier=trunk(carrier="telnyx"), laboratory=trunk(anyone=True))
    assert heard.trunk_of("192.76.120.10") == "carrier"
    assert heard.trunk_of("203.0.113.9") == "laboratory"
    assert heard.trunk_of("2001:db8::9") == "laboratory"


def test_a_trunk_for_whoever_shows_credentials_comes_last_wherever_it_stands() -> None:
    credentials = [{"user": "desk", "password": "secret"}]
    heard = admission(phones=trunk(anyone=True, credentials=credentials), carrier=trunk(carrier="twilio"))
    assert heard.trunk_of("54.172.60.1") == "carrier"
    assert heard.trunk_of("203.0.113.9") == "phones"


def test_the_table_agrees_with_the_ranges_at_their_edges() -> None:
    settings = [trunk(carrier="twilio"), trunk(carrier="telnyx", allow=["10.0.0.0/8", "2001:db8::/33"])]
    table = NetworkTable([one.signalling_networks for one in settings])
    for number, one in enumerate(settings):
        for network in one.signalling_networks:
            assert table.find(str(network.network_address)) == number
            assert table.find(str(network.broadcast_address)) == number
            assert table.find(str(network.network_address - 1)) in {None, number}
            assert table.find(str(network.broadcast_address + 1)) in {None, number}


def test_strangers_are_not_remembered_and_peers_are_within_a_bound() -> None:
    heard = admission(laboratory=trunk(allow=["10.0.0.0/8"]))
    for number in range(VERDICT_LIMIT + 100):
        assert heard.trunk_of(f"11.0.{number >> 8}.{number & 255}") is None
    assert not heard._verdicts
    for number in range(VERDICT_LIMIT + 100):
        assert heard.trunk_of(f"10.0.{number >> 8}.{number & 255}") == "laboratory"
    assert len(heard._verdicts) == VERDICT_LIMIT
    assert heard.trunk_of("10.0.0.0") == "laboratory"  # forgotten, and looked up again


# Numbers.


def test_the_request_uri_leads_to_the_agent() -> None:
    found = route(invite(f"sip:{DIALLED}@192.0.2.1"))
    assert found is not None
    assert (found.dialled, found.agent_name, found.caller) == (DIALLED, "reception", "+15552223333")


@pytest.mark.parametrize("user", ["%2B15550001111", "%2b1555%30001111", "15550001111"])
def test_escapes_and_a_missing_plus_change_no_number__rfc3261_19_1_2(user: str) -> None:
    found = route(invite(f"sip:{user}@192.0.2.1"))
    assert found is not None
    assert found.agent_name == "reception"


def test_the_callers_number_stands_without_escapes() -> None:
    found = route(invite(f"sip:{DIALLED}@192.0.2.1", caller="%2B15552223333"))
    assert found is not None
    assert found.caller == "+15552223333"


@pytest.mark.parametrize("host", ["twilio.com", "public-vip.us1.twilio.com", "PSTN.Twilio.COM"])
def test_twilios_diversion_names_the_number_where_the_uri_has_a_user_of_its_own(host: str) -> None:
    found = route(invite(extra=f"Diversion: <sip:{DIALLED}@{host}>;reason=unconditional\r\n"))
    assert found is not None
    assert found.dialled == DIALLED


def test_twilios_diversion_may_be_escaped_too() -> None:
    found = route(invite(extra="Diversion: <sip:%2B15550001111@twilio.com>;reason=unconditional\r\n"))
    assert found is not None
    assert found.dialled == DIALLED


@pytest.mark.parametrize("host", ["pbx.example.com", "nottwilio.com", "twilio.com.example.net", "192.0.2.1"])
def test_a_diversion_of_somebody_else_tells_who_forwarded_and_not_which_number_was_dialled(host: str) -> None:
    assert route(invite(extra=f"Diversion: <sip:{DIALLED}@{host}>\r\n")) is None


def test_a_diversion_that_cannot_be_read_hides_no_other_number() -> None:
    found = route(invite(extra=f"Diversion: <<>\r\nDiversion: {TWILIO_DIVERSION}\r\n"))
    assert found is not None
    assert found.dialled == DIALLED


def test_to_is_the_last_place_that_is_looked_at() -> None:
    found = route(invite(to=f"<sip:{DIALLED}@192.0.2.1>"))
    assert found is not None
    assert found.dialled == DIALLED


@pytest.mark.parametrize(
    ("order", "agent"),
    [
        (["request_uri", "diversion"], "desk"),
        (["diversion", "request_uri"], "reception"),
        (["to", "diversion"], "desk"),
    ],
)
def test_the_first_place_with_a_listed_number_wins(order: list[str], agent: str) -> None:
    request = invite("sip:desk@192.0.2.1", to="<sip:desk@192.0.2.1>", extra=f"Diversion: {TWILIO_DIVERSION}\r\n")
    found = route(request, number_order=order)
    assert found is not None
    assert found.agent_name == agent


def test_a_place_that_is_not_in_the_order_is_not_looked_at() -> None:
    assert route(invite(extra=f"Diversion: {TWILIO_DIVERSION}\r\n"), number_order=["request_uri", "to"]) is None


def test_nobody_answers_an_invite_without_any_number() -> None:
    assert route(invite("sip:192.0.2.1", to="<sip:192.0.2.1>")) is None
