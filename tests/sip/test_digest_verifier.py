"""Judging digest credentials (RFC 7616 §3.4, RFC 3261 §22): signed nonces, replay, expiry, and silence on names."""

from collections.abc import Callable

import pytest

from sip.digest import DigestAlgorithm, DigestChallenge, DigestCredentials, authorize, choose_challenge
from sip.digest_verifier import (
    MAXIMUM_TRACKED_NONCES,
    NONCE_COUNT_WINDOW,
    NONCE_LIFETIME_SECONDS,
    DigestVerdict,
    DigestVerifier,
)

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
ALICE = DigestCredentials("sip.example.net", "alice", "wonderland")
URI = "sip:+15550001111@gw.example.net"


def verifier(secret: bytes = b"s" * 32, password_of: Callable[[str], str | None] = PASSWORDS.get) -> DigestVerifier:
    return DigestVerifier("sip.example.net", secret, password_of)


def answer(
    values: tuple[str, ...],
    credentials: DigestCredentials = ALICE,
    *,
    count: int = 1,
    method: str = "INVITE",
    uri: str = URI,
) -> str:
    challenge = choose_challenge(values, credentials)
    assert challenge is not None
    return authorize(challenge, credentials, method=method, uri=uri, cnonce="c" * 16, nonce_count=count)


def verdict(server: DigestVerifier, value: str, *, now: float = 1.0, method: str = "INVITE") -> DigestVerdict:
    return server.verify([value], method=method, request_uri=URI, now=now)[0]


def test_challenges_offer_sha_256_before_md5_with_qop__rfc8760_2_3() -> None:
    values = verifier().challenges(now=0.0)
    challenges = [DigestChallenge.parse(value) for value in values]
    assert [challenge and challenge.algorithm for challenge in challenges] == [
        DigestAlgorithm.SHA_256,
        DigestAlgorithm.MD5,
    ]
    assert all(challenge is not None and challenge.qop == "auth" and not challenge.stale for challenge in challenges)


def test_stale_challenge_says_so__rfc7616_3_3() -> None:
    assert all("stale=true" in value for value in verifier().challenges(now=0.0, stale=True))


def test_nonces_differ_even_within_a_millisecond__rfc7616_3_3() -> None:
    server = verifier()
    assert len({server.challenges(now=0.0) for _ in range(100)}) == 100


@pytest.mark.parametrize("index", [0, 1])
def test_right_answer_is_accepted_with_either_algorithm__rfc7616_3_4_1(index: int) -> None:
    server = verifier()
    value = answer((server.challenges(now=0.0)[index],))
    assert server.verify([value], method="INVITE", request_uri=URI, now=1.0) == (DigestVerdict.ACCEPTED, "alice")


def test_credentials_for_other_realms_are_passed_over__rfc3261_22_3() -> None:
    server = verifier()
    other = 'Digest username="x", realm="elsewhere", nonce="n", uri="u", response="r"'
    value = answer(server.challenges(now=0.0))
    assert server.verify([other, "Basic eA==", value], method="INVITE", request_uri=URI, now=1.0)[1] == "alice"
    assert server.verify([other], method="INVITE", request_uri=URI, now=1.0) == (DigestVerdict.MISSING, None)
    assert server.verify([], method="INVITE", request_uri=URI, now=1.0) == (DigestVerdict.MISSING, None)


@pytest.mark.parametrize(
    "credentials",
    [
        DigestCredentials("sip.example.net", "alice", "guess"),
        DigestCredentials("sip.example.net", "mallory", "wonderland"),
        DigestCredentials("sip.example.net", "mallory", ""),
    ],
)
def test_wrong_password_and_unknown_name_are_the_same_refusal(credentials: DigestCredentials) -> None:
    server = verifier()
    value = answer(server.challenges(now=0.0), credentials)
    assert server.verify([value], method="INVITE", request_uri=URI, now=1.0) == (DigestVerdict.REFUSED, None)


