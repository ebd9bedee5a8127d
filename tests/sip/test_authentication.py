"""Digest answers to real challenges, through a call (RFC 3261 §22.2, RFC 7616 §3.3)."""

from sip.authentication import DigestAuthenticator
from sip.digest import DigestChallenge, DigestCredentials, digest_response, parse_digest, password_hash
from sip.event import Failed
from sip.message import Request, Response
from tests.helpers.sip import AgentHost, Network, WireHost, request

TWILIO = DigestCredentials("sip.twilio.com", "trunk", "secret")


def challenge(
    invite: Request, nonce: str, *, realm: str = "sip.twilio.com", stale: bool = False, qop: str = "auth"
) -> Response:
    value = str(DigestChallenge(realm=realm, nonce=nonce, qop=qop, stale=stale))
    return invite.create_response(407, to_tag="edge", headers=[("Proxy-Authenticate", value)])


def placed(network: Network) -> tuple[AgentHost, WireHost]:
    alice, edge = network.agent("192.0.2.1"), network.wire("192.0.2.2")
    alice.call(edge, authenticator=DigestAuthenticator([TWILIO], token=lambda: "c" * 16))
    network.run(0.1)
    return alice, edge


def answers(edge: WireHost) -> list[dict[str, str] | None]:
    values = [invite.headers.get("Proxy-Authorization") for invite in edge.requests("INVITE")]
    return [parse_digest(value) for value in values if value is not None]


def test_the_challenge_is_answered_for_the_request_uri__rfc3261_22_2(network: Network) -> None:
    alice, edge = placed(network)
    edge.send(challenge(edge.requests("INVITE")[0], "n1"), alice)
    network.run(0.1)
    (answer,) = answers(edge)
    assert answer is not None
    assert (answer["username"], answer["realm"], answer["uri"]) == ("trunk", "sip.twilio.com", "sip:bob@192.0.2.2:5060")
    assert (answer["nc"], answer["qop"]) == ("00000001", "auth")


def test_auth_int_covers_the_offer_that_is_sent_with_it__rfc7616_3_4_3(network: Network) -> None:
    alice, edge = placed(network)
    edge.send(challenge(edge.requests("INVITE")[0], "n1", qop="auth-int"), alice)
    network.run(0.1)
    (answer,) = answers(edge)
    invite = edge.requests("INVITE")[1]
    assert answer is not None
    assert invite.body
    counted = (answer["nc"], answer["cnonce"])
    asked = DigestChallenge("sip.twilio.com", "n1", qop="auth-int")
    secret = password_hash(asked.algorithm, TWILIO)
    assert answer["response"] == digest_response(asked, secret, "INVITE", str(invite.uri), counted, invite.body)


def test_credentials_go_to_no_other_realm__promise_15(network: Network) -> None:
    alice, edge = placed(network)
    edge.send(challenge(edge.requests("INVITE")[0], "n1", realm="evil.example"), alice)
    network.run(0.1)
    assert answers(edge) == []
    assert alice.only(Failed).status == 407


def test_a_stale_nonce_is_answered_anew_and_wrong_credentials_are_given_up__rfc7616_3_3(network: Network) -> None:
    alice, edge = placed(network)
    edge.send(challenge(edge.requests("INVITE")[0], "n1"), alice)
    network.run(0.1)
    edge.send(challenge(edge.requests("INVITE")[1], "n2", stale=True), alice)
    network.run(0.1)
    assert [answer and answer["nonce"] for answer in answers(edge)] == ["n1", "n2"]
    edge.send(challenge(edge.requests("INVITE")[2], "n3"), alice)
    network.run(0.1)
    assert alice.only(Failed).status == 407


def test_the_nonce_count_rises_where_a_later_request_meets_the_same_nonce__rfc7616_3_4() -> None:
    authenticator = DigestAuthenticator([TWILIO], token=lambda: "c" * 16)
    counts = []
    for method in ("INVITE", "BYE"):
        asked = request(method)
        answer = authenticator.authorize(asked, challenge(asked, "n1"))
        assert answer is not None
        counts.append((parse_digest(answer[1]) or {})["nc"])
    assert counts == ["00000001", "00000002"]
