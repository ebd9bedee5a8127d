"""Re-INVITE in both directions, its glare, and INFO (RFC 3261 §14, RFC 5407 §3, RFC 6086)."""

import pytest

from sip.event import (
    Acknowledged,
    Ended,
    InfoReceived,
    NotAcknowledged,
    ReinviteAnswered,
    ReinviteCancelled,
    ReinviteFailed,
    ReinviteReceived,
)
from sip.message import Request, Response
from sip.session.state import EndCause, SessionState
from sip.session.uas import ServerSession
from tests.helpers.sip import (
    ANSWER,
    OFFER,
    AgentHost,
    Network,
    WireHost,
    answered,
    confirmed,
    established,
    in_dialog,
    request,
)

HOLD = OFFER + b"a=sendonly\r\n"


def wired(network: Network, *, offer: bytes = OFFER) -> tuple[WireHost, AgentHost, Request, Response, ServerSession]:
    """A hand-played caller in a confirmed call with an agent."""
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2")
    return alice, bob, *confirmed(alice, bob, body=offer)


def test_the_peer_s_reinvite_is_answered_and_acknowledged__rfc3261_14_2() -> None:
    network = Network()
    alice, bob, call, session = established(network)
    assert alice.do(call.reinvite, HOLD)
    network.run(0.1)
    assert bob.only(ReinviteReceived).offer == HOLD
    assert bob.do(session.answer_reinvite, ANSWER)
    assert not bob.do(session.answer_reinvite, ANSWER)
    network.run(0.1)
    assert alice.only(ReinviteAnswered).body == ANSWER
    assert len(bob.of(Acknowledged)) == 2
    assert call.state is session.state is SessionState.CONFIRMED
    network.run(60.0)
    assert len(alice.agent.transactions) == len(bob.agent.transactions) == 0


def test_a_reinvite_refused_leaves_the_call_as_it_was__rfc3261_14_1() -> None:
    network = Network()
    alice, bob, call, session = established(network)
    alice.do(call.reinvite, HOLD)
    network.run(0.1)
    assert bob.do(session.reject_reinvite, 488)
    network.run(0.1)
    failed = alice.only(ReinviteFailed)
    assert (failed.status, failed.reason) == (488, "Not Acceptable Here")
    assert call.state is session.state is SessionState.CONFIRMED
    assert alice.do(call.reinvite, HOLD)


def test_an_offerless_reinvite_brings_the_answer_in_its_ack__rfc3261_14_1() -> None:
    network = Network()
    alice, bob, call, session = established(network)
    alice.do(call.reinvite, b"")
    network.run(0.1)
    assert bob.only(ReinviteReceived).offer is None
    bob.do(session.answer_reinvite, OFFER)
    network.run(0.6)
    assert alice.only(ReinviteAnswered).body == OFFER
    assert not alice.do(call.reinvite, OFFER)  # the round is not over
    assert alice.do(call.acknowledge, ANSWER)
    network.run(0.1)
    assert bob.of(Acknowledged)[-1].body == ANSWER
    network.run(10.0)
    assert len(network.sent(bob, 200)) == 3  # INVITE, re-INVITE and once more while our user thought


def test_a_reinvite_refreshes_both_targets__rfc3261_12_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    moved = network.wire("192.0.2.77", 5099)
    alice.send(in_dialog(invite, ok, "INVITE", contact="<sip:alice@192.0.2.77:5099>"), bob)
    network.run(0.1)
    bob.do(session.answer_reinvite, ANSWER)
    network.run(0.1)
    alice.send(in_dialog(invite, ok, "ACK", cseq=2, branch="z9hG4bKb3"), bob)
    network.run(0.1)
    bob.do(session.bye)
    network.run(0.1)
    assert str(moved.requests("BYE")[0].uri) == "sip:alice@192.0.2.77:5099"


def test_a_refused_reinvite_moves_no_target__rfc3261_12_2_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    alice.send(in_dialog(invite, ok, "INVITE", contact="<sip:alice@192.0.2.77:5099>"), bob)
    network.run(0.1)
    bob.do(session.reject_reinvite, 488)
    bob.do(session.bye)
    network.run(0.1)
    assert len(alice.requests("BYE")) == 1


