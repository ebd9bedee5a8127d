"""Replaces (RFC 3891): which dialog an INVITE may take the place of, in virtual time."""

import pytest

from sip.errors import SipParseError
from sip.event import IncomingInvite
from sip.message import Request, Response
from sip.replaces import Replaces
from sip.session.session import InviteSession
from tests.helpers.sip import ANSWER, OFFER, AgentHost, Network, WireHost, in_dialog, request

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS")


class House:
    """An agent that knows Replaces, in a call with Alice; Carol wants to take her place."""

    def __init__(self, network: Network, supported: tuple[str, ...] = ("replaces",), **invite: str) -> None:
        self.network = network
        self.alice: WireHost = network.wire("192.0.2.1")
        self.bob: AgentHost = network.agent("192.0.2.2", allow=ALLOW, supported=supported)
        self.carol: WireHost = network.wire("192.0.2.3")
        self.invite: Request = request(**invite)  # type: ignore[arg-type]  # all are strings
        self.alice.send(self.invite, self.bob)
        network.run(0.1)

    def answer(self) -> Response:
        self.bob.do(self.bob.incoming.answer, ANSWER)
        self.network.run(0.1)
        ok: Response = self.alice.last(200)
        self.alice.send(in_dialog(self.invite, ok, "ACK", cseq=1, body=b""), self.bob)
        self.network.run(0.1)
        return ok

    def replaces(self, to_tag: str | None = None, more: str = "") -> str:
        tag = to_tag if to_tag is not None else self.bob.incoming.local_tag
        return f"{self.invite.call_id};to-tag={tag};from-tag={self.invite.from_.tag}{more}"

    def send(self, replaces: str, *headers: tuple[str, str], method: str = "INVITE") -> int:
        """Carol's request; the first final status, or 100."""
        fields = (("Replaces", replaces), *headers)
        self.carol.send(request(method, call_id="carol", branch="z9hG4bKc", headers=fields), self.bob)
        self.network.run(0.1)
        return self.carol.responses()[-1]

    def replaced(self) -> InviteSession | None:
        event = self.bob.of(IncomingInvite)[-1]
        assert event.session.sip_call_id == "carol"
        return event.replaces


def test_the_header_is_read_and_written__rfc3891_6_1() -> None:
    text = "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff;early-only"
    replaces = Replaces.parse(text)
    assert replaces == Replaces("98732@sip.example.com", "ff87ff", "r33th4x0r", early_only=True)
    assert str(replaces) == "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r;early-only"
    with pytest.raises(SipParseError, match="lacks a tag"):
        Replaces.parse("98732@sip.example.com;to-tag=1")


def test_a_confirmed_dialog_is_found__rfc3891_3(network: Network) -> None:
    house = House(network)
    house.answer()
    old = house.bob.incoming
    assert house.send(house.replaces(), ("Require", "replaces")) == 100
    assert house.replaced() is old
    assert not old.is_ended, "it is our user's to end it, once the new one is answered"


def test_no_match_gets_481__rfc3891_3(network: Network) -> None:
    house = House(network)
    house.answer()
    assert house.send(house.replaces("another")) == 481
    assert house.bob.agent.counters["replaces_481"] == 1
    assert len(house.bob.of(IncomingInvite)) == 1


def test_a_dialog_that_has_ended_gets_603__rfc3891_3(network: Network) -> None:
    house = House(network)
    ok = house.answer()
    replaces = house.replaces()
    house.alice.send(in_dialog(house.invite, ok, "BYE", cseq=2, body=b""), house.bob)
    network.run(0.1)
    assert house.send(replaces) == 603


def test_early_only_on_a_confirmed_dialog_gets_486__rfc3891_3(network: Network) -> None:
    house = House(network)
    house.answer()
    assert house.send(house.replaces(more=";early-only")) == 486


def test_an_early_dialog_that_we_did_not_begin_gets_481__rfc3891_3(network: Network) -> None:
    house = House(network)
    house.bob.do(house.bob.incoming.ring)
    network.run(0.1)
    assert house.send(house.replaces()) == 481


@pytest.mark.parametrize("more", ["", ";early-only"])
def test_an_early_dialog_that_we_began_is_found__rfc3891_3(network: Network, more: str) -> None:
    house = House(network)
    house.answer()
    dave = network.wire("192.0.2.4")
    calling = house.bob.call(dave, OFFER)
    network.run(0.1)
    invite = dave.requests("INVITE")[0]
    dave.send(invite.create_response(180, to_tag="dave", headers=[("Contact", "<sip:192.0.2.4>")]), house.bob)
    network.run(0.1)
    assert house.send(f"{invite.call_id};to-tag={invite.from_.tag};from-tag=dave{more}") == 100
    assert house.replaced() is calling


def test_tag_0_is_the_tag_that_a_peer_of_rfc2543_lacks__rfc3891_3(network: Network) -> None:
    house = House(network, from_="<sip:alice@example.net>")
    house.answer()
    old = house.bob.incoming
    assert house.send(f"{house.invite.call_id};to-tag={old.local_tag};from-tag=0") == 100
    assert house.replaced() is old


@pytest.mark.parametrize("value", ["x;to-tag=1", "x;from-tag=1", ";to-tag=1;from-tag=2"])
def test_an_unreadable_one_gets_400__rfc3891_3(network: Network, value: str) -> None:
    house = House(network)
    assert house.send(value) == 400


def test_beside_join_it_gets_400__rfc3911_4(network: Network) -> None:
    house = House(network)
    house.answer()
    assert house.send(house.replaces(), ("Join", house.replaces())) == 400


def test_two_of_them_get_400__rfc3891_3(network: Network) -> None:
    house = House(network)
    house.answer()
    message = request(call_id="carol", branch="z9hG4bKc", headers=(("Replaces", house.replaces()),))
    message.headers.add("Replaces", house.replaces())
    house.carol.send(message, house.bob)
    network.run(0.1)
    assert house.carol.responses() == [400]


def test_in_another_request_than_invite_it_gets_400__rfc3891_3(network: Network) -> None:
    house = House(network)
    house.answer()
    assert house.send(house.replaces(), method="OPTIONS") == 400


def test_who_does_not_know_it_says_so_where_it_is_required__rfc3891_5(network: Network) -> None:
    house = House(network, supported=())
    house.answer()
    assert house.send(house.replaces(), ("Require", "replaces")) == 420


def test_who_does_not_know_it_takes_a_new_call_otherwise__rfc3891_5(network: Network) -> None:
    house = House(network, supported=())
    house.answer()
    assert house.send(house.replaces()) == 100
    assert house.replaced() is None
