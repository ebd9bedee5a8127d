"""The calling side of an INVITE session (RFC 3261 §9.1, §13.2, §22), in virtual time."""

import pytest

from sip.event import Answered, Ended, Failed, Provisional
from sip.message import Request, Response
from sip.session.state import EndCause, SessionStateError
from sip.session.uac import ClientSession
from tests.helpers.sip import ANSWER, OFFER, AgentHost, Network, WireHost, in_dialog

CONTACT = ("Contact", "<sip:bob@192.0.2.2:5060>")


@pytest.fixture
def alice(network: Network) -> AgentHost:
    return network.agent("192.0.2.1")


@pytest.fixture
def bob(network: Network) -> WireHost:
    return network.wire("192.0.2.2")


def called(network: Network, alice: AgentHost, bob: WireHost, offer: bytes = OFFER) -> tuple[ClientSession, Request]:
    call = alice.call(bob, offer)
    network.run(0.1)
    return call, bob.requests("INVITE")[-1]


def respond(
    network: Network,
    bob: WireHost,
    alice: AgentHost,
    invite: Request,
    status: int,
    *,
    tag: str | None = "bob",
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (CONTACT,),
) -> Response:
    fields = [*headers, *([("Content-Type", "application/sdp")] if body else [])]
    response = invite.create_response(status, to_tag=tag, headers=fields, body=body)
    bob.send(response, alice)
    network.run(0.1)
    return response


class Credentials:
    """Answers every challenge, `answers` times."""

    def __init__(self, answers: int = 1) -> None:
        self.answers = answers
        self.asked: list[tuple[str, int]] = []

    def authorize(self, request: Request, response: Response) -> tuple[str, str] | None:
        self.asked.append((request.method, response.status))
        if len(self.asked) > self.answers:
            return None
        name = "Proxy-Authorization" if response.status == 407 else "Authorization"
        return name, f'Digest response="{len(self.asked)}"'