def test_a_second_reinvite_before_the_first_is_answered_gets_500_and_retry_after__rfc3261_14_2() -> None:
    network = Network()
    alice, bob, invite, ok, _ = wired(network)
    alice.send(in_dialog(invite, ok, "INVITE", cseq=2), bob)
    alice.send(in_dialog(invite, ok, "INVITE", cseq=3, branch="z9hG4bKc"), bob)
    network.run(0.1)
    overlap = alice.last(500)
    assert overlap.cseq.number == 3
    assert 0 <= int(overlap.headers.get("Retry-After") or "") <= 10
    assert len(bob.of(ReinviteReceived)) == 1


def test_an_invite_in_the_dialog_before_the_first_is_answered_gets_500__rfc3261_14_2() -> None:
    network = Network()
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2")
    invite = request()
    alice.send(invite, bob)
    network.run(0.1)
    bob.do(bob.incoming.ring)
    network.run(0.1)
    alice.send(in_dialog(invite, alice.last(180), "INVITE", cseq=2), bob)
    network.run(0.1)
    assert "Retry-After" in alice.last(500).headers


def test_a_request_with_an_old_cseq_gets_500__rfc3261_12_2_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    for method in ("INVITE", "INFO", "BYE"):
        alice.send(in_dialog(invite, ok, method, cseq=1, branch=f"z9hG4bK{method}"), bob)
    network.run(0.1)
    assert alice.responses()[-3:] == [500, 500, 500]
    assert bob.agent.counters["cseq_out_of_order"] == 3
    assert session.state is SessionState.CONFIRMED


def test_glare_gets_491_and_the_owner_of_the_call_id_waits_longer__rfc3261_14_1() -> None:
    network = Network()
    alice, bob, call, session = established(network)
    crossed = network.now
    alice.do(call.reinvite, HOLD)
    bob.do(session.reinvite, HOLD)
    network.run(0.1)
    assert len(network.sent(alice, 491)) == len(network.sent(bob, 491)) == 1
    bob.on_event = lambda event: (
        bob.do(session.answer_reinvite, ANSWER) if isinstance(event, ReinviteReceived) else None
    )
    alice.on_event = lambda event: (
        alice.do(call.answer_reinvite, ANSWER) if isinstance(event, ReinviteReceived) else None
    )
    network.run(6.0)
    again = [network.sent(host, "INVITE")[-1].time - crossed for host in (bob, alice)]
    assert again[0] <= 2.1 < 2.11 <= again[1] <= 4.1
    assert len(alice.of(ReinviteAnswered)) == len(bob.of(ReinviteAnswered)) == 1


def test_a_reinvite_while_ours_is_under_way_gets_491__rfc3261_14_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    bob.do(session.reinvite, HOLD)
    network.run(0.1)
    alice.send(in_dialog(invite, ok, "INVITE"), bob)
    network.run(0.1)
    assert alice.responses()[-1] == 491
    assert bob.of(ReinviteReceived) == []
    assert bob.agent.counters["glare"] == 1


def test_endless_glare_is_given_up() -> None:
    network = Network()
    alice, bob, _invite, _ok, session = wired(network)
    bob.do(session.reinvite, HOLD)
    for _ in range(100):
        network.run(0.5)
        answered = {message.cseq.number for message in alice.inbox if isinstance(message, Response)}
        for sent in alice.requests("INVITE"):
            if sent.cseq.number not in answered:
                alice.send(sent.create_response(491, to_tag="alice"), bob)
        alice.inbox.clear()
    assert bob.only(ReinviteFailed).status == 491
    assert session.state is SessionState.CONFIRMED


def test_the_pause_after_glare_lets_the_peer_s_reinvite_through__rfc3261_14_1() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    bob.do(session.reinvite, HOLD)
    network.run(0.05)
    alice.send(alice.requests("INVITE")[0].create_response(491, to_tag="alice"), bob)
    alice.send(in_dialog(invite, ok, "INVITE"), bob)
    network.run(0.05)
    assert bob.only(ReinviteReceived).offer == OFFER
    network.run(2.5)  # our own turn comes while the user still thinks: it is put off
    assert len(alice.requests("INVITE")) == 1
    bob.do(session.answer_reinvite, ANSWER)
    network.run(0.1)
    alice.send(in_dialog(invite, ok, "ACK", cseq=2, branch="z9hG4bKb9"), bob)
    network.run(2.0)
    assert len({sent.cseq.number for sent in alice.requests("INVITE")}) == 2


