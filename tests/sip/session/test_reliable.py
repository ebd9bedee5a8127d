"""Reliable provisional responses (RFC 3262), sent and received, in virtual time."""

from functools import partial
from typing import Any

import pytest

from sip.event import (
    AgentEvent,
    Answered,
    Ended,
    IncomingInvite,
    Provisional,
    ProvisionalAcknowledged,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
)
from sip.message import Request, Response
from sip.session.state import EndCause, SessionState
from sip.session.uac import ClientSession
from sip.session.uas import ServerSession
from tests.helpers.sip import ANSWER, OFFER, AgentHost, Network, WireHost, in_dialog, invited, request

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK", "UPDATE")
NEW_OFFER = OFFER.replace(b"o=- 1 1", b"o=- 1 2").replace(b"4000", b"4002")
NEW_ANSWER = ANSWER.replace(b"o=- 2 1", b"o=- 2 2")
OPTIONS: dict[str, Any] = {"supported": ("100rel",), "allow": ALLOW}


@pytest.fixture
def bob(network: Network) -> AgentHost:
    return network.agent("192.0.2.2", screen=None, **OPTIONS)


def asked(
    alice: WireHost, bob: AgentHost, header: str = "Require", body: bytes = OFFER
) -> tuple[Request, ServerSession]:
    """A caller that wants reliable responses, or can have them, has sent its INVITE."""
    return invited(alice, bob, headers=((header, "100rel"),), body=body)


def prack(invite: Request, response: Response, cseq: int = 2, *, rack: str = "", body: bytes = b"") -> Request:
    fields = (("RAck", rack or f"{response.headers.get('RSeq')} 1 INVITE"),)
    return in_dialog(invite, response, "PRACK", cseq=cseq, branch=f"z9hG4bKp{cseq}", headers=fields, body=body)


def test_a_caller_that_requires_it_gets_its_180_reliably_until_the_prack__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = asked(alice, bob)
    start = network.now
    bob.do(session.ring)
    network.run(8.0)
    times = [round(packet.time - start, 1) for packet in network.sent(bob, 180)]
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5]
    ringing = alice.last(180)
    assert ringing.require == ("100rel",)
    assert 1 <= int(ringing.headers.get("RSeq") or "") < 2**31
    alice.send(prack(invite, ringing), bob)
    network.run(20.0)
    assert len(network.sent(bob, 180)) == 5
    assert alice.last(200).cseq.method == "PRACK"
    assert bob.only(ProvisionalAcknowledged).body is None


def test_the_second_waits_for_the_prack_of_the_first_and_counts_on__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = asked(alice, bob)
    bob.do(session.ring)
    bob.do(session.progress, 183, ANSWER)
    network.run(0.1)
    assert alice.responses() == [100, 180]
    first = alice.last(180)
    alice.send(prack(invite, first), bob)
    network.run(0.1)
    second = alice.last(183)
    assert int(second.headers.get("RSeq") or "") == int(first.headers.get("RSeq") or "") + 1
    assert second.body == ANSWER


def test_the_200_waits_for_the_prack_of_a_described_183__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = asked(alice, bob, "Supported")
    bob.do(session.progress, 183, ANSWER)
    assert bob.do(session.answer, ANSWER)
    network.run(0.1)
    assert alice.responses() == [100, 183]
    alice.send(prack(invite, alice.last(183)), bob)
    network.run(0.1)
    assert [(m.status, m.cseq.method) for m in alice.inbox if isinstance(m, Response)][-2:] == [
        (200, "PRACK"),
        (200, "INVITE"),
    ]


def test_the_200_overtakes_a_bare_180_and_ends_its_retransmissions__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = asked(alice, bob)
    bob.do(session.ring)
    bob.do(session.answer, ANSWER)
    network.run(0.1)
    alice.send(in_dialog(invite, alice.last(200), "ACK", cseq=1, body=b""), bob)
    network.run(10.0)
    assert alice.responses() == [100, 180, 200]


def test_without_prack_the_invite_is_refused_after_64_t1__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    asked(alice, bob)
    bob.do(bob.incoming.ring)
    network.run(33.0)
    assert 504 in alice.responses()
    assert bob.only(Ended).cause is EndCause.EXPIRED
    assert bob.agent.counters["prack_missing"] == 1


@pytest.mark.parametrize("rack", ["1 1 INVITE", "nonsense", "x y INVITE", "{rseq} 9 INVITE", "{rseq} 1 BYE"])
def test_a_prack_for_something_else_gets_481__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost, rack: str
) -> None:
    invite, session = asked(alice, bob)
    bob.do(session.ring)
    network.run(0.1)
    ringing = alice.last(180)
    alice.send(prack(invite, ringing, rack=rack.format(rseq=ringing.headers.get("RSeq"))), bob)
    network.run(0.1)
    assert alice.responses()[-1] == 481


