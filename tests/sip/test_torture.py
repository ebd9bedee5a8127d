"""Every message of tests/vectors/sip gets the treatment that its table asks for (RFC 4475, RFC 5118, our promises)."""

from collections.abc import Callable
from typing import Any

import pytest

from sip.errors import SipParseError
from sip.event import IncomingInvite
from sip.message import Request, Response, parse_message
from tests.helpers.sip import AgentHost, Network
from tests.helpers.sip_oracle import read_everything
from tests.helpers.vector import FOLDER, Vector, load_vectors

VECTORS = [vector for path in sorted(FOLDER.glob("*.toml")) for vector in load_vectors(path.stem)]

# What the gateway's user agent serves (gateway/signalling.py), without which 405 and 420 would say little.
METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "PRACK", "UPDATE", "REFER", "NOTIFY")
EXTENSIONS = ("timer", "100rel")

# What `expect` in the tables asks for → how a message says it.
SAYS: dict[str, Callable[[Any], object]] = {
    "method": lambda m: m.method,
    "uri": lambda m: str(m.uri),
    "scheme": lambda m: m.uri.scheme,
    "user": lambda m: m.uri.decoded_user,
    "host": lambda m: m.uri.host,
    "port": lambda m: m.uri.port or 0,
    "status": lambda m: m.status,
    "reason": lambda m: m.reason,
    "from_name": lambda m: m.from_.display_name,
    "from_uri": lambda m: str(m.from_.uri),
    "from_tag": lambda m: m.from_.tag,
    "from_tag_length": lambda m: len(m.from_.tag),
    "to_name": lambda m: m.to.display_name,
    "to_tag": lambda m: m.to.tag,
    "call_id": lambda m: m.call_id,
    "cseq": lambda m: m.cseq.number,
    "max_forwards": lambda m: m.max_forwards,
    "expires": lambda m: m.expires,
    "vias": lambda m: len(m.vias),
    "branch": lambda m: m.top_via.branch,
    "rport": lambda m: m.top_via.rport,
    "received": lambda m: m.top_via.received,
    "via_host": lambda m: m.top_via.host,
    "via_port": lambda m: m.top_via.port,
    "contact": lambda m: str(m.contacts[0].uri),
    "contact_params": lambda m: str(m.contacts[0].params),
    "contacts": lambda m: len(m.contacts),
    "record_routes": lambda m: [str(route) for route in m.record_routes],
    "require": lambda m: list(m.require),
    "content_type": lambda m: m.content_type.essence,
    "body_length": lambda m: len(m.body),
}


def named(treatment: str) -> pytest.MarkDecorator:
    chosen = [vector for vector in VECTORS if vector.treatment == treatment]
    assert chosen
    return pytest.mark.parametrize("vector", chosen, ids=[f"{vector.name}" for vector in chosen])


def test_each_vector_has_a_name_of_its_own_and_a_known_treatment() -> None:
    assert len({vector.name for vector in VECTORS}) == len(VECTORS)
    assert {vector.treatment for vector in VECTORS} == {"accept", "answer", "drop"}


@pytest.mark.parametrize(("table", "sections"), [("rfc4475", 49), ("rfc5118", 10)])
def test_each_section_of_the_rfc_has_a_vector(table: str, sections: int) -> None:
    assert len({vector.section for vector in load_vectors(table)}) == sections


@named("accept")
def test_valid_message_says_what_the_table_expects(vector: Vector) -> None:
    message = parse_message(vector.message)
    expected = dict(vector.expect)
    headers = expected.pop("header", {})
    assert expected or headers, "a vector that expects nothing shows nothing"
    assert {name: SAYS[name](message) for name in expected} == expected
    assert {name: message.headers.get(name) for name in headers} == headers
    read_everything(message)


