"""How requests are taken or refused (RFC 3261 §8.2), in the order of the RFC."""

import pytest

from sip.event import Acknowledged, Answered, IncomingInvite
from sip.message import Request, Response
from sip.reception import Refusal
from sip.transport.flow import Flow
from tests.helpers.sip import ANSWER, OFFER, AgentHost, Network, WireHost, answered, in_dialog, request


def test_options_tells_allow_accept_supported_and_encodings__rfc3261_11_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request("OPTIONS"), bob)
    network.run(0.1)
    ok = alice.last(200)
    assert ok.allow == ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO")
    assert ok.headers.get("Accept") == "application/sdp, multipart/mixed, multipart/alternative"
    assert ok.headers.get("Accept-Encoding") == "identity"
    assert ok.headers.get("Accept-Language") == "en"
    assert ok.headers.get("Supported") == ""
    assert ok.to.tag is not None
    assert len(bob.agent.transactions) == 0


def test_options_within_a_dialog_is_answered_too__rfc3261_11_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, ok, _ = answered(alice, bob)
    alice.send(in_dialog(invite, ok, "OPTIONS"), bob)
    network.run(0.1)
    assert alice.last(200).cseq.method == "OPTIONS"


def test_a_known_method_that_is_not_served_gets_405_and_allow__rfc3261_8_2_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request("SUBSCRIBE"), bob)
    network.run(0.1)
    assert "INVITE" in alice.last(405).allow
    assert bob.agent.counters["method_not_allowed"] == 1


def test_an_unknown_method_gets_501__rfc3261_21_5_2(network: Network, alice: WireHost, bob: AgentHost) -> None:
    alice.send(request("FROBNICATE"), bob)
    network.run(0.1)
    assert alice.responses() == [501]
    assert bob.agent.counters["method_unknown"] == 1


def test_a_uri_of_another_scheme_gets_416_but_tel_passes__rfc3261_8_2_2_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request(uri="http://example.net/x"), bob)
    network.run(0.1)
    assert alice.responses() == [416]
    alice.send(request(uri="tel:+15551234", branch="z9hG4bKb", call_id="call-2"), bob)
    network.run(0.1)
    assert alice.responses() == [416, 100]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE", "INFO"])
def test_an_extension_that_we_lack_gets_420_and_unsupported__rfc3261_8_2_2_3(
    network: Network, alice: WireHost, bob: AgentHost, method: str
) -> None:
    alice.send(request(method, headers=(("Require", "Foo, 100rel"),)), bob)
    network.run(0.1)
    assert alice.last(420).headers.get("Unsupported") == "Foo, 100rel"


def test_require_is_ignored_in_cancel__rfc3261_8_2_2_3(network: Network, alice: WireHost, bob: AgentHost) -> None:
    alice.send(request(), bob)
    alice.send(request("CANCEL", contact=None, headers=(("Require", "foo"),)), bob)
    network.run(0.1)
    assert alice.responses() == [100, 200, 487]


def test_a_merged_request_gets_482_and_makes_no_second_call__rfc3261_8_2_2_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request(), bob)
    alice.send(request(branch="z9hG4bKother-path"), bob)
    network.run(0.1)
    assert alice.responses() == [100, 482]
    assert len(bob.of(IncomingInvite)) == 1


def test_a_request_that_comes_by_another_path_during_the_call_is_merged_too__rfc3261_8_2_2_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, ok, _ = answered(alice, bob)
    alice.send(in_dialog(invite, ok, "ACK", cseq=1), bob)
    network.run(100.0)
    assert len(bob.agent.transactions) == 0
    alice.send(request(branch="z9hG4bKother-path"), bob)
    network.run(0.1)
    assert alice.responses()[-1] == 482


def test_an_invite_sent_again_with_credentials_is_a_new_one__rfc3261_8_2_2_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request(), bob)
    network.run(0.1)
    bob.do(bob.incoming.reject, 407)
    alice.send(request(cseq=2, branch="z9hG4bKb"), bob)
    network.run(0.1)
    assert len(bob.of(IncomingInvite)) == 2


def test_a_body_type_that_we_cannot_read_gets_415_and_accept__rfc3261_8_2_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request(body=b"<x/>", headers=(("Content-Type", "application/xml"),)), bob)
    network.run(0.1)
    assert alice.last(415).headers.get("Accept") == "application/sdp, multipart/mixed, multipart/alternative"


def test_a_body_whose_handling_is_optional_is_left_aside__rfc3261_8_2_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    fields = (("Content-Type", "application/isup"), ("Content-Disposition", "signal; handling=optional"))
    alice.send(request(body=b"\x01\x10", headers=fields), bob)
    network.run(0.1)
    assert bob.only(IncomingInvite).offer is None


ISUP = b"--b\r\nContent-Type: application/isup\r\nContent-Disposition: signal; handling={handling}\r\n\r\n\x01\x10\r\n"
MIXED = (("Content-Type", "multipart/mixed; boundary=b"), ("MIME-Version", "1.0"))


