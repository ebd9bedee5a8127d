"""Identity headers and PASSporTs: RFC 8224 §4, RFC 8225, RFC 8588, RFC 8946."""

import base64
import contextlib
import json
from typing import Any

import pytest

from gateway.identity.errors import PassportError
from gateway.identity.passport import HEADER_LIMIT, Passport
from gateway.identity.verdict import Attestation
from tests.helpers.stir import CALLED, CALLER, NOW, X5U, Provider, encode


def parsed(value: str) -> Passport:
    passport = Passport.parse(value)
    assert passport is not None
    return passport


def fault(value: str) -> str:
    with pytest.raises(PassportError) as caught:
        Passport.parse(value)
    return str(caught.value)


def test_shaken_passport_is_read__rfc8588_4(provider: Provider) -> None:
    passport = parsed(provider.identity(attest="B"))
    assert (passport.orig, passport.dest, passport.issued_at) == (CALLER, (CALLED,), NOW)
    assert passport.attestation is Attestation.B
    assert passport.certificate_url == X5U
    assert not passport.is_diversion
    assert len(passport.signature) == 64


def test_diversion_is_read__rfc8946_4(provider: Provider) -> None:
    passport = parsed(provider.diversion(div=CALLED, dest="15557776666"))
    assert (passport.diverted_from, passport.dest) == (CALLED, ("15557776666",))
    assert passport.attestation is None


def test_numbers_lose_plus_and_separators__rfc8224_8_3(provider: Provider) -> None:
    passport = parsed(provider.identity(orig={"tn": "+1 (555) 222-3333"}, dest={"tn": ["+1.555.000.1111"]}))
    assert (passport.orig, passport.dest) == (CALLER, (CALLED,))


@pytest.mark.parametrize(
    "parameters",
    [
        f" ; info = <{X5U}> ; alg=ES256 ; ppt=shaken",
        f';ppt="shaken";info=<{X5U}>',
        f";INFO=<{X5U}>;ALG=ES256",
        f";info=<{X5U}>;ppt=shaken;new=1",
    ],
)
def test_parameters_in_any_order_and_spelling__rfc8224_4(provider: Provider, parameters: str) -> None:
    assert parsed(provider.identity(parameters=parameters)).orig == CALLER


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("", "Identity header has no info"),
        (";ppt=shaken", "Identity header has no info"),
        (f";info=<{X5U}2>", "info of the Identity header and x5u of its PASSporT disagree"),
        (f";info=<{X5U}>;alg=RS256", "PASSporT is not signed with ES256"),
        (f";info=<{X5U}>;ppt=div", "ppt of the Identity header and of its PASSporT disagree"),
        (f";info=<{X5U}>;info=<{X5U}>", "Identity header has malformed parameters"),
        (f";info=<{X5U}", "Identity header has malformed parameters"),
        (";;", "Identity header has malformed parameters"),
        (" x", "Identity header is no PASSporT in full form"),
    ],
)
def test_parameters_that_disagree_are_refused__rfc8224_4(provider: Provider, parameters: str, reason: str) -> None:
    assert fault(provider.identity(parameters=parameters)) == reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "jwt"}, "PASSporT has a typ other than passport"),
        ({"alg": "none"}, "PASSporT is not signed with ES256"),
        ({"alg": "HS256"}, "PASSporT is not signed with ES256"),
        ({"x5u": None}, "PASSporT names no certificate"),
        ({"x5u": ["https://a"]}, "PASSporT names no certificate"),
        ({"crit": ["exp"]}, "PASSporT asks for extensions of JWS that are not known here"),
    ],
)
def test_header_must_be_that_of_a_passport__rfc8225_4(provider: Provider, header: dict[str, Any], reason: str) -> None:
    assert fault(provider.identity(header=header)) == reason


@pytest.mark.parametrize("extension", ["rph", "div-o", ["shaken"], {"a": 1}])
def test_unknown_extension_is_passed_over__rfc8224_6_2_1(provider: Provider, extension: Any) -> None:
    value = provider.identity(header={"ppt": extension}, parameters=f";info=<{X5U}>")
    if isinstance(extension, str):
        assert Passport.parse(value) is None
    else:
        assert fault(value) == "PASSporT has a ppt that is no word"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"orig": None}, "PASSporT has no orig"),
        ({"orig": CALLER}, "PASSporT has no orig"),
        ({"orig": {"tn": [CALLER]}}, "PASSporT has no telephone number in orig"),
        ({"orig": {"uri": "sip:alice@example.com"}}, "PASSporT has no telephone number in orig"),
        ({"orig": {"tn": "alice"}}, "PASSporT has no telephone number in orig"),
        ({"orig": {"tn": "9" * 33}}, "PASSporT has no telephone number in orig"),
        ({"dest": {"tn": CALLED}}, "PASSporT has no list of telephone numbers in dest"),
        ({"dest": {"tn": []}}, "PASSporT has no list of telephone numbers in dest"),
        ({"dest": {"tn": [CALLED] * 17}}, "PASSporT has no list of telephone numbers in dest"),
        ({"iat": None}, "PASSporT has no time of issue"),
        ({"iat": "1790000000"}, "PASSporT has no time of issue"),
        ({"iat": True}, "PASSporT has no time of issue"),
        ({"iat": 10**400}, "PASSporT has a time of issue beyond all reason"),
        ({"iat": 1e300}, "PASSporT has a time of issue beyond all reason"),
        ({"attest": None}, "PASSporT has no attestation A, B or C"),
        ({"attest": "D"}, "PASSporT has no attestation A, B or C"),
        ({"attest": ["A"]}, "PASSporT has no attestation A, B or C"),
        ({"origid": None}, "PASSporT has no origid"),
    ],
)
def test_claims_must_be_there_and_sensible__rfc8225_5(provider: Provider, claims: dict[str, Any], reason: str) -> None:
    assert fault(provider.identity(**claims)) == reason


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abc",
        "a.b",
        "..sig;info=<https://cr.example.com>",  # RFC 8225 §7, compact form
        f"{encode([])}.{encode({})}.AAAA;info=<{X5U}>",
        f"bm90IGpzb24.{encode({})}.AAAA;info=<{X5U}>",
        f"{encode({})}.A.AAAA;info=<{X5U}>",
        f"____.{encode({})}.AAAA",
        "é.é.é",
    ],
)
def test_garbage_is_refused_and_nothing_else_is_raised(value: str) -> None:
    with contextlib.suppress(PassportError):
        assert Passport.parse(value) is None


def test_json_that_nests_without_end_is_refused() -> None:
    nested = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    assert "JSON" in fault(f"{nested}.{encode({})}.AAAA")


def test_names_that_stand_twice_are_refused__rfc7515_4() -> None:
    doubled = json.dumps({"alg": "ES256"})[:-1] + ',"alg":"none"}'
    header = base64.urlsafe_b64encode(doubled.encode()).rstrip(b"=").decode()
    assert fault(f"{header}.{encode({})}.AAAA") == "PASSporT header is not JSON"


def test_signature_has_64_bytes__rfc7518_3_4(provider: Provider) -> None:
    value = provider.identity(parameters="")
    cut = value.rsplit(".", 1)[0]
    assert fault(f"{cut}.AAAA;info=<{X5U}>") == "PASSporT signature has 3 bytes; ES256 has 64"


def test_long_header_is_not_decoded(provider: Provider) -> None:
    value = provider.identity(origid="x" * HEADER_LIMIT)
    assert fault(value).endswith(f"{HEADER_LIMIT} is the limit")