def test_a_second_prack_gets_481__rfc3262_3(network: Network, alice: WireHost, bob: AgentHost) -> None:
    invite, session = asked(alice, bob)
    bob.do(session.ring)
    network.run(0.1)
    alice.send(prack(invite, alice.last(180)), bob)
    alice.send(prack(invite, alice.last(180), cseq=3), bob)
    network.run(0.1)
    assert alice.responses()[-2:] == [200, 481]


def test_the_prack_brings_the_answer_to_an_offer_in_a_183__rfc3262_5(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = asked(alice, bob, body=b"")
    bob.do(session.progress, 183, OFFER)
    network.run(0.1)
    early = alice.last(183)
    rack = (("RAck", f"{early.headers.get('RSeq')} 1 INVITE"),)
    alice.send(in_dialog(invite, early, "PRACK", headers=rack, body=ANSWER), bob)
    network.run(0.1)
    assert bob.only(ProvisionalAcknowledged).body == ANSWER


def test_a_prack_with_a_second_offer_before_the_first_is_answered_gets_488_and_ends_the_repetition__rfc6337_table_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = asked(alice, bob)
    bob.do(session.ring)
    network.run(0.1)
    alice.send(prack(invite, alice.last(180), body=OFFER), bob)
    network.run(20.0)
    assert alice.responses() == [100, 180, 488]
    assert bob.of(ReinviteReceived) == []


def progressed(network: Network, alice: WireHost, bob: AgentHost, body: bytes = NEW_OFFER) -> Request:
    """An early call whose 183 had the answer; its PRACK carries `body`."""
    invite, session = asked(alice, bob)
    bob.do(session.progress, 183, ANSWER)
    network.run(0.1)
    alice.send(prack(invite, alice.last(183), body=body), bob)
    network.run(0.1)
    return invite


def test_a_new_offer_in_the_prack_is_answered_in_its_200__rfc3262_5(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite = progressed(network, alice, bob)
    assert bob.only(ReinviteReceived).offer == NEW_OFFER
    assert bob.do(bob.incoming.answer, ANSWER), "the call's own answer waits for that of the PRACK"
    network.run(0.1)
    assert alice.responses() == [100, 183]
    bob.do(bob.incoming.answer_reinvite, NEW_ANSWER)
    network.run(0.1)
    of_prack, of_invite = [
        message for message in alice.inbox if isinstance(message, Response) and message.status == 200
    ]
    assert (of_prack.cseq.method, of_prack.body) == ("PRACK", NEW_ANSWER)
    # What the 200 to the INVITE would say is what the PRACK has changed (RFC 6337 §3.1.1).
    assert (of_invite.cseq.method, of_invite.body) == ("INVITE", b"")
    alice.send(in_dialog(invite, of_invite, "ACK", cseq=1, body=b""), bob)
    network.run(1.0)
    assert bob.incoming.state is SessionState.CONFIRMED


def test_a_200_may_repeat_the_answer_of_its_183__rfc3261_13_2_1(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    progressed(network, alice, bob, b"")
    bob.do(bob.incoming.answer, ANSWER)
    network.run(0.1)
    assert alice.last(200).body == ANSWER


def test_an_offer_in_a_prack_that_cannot_be_met_ends_the_call_and_not_the_prack__rfc6337_table_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    progressed(network, alice, bob)
    bob.do(bob.incoming.reject_reinvite, 488)
    network.run(0.1)
    assert [(m.status, m.cseq.method) for m in alice.inbox if isinstance(m, Response)][-2:] == [
        (200, "PRACK"),
        (488, "INVITE"),
    ]
    assert bob.only(Ended).cause is EndCause.REJECTED


def test_an_offer_in_a_prack_that_nobody_answers_ends_the_call(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    progressed(network, alice, bob)
    network.run(10.2)
    assert alice.responses()[-2:] == [200, 500]
    assert bob.agent.counters["reinvite_unanswered"] == 1


def test_an_offerless_call_may_be_changed_by_the_prack_of_a_second_183__rfc3262_5(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = asked(alice, bob, body=b"")
    bob.do(session.progress, 183, OFFER)
    network.run(0.1)
    alice.send(prack(invite, alice.last(183), body=ANSWER), bob)
    network.run(0.1)
    bob.do(session.ring)
    network.run(0.1)
    alice.send(prack(invite, alice.last(180), cseq=3, body=NEW_OFFER), bob)
    network.run(0.1)
    assert bob.only(ProvisionalAcknowledged).body == ANSWER
    assert bob.only(ReinviteReceived).offer == NEW_OFFER


def update(invite: Request, response: Response, cseq: int = 3, body: bytes = NEW_OFFER) -> Request:
    return in_dialog(invite, response, "UPDATE", cseq=cseq, branch=f"z9hG4bKu{cseq}", body=body)


def test_an_update_before_the_answer_is_our_user_s_to_answer__rfc3311_5_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite = progressed(network, alice, bob, b"")
    alice.send(update(invite, alice.last(183)), bob)
    network.run(0.1)
    bob.do(bob.only(ReinviteReceived).session.answer_reinvite, NEW_ANSWER)
    network.run(0.1)
    assert (alice.last(200).cseq.method, alice.last(200).body) == ("UPDATE", NEW_ANSWER)
    assert "Session-Expires" not in alice.last(200).headers, "there is no session to refresh yet"


def test_an_update_with_an_offer_before_the_first_answer_gets_500_and_retry_after__rfc3311_5_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = asked(alice, bob)
    bob.do(session.ring)
    network.run(0.1)
    alice.send(update(invite, alice.last(180)), bob)
    network.run(0.1)
    assert "Retry-After" in alice.last(500).headers


def test_a_call_that_is_cancelled_leaves_no_update_open__rfc3261_15_1_2(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite = progressed(network, alice, bob, b"")
    alice.send(update(invite, alice.last(183)), bob)
    network.run(0.1)
    alice.send(in_dialog(invite, Response(200), "CANCEL", cseq=1, branch="z9hG4bKa1", to=invite.headers.get("To")), bob)
    network.run(0.1)
    assert sorted(alice.responses()[-3:]) == [200, 487, 487]
    network.run(60.0)
    bob.assert_empty()


def both_progressed(network: Network) -> tuple[AgentHost, AgentHost, ClientSession]:
    alice, bob = (network.agent(host, screen=None, **OPTIONS) for host in ("192.0.2.1", "192.0.2.2"))
    call = alice.call(bob)
    network.run(0.1)
    assert not bob.do(bob.incoming.update, NEW_OFFER), "the first offer has no answer yet"
    bob.do(bob.incoming.progress, 183, ANSWER)
    network.run(0.1)
    return alice, bob, call


def test_the_caller_changes_a_ringing_call_by_update__rfc3311_5_1(network: Network) -> None:
    alice, bob, call = both_progressed(network)
    assert alice.do(call.update, NEW_OFFER)
    assert not alice.do(call.update, NEW_OFFER), "one at a time"
    network.run(0.1)
    assert bob.only(ReinviteReceived).offer == NEW_OFFER
    bob.do(bob.incoming.answer_reinvite, NEW_ANSWER)
    network.run(0.1)
    assert alice.only(ReinviteAnswered).body == NEW_ANSWER
    bob.do(bob.incoming.answer, ANSWER)
    network.run(0.1)
    assert alice.only(Answered).body == ANSWER, "the 200 had none: the answer is that of the 183"
    assert call.state is SessionState.CONFIRMED


def test_the_called_side_changes_a_ringing_call_by_update__rfc3311_5_1(network: Network) -> None:
    alice, bob, _ = both_progressed(network)
    assert bob.do(bob.incoming.update, NEW_OFFER)
    network.run(0.1)
    alice.do(alice.only(ReinviteReceived).session.answer_reinvite, NEW_ANSWER)
    network.run(0.1)
    assert bob.only(ReinviteAnswered).body == NEW_ANSWER


def answer_offers(host: AgentHost, event: AgentEvent) -> None:
    if isinstance(event, ReinviteReceived):
        host.do(event.session.answer_reinvite, NEW_ANSWER)


def test_updates_that_cross_get_491_and_the_pause__rfc3311_5_2(network: Network) -> None:
    alice, bob, call = both_progressed(network)
    for host in (alice, bob):
        host.on_event = partial(answer_offers, host)
    alice.do(call.update, NEW_OFFER)
    bob.do(bob.incoming.update, NEW_OFFER)
    network.run(5.0)
    assert len(network.sent(alice, 491)) == len(network.sent(bob, 491)) == 1
    assert len(alice.of(ReinviteAnswered)) == len(bob.of(ReinviteAnswered)) == 1


def test_an_update_that_meets_silence_does_not_end_a_ringing_call(network: Network) -> None:
    alice, _, call = both_progressed(network)
    network.drop = lambda packet: packet.data.startswith(b"UPDATE")
    alice.do(call.update, NEW_OFFER)
    network.run(33.0)
    assert alice.only(ReinviteFailed).status == 408
    assert call.state is SessionState.EARLY


def test_no_update_is_sent_to_who_does_not_allow_it__rfc3311_4(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    progressed(network, alice, bob, b"")
    assert not bob.do(bob.incoming.update, NEW_OFFER)
    assert alice.requests("UPDATE") == []


def test_a_confirmed_call_may_be_changed_by_update_too__rfc3311_5_1(network: Network) -> None:
    alice, bob, call = both_progressed(network)
    bob.do(bob.incoming.answer, ANSWER)
    network.run(0.1)
    assert alice.do(call.update, NEW_OFFER)
    network.run(0.1)
    bob.do(bob.incoming.answer_reinvite, NEW_ANSWER)
    network.run(0.1)
    assert alice.only(ReinviteAnswered).body == NEW_ANSWER


def test_a_caller_that_only_supports_it_gets_a_plain_180__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    _, session = asked(alice, bob, "Supported")
    bob.do(session.ring)
    network.run(5.0)
    assert alice.responses() == [100, 180]
    assert "RSeq" not in alice.last(180).headers


def test_a_prack_in_a_confirmed_call_gets_481__rfc3262_3(network: Network, alice: WireHost) -> None:
    bob = network.agent("192.0.2.2", screen=None, **OPTIONS)
    call = bob.call(alice)
    network.run(0.1)
    invite = alice.requests("INVITE")[0]
    ok = invite.create_response(200, to_tag="alice", headers=[("Contact", "<sip:alice@192.0.2.1>")])
    alice.send(ok, bob)
    network.run(0.1)
    stray = request(
        "PRACK",
        uri="sip:192.0.2.2",
        from_=str(ok.headers.get("To")),
        to=str(ok.headers.get("From")),
        call_id=call.sip_call_id,
        headers=(("RAck", "1 1 INVITE"),),
    )
    alice.send(stray, bob)
    network.run(0.1)
    assert alice.responses() == [481]


def ring(
    network: Network, bob: AgentHost, alice: WireHost, rseq: str | None, *, tag: str = "fork-1", status: int = 180
) -> Response:
    invite = alice.requests("INVITE")[0]
    fields = [("Contact", f"<sip:{tag}@192.0.2.1>"), ("Require", "100rel")]
    if rseq is not None:
        fields.append(("RSeq", rseq))
    response = invite.create_response(status, to_tag=tag, headers=fields)
    alice.send(response, bob)
    network.run(0.1)
    return response


def test_as_caller_each_reliable_1xx_is_pracked_once_and_in_order__rfc3262_4(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    bob.call(alice)
    network.run(0.1)
    assert alice.requests("INVITE")[0].supported == ("100rel",)
    for rseq in ("7", "7", "9", "8", "9"):
        ring(network, bob, alice, rseq)
    pracks = alice.requests("PRACK")
    assert [message.headers.get("RAck") for message in pracks] == ["7 1 INVITE", "8 1 INVITE", "9 1 INVITE"]
    assert [message.cseq.number for message in pracks] == [2, 3, 4]
    assert str(pracks[0].uri) == "sip:fork-1@192.0.2.1"
    assert len(bob.of(Provisional)) == 3
    assert bob.agent.counters["provisional_out_of_order"] == 2


def test_as_caller_every_fork_has_its_own_order__rfc3262_4(network: Network, alice: WireHost, bob: AgentHost) -> None:
    bob.call(alice)
    network.run(0.1)
    ring(network, bob, alice, "7")
    ring(network, bob, alice, "30", tag="fork-2")
    assert [message.to.tag for message in alice.requests("PRACK")] == ["fork-1", "fork-2"]


def test_a_reliable_1xx_without_rseq_is_not_processed__rfc3262_4(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    bob.call(alice)
    network.run(0.1)
    ring(network, bob, alice, None)
    assert bob.of(Provisional) == []


def test_an_offerless_invite_does_not_offer_100rel(network: Network, alice: WireHost, bob: AgentHost) -> None:
    bob.call(alice, b"")
    network.run(0.1)
    assert alice.requests("INVITE")[0].supported == ()


def test_two_agents_agree_through_a_lossy_network__rfc3262() -> None:
    network = Network(seed=4, loss=0.2, jitter=0.2)
    alice = network.agent("192.0.2.1", screen=None, **OPTIONS)
    bob = network.agent("192.0.2.2", screen=None, **OPTIONS)
    bob.on_event = lambda event: (
        (bob.do(event.session.progress, 183, ANSWER), bob.do(event.session.answer, ANSWER))
        if isinstance(event, IncomingInvite)
        else None
    )
    alice.call(bob)
    network.run(30.0)
    assert len(alice.of(Answered)) == 1
    assert len(bob.of(ProvisionalAcknowledged)) == 1
