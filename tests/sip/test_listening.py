"""Which of our addresses a peer is told (RFC 3261 §8.1.1.7, §8.1.1.8, §12.1.1)."""

import pytest

from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.event import IncomingInvite
from sip.header import NameAddr
from sip.listening import UNADVERTISED, Listening, ListeningTable
from sip.message import Request, parse_message
from sip.transport.flow import Address, Flow, Target
from sip.uri import Uri
from tests.helpers.sip import ANSWER, OFFER, request

PUBLIC = Address("8.8.8.8", 5060)
INNER = Address("10.0.0.5", 5062)
SIX = Address("2600::5", 5060)


def table() -> ListeningTable:
    made = ListeningTable()
    made.add(Listening("udp", Address("0.0.0.0", 5060), PUBLIC))
    made.add(Listening("udp", INNER, INNER))
    made.add(Listening("udp", Address("::", 5060), SIX))
    made.add(Listening("tcp", Address("0.0.0.0", 5060), PUBLIC))
    return made


@pytest.mark.parametrize(
    ("near", "told"),
    [
        (Flow("udp", Address("0.0.0.0", 5060), Address("10.0.0.9", 5060)), PUBLIC),  # who came to it is told it
        (Flow("udp", INNER, Address("8.8.4.4", 5060)), INNER),
        (Flow("udp", Address("::", 5060), Address("2600::9", 5060)), SIX),
        (Flow("tcp", Address("10.0.0.5", 40000), Address("10.0.0.9", 5060)), PUBLIC),  # a connection that we opened
        (Target("udp", "8.8.4.4"), PUBLIC),
        (Target("udp", "10.9.9.9"), INNER),
        (Target("udp", "127.0.0.1"), INNER),
        (Target("udp", "2600::9"), SIX),
        (Target("udp", "fd00::9"), SIX),  # no inner one of its version
        (Target("udp", "trunk.example.net"), PUBLIC),
        (None, PUBLIC),
    ],
)
def test_each_peer_is_told_the_address_of_its_side(near: Flow | Target | None, told: Address) -> None:
    transport = near.transport if near is not None else "udp"
    assert table().address(transport, near) == told


def test_a_transport_without_listener_is_told_a_name_that_leads_nowhere__rfc6761_6_4() -> None:
    assert table().address("tls") == UNADVERTISED


def test_what_is_bound_takes_the_place_of_what_was_configured() -> None:
    made = ListeningTable()
    made.add(Listening("udp", None, PUBLIC))
    made.add(Listening("udp", INNER, INNER))
    assert made.address("udp") == INNER


def make_agent() -> UserAgent:
    tokens = iter(f"t{number}" for number in range(1000))
    agent = UserAgent(AgentConfiguration(), token=tokens.__next__)
    agent.advertise("udp", Address("0.0.0.0", 5060), "8.8.8.8")
    agent.advertise("udp", INNER)
    return agent


@pytest.mark.parametrize(("local", "told"), [(Address("0.0.0.0", 5060), "8.8.8.8:5060"), (INNER, "10.0.0.5:5062")])
def test_a_call_keeps_to_the_listener_that_it_came_to(local: Address, told: str) -> None:
    agent = make_agent()
    flow = Flow("udp", local, Address("192.0.2.1", 5060))
    invite = request(contact="<sip:alice@192.0.2.1>")
    agent.receive_message(bytes(invite), flow, 0.0)
    event = next(agent.events())
    assert isinstance(event, IncomingInvite)
    event.session.answer(ANSWER, now=0.0)
    ok = parse_message([transmit.data for transmit in agent.transmits()][-1])
    assert ok.headers.get("Contact") == f"<sip:{told}>"
    ack = request("ACK", to=ok.headers.get("To") or "", contact=None, branch="z9hG4bKack")
    agent.receive_message(bytes(ack), flow, 0.1)
    event.session.bye(now=0.2)
    bye = parse_message(next(agent.transmits()).data)
    assert f"{bye.top_via.host}:{bye.top_via.port}" == told


def test_a_call_of_ours_goes_out_from_the_side_of_its_target() -> None:
    agent = make_agent()
    for host, told in (("10.1.2.3", "10.0.0.5:5062"), ("8.8.4.4", "8.8.8.8:5060")):
        agent.invite(target=Uri.parse(f"sip:{host}"), from_=NameAddr.parse("<sip:a@b>"), offer=OFFER, now=0.0)
        invite = parse_message(next(agent.transmits()).data)
        assert isinstance(invite, Request)
        assert f"{invite.top_via.host}:{invite.top_via.port}" == told
        assert invite.headers.get("Contact") == f"<sip:{told}>"