def test_a_reinvite_that_outruns_the_ack_stands_for_it__rfc5407_3_1_4() -> None:
    network = Network()
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2")
    invite, ok, _ = answered(alice, bob)
    alice.send(in_dialog(invite, ok, "INVITE"), bob)
    network.run(0.1)
    assert bob.names == ["IncomingInvite", "Acknowledged", "ReinviteReceived"]


def test_a_reinvite_before_the_ack_that_owes_an_answer_gets_491__rfc5407_3_1_4() -> None:
    network = Network()
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2")
    invite, ok, _ = answered(alice, bob, OFFER, body=b"")
    alice.send(in_dialog(invite, ok, "INVITE"), bob)
    network.run(0.1)
    assert alice.last(491).cseq.number == 2


def test_a_bye_waiting_for_the_ack_goes_before_a_reinvite_that_outran_it() -> None:
    network = Network()
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2")
    invite = request()
    alice.send(invite, bob)
    network.run(0.1)
    bob.do(bob.incoming.answer, ANSWER)
    bob.do(bob.incoming.bye)
    network.run(0.1)
    alice.send(in_dialog(invite, alice.last(200), "INVITE"), bob)
    network.run(0.1)
    assert alice.last(487).cseq.number == 2
    assert len(alice.requests("BYE")) == 1


def test_cancel_of_a_reinvite_leaves_the_call_up__rfc3261_9_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    alice.send(in_dialog(invite, ok, "INVITE"), bob)
    network.run(0.1)
    alice.send(in_dialog(invite, ok, "CANCEL", contact=None), bob)
    network.run(0.1)
    assert alice.last(487).cseq.number == 2
    assert len(bob.of(ReinviteCancelled)) == 1
    assert not bob.do(session.answer_reinvite, ANSWER)
    assert session.state is SessionState.CONFIRMED
    alice.send(in_dialog(invite, ok, "CANCEL", contact=None, branch="z9hG4bKb2"), bob)
    network.run(0.1)
    assert len(bob.of(ReinviteCancelled)) == 1


def test_a_bye_during_a_reinvite_answers_it_with_487__rfc3261_15_1_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    alice.send(in_dialog(invite, ok, "INVITE"), bob)
    network.run(0.1)
    alice.send(in_dialog(invite, ok, "BYE", cseq=3, branch="z9hG4bKb3"), bob)
    network.run(0.1)
    assert alice.last(487).cseq.method == "INVITE"
    assert session.end_cause is EndCause.REMOTE_BYE


def test_a_reinvite_that_the_user_leaves_alone_gets_500() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    alice.send(in_dialog(invite, ok, "INVITE"), bob)
    network.run(11.0)
    assert alice.responses()[-1] == 500
    assert bob.agent.counters["reinvite_unanswered"] == 1
    assert session.state is SessionState.CONFIRMED


def test_a_reinvite_s_2xx_without_ack_ends_the_call__rfc3261_14_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    alice.send(in_dialog(invite, ok, "INVITE"), bob)
    network.run(0.1)
    bob.do(session.answer_reinvite, ANSWER)
    network.run(33.0)
    assert len(bob.of(NotAcknowledged)) == 1
    assert session.end_cause is EndCause.NOT_ACKNOWLEDGED
    assert len(alice.requests("BYE")) >= 1


@pytest.mark.parametrize("status", [408, 481])
def test_a_dialog_that_the_peer_lost_is_ended__rfc3261_12_2_1_2(status: int) -> None:
    network = Network()
    alice, bob, _, _, session = wired(network)
    bob.do(session.reinvite, HOLD)
    network.run(0.1)
    alice.send(alice.requests("INVITE")[0].create_response(status), bob)
    network.run(0.1)
    assert session.end_cause is EndCause.LOST
    assert len(alice.requests("BYE")) == 1


def test_a_silent_peer_ends_the_call__rfc3261_12_2_1_2() -> None:
    network = Network()
    _, bob, _, _, session = wired(network)
    bob.do(session.reinvite, HOLD)
    network.run(70.0)
    assert session.end_cause is EndCause.LOST
    bob.assert_empty()