@named("accept")
def test_valid_message_survives_being_written_and_read_again(vector: Vector) -> None:
    first = parse_message(vector.message)
    again = parse_message(bytes(first))
    assert again.body == first.body
    assert [item for item in again.headers.items() if item[0] != "Content-Length"] == [
        item for item in first.headers.items() if item[0] != "Content-Length"
    ]
    assert bytes(again) == bytes(first)


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS if vector.treatment == "accept" and not vector.message.startswith(b"SIP/2.0")],
    ids=lambda vector: vector.name,
)
def test_valid_request_can_be_answered_and_its_answer_parses(vector: Vector) -> None:
    request = parse_message(vector.message)
    assert isinstance(request, Request)
    response = parse_message(bytes(request.create_response(vector.ua or 200, to_tag="ours")))
    assert isinstance(response, Response)
    assert response.headers.get_all("Via") == request.headers.get_all("Via")
    assert (response.cseq, response.call_id, response.from_) == (request.cseq, request.call_id, request.from_)
    assert response.to.tag == (request.to.tag or "ours")


@named("answer")
def test_malformed_request_is_refused_with_a_response_its_sender_can_match(vector: Vector) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_message(vector.message)
    error = caught.value
    assert (error.status, error.label) == (vector.status, vector.label or error.label)
    assert error.partial is not None
    answer = bytes(error.partial.create_response(error.status))
    assert answer.startswith(f"SIP/2.0 {vector.status} ".encode())
    assert answer.endswith(b"\r\nContent-Length: 0\r\n\r\n")
    for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq"):
        assert answer.count(b"\r\n" + name + b": ") >= 1


@named("drop")
def test_message_that_cannot_or_must_not_be_answered_is_refused_without_a_partial(vector: Vector) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_message(vector.message)
    error = caught.value
    assert (error.status, error.label) == (vector.status, vector.label or error.label)
    assert error.partial is None


def treated(vector: Vector) -> tuple[list[Response | Request], AgentHost]:
    """What a user agent answers to the vector as a datagram."""
    network = Network()
    agent = network.agent("192.0.2.2", allow=METHODS, supported=EXTENSIONS)
    peer = network.wire("192.0.2.99")
    network.send(vector.message, peer.address, agent.address)
    network.run(0.05)
    # A 400 that quotes a malformed From back cannot be read again; its first line can.
    quoted = [Response(int(data.split(b" ", 2)[1])) for data in peer.garbled]
    return [*peer.inbox, *quoted], agent


REQUESTS = [v for v in VECTORS if v.treatment == "accept" and not v.message.lstrip(b"\r\n").startswith(b"SIP/2.0")]


@pytest.mark.parametrize("vector", REQUESTS, ids=lambda vector: vector.name)
def test_user_agent_gives_each_request_the_treatment_that_the_rfc_asks_for(vector: Vector) -> None:
    request = parse_message(vector.message)
    assert isinstance(request, Request)
    by_method = {"INVITE": 100, "OPTIONS": 200}.get(request.method, 405)
    expected = vector.ua or (481 if request.to.tag is not None else by_method)
    (response,), agent = treated(vector)
    assert isinstance(response, Response)
    assert response.status == expected
    assert (expected == 100) == bool(agent.of(IncomingInvite)), "a call is taken or refused, and nothing between"
    needed = {405: "Allow", 415: "Accept", 420: "Unsupported", 501: "Allow", 406: "Accept"}.get(expected, "CSeq")
    assert needed in response.headers


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.treatment != "accept"], ids=lambda vector: vector.name)
def test_user_agent_refuses_what_is_malformed_or_says_nothing(vector: Vector) -> None:
    responses, agent = treated(vector)
    statuses = [response.status for response in responses if isinstance(response, Response)]
    assert statuses == ([vector.status] if vector.treatment == "answer" else [])
    assert agent.events == []
    assert agent.agent.next_timer() is None, "nothing is kept of it"


def test_scheme_that_the_ua_must_refuse_with_416_is_told_by_is_sip() -> None:
    messages = {v.name: parse_message(v.message) for v in VECTORS if v.treatment == "accept" and v.ua == 416}
    assert messages
    for message in messages.values():
        assert isinstance(message, Request)
        assert not message.uri.is_sip
