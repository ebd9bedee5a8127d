"""The opening handshake against websockets' own server side, and answers that are not the plain one."""

import base64

import pytest
from websockets.http11 import Request
from websockets.server import ServerProtocol

from gateway.backends.handshake import Handshake, accepts, handshake_with, new_key
from gateway.realtime.errors import ModelUnresolvedError

URL = "ws://model.example:8080/v1/realtime?model=echo"
HEADERS = (("Authorization", "Bearer secret"), ("X-Tenant", "7"))
# RFC 6455 §1.3: the example of the specification.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def answer(*lines: str, status: str = "HTTP/1.1 101 Switching Protocols") -> bytes:
    return "\r\n".join((status, *lines, "", "")).encode()


PLAIN = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {ACCEPT}")


def test_a_server_takes_the_request_and_its_answer_is_accepted() -> None:
    server, key = ServerProtocol(), new_key()
    server.receive_data(Handshake(URL, HEADERS).request(key))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.path == "/v1/realtime?model=echo"
    assert request.headers["Host"] == "model.example:8080"
    assert {name: request.headers[name] for name, _ in HEADERS} == dict(HEADERS)
    server.send_response(server.accept(request))
    assert accepts(b"".join(server.data_to_send()), key)


def test_the_example_of_the_specification_is_accepted__rfc6455_1_3() -> None:
    assert accepts(answer(*PLAIN), KEY)
    assert accepts(answer("upgrade:WebSocket", "CONNECTION: upgrade", "Date: now", PLAIN[2]), KEY)


def test_keys_are_16_octets_and_new_each_time__rfc6455_4_1() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(base64.b64decode(key)) for key in keys} == {16}


@pytest.mark.parametrize(
    "head",
    [
        answer(*PLAIN, status="HTTP/1.1 401 Unauthorized"),
        answer(*PLAIN, status="HTTP/1.0 101 Switching Protocols"),
        answer(*PLAIN[:2]),
        answer(*PLAIN[1:]),
        answer(PLAIN[0], PLAIN[2]),
        answer(PLAIN[0], "Connection: keep-alive", PLAIN[2]),
        answer(*PLAIN[:2], "Sec-WebSocket-Accept: c29tZXRoaW5nIGVsc2UgYWx0b2dldGhlcg=="),
        answer(*PLAIN, PLAIN[2]),
        answer(*PLAIN, "Sec-WebSocket-Extensions: permessage-deflate"),
        answer(*PLAIN, "Sec-WebSocket-Protocol: realtime"),
        answer(*PLAIN, "no field"),
        answer(*PLAIN, " folded: value"),
        b"HTTP/1.1 101 ",
        b"",
    ],
)
def test_what_is_not_the_plain_answer_is_left_to_somebody_who_can_say_why(head: bytes) -> None:
    assert not accepts(head, KEY)


def test_a_url_that_cannot_be_used_is_named() -> None:
    with pytest.raises(ModelUnresolvedError, match="cannot be used"):
        handshake_with("http://model.example/v1", ())


def test_the_handshake_of_an_endpoint_is_made_once() -> None:
    assert handshake_with(URL, HEADERS) is handshake_with(URL, HEADERS)
    assert handshake_with(URL, ()) is not handshake_with(URL, HEADERS)
