"""The decision about a call: RFC 8224 §6.2, ATIS-1000074 §5.3, RFC 8946 §5, RFC 8226."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.identity.certificate import CHAIN_LIMIT, CertificateChain, TrustList
from gateway.identity.errors import CertificateError, FetchError, IdentityError, TrustListError
from gateway.identity.verdict import Attestation, IdentitySource, IdentityStatus, Verdict
from gateway.identity.verification import CallNumbers, examine, judge
from tests.helpers.stir import CALLED, CALLER, NOW, X5U, Authority, Provider, invite, trust

NUMBERS = CallNumbers(frozenset({CALLER}), frozenset({CALLED}))
OTHER = "15557776666"
THIRD = "15558889999"


def decided(
    values: list[str],
    chains: Mapping[str, CertificateChain | IdentityError],
    roots: TrustList,
    *,
    numbers: CallNumbers = NUMBERS,
    now: float = NOW,
) -> Verdict:
    return judge(examine(values, numbers, now), chains, roots, now)


def decided_by(provider: Provider, roots: TrustList, *values: str, numbers: CallNumbers = NUMBERS) -> Verdict:
    return decided(list(values), {provider.x5u: provider.chain}, roots, numbers=numbers)


@pytest.mark.parametrize("attestation", list(Attestation))
def test_rightly_signed_call_passes(provider: Provider, trusted: TrustList, attestation: Attestation) -> None:
    verdict = decided_by(provider, trusted, provider.identity(attest=attestation.value))
    assert verdict == Verdict(IdentityStatus.PASSED, IdentitySource.PASSPORT, attestation, "", False, CALLER)


def test_call_without_identity_has_no_signature(trusted: TrustList) -> None:
    assert decided([], {}, trusted).status is IdentityStatus.NO_SIGNATURE


def test_changed_claim_breaks_the_signature__rfc8224_6_2_step_4(provider: Provider, trusted: TrustList) -> None:
    a, b = provider.identity(attest="A"), provider.identity(attest="C")
    (header, _, _), (_, claims, _) = a.split(".", 2), b.split(".", 2)
    forged = f"{header}.{claims}.{a.split('.', 2)[2]}"
    verdict = decided_by(provider, trusted, forged)
    assert (verdict.status, verdict.detail) == (IdentityStatus.FAILED, "the signature is wrong")


def test_signature_of_another_key_is_wrong(root: Authority, provider: Provider, trusted: TrustList) -> None:
    stranger = Provider(root)
    assert decided_by(provider, trusted, stranger.identity()).status is IdentityStatus.FAILED


@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64, bytes(63) + b"\x01"])
def test_signature_of_impossible_numbers_is_wrong(
    provider: Provider, trusted: TrustList, signature: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Provider, "sign", lambda self, data: signature)
    assert decided_by(provider, trusted, provider.identity()).status is IdentityStatus.FAILED


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (0, IdentityStatus.PASSED),
        (60, IdentityStatus.PASSED),
        (61, IdentityStatus.EXPIRED),
        (-60, IdentityStatus.PASSED),
        (-61, IdentityStatus.EXPIRED),
        (86_400, IdentityStatus.EXPIRED),
    ],
)
def test_passport_is_fresh_for_a_minute__atis_1000074_5_3_1(
    provider: Provider, trusted: TrustList, age: int, status: IdentityStatus
) -> None:
    assert decided_by(provider, trusted, provider.identity(iat=int(NOW) - age)).status is status


def test_stale_passport_makes_nobody_fetch(provider: Provider) -> None:
    assert examine([provider.identity(iat=0)], NUMBERS, NOW).certificate_urls == frozenset()


def test_passport_for_another_caller_does_not_count__rfc8224_6_2(provider: Provider, trusted: TrustList) -> None:
    verdict = decided_by(provider, trusted, provider.identity(orig={"tn": OTHER}))
    assert (verdict.status, verdict.detail) == (IdentityStatus.MISMATCH, "it was signed for another caller")


def test_passport_for_another_callee_does_not_count__replay(provider: Provider, trusted: TrustList) -> None:
    verdict = decided_by(provider, trusted, provider.identity(dest={"tn": [OTHER]}))
    assert (verdict.status, verdict.detail) == (IdentityStatus.MISMATCH, "it was signed for another destination")


def test_one_of_several_destinations_is_enough(provider: Provider, trusted: TrustList) -> None:
    assert (
        decided_by(provider, trusted, provider.identity(dest={"tn": [OTHER, CALLED]})).status is IdentityStatus.PASSED
    )


def test_diversion_leads_to_the_called_number__rfc8946_5(provider: Provider, trusted: TrustList) -> None:
    original = provider.identity(dest={"tn": [OTHER]})
    verdict = decided_by(provider, trusted, provider.diversion(div=OTHER, dest=CALLED), original)
    assert (verdict.status, verdict.diverted, verdict.attestation) == (IdentityStatus.PASSED, True, Attestation.A)


def test_diversions_form_a_chain__rfc8946_5(provider: Provider, trusted: TrustList) -> None:
    original = provider.identity(dest={"tn": [OTHER]})
    first, second = provider.diversion(div=OTHER, dest=THIRD), provider.diversion(div=THIRD, dest=CALLED)
    assert decided_by(provider, trusted, second, original, first).status is IdentityStatus.PASSED


def test_diversions_in_a_circle_end(provider: Provider, trusted: TrustList) -> None:
    original = provider.identity(dest={"tn": [OTHER]})
    there, back = provider.diversion(div=OTHER, dest=THIRD), provider.diversion(div=THIRD, dest=OTHER)
    assert decided_by(provider, trusted, original, there, back).status is IdentityStatus.MISMATCH


def test_diversion_of_another_caller_leads_nowhere(provider: Provider, trusted: TrustList) -> None:
    original = provider.identity(dest={"tn": [OTHER]})
    foreign = provider.diversion(div=OTHER, dest=CALLED, orig={"tn": THIRD})
    assert decided_by(provider, trusted, original, foreign).status is IdentityStatus.MISMATCH


def test_diversion_that_a_stranger_signed_is_wrong(root: Authority, provider: Provider, trusted: TrustList) -> None:
    original = provider.identity(dest={"tn": [OTHER]})
    forged = Provider(root).diversion(div=OTHER, dest=CALLED)
    assert decided_by(provider, trusted, original, forged).status is IdentityStatus.FAILED


def test_diversion_alone_is_no_signature(provider: Provider, trusted: TrustList) -> None:
    verdict = decided_by(provider, trusted, provider.diversion(div=OTHER, dest=CALLED))
    assert verdict.status is IdentityStatus.NO_SIGNATURE


def test_old_diversion_is_expired(provider: Provider, trusted: TrustList) -> None:
    original = provider.identity(dest={"tn": [OTHER]})
    old = provider.diversion(div=OTHER, dest=CALLED, iat=int(NOW) - 600)
    assert decided_by(provider, trusted, original, old).status is IdentityStatus.EXPIRED


def test_one_good_header_of_several_is_enough(root: Authority, provider: Provider, trusted: TrustList) -> None:
    forged = Provider(root).identity(attest="C")
    verdict = decided_by(provider, trusted, "garbage", forged, provider.identity(attest="B"))
    assert (verdict.status, verdict.attestation) == (IdentityStatus.PASSED, Attestation.B)


def test_malformed_header_is_a_failure_and_says_why(trusted: TrustList) -> None:
    verdict = decided(["garbage"], {}, trusted)
    assert (verdict.status, verdict.detail) == (
        IdentityStatus.FAILED,
        "Identity header is no PASSporT in full form",
    )


def test_more_headers_than_the_limit_are_not_looked_at(provider: Provider, trusted: TrustList) -> None:
    verdict = decided_by(provider, trusted, *[provider.identity()] * 9)
    assert (verdict.status, verdict.detail) == (IdentityStatus.FAILED, "9 Identity headers; 8 is the limit")


def test_certificate_that_is_not_there_in_time_is_unavailable(provider: Provider, trusted: TrustList) -> None:
    assert decided([provider.identity()], {}, trusted).status is IdentityStatus.UNAVAILABLE
    verdict = decided([provider.identity()], {X5U: FetchError("no route")}, trusted)
    assert (verdict.status, verdict.detail) == (IdentityStatus.UNAVAILABLE, "no route")
    assert decided([provider.identity()], {X5U: CertificateError("no")}, trusted).status is IdentityStatus.UNTRUSTED


def test_without_a_trust_list_nothing_is_trusted(provider: Provider) -> None:
    verdict = decided_by(provider, TrustList(), provider.identity())
    assert (verdict.status, verdict.detail) == (IdentityStatus.UNTRUSTED, "No trust list is configured")


def test_chain_to_another_root_is_untrusted(provider: Provider) -> None:
    verdict = decided_by(provider, trust(Authority("Another Root")), provider.identity())
    assert verdict.status is IdentityStatus.UNTRUSTED


def test_root_of_the_same_name_is_not_the_root(provider: Provider) -> None:
    assert decided_by(provider, trust(Authority("STI Root")), provider.identity()).status is IdentityStatus.UNTRUSTED


def test_certificate_without_tn_auth_list_is_untrusted__rfc8226_9(root: Authority, trusted: TrustList) -> None:
    web = Provider(root, with_list=False)
    verdict = decided_by(web, trusted, web.identity())
    assert verdict.status is IdentityStatus.UNTRUSTED
    assert "TNAuthList" in verdict.detail


@pytest.mark.parametrize(("begins", "ends"), [(NOW - 99, NOW - 10), (NOW + 10, NOW + 99)])
def test_certificate_out_of_its_time_is_untrusted(
    root: Authority, trusted: TrustList, begins: float, ends: float
) -> None:
    late = Provider(root, begins=begins, ends=ends)
    assert decided_by(late, trusted, late.identity()).status is IdentityStatus.UNTRUSTED


def test_certificate_signed_by_a_certificate_that_is_no_authority_is_untrusted(
    root: Authority, trusted: TrustList
) -> None:
    end_entity = Provider(root)
    impostor = Authority("SHAKEN 1234", key=end_entity.key)
    impostor.certificate = end_entity.certificate
    signer = Provider(impostor)
    chain = CertificateChain(signer.certificate, (end_entity.certificate,))
    assert decided([signer.identity()], {X5U: chain}, trusted).status is IdentityStatus.UNTRUSTED


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(public_exponent=65537, key_size=2048)],
    ids=["P-384", "RSA"],
)
def test_key_that_es256_has_not_is_untrusted__rfc8225_8_1(root: Authority, trusted: TrustList, key: object) -> None:
    signer, other = Provider(root), Provider(root, key=key)
    verdict = decided([signer.identity()], {X5U: other.chain}, trusted)
    assert (verdict.status, verdict.detail) == (
        IdentityStatus.UNTRUSTED,
        "The certificate's key is not on the curve P-256",
    )


def test_chain_is_read_from_pem_and_der(provider: Provider) -> None:
    assert CertificateChain.parse(provider.pem) == provider.chain
    assert CertificateChain.parse(provider.certificate.public_bytes(Encoding.DER)).leaf == provider.certificate


@pytest.mark.parametrize("data", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(CertificateError):
        CertificateChain.parse(data)


def test_chain_beyond_the_limit_is_refused(provider: Provider) -> None:
    with pytest.raises(CertificateError):
        CertificateChain.parse(provider.pem * CHAIN_LIMIT)


def test_trust_list_is_a_bundle_or_a_folder(tmp_path: Path, root: Authority, provider: Provider) -> None:
    pem = root.certificate.public_bytes(Encoding.PEM)
    (tmp_path / "bundle.pem").write_bytes(Authority("Other").certificate.public_bytes(Encoding.PEM) + pem)
    TrustList.load(tmp_path / "bundle.pem").check(provider.chain, NOW)
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "one.crt").write_bytes(pem)
    (tmp_path / "roots" / "README").write_text("not a certificate")
    TrustList.load(tmp_path / "roots").check(provider.chain, NOW)


def test_trust_list_that_holds_nothing_is_a_fault(tmp_path: Path) -> None:
    for path, content in ((tmp_path / "none.pem", None), (tmp_path / "text.pem", "hello")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(TrustListError):
            TrustList.load(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrustListError):
        TrustList.load(tmp_path / "empty")


def test_numbers_are_those_of_from_and_request_uri() -> None:
    assert CallNumbers.of(invite()) == NUMBERS


def test_asserted_identity_goes_before_from__atis_1000074_5_3_1() -> None:
    numbers = CallNumbers.of(invite('P-Asserted-Identity: "A" <sip:+15557776666@x>, <tel:+1-555-888-9999>'))
    assert numbers.callers == {OTHER, THIRD}


@pytest.mark.parametrize("value", ["<sip:anonymous@x>", "<<<", "<sip:@@>"])
def test_asserted_identity_without_a_number_asserts_nothing(value: str) -> None:
    assert CallNumbers.of(invite(f"P-Asserted-Identity: {value}")).callers == {CALLER}


def test_number_that_the_call_was_routed_by_counts_as_called() -> None:
    fixed = invite(uri="sip:reception@192.0.2.1")
    assert CallNumbers.of(fixed).called == frozenset()
    assert CallNumbers.of(fixed, "+15550001111").called == {CALLED}


def test_parameters_and_escapes_of_the_user_part_are_no_number() -> None:
    assert CallNumbers.of(invite(uri="sip:+1%35550001111;npdi@192.0.2.1")).called == {CALLED}


@pytest.mark.parametrize(
    ("caller", "called", "country", "status"),
    [
        ("5552223333", "5550001111", "US", IdentityStatus.PASSED),
        ("15552223333", "011 15550001111", "US", IdentityStatus.PASSED),
        ("0015552223333", "+15550001111", "GB", IdentityStatus.PASSED),
        ("5557776666", "5550001111", "US", IdentityStatus.MISMATCH),
        ("5552223333", "5557776666", "US", IdentityStatus.MISMATCH),
        ("5552223333", "+15550001111", None, IdentityStatus.UNVERIFIED),
        ("+15552223333", "5550001111", None, IdentityStatus.UNVERIFIED),
        ("15557776666", "+15550001111", None, IdentityStatus.MISMATCH),
    ],
)
def test_national_numbers_are_compared_by_the_trunks_country_and_never_a_false_mismatch__rfc8224_8_3(
    provider: Provider, trusted: TrustList, caller: str, called: str, country: str | None, status: IdentityStatus
) -> None:
    request = invite(f"P-Asserted-Identity: <sip:{quote(caller)}@192.0.2.1>", uri=f"sip:{quote(called)}@192.0.2.1")
    numbers = CallNumbers.of(request, called, country)
    assert decided_by(provider, trusted, provider.identity(), numbers=numbers).status is status
