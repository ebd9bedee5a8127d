"""Answers without a transaction: the same To tag for the same request, and none that can be guessed."""

from sip.message import Response, parse_message
from sip.stateless_responder import StatelessResponder
from sip.transport.flow import Address, Flow
from tests.helpers.sip import Network, request

FLOW = Flow("udp", Address("192.0.2.2", 5060), Address("192.0.2.1", 5060))


def test_a_retransmitted_refusal_has_the_same_tag__rfc3261_8_2_7() -> None:
    network = Network()
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2")
    for _ in range(2):
        alice.send(request("OPTIONS", cseq=5), bob)
    alice.send(request("OPTIONS", cseq=6), bob)
    network.run(0.1)
    tags = [message.to.tag for message in alice.inbox]
    assert tags[0] == tags[1] != tags[2]


def test_the_tag_of_a_malformed_request_is_the_same_too__rfc3261_8_2_7() -> None:
    network = Network()
    alice, bob = network.wire("192.0.2.1"), network.agent("192.0.2.2")
    malformed = bytes(request("OPTIONS")).replace(b"Max-Forwards: 70", b"Max-Forwards: -1")
    for _ in range(2):
        alice.send(malformed, bob)
    network.run(0.1)
    assert alice.responses() == [400, 400]
    assert len({message.to.tag for message in alice.inbox}) == 1


def test_two_processes_give_the_same_request_different_tags() -> None:
    sent: list[bytes] = []
    for secret in ("one", "two"):
        responder = StatelessResponder(secret, lambda data, flow: sent.append(data))
        responder.respond(request("OPTIONS"), FLOW, 200)
    tags = [message.to.tag for message in map(parse_message, sent) if isinstance(message, Response)]
    assert tags[0] != tags[1]