def test_a_2xx_for_our_reinvite_after_the_end_is_still_acknowledged__rfc3261_13_2_2_4() -> None:
    network = Network()
    alice, bob, _, _, session = wired(network)
    bob.do(session.reinvite, HOLD)
    network.run(0.1)
    bob.do(session.bye)
    sent = alice.requests("INVITE")[0]
    ok = sent.create_response(200, headers=[("Contact", "<sip:alice@192.0.2.1>")], body=b"")
    alice.send(ok, bob)
    network.run(0.1)
    assert alice.requests("ACK")[-1].cseq == type(sent.cseq)(sent.cseq.number, "ACK")
    assert bob.of(ReinviteAnswered) == []
    assert bob.names[-1] == "Ended"


def test_a_refused_reinvite_after_the_end_is_nobody_s_business() -> None:
    network = Network()
    alice, bob, _, _, session = wired(network)
    bob.do(session.reinvite, HOLD)
    network.run(0.1)
    bob.do(session.bye)
    alice.send(alice.requests("INVITE")[0].create_response(487), bob)
    network.run(0.1)
    assert bob.of(ReinviteFailed) == []


def test_provisional_responses_to_a_reinvite_are_passed_over__rfc3261_14_1() -> None:
    network = Network()
    alice, bob, _, _, session = wired(network)
    bob.do(session.reinvite, HOLD)
    network.run(0.1)
    alice.send(alice.requests("INVITE")[0].create_response(100), bob)
    network.run(40.0)
    assert session.state is SessionState.CONFIRMED


def test_info_is_answered_and_told__rfc6086() -> None:
    network = Network()
    alice, bob, invite, ok, _ = wired(network)
    dtmf = b"Signal=5\r\nDuration=160\r\n"
    relay = (("Content-Type", "application/dtmf-relay"),)
    alice.send(in_dialog(invite, ok, "INFO", body=dtmf, headers=relay), bob)
    alice.send(in_dialog(invite, ok, "INFO", cseq=3, branch="z9hG4bKc", body=b""), bob)
    network.run(0.1)
    assert alice.responses()[-2:] == [200, 200]
    assert [(event.content_type, event.body) for event in bob.of(InfoReceived)] == [
        ("application/dtmf-relay", dtmf),
        (None, b""),
    ]


def test_info_of_a_type_that_we_do_not_take_gets_415_and_accept__rfc3261_8_2_3() -> None:
    network = Network()
    alice, bob, invite, ok, _ = wired(network)
    alice.send(in_dialog(invite, ok, "INFO", body=b"<x/>", headers=(("Content-Type", "text/xml"),)), bob)
    network.run(0.1)
    assert alice.last(415).headers.get("Accept") == "application/dtmf-relay, application/dtmf"


def test_our_info_is_sent_and_its_failure_counted__rfc6086() -> None:
    network = Network()
    alice, bob, _, _, session = wired(network)
    assert bob.do(session.send_info, "application/dtmf", b"5")
    network.run(0.1)
    (info,) = alice.requests("INFO")
    assert (info.headers.get("Content-Type"), info.body) == ("application/dtmf", b"5")
    alice.send(info.create_response(405), bob)
    network.run(0.1)
    assert bob.agent.counters["info_failed"] == 1


def test_byes_crossing_are_both_answered__rfc3261_15() -> None:
    network = Network()
    alice, bob, call, session = established(network)
    alice.do(call.bye)
    bob.do(session.bye)
    network.run(0.1)
    assert len(network.sent(alice, 200)) == 1
    assert [packet.message.cseq.method for packet in network.sent(bob, 200)] == ["INVITE", "BYE"]
    assert alice.only(Ended).cause is bob.only(Ended).cause is EndCause.LOCAL_BYE
    network.run(60.0)
    alice.assert_empty()
    bob.assert_empty()


def test_our_bye_during_the_peer_s_reinvite_answers_it_with_487__rfc3261_15_1_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = wired(network)
    alice.send(in_dialog(invite, ok, "INVITE"), bob)
    network.run(0.1)
    bob.do(session.bye)
    network.run(0.1)
    assert alice.last(487).cseq.number == 2
    network.run(70.0)
    bob.assert_empty()


def test_a_reinvite_that_gets_100_and_no_more_ends_the_call_in_time() -> None:
    network = Network()
    alice, bob, _, _, session = wired(network)
    bob.do(session.reinvite, HOLD)
    network.run(0.1)
    alice.send(alice.requests("INVITE")[0].create_response(100), bob)
    network.run(bob.agent.configuration.ring_limit + 1.0)
    assert session.end_cause is EndCause.LOST
    network.run(70.0)
    bob.assert_empty()
