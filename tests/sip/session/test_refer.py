"""REFER and its NOTIFYs, sent and received (RFC 3515, RFC 4488), in virtual time."""

from typing import Any

import pytest

from sip.event import ReferAccepted, ReferEnded, ReferProgress, ReferReceived
from sip.message import Request
from sip.session.refer import SUBSCRIPTION_SECONDS
from tests.helpers.sip import AgentHost, Network, WireHost, confirmed, in_dialog, request

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "NOTIFY", "REFER")
TARGET = "<tel:+15557778888>"


class Call:
    """A hand-played caller in a confirmed call with an agent that knows REFER."""

    def __init__(self, network: Network, **configuration: Any) -> None:
        self.network = network
        self.alice: WireHost = network.wire("192.0.2.1")
        self.bob: AgentHost = network.agent("192.0.2.2", screen=None, allow=ALLOW, **configuration)
        self.invite, self.ok, self.session = confirmed(self.alice, self.bob)
        self.cseq = 1

    def send(self, method: str, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.cseq += 1
        branch = f"z9hG4bKr{self.cseq}"
        message = in_dialog(self.invite, self.ok, method, cseq=self.cseq, branch=branch, headers=headers, body=body)
        self.alice.send(message, self.bob)
        self.network.run(0.1)

    def notify(self, body: bytes, state: str = "active;expires=60", event: str = "refer") -> None:
        fields = (("Event", event), ("Subscription-State", state), ("Content-Type", "message/sipfrag;version=2.0"))
        self.send("NOTIFY", *fields, body=body)

    def refer(self) -> Request:
        assert self.bob.do(self.session.refer, TARGET, headers=[("Referred-By", "<sip:bob@192.0.2.2>")])
        self.network.run(0.1)
        return self.alice.requests("REFER")[-1]


def test_a_transfer_is_followed_to_its_end__rfc3515_2_4(network: Network) -> None:
    call = Call(network)
    refer = call.refer()
    assert refer.headers.get("Refer-To") == TARGET
    assert refer.headers.get("Referred-By") == "<sip:bob@192.0.2.2>"
    assert refer.headers.get("Contact") == "<sip:192.0.2.2:5060>"
    call.alice.send(refer.create_response(202), call.bob)
    network.run(0.1)
    call.notify(b"SIP/2.0 100 Trying\r\n")
    call.notify(b"SIP/2.0 180 Ringing\r\nTo: <sip:x@y>\r\n")
    call.notify(b"SIP/2.0 200 OK", "terminated;reason=noresource")
    assert call.alice.responses()[-3:] == [200, 200, 200]
    assert len(call.bob.of(ReferAccepted)) == 1
    assert [(event.status, event.reason) for event in call.bob.of(ReferProgress)] == [(100, "Trying"), (180, "Ringing")]
    ended = call.bob.only(ReferEnded)
    assert (ended.status, ended.reason, ended.is_accepted) == (200, "OK", True)
    assert call.bob.do(call.session.refer, TARGET)


def test_a_notify_that_outruns_the_202_is_taken__rfc3515_2_4_4(network: Network) -> None:
    call = Call(network)
    refer = call.refer()
    call.notify(b"SIP/2.0 503 Service Unavailable", "terminated;reason=noresource", "refer;id=1")
    call.alice.send(refer.create_response(202), call.bob)
    network.run(0.1)
    assert call.bob.only(ReferEnded).status == 503
    assert call.bob.of(ReferAccepted) == []


def test_a_refused_refer_ends_the_transfer__rfc3515_2_4_2(network: Network) -> None:
    call = Call(network)
    refer = call.refer()
    call.alice.send(refer.create_response(403), call.bob)
    network.run(0.1)
    ended = call.bob.only(ReferEnded)
    assert (ended.status, ended.reason, ended.is_accepted) == (403, "Forbidden", False)


def test_a_silent_peer_ends_the_transfer_with_408(network: Network) -> None:
    call = Call(network)
    call.refer()
    network.run(40.0)
    assert (call.bob.only(ReferEnded).status, call.bob.only(ReferEnded).is_accepted) == (408, False)


def test_a_transfer_that_is_never_told_of_again_ends_with_408__rfc3515_2_4_7(network: Network) -> None:
    call = Call(network)
    call.alice.send(call.refer().create_response(202), call.bob)
    network.run(SUBSCRIPTION_SECONDS + 1.0)
    assert (call.bob.only(ReferEnded).status, call.bob.only(ReferEnded).is_accepted) == (408, True)


def test_one_transfer_at_a_time(network: Network) -> None:
    call = Call(network)
    call.refer()
    assert not call.bob.do(call.session.refer, TARGET)


def test_a_subscription_that_ends_without_a_word_ends_with_what_was_said_last__rfc3515_2_4_7(network: Network) -> None:
    call = Call(network)
    call.refer()
    call.notify(b"SIP/2.0 180 Ringing")
    call.notify(b"", "terminated;reason=timeout")
    assert call.bob.only(ReferEnded).status == 180


def test_a_notify_of_no_refer_gets_481_and_of_another_event_489__rfc6665_4_1_3(network: Network) -> None:
    call = Call(network)
    call.notify(b"SIP/2.0 200 OK")
    call.notify(b"SIP/2.0 200 OK", event="presence")
    assert call.alice.responses()[-2:] == [481, 489]


def test_a_notify_that_is_no_sipfrag_gets_400__rfc3515_2_4_5(network: Network) -> None:
    call = Call(network)
    call.refer()
    call.notify(b"HTTP/1.1 200 OK")
    assert call.alice.responses()[-1] == 400
    assert call.bob.of(ReferEnded) == []


def test_a_received_refer_is_accepted_and_told_of__rfc3515_2_4_4(network: Network) -> None:
    call = Call(network)
    call.send("REFER", ("Refer-To", "<sip:carol@192.0.2.3>"), ("Referred-By", "<sip:alice@192.0.2.1>"))
    received = call.bob.only(ReferReceived)
    assert str(received.refer_to.uri) == "sip:carol@192.0.2.3"
    assert received.referred_by == "<sip:alice@192.0.2.1>"
    assert call.bob.do(call.session.accept_refer)
    assert not call.bob.do(call.session.accept_refer)
    assert not call.bob.do(call.session.reject_refer)
    network.run(0.1)
    accepted = call.alice.last(202)
    assert accepted.headers.get("Contact") == "<sip:192.0.2.2:5060>"
    assert call.bob.do(call.session.notify_refer, 180)
    assert call.bob.do(call.session.notify_refer, 200, "Answered")
    assert not call.bob.do(call.session.notify_refer, 200)
    network.run(0.1)
    notifies = call.alice.requests("NOTIFY")
    assert [message.body for message in notifies] == [
        b"SIP/2.0 100 Trying\r\n",
        b"SIP/2.0 180 Ringing\r\n",
        b"SIP/2.0 200 Answered\r\n",
    ]
    assert {message.headers.get("Event") for message in notifies} == {"refer;id=2"}
    assert notifies[0].headers.get("Content-Type") == "message/sipfrag;version=2.0"
    states = [message.headers.get("Subscription-State") for message in notifies]
    assert states == [f"active;expires={SUBSCRIPTION_SECONDS}"] * 2 + ["terminated;reason=noresource"]


def test_a_received_refer_is_declined_by_policy_or_by_silence(network: Network) -> None:
    call = Call(network)
    call.send("REFER", ("Refer-To", "<sip:carol@192.0.2.3>"))
    assert call.bob.do(call.session.reject_refer, 403)
    call.send("REFER", ("Refer-To", "<sip:carol@192.0.2.3>"))
    network.run(11.0)
    assert [status for status in call.alice.responses() if status in {403, 603}] == [403, 603]
    assert call.bob.agent.counters["refer_unanswered"] == 1


@pytest.mark.parametrize("headers", [(), (("Refer-To", "<<nonsense"),)])
def test_a_refer_without_a_readable_refer_to_gets_400__rfc3515_2_4_2(
    network: Network, headers: tuple[tuple[str, str], ...]
) -> None:
    call = Call(network)
    call.send("REFER", *headers)
    assert call.alice.responses()[-1] == 400


def test_a_second_refer_while_one_is_under_way_gets_491(network: Network) -> None:
    call = Call(network)
    call.send("REFER", ("Refer-To", TARGET))
    call.send("REFER", ("Refer-To", TARGET))
    assert call.alice.responses()[-1] == 491
    assert len(call.bob.of(ReferReceived)) == 1


def test_a_refer_before_the_call_is_confirmed_gets_491(network: Network) -> None:
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2", screen=None, allow=ALLOW)
    invite = request()
    alice.send(invite, bob)
    network.run(0.1)
    bob.do(bob.incoming.ring)
    network.run(0.1)
    alice.send(in_dialog(invite, alice.last(180), "REFER", headers=(("Refer-To", TARGET),)), bob)
    network.run(0.1)
    assert alice.responses()[-1] == 491
    assert not bob.do(bob.incoming.refer, TARGET)


def test_the_end_of_the_call_ends_its_transfers(network: Network) -> None:
    call = Call(network)
    call.refer()
    call.send("BYE")
    network.run(300.0)
    assert call.bob.of(ReferEnded) == []
    assert call.bob.names[-1] == "Ended"
    call.bob.assert_empty()


def test_a_peer_that_wants_no_notify_gets_none__rfc4488_4(network: Network) -> None:
    call = Call(network, supported=("norefersub",))
    call.send("REFER", ("Refer-To", TARGET), ("Refer-Sub", "false"))
    assert call.bob.do(call.session.accept_refer)
    network.run(0.1)
    accepted = call.alice.last(202)
    assert accepted.headers.get("Refer-Sub") == "false"
    assert not call.bob.do(call.session.notify_refer, 200)
    network.run(0.1)
    assert call.alice.requests("NOTIFY") == []


def test_without_the_extension_every_refer_is_told_of__rfc4488_4(network: Network) -> None:
    call = Call(network)
    call.send("REFER", ("Refer-To", TARGET), ("Refer-Sub", "false"))
    assert call.bob.do(call.session.accept_refer)
    network.run(0.1)
    assert "Refer-Sub" not in call.alice.last(202).headers
    assert len(call.alice.requests("NOTIFY")) == 1
