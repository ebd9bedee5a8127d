"""The user agent as a whole: its five verbs, requests outside dialogs, limits, and calls through a bad network."""

import pytest

from sip.agent import SessionLimitError, UserAgent
from sip.configuration import AgentConfiguration
from sip.dialog import UnroutableUriError
from sip.event import Acknowledged, Answered, Ended, IncomingInvite
from sip.header import NameAddr
from sip.message import Request, Response, parse_message
from sip.session.state import EndCause
from sip.transaction.machine import Failure
from sip.transport.flow import Address, Flow
from sip.uri import Uri
from tests.helpers.sip import ANSWER, OFFER, Network, request

ALICE = NameAddr.parse("<sip:alice@192.0.2.1>")


def test_a_request_outside_dialogs_gets_its_outcome__rfc3261_8_1() -> None:
    network = Network()
    alice, bob = network.agent("192.0.2.1"), network.agent("192.0.2.2")
    outcomes: list[Response | Failure] = []
    for host in ("192.0.2.2", "192.0.2.3"):
        alice.do(
            alice.agent.request,
            "OPTIONS",
            target=Uri.parse(f"sip:{host}"),
            from_=ALICE,
            on_outcome=lambda outcome, now: outcomes.append(outcome),
            call_id="ping",
            cseq=7,
        )
    network.run(60.0)
    assert [outcome.status for outcome in outcomes] == [200, 408]
    sent = network.sent(alice, "OPTIONS")[0].message
    assert (sent.call_id, sent.cseq.number) == ("ping", 7)
    alice.assert_empty()
    bob.assert_empty()


def test_a_call_to_a_number_without_route_is_refused_here() -> None:
    agent = UserAgent(AgentConfiguration(), token=lambda: "t")
    with pytest.raises(UnroutableUriError, match="tel:"):
        agent.invite(target=Uri.parse("tel:+15551234"), from_=ALICE, offer=OFFER, now=0.0)
    assert agent.session_count == 0


def test_outbound_calls_respect_the_session_limit() -> None:
    network = Network()
    alice = network.agent("192.0.2.1", max_sessions=1)
    alice.call(network.wire("192.0.2.2"))
    with pytest.raises(SessionLimitError, match="1 sessions live"):
        alice.call(network.wire("192.0.2.3"))


def test_the_endpoint_fills_in_what_the_configuration_leaves_open() -> None:
    advertised = {"udp": Address("203.0.113.5", 0), "tls": Address("gw.example.net", 5061)}
    agent = UserAgent(AgentConfiguration(advertised=advertised), token=lambda: "t")
    agent.advertise("udp", Address("10.0.0.5", 5070))
    agent.advertise("tls", Address("10.0.0.5", 5999))
    agent.advertise("tcp", Address("2001:db8::1", 5060))
    assert agent.contact("udp") == "<sip:203.0.113.5:5070>"
    assert agent.contact("tls") == "<sip:gw.example.net:5061;transport=tls>"
    assert agent.contact("tls", secure=True) == "<sips:gw.example.net:5061>"
    assert agent.contact("tcp") == "<sip:[2001:db8::1]:5060;transport=tcp>"
    assert agent.via("tcp") == "SIP/2.0/TCP [2001:db8::1]:5060;rport;branch=z9hG4bKt"


def test_a_sips_call_keeps_to_sips__rfc3261_12_1_1() -> None:
    agent = UserAgent(AgentConfiguration(), token=iter(f"t{n}" for n in range(99)).__next__)
    agent.advertise("tls", Address("gw.example.net", 5061))
    flow = Flow("tls", Address("192.0.2.2", 5061), Address("192.0.2.1", 40000))
    agent.receive_message(bytes(request(uri="sips:bob@gw.example.net", contact="<sips:a@192.0.2.1>")), flow, 0.0)
    event = next(agent.events())
    assert isinstance(event, IncomingInvite)
    event.session.answer(ANSWER, now=0.0)
    sent = [parse_message(transmit.data) for transmit in agent.transmits()]
    assert sent[-1].headers.get("Contact") == "<sips:gw.example.net:5061>"
    assert all(transmit.to == flow for transmit in agent.transmits())


def test_over_tcp_nothing_is_resent_but_the_2xx_is__rfc3261_13_3_1_4() -> None:
    network = Network(transport="tcp")
    alice, bob = network.agent("192.0.2.1"), network.wire("192.0.2.2")
    alice.call(bob)
    network.run(31.0)
    assert len(bob.requests("INVITE")) == 1
    carol, dave = network.agent("192.0.2.3"), network.wire("192.0.2.4")
    dave.send(request(via="SIP/2.0/TCP 192.0.2.4;branch={branch}"), carol)
    network.run(0.1)
    carol.do(carol.incoming.answer, ANSWER)
    network.run(2.0)
    assert dave.responses() == [100, 200, 200, 200]
    assert dave.last(200).headers.get("Contact") == "<sip:192.0.2.3:5060;transport=tcp>"


