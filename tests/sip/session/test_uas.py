"""The called side of an INVITE session (RFC 3261 §13.3, §15), in virtual time, against a peer played by hand."""

import pytest

from sip.event import Acknowledged, ByeReceived, Cancelled, Ended, IncomingInvite
from sip.message import Response
from sip.session.state import EndCause, SessionState, SessionStateError
from tests.helpers.sip import (
    ANSWER,
    OFFER,
    AgentHost,
    Network,
    WireHost,
    answered,
    confirmed,
    in_dialog,
    invited,
    request,
)


def test_100_goes_out_at_once_and_has_no_to_tag__rfc3261_8_2_6_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite = request()
    alice.send(invite, bob)
    network.run(0.02)
    (trying,) = network.sent(bob)
    assert trying.time == pytest.approx(network.delay)
    assert alice.responses() == [100]
    assert alice.last(100).to.tag is None
    assert bob.only(IncomingInvite).offer == OFFER


def test_ringing_and_answer_carry_one_tag_contact_allow_and_the_record_routes__rfc3261_12_1_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    record_routes = (
        ("Record-Route", "<sip:54.172.60.0:5061;transport=tls;r2=on;lr>"),
        ("Record-Route", "<sip:54.172.60.0;r2=on;lr>"),
    )
    alice.send(request(headers=record_routes), bob)
    network.run(0.1)
    session = bob.incoming
    bob.do(session.ring)
    bob.do(session.progress, 183, ANSWER)
    bob.do(session.answer, ANSWER)
    network.run(0.1)
    assert alice.responses() == [100, 180, 183, 200]
    responses = [alice.last(status) for status in (180, 183, 200)]
    assert len({response.to.tag for response in responses}) == 1
    for response in responses:
        assert response.headers.get_all("Record-Route") == [value for _, value in record_routes]
        assert response.headers.get("Contact") == "<sip:192.0.2.2:5060>"
        assert "INVITE" in response.allow
    assert alice.last(183).body == alice.last(200).body == ANSWER
    assert alice.last(200).headers.get("Content-Type") == "application/sdp"
    assert "Server" not in alice.last(200).headers


def test_retransmitted_invite_gets_the_last_response_and_makes_no_second_call__rfc3261_17_2_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = invited(alice, bob)
    alice.send(invite, bob)
    network.run(0.1)
    bob.do(session.ring)
    network.run(0.1)
    alice.send(invite, bob)
    network.run(0.1)
    assert alice.responses() == [100, 100, 180, 180]
    assert len(bob.of(IncomingInvite)) == 1
    assert bob.agent.counters["retransmission_received"] == 2


def test_2xx_is_resent_at_t1_doubling_to_t2_until_the_ack__rfc3261_13_3_1_4(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, ok, session = answered(alice, bob)
    start = network.sent(bob, 200)[0].time
    network.run(8.0)
    times = [round(packet.time - start, 3) for packet in network.sent(bob, 200)]
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5]
    alice.send(in_dialog(invite, ok, "ACK", cseq=1), bob)
    network.run(30.0)
    assert len(network.sent(bob, 200)) == 5
    assert session.state is SessionState.CONFIRMED