def test_unknown_name_costs_the_same_look_up_and_comparison() -> None:
    asked: list[str] = []

    def password_of(name: str) -> str | None:
        asked.append(name)
        return None

    server = verifier(password_of=password_of)
    assert verdict(server, answer(server.challenges(now=0.0))) is DigestVerdict.REFUSED
    assert asked == ["alice"]


def test_answer_is_for_one_method_and_one_request__rfc7616_3_4_2() -> None:
    server = verifier()
    value = answer(server.challenges(now=0.0))
    assert verdict(server, value, method="BYE") is DigestVerdict.REFUSED
    moved = answer(server.challenges(now=0.0), uri="sip:elsewhere")
    assert verdict(server, moved) is DigestVerdict.WRONG_URI


def test_request_uri_is_not_compared_where_a_proxy_rewrites_it() -> None:
    server = verifier()
    value = answer(server.challenges(now=0.0), uri="sip:elsewhere")
    assert server.verify([value], method="INVITE", request_uri=None, now=1.0)[0] is DigestVerdict.ACCEPTED


# --- nonces ----------------------------------------------------------------------------------------------------------


def test_nonce_serves_for_its_lifetime_and_is_stale_after__rfc7616_3_3() -> None:
    server = verifier()
    values = server.challenges(now=10.0)
    assert verdict(server, answer(values), now=10.0 + NONCE_LIFETIME_SECONDS) is DigestVerdict.ACCEPTED
    late = verdict(server, answer(values, count=2), now=10.1 + NONCE_LIFETIME_SECONDS)
    assert late is DigestVerdict.STALE
    assert late.is_stale


def test_expired_nonce_with_a_wrong_password_is_not_called_stale__rfc7616_3_3() -> None:
    server = verifier()
    wrong = DigestCredentials("sip.example.net", "alice", "guess")
    value = answer(server.challenges(now=0.0), wrong)
    late = verdict(server, value, now=2 * NONCE_LIFETIME_SECONDS)
    assert late is DigestVerdict.REFUSED
    assert not late.is_stale


@pytest.mark.parametrize("nonce", ["", "x", "0" * 56, "f" * 56, "é" * 56])
def test_nonce_that_we_did_not_sign_is_stale(nonce: str) -> None:
    value = authorize(
        DigestChallenge("sip.example.net", nonce, qop="auth"), ALICE, method="INVITE", uri=URI, cnonce="c" * 16
    )
    assert verdict(verifier(), value) is DigestVerdict.STALE


def test_nonce_of_another_secret_or_realm_is_stale() -> None:
    value = answer(verifier(secret=b"t" * 32).challenges(now=0.0))
    assert verdict(verifier(), value) is DigestVerdict.STALE
    elsewhere = DigestVerifier("elsewhere", b"s" * 32, PASSWORDS.get).challenges(now=0.0)[0]
    assert verdict(verifier(), answer((elsewhere.replace("elsewhere", "sip.example.net"),))) is DigestVerdict.STALE


def test_nonce_count_is_taken_once__rfc7616_3_4() -> None:
    server = verifier()
    values = server.challenges(now=0.0)
    assert verdict(server, answer(values)) is DigestVerdict.ACCEPTED
    again = verdict(server, answer(values))
    assert again is DigestVerdict.REPLAYED
    assert again.is_stale
    assert verdict(server, answer(values, count=2)) is DigestVerdict.ACCEPTED


