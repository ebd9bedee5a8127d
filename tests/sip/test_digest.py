"""Answering digest challenges (RFC 7616, RFC 2617, RFC 8760), and giving credentials to nobody else."""

import hashlib
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip.digest import (
    MAXIMUM_PARAMETERS,
    DigestAlgorithm,
    DigestChallenge,
    DigestCredentials,
    ForeignRealm,
    authorize,
    choose_challenge,
    is_worth_answering,
    parse_digest,
)

fuzz = settings(max_examples=int(os.environ.get("FUZZ_CASES", "150")), derandomize=True, deadline=None, database=None)

TRUNK = DigestCredentials("sip.example.net", "trunk", "secret")
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"


def answered(value: str, credentials: DigestCredentials = TRUNK, nonce_count: int = 1) -> dict[str, str]:
    challenge = choose_challenge([value], credentials)
    assert challenge is not None
    header = authorize(
        challenge, credentials, method="INVITE", uri="sip:a@b", cnonce="0123456789abcdef", nonce_count=nonce_count
    )
    parameters = parse_digest(header)
    assert parameters is not None
    return parameters


# --- the RFCs' own examples ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        (DigestAlgorithm.MD5, "8ca523f5e9506fed4657c9700eebdbec"),
        (DigestAlgorithm.SHA_256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_example_with_both_algorithms__rfc7616_3_9_1(algorithm: DigestAlgorithm, response: str) -> None:
    credentials = DigestCredentials("http-auth@example.org", "Mufasa", "Circle of Life")
    challenge = DigestChallenge(
        "http-auth@example.org", NONCE, algorithm, opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", qop="auth"
    )
    assert authorize(
        challenge,
        credentials,
        method="GET",
        uri="/dir/index.html",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    ) == (
        'Digest username="Mufasa", realm="http-auth@example.org", '
        f'nonce="{NONCE}", uri="/dir/index.html", response="{response}", algorithm={algorithm.value}, '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", qop=auth, nc=00000001, '
        'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"'
    )


def test_example_with_qop__rfc2617_3_5() -> None:
    challenge = DigestChallenge("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", qop="auth")
    credentials = DigestCredentials("testrealm@host.com", "Mufasa", "Circle Of Life")
    value = authorize(challenge, credentials, method="GET", uri="/dir/index.html", cnonce="0a4f113b")
    assert 'response="6629fae49393a05397450978507c4ef1"' in value


def test_challenge_without_qop_is_answered_the_old_way__rfc2617_3_2_2_1() -> None:
    challenge = DigestChallenge.parse('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    assert challenge is not None
    assert DigestChallenge.parse(str(challenge)) == challenge
    credentials = DigestCredentials("testrealm@host.com", "Mufasa", "CircleOfLife")
    assert authorize(challenge, credentials, method="GET", uri="/dir/index.html", cnonce="unused") == (
        'Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'uri="/dir/index.html", response="1949323746fe6a43ef61f9606e7febea", algorithm=MD5'
    )


# --- challenges ------------------------------------------------------------------------------------------------------


def test_every_parameter_of_a_challenge_is_read__rfc7616_3_3() -> None:
    challenge = DigestChallenge.parse(
        'Digest realm="sip.example.net", domain="sip:x", nonce="n,=\\"1", stale=TRUE, opaque="", '
        'algorithm=SHA-256, qop="auth-int, auth", charset=UTF-8'
    )
    assert challenge == DigestChallenge(
        "sip.example.net", 'n,="1', DigestAlgorithm.SHA_256, opaque="", qop="auth", stale=True
    )
    assert DigestChallenge.parse(str(challenge)) == challenge


@pytest.mark.parametrize(
    "value",
    [
        'digest REALM="r",nonce="n",ALGORITHM=md5,QOP=auth',
        'Digest\trealm = "r" , nonce="n" , algorithm="MD5" , qop="auth"',
        'Digest realm="r",nonce="n",algorithm="md5",qop="AUTH"',
    ],
)
def test_case_blanks_and_quoting_make_no_difference__rfc3261_7_3_1(value: str) -> None:
    assert DigestChallenge.parse(value) == DigestChallenge("r", "n", qop="auth")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Digest",
        "Digest ",
        'Basic realm="r"',
        'NTLM realm="r", nonce="n"',
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r", nonce="n", algorithm=MD5-sess',
        'Digest realm="r", nonce="n", algorithm=AKAv1-MD5',
        'Digest realm="r", nonce="n", qop="auth-conf"',
        'Digest realm="r", nonce="n", qop=""',
        'Digest realm="r", realm="s", nonce="n"',
        'Digest realm="r", nonce="n',
        'Digest realm="r" nonce="n"',
        'Digest realm="r", nonce="n",',
        'Digest realm="r", nonce=',
        'Digest realm="r\r\nVia: x", nonce="n"',
        'Digest realm="r", nonce="n\\\n"',
        "Digest " + ", ".join(f"p{number}=1" for number in range(MAXIMUM_PARAMETERS + 1)) + ', realm="r", nonce="n"',
    ],
)
def test_challenge_that_cannot_be_answered_is_ignored__rfc7616_3_3(value: str) -> None:
    assert DigestChallenge.parse(value) is None