def test_the_invite_carries_what_8_1_1_demands__rfc3261_8_1_1(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    _, invite = called(network, alice, bob)
    assert str(invite.uri) == "sip:bob@192.0.2.2:5060"
    assert str(invite.top_via).startswith("SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK")
    assert invite.to.tag is None
    assert invite.from_.tag
    assert invite.max_forwards == 70
    assert invite.headers.get("CSeq") == "1 INVITE"
    assert invite.headers.get("Contact") == "<sip:192.0.2.1:5060>"
    assert invite.headers.get("Content-Type") == "application/sdp"
    assert invite.body == OFFER


def test_ringing_answer_and_ack__rfc3261_13_2_2(network: Network, alice: AgentHost, bob: WireHost) -> None:
    call, invite = called(network, alice, bob)
    respond(network, bob, alice, invite, 100, tag=None)
    assert call.state.name == "CALLING"
    respond(network, bob, alice, invite, 183, body=ANSWER)
    assert (alice.only(Provisional).status, alice.only(Provisional).body) == (183, ANSWER)
    assert call.state.name == "EARLY"
    respond(network, bob, alice, invite, 200, body=ANSWER)
    assert alice.only(Answered).body == ANSWER
    (ack,) = bob.requests("ACK")
    assert str(ack.uri) == "sip:bob@192.0.2.2:5060"
    assert ack.headers.get("CSeq") == "1 ACK"
    assert ack.to.tag == "bob"
    assert ack.top_via.branch != invite.top_via.branch
    assert call.state.name == "CONFIRMED"


def test_every_retransmitted_2xx_gets_the_same_ack__rfc3261_13_2_2_4(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    _, invite = called(network, alice, bob)
    for _ in range(3):
        respond(network, bob, alice, invite, 200, body=ANSWER)
    acks = bob.requests("ACK")
    assert len(acks) == 3
    assert len({bytes(ack) for ack in acks}) == 1
    assert len(alice.of(Answered)) == 1


def test_ack_and_bye_follow_the_reversed_record_route__rfc3261_12_1_2(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    call, invite = called(network, alice, bob)
    proxy = network.wire("192.0.2.9")
    routes = (
        ("Record-Route", "<sip:10.0.0.1;lr>, <sip:192.0.2.9;lr>"),
        ("Contact", "<sip:x@172.16.0.1:5080>"),
    )
    respond(network, bob, alice, invite, 200, body=ANSWER, headers=routes)
    alice.do(call.bye)
    network.run(0.1)
    for request in (*proxy.requests("ACK"), *proxy.requests("BYE")):
        assert str(request.uri) == "sip:x@172.16.0.1:5080"
        assert request.headers.values("Route") == ["<sip:192.0.2.9;lr>", "<sip:10.0.0.1;lr>"]
    assert (len(proxy.requests("ACK")), len(proxy.requests("BYE"))) == (1, 1)


def test_a_strict_router_gets_itself_as_request_uri__rfc3261_12_2_1_1(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    call, invite = called(network, alice, bob)
    proxy = network.wire("192.0.2.9")
    routes = (("Record-Route", "<sip:10.0.0.1;lr>, <sip:192.0.2.9;method=INVITE>"), CONTACT)
    respond(network, bob, alice, invite, 200, body=ANSWER, headers=routes)
    alice.do(call.bye)
    network.run(0.1)
    (bye,) = proxy.requests("BYE")
    assert str(bye.uri) == "sip:192.0.2.9"
    assert bye.headers.values("Route") == ["<sip:10.0.0.1;lr>", "<sip:bob@192.0.2.2:5060>"]


def test_an_outbound_proxy_is_a_preloaded_route__rfc3261_8_1_2(network: Network, alice: AgentHost) -> None:
    proxy = network.wire("192.0.2.9")
    trunk = network.wire("192.0.2.3")
    alice.call(trunk, route=("<sip:192.0.2.9;lr>",))
    network.run(0.1)
    (invite,) = proxy.requests("INVITE")
    assert invite.headers.get("Route") == "<sip:192.0.2.9;lr>"
    assert str(invite.uri) == "sip:bob@192.0.2.3:5060"
    assert trunk.inbox == []


@pytest.mark.parametrize("status", [302, 404, 486, 500, 603])
def test_a_refusal_is_acknowledged_and_told__rfc3261_13_2_2_3(
    network: Network, alice: AgentHost, bob: WireHost, status: int
) -> None:
    call, invite = called(network, alice, bob)
    respond(network, bob, alice, invite, status)
    (ack,) = bob.requests("ACK")
    assert ack.top_via.branch == invite.top_via.branch
    failed = alice.only(Failed)
    assert failed.status == status
    assert failed.response is not None
    assert call.end_cause is EndCause.REFUSED
    network.run(40.0)
    alice.assert_empty()


def test_silence_is_a_408__rfc3261_8_1_3_1(network: Network, alice: AgentHost, bob: WireHost) -> None:
    call, _ = called(network, alice, bob)
    network.run(40.0)
    assert len(bob.requests("INVITE")) == 7
    assert (alice.only(Failed).status, alice.only(Failed).reason) == (408, "Timeout")
    assert call.end_cause is EndCause.REFUSED
    alice.assert_empty()


def test_a_transport_failure_is_a_503__rfc3261_8_1_3_1(network: Network, alice: AgentHost, bob: WireHost) -> None:
    alice.failing = True
    called_session = alice.call(bob)
    assert (alice.only(Failed).status, alice.only(Failed).reason) == (503, "Transport error")
    assert called_session.is_ended
    alice.assert_empty()


def test_cancel_waits_for_the_first_provisional__rfc3261_9_1(network: Network, alice: AgentHost, bob: WireHost) -> None:
    call, invite = called(network, alice, bob)
    assert alice.do(call.cancel, headers=[("Reason", "SIP;cause=200")])
    assert alice.do(call.cancel)
    network.run(0.2)
    assert bob.requests("CANCEL") == []
    respond(network, bob, alice, invite, 100, tag=None)
    (cancel,) = bob.requests("CANCEL")
    assert cancel.top_via.branch == invite.top_via.branch
    assert cancel.headers.get("CSeq") == "1 CANCEL"
    assert cancel.uri == invite.uri
    assert cancel.headers.get("To") == invite.headers.get("To")
    assert cancel.headers.get("Reason") == "SIP;cause=200"
    bob.send(cancel.create_response(200, to_tag="bob"), alice)
    respond(network, bob, alice, invite, 487)
    assert alice.names == ["Ended"]
    assert alice.only(Ended).cause is EndCause.CANCELLED
    network.run(40.0)
    alice.assert_empty()


def test_a_2xx_that_crosses_the_cancel_gets_ack_and_bye__rfc3261_9_1(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    call, invite = called(network, alice, bob)
    respond(network, bob, alice, invite, 180)
    alice.do(call.hang_up)
    respond(network, bob, alice, invite, 200, body=ANSWER)
    respond(network, bob, alice, invite, 200, body=ANSWER)
    assert len(bob.requests("CANCEL")) == 1
    assert len(bob.requests("ACK")) == 2
    assert len(bob.requests("BYE")) == 1
    assert alice.names == ["Provisional", "Ended"]
    assert call.end_cause is EndCause.CANCELLED


def test_cancel_after_the_answer_is_too_late(network: Network, alice: AgentHost, bob: WireHost) -> None:
    call, invite = called(network, alice, bob)
    respond(network, bob, alice, invite, 200, body=ANSWER)
    assert not alice.do(call.cancel)
    assert call.state.name == "CONFIRMED"


def test_a_cancelled_invite_without_final_response_is_given_up_after_64_t1__rfc3261_9_1(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    call, invite = called(network, alice, bob)
    respond(network, bob, alice, invite, 180)
    alice.do(call.cancel)
    network.run(33.0)
    assert call.end_cause is EndCause.CANCELLED
    network.run(40.0)
    alice.assert_empty()


def test_a_call_that_rings_on_is_cancelled_by_the_limit(network: Network, alice: AgentHost, bob: WireHost) -> None:
    call, invite = called(network, alice, bob)
    respond(network, bob, alice, invite, 180)
    network.run(180.0)
    assert len(bob.requests("CANCEL")) >= 1
    respond(network, bob, alice, invite, 487)
    assert call.end_cause is EndCause.CANCELLED
    assert alice.agent.counters["ring_limit"] == 1


def test_forks_ring_side_by_side_and_the_first_answer_wins__rfc3261_13_2_2_4(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    call, invite = called(network, alice, bob)
    respond(network, bob, alice, invite, 180, tag="fork-1")
    respond(network, bob, alice, invite, 183, tag="fork-2", body=ANSWER)
    assert [event.remote_tag for event in alice.of(Provisional)] == ["fork-1", "fork-2"]
    assert alice.agent.dialog_count == 2
    respond(network, bob, alice, invite, 200, tag="fork-2", body=ANSWER)
    assert alice.agent.dialog_count == 1
    assert call.dialog is not None
    assert call.dialog.id.remote_tag == "fork-2"
    late = respond(network, bob, alice, invite, 200, tag="fork-1", body=ANSWER)
    (bye,) = bob.requests("BYE")
    assert bye.to.tag == "fork-1"
    assert [ack.to.tag for ack in bob.requests("ACK")] == ["fork-2", "fork-1"]
    bob.send(late, alice)
    network.run(0.1)
    assert len(bob.requests("ACK")) == 3
    assert len(bob.requests("BYE")) == 1
    assert call.state.name == "CONFIRMED"
    assert len(alice.of(Answered)) == 1


def test_more_forks_than_the_limit_are_not_kept(network: Network, bob: WireHost) -> None:
    alice = network.agent("192.0.2.1", max_early_dialogs=3)
    _, invite = called(network, alice, bob)
    for fork in range(10):
        respond(network, bob, alice, invite, 180, tag=f"fork-{fork}")
    assert alice.agent.dialog_count == 3
    assert alice.agent.counters["early_dialog_limit"] == 7


def test_a_bye_ends_only_its_early_branch__rfc3261_15(network: Network, alice: AgentHost, bob: WireHost) -> None:
    call, invite = called(network, alice, bob)
    ringing = respond(network, bob, alice, invite, 180, tag="fork-1")
    bye = callee_request(invite, ringing, "BYE")
    bob.send(bye, alice)
    network.run(0.1)
    assert 200 in bob.responses()
    assert call.state.name == "EARLY"
    respond(network, bob, alice, invite, 200, tag="fork-2", body=ANSWER)
    assert call.state.name == "CONFIRMED"


def callee_request(invite: Request, response: Response, method: str, cseq: int = 1) -> Request:
    return in_dialog(
        invite,
        response,
        method,
        cseq=cseq,
        branch=f"z9hG4bKcallee{cseq}",
        uri="sip:192.0.2.1:5060",
        via="SIP/2.0/UDP 192.0.2.2:5060;branch={branch}",
        from_=str(response.headers.get("To")),
        to=str(response.headers.get("From")),
        contact="<sip:bob@192.0.2.2:5060>",
    )


def test_callee_hangs_up__rfc3261_15_1_2(network: Network, alice: AgentHost, bob: WireHost) -> None:
    call, invite = called(network, alice, bob)
    ok = respond(network, bob, alice, invite, 200, body=ANSWER)
    bob.send(callee_request(invite, ok, "BYE"), alice)
    network.run(0.1)
    assert bob.responses() == [200]
    assert alice.names == ["Answered", "ByeReceived", "Ended"]
    assert call.end_cause is EndCause.REMOTE_BYE


@pytest.mark.parametrize("status", [401, 407])
def test_a_challenge_is_answered_with_the_next_cseq_and_the_same_call_id__rfc3261_22_2(
    network: Network, alice: AgentHost, bob: WireHost, status: int
) -> None:
    credentials = Credentials()
    call = alice.call(bob, authenticator=credentials)
    network.run(0.1)
    first = bob.requests("INVITE")[0]
    respond(network, bob, alice, first, status, headers=())
    second = bob.requests("INVITE")[1]
    name = "Proxy-Authorization" if status == 407 else "Authorization"
    assert second.headers.get(name) == 'Digest response="1"'
    assert (second.call_id, second.from_.tag, second.to.tag) == (first.call_id, first.from_.tag, None)
    assert second.cseq.number == first.cseq.number + 1
    assert second.top_via.branch != first.top_via.branch
    assert second.body == OFFER
    respond(network, bob, alice, second, 200, body=ANSWER)
    ack = bob.requests("ACK")[-1]
    assert ack.headers.get(name) == 'Digest response="1"'  # §22.1: the ACK repeats the INVITE's credentials
    assert ack.cseq.number == 2
    assert call.state.name == "CONFIRMED"
    assert alice.names == ["Answered"]
    alice.do(call.bye)
    network.run(0.1)
    assert bob.requests("BYE")[0].cseq.number == 3


def test_wrong_credentials_end_in_failure_and_not_in_a_loop__rfc3261_22_2(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    credentials = Credentials(answers=99)
    alice.call(bob, authenticator=credentials)
    network.run(0.1)
    for attempt in range(6):
        invites = {invite.cseq.number: invite for invite in bob.requests("INVITE")}
        if attempt + 1 in invites:
            respond(network, bob, alice, invites[attempt + 1], 407, headers=())
    assert alice.only(Failed).status == 407
    assert sorted({invite.cseq.number for invite in bob.requests("INVITE")}) == [1, 2, 3, 4]
    assert all(len(invite.headers.get_all("Proxy-Authorization")) <= 1 for invite in bob.requests("INVITE"))


def test_a_challenge_without_credentials_is_a_failure(network: Network, alice: AgentHost, bob: WireHost) -> None:
    _, invite = called(network, alice, bob)
    respond(network, bob, alice, invite, 407, headers=())
    assert alice.only(Failed).status == 407


def test_a_challenged_bye_is_sent_again_with_credentials__rfc3261_22_2(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    call = alice.call(bob, authenticator=Credentials())
    network.run(0.1)
    respond(network, bob, alice, bob.requests("INVITE")[0], 200, body=ANSWER)
    alice.do(call.bye)
    network.run(0.1)
    bob.send(bob.requests("BYE")[0].create_response(401, to_tag="bob"), alice)
    network.run(0.1)
    assert bob.requests("BYE")[1].headers.get("Authorization") == 'Digest response="1"'


def test_offerless_invite_waits_with_its_ack_for_our_answer__rfc3261_13_2_2_4(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    call, invite = called(network, alice, bob, b"")
    assert "Content-Type" not in invite.headers
    respond(network, bob, alice, invite, 200, body=OFFER)
    respond(network, bob, alice, invite, 200, body=OFFER)
    assert alice.only(Answered).body == OFFER
    assert bob.requests("ACK") == []
    assert alice.do(call.acknowledge, ANSWER)
    assert not alice.do(call.acknowledge, ANSWER)
    network.run(0.1)
    (ack,) = bob.requests("ACK")
    assert ack.body == ANSWER
    assert ack.headers.get("Content-Type") == "application/sdp"


def test_hanging_up_on_an_offer_never_answered_still_acknowledges__rfc3261_13_2_2_4(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    call, invite = called(network, alice, bob, b"")
    respond(network, bob, alice, invite, 200, body=OFFER)
    alice.do(call.bye)
    network.run(0.1)
    assert [message.method for message in bob.inbox if isinstance(message, Request)] == ["INVITE", "ACK", "BYE"]


def test_a_peer_that_hangs_up_before_our_late_answer_is_acknowledged(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    _, invite = called(network, alice, bob, b"")
    ok = respond(network, bob, alice, invite, 200, body=OFFER)
    bob.send(callee_request(invite, ok, "BYE"), alice)
    network.run(0.1)
    assert len(bob.requests("ACK")) == 1
    assert alice.only(Ended).cause is EndCause.REMOTE_BYE


def test_a_caller_cannot_do_what_only_a_confirmed_dialog_allows(
    network: Network, alice: AgentHost, bob: WireHost
) -> None:
    call, _ = called(network, alice, bob)
    with pytest.raises(SessionStateError, match="HANG_UP is of no use in state CALLING"):
        alice.do(call.bye)


def test_a_late_provisional_after_the_cancel_is_not_told(network: Network, alice: AgentHost, bob: WireHost) -> None:
    call, invite = called(network, alice, bob)
    respond(network, bob, alice, invite, 180)
    alice.do(call.cancel)
    respond(network, bob, alice, invite, 183, body=ANSWER)
    assert len(alice.of(Provisional)) == 1
    assert len(bob.requests("CANCEL")) == 1