def mixed(handling: bytes, description: bytes = OFFER) -> bytes:
    isup = ISUP.replace(b"{handling}", handling)
    return isup + b"--b\r\nContent-Type: application/sdp\r\n\r\n" + description + b"\r\n--b--\r\n"


def test_the_offer_is_found_beside_isup_that_is_optional__rfc5621_3_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request(body=mixed(b"optional"), headers=MIXED), bob)
    network.run(0.1)
    assert bob.only(IncomingInvite).offer == OFFER


def test_isup_that_must_be_understood_gets_415_and_accept__rfc5621_8_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request(body=mixed(b"required"), headers=MIXED), bob)
    alice.send(request(body=b"--b\r\n", headers=MIXED, branch="z9hG4bKx", call_id="other"), bob)
    network.run(0.1)
    assert alice.responses() == [415, 400]
    assert "multipart/mixed" in (alice.last(415).headers.get("Accept") or "")


def test_answers_in_responses_and_acks_are_found_in_multiparts_too__rfc5621_3_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    bob.call(alice)
    network.run(0.1)
    sent = alice.requests("INVITE")[0]
    headers = [("Contact", "<sip:alice@192.0.2.1>"), *MIXED]
    alice.send(sent.create_response(200, to_tag="a", headers=headers, body=mixed(b"optional", ANSWER)), bob)
    invite = request(body=b"")
    alice.send(invite, bob)
    network.run(0.1)
    assert bob.only(Answered).body == ANSWER
    bob.do(bob.incoming.answer, OFFER)
    network.run(0.1)
    ok = [m for m in alice.inbox if isinstance(m, Response) and m.call_id == invite.call_id][-1]
    alice.send(in_dialog(invite, ok, "ACK", cseq=1, body=mixed(b"optional", ANSWER), headers=MIXED), bob)
    network.run(0.1)
    assert bob.only(Acknowledged).body == ANSWER


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/plain", 406),
        ("", 406),
        ("application/sdp;q=0, text/plain", 406),
        ("application/SDP ; level=1", 100),
        ("text/plain, */*;q=0.1", 100),
        ("application/*", 100),
        ("nonsense", 100),
    ],
)
def test_a_caller_that_takes_no_description_gets_406__rfc3261_21_4_7(
    network: Network, alice: WireHost, bob: AgentHost, accept: str, status: int
) -> None:
    alice.send(request(headers=(("Accept", accept),)), bob)
    network.run(0.1)
    assert alice.responses() == [status]


def test_an_encoded_body_gets_415_and_accept_encoding__rfc3261_8_2_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request(headers=(("Content-Encoding", "gzip"),)), bob)
    network.run(0.1)
    assert alice.last(415).headers.get("Accept-Encoding") == "identity"
    assert bob.agent.counters["content_encoding"] == 1


def test_a_body_without_type_gets_400__rfc3261_20_15(network: Network, alice: WireHost, bob: AgentHost) -> None:
    invite = bytes(request()).replace(b"Content-Type: application/sdp\r\n", b"")
    alice.send(invite, bob)
    network.run(0.1)
    assert alice.responses() == [400]


def test_a_bye_with_a_body_of_any_type_is_taken(network: Network, alice: WireHost, bob: AgentHost) -> None:
    invite, ok, _ = answered(alice, bob)
    bye = in_dialog(invite, ok, "BYE", body=b"\x01", headers=(("Content-Type", "application/isup"),))
    alice.send(bye, bob)
    network.run(0.1)
    assert alice.responses()[-1] == 200
    assert bob.agent.session_count == 0


@pytest.mark.parametrize("method", ["INVITE", "BYE", "INFO"])
def test_a_dialog_that_does_not_exist_gets_481__rfc3261_12_2_2(
    network: Network, alice: WireHost, bob: AgentHost, method: str
) -> None:
    alice.send(request(method, to="<sip:bob@192.0.2.2>;tag=nobody"), bob)
    network.run(0.1)
    assert alice.responses() == [481]
    assert bob.agent.counters["dialog_unknown"] == 1
    bob.assert_empty()


@pytest.mark.parametrize("method", ["BYE", "INFO"])
def test_a_bye_needs_both_tags__rfc3261_15_1_2(network: Network, alice: WireHost, bob: AgentHost, method: str) -> None:
    alice.send(request(method), bob)
    network.run(0.1)
    assert alice.responses() == [481]


def test_a_stray_ack_is_counted_and_never_answered__rfc3261_17(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request("ACK", to="<sip:bob@192.0.2.2>;tag=nobody"), bob)
    alice.send(request("ACK"), bob)
    network.run(0.1)
    assert alice.inbox == []
    assert bob.agent.counters["stray_ack"] == 2