def test_nonce_counts_may_come_out_of_order_within_the_window__rfc7616_3_4() -> None:
    server = verifier()
    values = server.challenges(now=0.0)
    top = NONCE_COUNT_WINDOW + 10

    def take(count: int) -> DigestVerdict:
        return verdict(server, answer(values, count=count))

    assert [take(count) for count in (5, 3, 4, 3)] == [*[DigestVerdict.ACCEPTED] * 3, DigestVerdict.REPLAYED]
    assert take(top) is DigestVerdict.ACCEPTED
    assert take(top - NONCE_COUNT_WINDOW + 1) is DigestVerdict.ACCEPTED
    assert take(top - NONCE_COUNT_WINDOW + 1) is DigestVerdict.REPLAYED
    assert take(top - NONCE_COUNT_WINDOW) is DigestVerdict.REPLAYED
    assert take(5) is DigestVerdict.REPLAYED
    assert take(0xFFFFFFFF) is DigestVerdict.ACCEPTED
    assert take(top) is DigestVerdict.REPLAYED
    assert take(0xFFFFFFFE) is DigestVerdict.ACCEPTED


def test_wrong_answers_are_not_remembered() -> None:
    server = verifier()
    values = server.challenges(now=0.0)
    wrong = DigestCredentials("sip.example.net", "alice", "guess")
    for _ in range(10):
        assert verdict(server, answer(values, wrong)) is DigestVerdict.REFUSED
    assert verdict(server, answer(values)) is DigestVerdict.ACCEPTED


def test_memory_is_bounded_and_a_forgotten_nonce_is_stale_not_new() -> None:
    server = verifier()
    first = server.challenges(now=0.0)
    unused = server.challenges(now=0.0)
    assert verdict(server, answer(first), now=0.0) is DigestVerdict.ACCEPTED
    for number in range(MAXIMUM_TRACKED_NONCES):
        value = answer(server.challenges(now=1.0 + number / 1000)[1:])
        assert verdict(server, value, now=1.0 + number / 1000) is DigestVerdict.ACCEPTED
    assert verdict(server, answer(first), now=6.0) is DigestVerdict.STALE
    assert verdict(server, answer(unused), now=6.0) is DigestVerdict.ACCEPTED


def test_expired_nonces_are_let_go() -> None:
    server = verifier()
    values = server.challenges(now=0.0)
    assert verdict(server, answer(values), now=0.0) is DigestVerdict.ACCEPTED
    later = 2 * NONCE_LIFETIME_SECONDS
    assert verdict(server, answer(server.challenges(now=later)), now=later) is DigestVerdict.ACCEPTED
    assert verdict(server, answer(values, count=2), now=later) is DigestVerdict.STALE


# --- what is malformed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("qop=auth, ", ""),
        ("qop=auth", "qop=auth-int"),
        ("nc=00000001, ", ""),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=00000000"),
        ("nc=00000001", "nc=0000000g"),
        ("algorithm=SHA-256", "algorithm=SHA-512-256"),
        ("algorithm=SHA-256", "algorithm=SHA-256-sess"),
        ("username=", "user="),
        ("uri=", "url="),
        ("response=", "answer="),
        ("cnonce=", "conce="),
    ],
)
def test_credentials_that_lack_something_are_malformed__rfc7616_3_4(old: str, new: str) -> None:
    server = verifier()
    value = answer(server.challenges(now=0.0))
    assert old in value
    assert verdict(server, value.replace(old, new)) is DigestVerdict.MALFORMED


def test_response_of_any_length_and_alphabet_is_only_refused() -> None:
    server = verifier()
    value = answer(server.challenges(now=0.0))
    start = value.index('response="') + len('response="')
    for response in ("", "é", "0" * 4000):
        changed = value[:start] + response + value[value.index('"', start) :]
        assert verdict(server, changed) is DigestVerdict.REFUSED


def test_hexadecimal_digits_may_be_upper_case() -> None:
    server = verifier()
    value = answer(server.challenges(now=0.0))
    start = value.index('response="') + len('response="')
    end = value.index('"', start)
    assert verdict(server, value[:start] + value[start:end].upper() + value[end:]) is DigestVerdict.ACCEPTED


def test_secret_must_be_long_enough_to_sign_with() -> None:
    with pytest.raises(ValueError, match="The secret has 15 bytes; it needs at least 16"):
        verifier(secret=b"s" * 15)