@pytest.mark.parametrize("seed", range(12))
def test_calls_survive_loss_and_reordering(seed: int) -> None:
    """20 % loss and up to 300 ms of jitter: every call is answered once, ends once, and leaves nothing behind."""
    network = Network(seed=seed, loss=0.2, jitter=0.3)
    alice, bob = network.agent("192.0.2.1"), network.agent("192.0.2.2")
    bob.on_event = lambda event: bob.do(event.session.answer, ANSWER) if isinstance(event, IncomingInvite) else None
    calls = [alice.call(bob) for _ in range(5)]
    network.run(30.0)
    assert len(alice.of(Answered)) == len(bob.of(IncomingInvite)) == 5
    assert len(bob.of(Acknowledged)) == 5
    for call in calls[:3]:
        alice.do(call.bye)
    for event in bob.of(IncomingInvite):
        bob.do(event.session.hang_up)
    network.run(200.0)
    assert [event.session for event in alice.of(Ended)].count(calls[0]) == 1
    assert len(alice.of(Ended)) == len(bob.of(Ended)) == 5
    alice.assert_empty()
    bob.assert_empty()


def test_a_dead_network_ends_every_session_within_64_t1() -> None:
    network = Network()
    alice, bob = network.agent("192.0.2.1"), network.agent("192.0.2.2")
    alice.call(bob)
    network.run(0.1)
    network.drop = lambda packet: True
    bob.do(bob.incoming.answer, ANSWER)
    network.run(200.0)
    assert bob.only(Ended).cause is EndCause.NOT_ACKNOWLEDGED
    network.run(100.0)
    alice.assert_empty()  # the ring limit cancelled it, and the silence after that ended it
    bob.assert_empty()


def test_an_unacknowledged_flood_is_gone_at_32_seconds_with_nothing_left() -> None:
    network = Network()
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2", max_half_open=50)
    bob.on_event = lambda event: bob.do(event.session.answer, ANSWER) if isinstance(event, IncomingInvite) else None
    for number in range(200):
        alice.send(request(branch=f"z9hG4bK{number}", call_id=f"call-{number}"), bob)
    network.run(1.0)
    assert bob.agent.session_count == 50
    assert bob.agent.counters["half_open_limit"] == 150
    network.run(32.0)
    assert bob.agent.session_count == 0
    assert len({sent.call_id for sent in alice.requests("BYE")}) == 50
    network.run(40.0)
    bob.assert_empty()


def test_a_request_from_the_wire_never_names_the_destination__promise_16() -> None:
    network = Network()
    bob = network.agent("192.0.2.2")
    alice = network.wire("192.0.2.1")
    via = "SIP/2.0/UDP 203.0.113.1:9;maddr=203.0.113.2;received=203.0.113.3;rport=99;branch={branch}"
    for method in ("OPTIONS", "INVITE", "BYE", "CANCEL", "FOO"):
        alice.send(request(method, via=via, branch=f"z9hG4bK{method}", call_id=method), bob)
    alice.send(bytes(request(via=via)).replace(b"Max-Forwards: 70", b"Max-Forwards: -1"), bob)
    network.run(0.1)
    assert len(network.sent(bob)) == 6
    assert {packet.destination for packet in network.sent(bob)} == {alice.address}


def test_call_ids_tags_and_branches_are_all_tokens() -> None:
    network = Network()
    alice = network.agent("192.0.2.1")
    bob = network.wire("192.0.2.2")
    alice.call(bob)
    alice.call(bob)
    network.run(0.1)
    first, second = bob.requests("INVITE")
    assert isinstance(first, Request)
    assert first.call_id != second.call_id
    assert first.from_.tag != second.from_.tag
    assert first.top_via.branch != second.top_via.branch


@pytest.mark.parametrize("headers", [(), (("X-Padding", "x" * 900),)])
@pytest.mark.parametrize("outcome", ["answer", "reject", "silence"])
def test_one_unacknowledged_invite_causes_at_most_12_times_its_bytes__promise_10(
    headers: tuple[tuple[str, str], ...], outcome: str
) -> None:
    network = Network()
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2")
    invite = request(headers=headers)
    alice.send(invite, bob)
    network.run(0.1)
    bob.do(bob.incoming.ring)
    if outcome == "answer":
        bob.do(bob.incoming.answer, ANSWER)
    elif outcome == "reject":
        bob.do(bob.incoming.reject, 486)
    network.run(400.0)
    assert sum(len(packet.data) for packet in network.sent(bob)) <= 12 * len(bytes(invite))
    if outcome == "answer":
        assert len(alice.requests("BYE")) == 1
    bob.assert_empty()


@pytest.mark.parametrize("contact", ["192.0.2.1", f"{'c' * 300}@192.0.2.1"])
@pytest.mark.parametrize("require", ["", "Require:100rel\r\n"])
@pytest.mark.parametrize("outcome", ["answer", "reject", "late_reject", "silence"])
def test_the_briefest_invite_gains_no_more_either__promise_10(outcome: str, require: str, contact: str) -> None:
    network = Network()
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2", supported=("100rel",))
    invite = (
        "INVITE sip:b@a SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1\r\nf:sip:a@b;tag=1\r\nt:sip:a\r\ni:1\r\n"
        f"CSeq:1 INVITE\r\nm:<sip:{contact}>\r\n{require}l:0\r\n\r\n"
    ).encode()
    alice.send(invite, bob)
    network.run(0.1)
    if outcome != "reject":
        bob.do(bob.incoming.ring)
    if outcome == "late_reject":
        network.run(20.0)
    if outcome == "answer":
        bob.do(bob.incoming.answer, ANSWER)
    elif outcome != "silence":
        bob.do(bob.incoming.reject, 486)
    network.run(400.0)
    sent = network.sent(bob)
    assert sum(len(packet.data) for packet in sent) <= 12 * len(invite)
    assert len(alice.requests("BYE")) == (outcome == "answer")
    assert not sent[-1].data.startswith(b"SIP/2.0 1"), "the final response or the BYE was left out for the limit"
    bob.assert_empty()