def test_strongest_algorithm_is_chosen_wherever_it_stands__rfc8760_2_4() -> None:
    values = [
        'Digest realm="sip.example.net", nonce="a", algorithm=MD5',
        'Digest realm="sip.example.net", nonce="b", algorithm=SHA-256, qop="auth"',
        'Digest realm="sip.example.net", nonce="c", algorithm=SHA-256',
        'Basic realm="sip.example.net"',
    ]
    chosen = choose_challenge(values, TRUNK)
    assert chosen is not None
    assert chosen.nonce == "b"
    best = choose_challenge([*values, 'Digest realm="sip.example.net", nonce="d", algorithm=SHA-512-256'], TRUNK)
    assert best is not None
    assert best.algorithm is DigestAlgorithm.SHA_512_256


def test_auth_int_is_answered_only_where_nothing_else_is_offered__rfc7616_3_3() -> None:
    def qop(value: str) -> str | None:
        challenge = DigestChallenge.parse(f'Digest realm="r", nonce="n", qop="{value}"')
        assert challenge is not None
        return challenge.qop

    assert [qop(value) for value in ("auth-int", "AUTH-INT", "auth-int,auth", "auth-conf, auth-int")] == [
        "auth-int", "auth-int", "auth", "auth-int",
    ]  # fmt: skip
    integrity = 'Digest realm="sip.example.net", nonce="a", qop="auth-int"'
    plain = 'Digest realm="sip.example.net", nonce="b", qop="auth"'
    chosen = choose_challenge([integrity, plain], TRUNK)
    assert chosen is not None
    assert chosen.nonce == "b"


@pytest.mark.parametrize(
    ("algorithm", "name", "body"),
    [
        (DigestAlgorithm.MD5, "md5", b""),
        (DigestAlgorithm.MD5, "md5", b"v=0\r\ns=\xe4\r\n"),
        (DigestAlgorithm.SHA_256, "sha256", b"v=0\r\n"),
    ],
)
def test_auth_int_covers_the_body__rfc7616_3_4_3(algorithm: DigestAlgorithm, name: str, body: bytes) -> None:
    def hashed(text: bytes) -> bytes:
        return hashlib.new(name, text).hexdigest().encode()

    challenge = DigestChallenge(TRUNK.realm, "n", algorithm, qop="auth-int")
    value = authorize(challenge, TRUNK, method="INVITE", uri="sip:a@b", cnonce="c", body=body)
    parameters = parse_digest(value)
    assert parameters is not None
    secret = hashed(b"trunk:sip.example.net:secret")
    covered = hashed(b"INVITE:sip:a@b:" + hashed(body))
    expected = hashed(b":".join((secret, b"n", b"00000001", b"c", b"auth-int", covered)))
    assert (parameters["qop"], parameters["response"]) == ("auth-int", expected.decode())