def test_without_ack_for_64_t1_the_call_is_ended_with_bye__rfc3261_13_3_1_4(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    answered(alice, bob)
    start = network.sent(bob, 200)[0].time
    network.run(40.0)
    (bye, *_) = network.sent(bob, "BYE")
    assert bye.time - start == pytest.approx(32.0)
    assert bob.names == ["IncomingInvite", "NotAcknowledged", "Ended"]
    assert bob.only(Ended).cause is EndCause.NOT_ACKNOWLEDGED
    network.run(60.0)
    bob.assert_empty()


def test_who_has_to_leave_sends_the_bye_of_an_unacknowledged_call_at_once_and_once__rfc3261_15(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    _, _, session = answered(alice, bob)
    network.run(1.0)
    assert bob.do(session.hang_up)
    network.run(0.1)
    assert not network.sent(bob, "BYE"), "a BYE waits for the ACK"
    assert bob.do(session.forgo_ack)
    network.run(40.0)
    assert len(network.sent(bob, "BYE")) == 1
    assert bob.names == ["IncomingInvite", "NotAcknowledged", "Ended"]
    assert bob.only(Ended).cause is EndCause.LOCAL_BYE
    assert not bob.do(session.forgo_ack)
    network.run(60.0)
    bob.assert_empty()


def test_an_acknowledged_call_has_no_ack_to_forgo(network: Network, alice: WireHost, bob: AgentHost) -> None:
    invite, ok, session = answered(alice, bob)
    alice.send(in_dialog(invite, ok, "ACK", cseq=1, body=b""), bob)
    network.run(0.1)
    assert not bob.do(session.forgo_ack)
    assert session.state is SessionState.CONFIRMED


def test_ack_confirms_once_and_its_copies_are_absorbed__rfc3261_13_3_1_4(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, ok, session = answered(alice, bob)
    ack = in_dialog(invite, ok, "ACK", cseq=1, body=b"")
    for _ in range(3):
        alice.send(ack, bob)
    network.run(0.1)
    assert bob.only(Acknowledged).body is None
    assert session.state is SessionState.CONFIRMED
    assert bob.agent.half_open_count == 0
    assert bob.agent.counters["ack_absorbed"] == 2


def test_ack_with_the_invite_s_own_branch_counts_too__rfc6026_7_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, ok, session = answered(alice, bob)
    alice.send(in_dialog(invite, ok, "ACK", cseq=1, branch="z9hG4bKa1"), bob)
    network.run(0.1)
    assert session.state is SessionState.CONFIRMED


def test_ack_with_another_cseq_confirms_nothing__rfc3261_13_2_2_4(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, ok, session = answered(alice, bob)
    alice.send(in_dialog(invite, ok, "ACK", cseq=7), bob)
    network.run(0.1)
    assert session.state is SessionState.ANSWERED


def test_offerless_invite_is_answered_with_an_offer_and_the_ack_brings_the_answer__rfc3261_13_2_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite = request(body=b"")
    alice.send(invite, bob)
    network.run(0.1)
    assert bob.only(IncomingInvite).offer is None
    bob.do(bob.incoming.answer, OFFER)
    network.run(0.1)
    alice.send(in_dialog(invite, alice.last(200), "ACK", cseq=1, body=ANSWER), bob)
    network.run(0.1)
    assert bob.only(Acknowledged).body == ANSWER


@pytest.mark.parametrize("status", [302, 404, 486, 488, 503, 603])
def test_rejection_is_resent_until_acked_and_ends_the_session__rfc3261_13_3_1_3(
    network: Network, alice: WireHost, bob: AgentHost, status: int
) -> None:
    _invite, session = invited(alice, bob)
    bob.do(session.reject, status, headers=[("Retry-After", "5")])
    assert bob.only(Ended).cause is EndCause.REJECTED
    network.run(0.6)
    assert alice.responses() == [100, status, status]
    refusal = alice.last(status)
    assert refusal.to.tag is not None
    assert refusal.headers.get("Retry-After") == "5"
    alice.send(request("ACK", to=str(refusal.headers.get("To")), contact=None), bob)
    network.run(60.0)
    assert alice.responses() == [100, status, status]
    bob.assert_empty()


def test_cancel_before_the_answer_gets_200_and_the_invite_487_with_the_same_tag__rfc3261_9_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    _, session = invited(alice, bob)
    bob.do(session.ring)
    alice.send(request("CANCEL", contact=None, headers=(("Reason", 'SIP;cause=200;text="elsewhere"'),)), bob)
    network.run(0.1)
    assert alice.responses() == [100, 180, 200, 487]
    assert alice.last(200).cseq.method == "CANCEL"
    assert alice.last(200).to.tag == alice.last(487).to.tag == alice.last(180).to.tag
    assert bob.only(Cancelled).reason == 'SIP;cause=200;text="elsewhere"'
    assert bob.only(Ended).cause is EndCause.CANCELLED
    assert not bob.do(session.answer, ANSWER)  # the user was on its way to answer
    network.run(60.0)
    bob.assert_empty()


def test_cancel_after_the_answer_has_no_effect__rfc3261_9_2(network: Network, alice: WireHost, bob: AgentHost) -> None:
    _, _, session = answered(alice, bob)
    alice.send(request("CANCEL", contact=None), bob)
    network.run(0.1)
    assert [message.cseq.method for message in alice.inbox if isinstance(message, Response)][-1] == "CANCEL"
    assert 487 not in alice.responses()
    assert session.state is SessionState.ANSWERED


def test_cancel_without_invite_gets_481__rfc3261_9_2(network: Network, alice: WireHost, bob: AgentHost) -> None:
    alice.send(request("CANCEL", contact=None, branch="z9hG4bKother"), bob)
    network.run(0.1)
    assert alice.responses() == [481]
    assert bob.agent.counters["cancel_without_invite"] == 1


def test_retransmitted_cancel_is_absorbed__rfc3261_9_2(network: Network, alice: WireHost, bob: AgentHost) -> None:
    invited(alice, bob)
    cancel = request("CANCEL", contact=None)
    alice.send(cancel, bob)
    alice.send(cancel, bob)
    network.run(0.1)
    assert alice.responses() == [100, 200, 487, 200]
    assert len(bob.of(Cancelled)) == 1


def test_bye_is_answered_and_ends_the_call_with_its_reason__rfc3261_15_1_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, ok, _ = confirmed(alice, bob)
    alice.send(in_dialog(invite, ok, "BYE", headers=(("Reason", "Q.850;cause=16"),)), bob)
    network.run(0.1)
    assert alice.responses()[-1] == 200
    assert bob.only(ByeReceived).reason == "Q.850;cause=16"
    assert bob.names[-1] == "Ended"
    assert bob.only(Ended).cause is EndCause.REMOTE_BYE
    network.run(60.0)
    bob.assert_empty()


def test_bye_before_the_ack_ends_the_call_and_its_retransmissions__rfc3261_15(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, ok, session = answered(alice, bob)
    alice.send(in_dialog(invite, ok, "BYE"), bob)
    network.run(40.0)
    assert session.end_cause is EndCause.REMOTE_BYE
    assert [packet.message.cseq.method for packet in network.sent(bob, 200)] == ["INVITE", "BYE"]
    bob.assert_empty()


def test_bye_for_the_early_dialog_ends_the_invite_with_487__rfc3261_15_1_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = invited(alice, bob)
    bob.do(session.ring)
    network.run(0.1)
    alice.send(in_dialog(invite, alice.last(180), "BYE"), bob)
    network.run(0.1)
    assert alice.responses() == [100, 180, 200, 487]
    assert session.end_cause is EndCause.REMOTE_BYE


def test_a_second_bye_for_an_ended_dialog_gets_200_and_later_481__rfc3261_15_1_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, ok, _ = confirmed(alice, bob)
    alice.send(in_dialog(invite, ok, "BYE"), bob)
    network.run(0.1)
    alice.send(in_dialog(invite, ok, "BYE", cseq=3, branch="z9hG4bKc3"), bob)
    alice.send(in_dialog(invite, ok, "INFO", cseq=4, branch="z9hG4bKc4"), bob)
    network.run(40.0)
    alice.send(in_dialog(invite, ok, "BYE", cseq=5, branch="z9hG4bKc5"), bob)
    network.run(0.1)
    assert alice.responses()[-3:] == [200, 481, 481]


def test_our_bye_waits_for_the_ack__rfc3261_15(network: Network, alice: WireHost, bob: AgentHost) -> None:
    invite, ok, session = answered(alice, bob)
    assert bob.do(session.bye, headers=[("Reason", "Q.850;cause=16")])
    network.run(0.2)
    assert network.sent(bob, "BYE") == []
    alice.send(in_dialog(invite, ok, "ACK", cseq=1), bob)
    network.run(0.1)
    (bye,) = alice.requests("BYE")
    assert bye.headers.get("Reason") == "Q.850;cause=16"
    assert session.end_cause is EndCause.LOCAL_BYE


def test_our_bye_goes_out_at_64_t1_where_the_ack_never_comes__rfc3261_15(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    _, _, session = answered(alice, bob)
    bob.do(session.hang_up)
    network.run(33.0)
    assert len(alice.requests("BYE")) >= 1
    assert session.end_cause is EndCause.LOCAL_BYE


def test_in_dialog_requests_follow_the_route_set_and_keep_the_private_contact__rfc3261_12_2_1_1(
    network: Network, bob: AgentHost
) -> None:
    edge = network.wire("54.172.60.0", 5060)
    invite = request(
        via="SIP/2.0/UDP 54.172.60.0:5060;branch={branch}\r\nVia: SIP/2.0/UDP 172.25.75.240;rport=5060;branch=z9hG4bKx",
        contact="<sip:+15552223333@172.25.75.240:5060;transport=udp>",
        headers=(
            ("Record-Route", "<sip:54.172.60.0;transport=udp;r2=on;lr>"),
            ("Record-Route", "<sip:10.1.1.1;r2=on;lr>"),
        ),
    )
    edge.send(invite, bob)
    network.run(0.1)
    bob.do(bob.incoming.answer, ANSWER)
    network.run(0.1)
    ok = edge.last(200)
    assert ok.headers.values("Via") == [
        "SIP/2.0/UDP 54.172.60.0:5060;branch=z9hG4bKa1",
        "SIP/2.0/UDP 172.25.75.240;rport=5060;branch=z9hG4bKx",
    ]
    edge.send(in_dialog(invite, ok, "ACK", cseq=1), bob)
    network.run(0.1)
    bob.do(bob.incoming.bye)
    network.run(0.1)
    (bye,) = edge.requests("BYE")
    assert str(bye.uri) == "sip:+15552223333@172.25.75.240:5060;transport=udp"
    assert bye.headers.values("Route") == [
        "<sip:54.172.60.0;transport=udp;r2=on;lr>",
        "<sip:10.1.1.1;r2=on;lr>",
    ]
    assert bye.headers.get("From") == ok.headers.get("To")
    assert bye.headers.get("To") == invite.headers.get("From")
    assert bye.cseq.number == 1
    assert bye.max_forwards == 70


def test_answers_go_to_the_source_whatever_via_says__rfc3581_4(network: Network, bob: AgentHost) -> None:
    nat = network.wire("203.0.113.7", 40001)
    alice = network.wire("10.0.0.5")
    lie = "SIP/2.0/UDP 10.0.0.5:5060;received=198.51.100.1;rport;maddr=198.51.100.2;branch={branch}"
    nat.send(request(via=lie), bob)
    network.run(0.1)
    assert alice.inbox == []
    via = nat.last(100).top_via
    assert (via.received, via.rport) == ("203.0.113.7", 40001)
    assert {packet.destination for packet in network.sent(bob)} == {nat.address}


def test_a_ringing_call_repeats_its_180_every_minute__rfc3261_13_3_1_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    _, session = invited(alice, bob)
    bob.do(session.ring)
    network.run(130.0)
    assert alice.responses() == [100, 180, 180, 180]


def test_an_invite_that_the_user_leaves_alone_is_given_up_with_480(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    _, session = invited(alice, bob)
    network.run(181.0)
    assert 480 in alice.responses()
    assert session.end_cause is EndCause.EXPIRED
    assert bob.agent.counters["invite_unanswered"] == 1


def test_an_invitation_holds_as_long_as_its_expires_says__rfc3261_13_3_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    alice.send(request(headers=(("Expires", "20"),)), bob)
    network.run(19.9)
    assert alice.responses() == [100]
    network.run(0.2)
    assert alice.responses() == [100, 487]
    assert bob.incoming.end_cause is EndCause.EXPIRED


@pytest.mark.parametrize("value", ["0", "soon", "99999999999"])
def test_an_expires_that_says_nothing_changes_nothing__rfc3261_20_19(
    network: Network, alice: WireHost, bob: AgentHost, value: str
) -> None:
    alice.send(request(headers=(("Expires", value),)), bob)
    network.run(179.0)
    assert alice.responses() == [100]


def test_hang_up_before_the_answer_is_a_480(network: Network, alice: WireHost, bob: AgentHost) -> None:
    _, session = invited(alice, bob)
    assert bob.do(session.hang_up)
    assert not bob.do(session.hang_up)
    network.run(0.1)
    assert alice.responses() == [100, 480]


def test_calls_that_no_race_explains_are_faults_of_the_caller(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    _, session = invited(alice, bob)
    with pytest.raises(SessionStateError, match="HANG_UP is of no use in state INVITED"):
        bob.do(session.bye)
    with pytest.raises(SessionStateError, match="there is no confirmed dialog"):
        bob.do(session.reinvite, OFFER)
    bob.do(session.answer, ANSWER)
    with pytest.raises(SessionStateError, match="RING is of no use in state ANSWERED"):
        bob.do(session.ring)
    with pytest.raises(SessionStateError, match="ANSWER is of no use in state ANSWERED"):
        bob.do(session.answer, ANSWER)
    with pytest.raises(SessionStateError, match="REJECT"):
        bob.do(session.reject, 486)


def test_after_the_end_every_method_says_too_late(network: Network, alice: WireHost, bob: AgentHost) -> None:
    invite, ok, session = confirmed(alice, bob)
    alice.send(in_dialog(invite, ok, "BYE"), bob)
    network.run(0.1)
    assert not bob.do(session.ring)
    assert not bob.do(session.progress, 183)
    assert not bob.do(session.answer, ANSWER)
    assert not bob.do(session.reject, 486)
    assert not bob.do(session.bye)
    assert not bob.do(session.hang_up)
    assert not bob.do(session.reinvite, OFFER)
    assert not bob.do(session.answer_reinvite, ANSWER)
    assert not bob.do(session.reject_reinvite, 488)
    assert not bob.do(session.acknowledge, ANSWER)
    assert not bob.do(session.send_info, "application/dtmf", b"5")
    assert bob.names.count("Ended") == 1


def test_a_response_that_cannot_be_sent_is_counted_and_ends_by_its_timer__rfc6026_8_8(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    bob.failing = True
    _, session = invited(alice, bob)
    assert bob.agent.counters["response_not_sent"] == 1
    bob.do(session.answer, ANSWER)
    network.run(70.0)
    assert session.end_cause is EndCause.NOT_ACKNOWLEDGED
    bob.assert_empty()