def test_a_stray_response_is_counted_and_dropped__rfc6026_7_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request().create_response(200, to_tag="x"), bob)
    two = request(via="SIP/2.0/UDP 192.0.2.2;branch={branch}\r\nVia: SIP/2.0/UDP 192.0.2.3")
    alice.send(two.create_response(200, to_tag="x"), bob)
    alice.send(request().create_response(200, to_tag="x", headers=[("Contact", "<mailto:a@example.net>")]), bob)
    network.run(0.1)
    assert alice.inbox == []
    assert bob.agent.counters["stray_response"] == 1
    assert bob.agent.counters["response_misrouted"] == 1
    assert bob.agent.counters["contact"] == 1


def test_noise_is_counted_and_dropped(network: Network, alice: WireHost, bob: AgentHost) -> None:
    for noise in (b"", b"\x00" * 40, b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"INVITE\r\n\r\n"):
        alice.send(noise, bob)
    network.run(0.1)
    assert alice.inbox == []
    assert sum(bob.agent.counters.values()) == 5


def test_a_malformed_request_that_names_its_sender_gets_400__rfc3261_8_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    broken = bytes(request()).replace(b"Max-Forwards: 70", b"Max-Forwards: many")
    alice.send(broken, bob)
    network.run(0.1)
    assert alice.responses() == [400]
    assert alice.last(400).to.tag is not None
    assert alice.last(400).top_via.branch == "z9hG4bKa1"


def test_an_invite_without_contact_gets_400__rfc3261_8_1_1_8(network: Network, alice: WireHost, bob: AgentHost) -> None:
    alice.send(bytes(request()).replace(b"Contact: <sip:alice@192.0.2.1:5060>\r\n", b""), bob)
    network.run(0.1)
    assert alice.responses() == [400]
    bob.assert_empty()


def test_an_old_peer_without_magic_cookie_is_matched_by_its_fields__rfc3261_17_2_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite = request(branch="1")
    alice.send(invite, bob)
    alice.send(invite, bob)
    alice.send(request("CANCEL", branch="1", contact=None), bob)
    network.run(0.1)
    assert alice.responses() == [100, 100, 200, 487]
    assert len(bob.of(IncomingInvite)) == 1


def test_the_screen_refuses_before_any_state_is_made(network: Network, alice: WireHost) -> None:
    seen: list[str] = []

    def screen(request: Request, flow: Flow) -> Refusal | None:
        seen.append(f"{request.method} from {flow.remote.host}")
        headers = (("Retry-After", "30"),)
        return Refusal(503, "draining", "Draining", headers) if request.method == "OPTIONS" else None

    bob = network.agent("192.0.2.2", screen=screen)
    alice.send(request("OPTIONS", call_id="call-0"), bob)
    alice.send(request(), bob)
    network.run(0.1)
    assert seen == ["OPTIONS from 192.0.2.1", "INVITE from 192.0.2.1"]
    assert alice.responses() == [503, 100]
    assert (alice.last(503).reason, alice.last(503).headers.get("Retry-After")) == ("Draining", "30")
    assert bob.agent.counters["draining"] == 1


@pytest.mark.parametrize(
    ("limit", "label"),
    [
        ("max_sessions", "session_limit"),
        ("max_half_open", "half_open_limit"),
        ("max_transactions", "transaction_limit"),
    ],
)
def test_beyond_a_limit_a_call_gets_503_and_retry_after_without_state(
    network: Network, alice: WireHost, limit: str, label: str
) -> None:
    bob = network.agent("192.0.2.2", screen=None, **{limit: 2})
    for number in range(5):
        alice.send(request(branch=f"z9hG4bK{number}", call_id=f"call-{number}"), bob)
    network.run(0.1)
    assert sorted(alice.responses()) == [100, 100, 503, 503, 503]
    assert alice.last(503).headers.get("Retry-After") == "5"
    assert bob.agent.counters[label] == 3
    assert bob.agent.session_count == 2
    assert len(bob.agent.transactions) == 2


def test_a_bye_ends_its_call_though_the_table_of_transactions_is_full(network: Network, alice: WireHost) -> None:
    bob = network.agent("192.0.2.2", screen=None, max_transactions=1)
    invite, ok, _ = answered(alice, bob)
    alice.send(in_dialog(invite, ok, "ACK", cseq=1), bob)
    alice.send(in_dialog(invite, ok, "INFO", cseq=2, branch="z9hG4bKinfo"), bob)
    alice.send(in_dialog(invite, ok, "BYE", cseq=3, branch="z9hG4bKbye"), bob)
    network.run(0.1)
    assert bob.agent.counters["transaction_limit"] == 1
    assert alice.last(200).cseq.method == "BYE"
    assert bob.agent.session_count == 0


def test_the_product_is_named_only_where_configured(network: Network, alice: WireHost) -> None:
    bob = network.agent("192.0.2.2", product="Trunkline", supported=("timer",))
    alice.send(request("OPTIONS"), bob)
    network.run(0.1)
    assert alice.last(200).headers.get("Server") == "Trunkline"
    assert alice.last(200).supported == ("timer",)
    call = bob.call(alice)
    network.run(0.1)
    invite = alice.requests("INVITE")[0]
    assert invite.headers.get("User-Agent") == "Trunkline"
    assert call.sip_call_id == invite.call_id
