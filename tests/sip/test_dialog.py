"""Dialogs and their route sets (RFC 3261 §12)."""

import pytest

from sip.dialog import Dialog, UnroutableUriError, target_of
from sip.transport.flow import Target
from sip.uri import Uri
from tests.helpers.sip import in_dialog, request

VIA = "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKnew"


def test_the_uas_side_mirrors_the_request__rfc3261_12_1_1() -> None:
    invite = request(cseq=29044, headers=(("Record-Route", "<sip:a;lr>, <sip:b;lr>"), ("Record-Route", "<sip:c;lr>")))
    dialog = Dialog.as_uas(invite, "ours", over_tls=False)
    assert dialog.id == ("call-1", "ours", "alice")
    assert dialog.route_set == ("<sip:a;lr>", "<sip:b;lr>", "<sip:c;lr>")
    assert str(dialog.remote_target) == "sip:alice@192.0.2.1:5060"
    assert dialog.remote_cseq == 29044
    bye = dialog.create_request("BYE", via=VIA)
    assert bye.headers.get("CSeq") == "1 BYE"
    assert bye.headers.get("From") == "<sip:bob@192.0.2.2>;tag=ours"
    assert bye.headers.get("To") == "<sip:alice@example.net>;tag=alice"


def test_the_uac_side_mirrors_the_response__rfc3261_12_1_2() -> None:
    invite = request(headers=(("Record-Route", "<sip:a;lr>, <sip:b;lr>"),), cseq=5)
    ok = invite.create_response(200, to_tag="bob", headers=[("Contact", "<sip:bob@172.16.0.1;x=y>")])
    dialog = Dialog.as_uac(invite, ok)
    assert dialog.route_set == ("<sip:b;lr>", "<sip:a;lr>")
    assert dialog.create_request("INFO", via=VIA).headers.get("CSeq") == "6 INFO"
    assert dialog.create_request("ACK", via=VIA, cseq=5).headers.get("CSeq") == "5 ACK"
    assert dialog.create_request("BYE", via=VIA).headers.get("CSeq") == "7 BYE"
    assert str(dialog.next_hop()) == "sip:b;lr"


def test_an_early_dialog_without_contact_keeps_the_request_uri_until_the_2xx__rfc3261_13_2_2_4() -> None:
    invite = request(headers=(("Record-Route", "<sip:a;lr>"),))
    dialog = Dialog.as_uac(invite, invite.create_response(180, to_tag="bob"))
    assert dialog.remote_target == invite.uri
    ok = invite.create_response(200, to_tag="bob", headers=[("Contact", "<sip:bob@172.16.0.1>")])
    ok.headers.remove("Record-Route")
    dialog.confirm(ok)
    assert str(dialog.remote_target) == "sip:bob@172.16.0.1"
    assert dialog.route_set == ()


def test_a_target_that_is_no_sip_uri_refreshes_nothing__rfc3261_12_2_1_2() -> None:
    invite = request()
    dialog = Dialog.as_uas(invite, "ours", over_tls=False)
    dialog.refresh_target(invite.create_response(200, headers=[("Contact", "<tel:+15551234>")]))
    dialog.refresh_target(invite.create_response(200))
    assert str(dialog.remote_target) == "sip:alice@192.0.2.1:5060"


def test_sequence_numbers_only_rise__rfc3261_12_2_2() -> None:
    invite = request(cseq=5)
    ok = invite.create_response(200, to_tag="bob")
    dialog = Dialog.as_uas(invite, "bob", over_tls=False)
    numbers = [4, 5, 6, 6, 2000, 7]
    orders = [dialog.is_in_order(in_dialog(invite, ok, "INFO", cseq=number)) for number in numbers]
    assert orders == [False, False, True, False, True, False]


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("sip:bob@192.0.2.2", Target("udp", "192.0.2.2")),
        ("sip:192.0.2.2:5070;transport=TCP", Target("tcp", "192.0.2.2", 5070)),
        ("sips:example.net", Target("tls", "example.net", None, True)),
        ("sip:[2001:db8::1]:5061;transport=tls", Target("tls", "2001:db8::1", 5061)),
        ("sip:192.0.2.2;maddr=203.0.113.9", Target("udp", "192.0.2.2")),
    ],
)
def test_the_target_of_a_uri__rfc3263_4(uri: str, target: Target) -> None:
    assert target_of(Uri.parse(uri)) == target


def test_a_tel_uri_has_no_target() -> None:
    with pytest.raises(UnroutableUriError):
        target_of(Uri.parse("tel:+15551234"))