# --- credentials go to their realm only ------------------------------------------------------------------------------


def test_challenge_of_another_realm_is_never_answered() -> None:
    assert choose_challenge(['Digest realm="evil.example.com", nonce="n"'], TRUNK) is None
    assert choose_challenge([], TRUNK) is None
    with pytest.raises(ForeignRealm) as caught:
        authorize(DigestChallenge("evil", "n"), TRUNK, method="INVITE", uri="sip:a@b", cnonce="c")
    assert str(caught.value) == "Credentials for realm 'sip.example.net' are not given to 'evil'"
    assert caught.value.label == "digest_foreign_realm"


@pytest.mark.parametrize("realm", ["SIP.example.net", "sip.example.net ", "", "sip.example.net.evil.com"])
def test_realm_is_compared_exactly(realm: str) -> None:
    assert choose_challenge([f'Digest realm="{realm}", nonce="n"'], TRUNK) is None


def test_password_is_hidden_from_repr() -> None:
    assert "secret" not in repr(TRUNK)


def test_refusal_is_answered_once_and_a_stale_nonce_again__rfc7616_3_3() -> None:
    first = DigestChallenge("r", "n1")
    assert is_worth_answering(first, None)
    assert not is_worth_answering(DigestChallenge("r", "n2"), first)
    assert is_worth_answering(DigestChallenge("r", "n2", stale=True), first)
    assert not is_worth_answering(DigestChallenge("r", "n1", stale=True), first)


# --- what we write ---------------------------------------------------------------------------------------------------


def test_opaque_is_returned_even_where_it_is_empty__rfc7616_3_4() -> None:
    assert answered('Digest realm="sip.example.net", nonce="n", opaque=""')["opaque"] == ""
    assert "opaque" not in answered('Digest realm="sip.example.net", nonce="n"')


def test_nonce_count_has_eight_hexadecimal_digits__rfc7616_3_4() -> None:
    parameters = answered('Digest realm="sip.example.net", nonce="n", qop="auth"', nonce_count=0xABCDE)
    assert (parameters["nc"], parameters["qop"], parameters["cnonce"]) == ("000abcde", "auth", "0123456789abcdef")


def test_every_input_changes_the_response__rfc7616_3_4_1() -> None:
    challenge = DigestChallenge("sip.example.net", "n", qop="auth")

    def response(
        which: DigestChallenge = challenge, who: DigestCredentials = TRUNK, method: str = "INVITE", count: int = 1
    ) -> str:
        parameters = parse_digest(authorize(which, who, method=method, uri="sip:a@b", cnonce="c", nonce_count=count))
        assert parameters is not None
        return parameters["response"]

    responses = [
        response(),
        response(replace(challenge, nonce="m")),
        response(replace(challenge, qop=None)),
        response(replace(challenge, algorithm=DigestAlgorithm.SHA_256)),
        response(who=replace(TRUNK, password="other")),
        response(who=replace(TRUNK, username="other")),
        response(method="BYE"),
        response(count=2),
    ]
    assert len(set(responses)) == len(responses)


def test_quotes_and_backslashes_are_escaped__rfc3261_25_1() -> None:
    credentials = DigestCredentials('a"b\\c', 'u"\\', "p")
    parameters = answered('Digest realm="a\\"b\\\\c", nonce="\\n"', credentials)
    assert (parameters["realm"], parameters["username"], parameters["nonce"]) == ('a"b\\c', 'u"\\', "n")


@fuzz
@given(st.text(max_size=80) | st.text(alphabet='realmnonce=", \\Digst', max_size=80).map("Digest ".__add__))
def test_any_text_is_read_or_ignored(value: str) -> None:
    challenge = DigestChallenge.parse(value)
    if challenge is not None:
        assert DigestChallenge.parse(str(challenge)) == challenge
