"""Reliable provisional responses (RFC 3262), sent and received, in virtual time."""

from typing import Any

import pytest

from sip.event import Answered, Ended, IncomingInvite, Provisional, ProvisionalAcknowledged
from sip.message import Request, Response
from sip.session.state import EndCause
from sip.session.uas import ServerSession
from tests.helpers.sip import ANSWER, OFFER, AgentHost, Network, WireHost, in_dialog, request

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK")
OPTIONS: dict[str, Any] = {"supported": ("100rel",), "allow": ALLOW}


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def alice(network: Network) -> WireHost:
    return network.wire("192.0.2.1")


@pytest.fixture
def bob(network: Network) -> AgentHost:
    return network.agent("192.0.2.2", screen=None, **OPTIONS)


def invited(
    network: Network, alice: WireHost, bob: AgentHost, header: str = "Require", body: bytes = OFFER
) -> tuple[Request, ServerSession]:
    invite = request(headers=((header, "100rel"),), body=body)
    alice.send(invite, bob)
    network.run(0.1)
    return invite, bob.incoming


def prack(invite: Request, response: Response, cseq: int = 2, **changes: str) -> Request:
    rack = changes.pop("rack", f"{response.headers.get('RSeq')} 1 INVITE")
    return in_dialog(invite, response, "PRACK", cseq=cseq, branch=f"z9hG4bKp{cseq}", headers=(("RAck", rack),))


def test_a_caller_that_requires_it_gets_its_180_reliably_until_the_prack__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = invited(network, alice, bob)
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
    invite, session = invited(network, alice, bob)
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
    invite, session = invited(network, alice, bob, "Supported")
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
    invite, session = invited(network, alice, bob)
    bob.do(session.ring)
    bob.do(session.answer, ANSWER)
    network.run(0.1)
    alice.send(in_dialog(invite, alice.last(200), "ACK", cseq=1, body=b""), bob)
    network.run(10.0)
    assert alice.responses() == [100, 180, 200]


def test_without_prack_the_invite_is_refused_after_64_t1__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invited(network, alice, bob)
    bob.do(bob.incoming.ring)
    network.run(33.0)
    assert 504 in alice.responses()
    assert bob.only(Ended).cause is EndCause.EXPIRED
    assert bob.agent.counters["prack_missing"] == 1


@pytest.mark.parametrize("rack", ["1 1 INVITE", "nonsense", "x y INVITE", "{rseq} 9 INVITE", "{rseq} 1 BYE"])
def test_a_prack_for_something_else_gets_481__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost, rack: str
) -> None:
    invite, session = invited(network, alice, bob)
    bob.do(session.ring)
    network.run(0.1)
    ringing = alice.last(180)
    alice.send(prack(invite, ringing, rack=rack.format(rseq=ringing.headers.get("RSeq"))), bob)
    network.run(0.1)
    assert alice.responses()[-1] == 481


def test_a_second_prack_gets_481__rfc3262_3(network: Network, alice: WireHost, bob: AgentHost) -> None:
    invite, session = invited(network, alice, bob)
    bob.do(session.ring)
    network.run(0.1)
    alice.send(prack(invite, alice.last(180)), bob)
    alice.send(prack(invite, alice.last(180), cseq=3), bob)
    network.run(0.1)
    assert alice.responses()[-2:] == [200, 481]


def test_the_prack_brings_the_answer_to_an_offer_in_a_183__rfc3262_5(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    invite, session = invited(network, alice, bob, body=b"")
    bob.do(session.progress, 183, OFFER)
    network.run(0.1)
    early = alice.last(183)
    rack = (("RAck", f"{early.headers.get('RSeq')} 1 INVITE"),)
    alice.send(in_dialog(invite, early, "PRACK", headers=rack, body=ANSWER), bob)
    network.run(0.1)
    assert bob.only(ProvisionalAcknowledged).body == ANSWER


def test_a_prack_with_a_new_offer_gets_488__rfc3262_5(network: Network, alice: WireHost, bob: AgentHost) -> None:
    invite, session = invited(network, alice, bob)
    bob.do(session.ring)
    network.run(0.1)
    rack = (("RAck", f"{alice.last(180).headers.get('RSeq')} 1 INVITE"),)
    alice.send(in_dialog(invite, alice.last(180), "PRACK", headers=rack, body=OFFER), bob)
    network.run(0.1)
    assert alice.responses()[-1] == 488


def test_a_caller_that_only_supports_it_gets_a_plain_180__rfc3262_3(
    network: Network, alice: WireHost, bob: AgentHost
) -> None:
    _, session = invited(network, alice, bob, "Supported")
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
