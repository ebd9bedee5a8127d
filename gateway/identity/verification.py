"""The decision about a call's PASSporTs, sans-I/O.

    examination = examine(values, numbers, now)       what can be said without certificates
    verdict = judge(examination, chains, trust, now)  the rest, with the chains behind `examination.certificate_urls`

What costs nothing comes first (freshness, numbers), so that nobody makes us fetch certificates for a call that they do
not belong to. `now` is wall-clock time: seconds since 1970.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.identity.certificate import CertificateChain, TrustList
from gateway.identity.errors import CertificateError, IdentityError, PassportError
from gateway.identity.number import canonical_number, dialled_text, is_national, number_of
from gateway.identity.passport import Passport
from gateway.identity.verdict import Attestation, IdentitySource, IdentityStatus, Verdict
from sip.errors import SipError
from sip.header import NameAddr
from sip.message import Request

# ATIS-1000074 §5.3.1 and RFC 8224 §6.2.1: a minute each way, for clocks and for the way.
FRESHNESS_SECONDS: Final = 60.0
# Headers that are looked at: one for each provider that signed or diverted the call. A call is seldom diverted twice.
HEADER_COUNT_LIMIT: Final = 8


@dataclass(frozen=True, slots=True)
class CallNumbers:
    """The numbers of a call, canonical: who may be the caller, and which numbers led here.

    Where a number is in national form and nobody says of which country, that it differs from the signed one shows
    nothing: `has_national_caller` and `has_national_called` say so.
    """

    callers: frozenset[str]
    called: frozenset[str]
    has_national_caller: bool = False
    has_national_called: bool = False

    @classmethod
    def of(cls, invite: Request, dialled: str = "", country: str | None = None) -> "CallNumbers":
        """The numbers of an INVITE.

        An asserted identity goes before From (ATIS-1000074 §5.3.1). `dialled` is the number by which the call was
        routed: it may stand in a Diversion header of the carrier only. `country` is that of numbers without plus sign.
        """
        callers = _asserted(invite) or [dialled_text(invite.from_.uri)]
        called = [dialled_text(invite.uri), dialled_text(invite.to.uri), dialled]
        return cls(
            _canonical(callers, country),
            _canonical(called, country),
            country is None and any(map(is_national, callers)),
            country is None and any(map(is_national, called)),
        )


def _canonical(texts: Sequence[str], country: str | None) -> frozenset[str]:
    return frozenset(number for text in texts if (number := canonical_number(text, country)) is not None)


def _asserted(invite: Request) -> list[str]:
    """Numbers of P-Asserted-Identity (RFC 3325 §9.1); a value that cannot be read asserts nothing."""
    numbers: list[str] = []
    for value in invite.headers.values("P-Asserted-Identity"):
        try:
            uri = NameAddr.parse(value).uri
        except SipError:
            continue
        if number_of(uri) is not None:
            numbers.append(dialled_text(uri))
    return numbers


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be proved: a shaken PASSporT, and the diversions that lead from its destination to us, in order."""

    shaken: Passport
    diversions: tuple[Passport, ...] = ()

    @property
    def passports(self) -> tuple[Passport, ...]:
        """All that must be rightly signed."""
        return (self.shaken, *self.diversions)


@dataclass(frozen=True, slots=True)
class Examination:
    """What became of the headers: claims that certificates can prove, or the verdict that stands without them."""

    claims: tuple[Claim, ...]
    verdict: Verdict | None

    @property
    def certificate_urls(self) -> frozenset[str]:
        """Where the certificates are that `judge` needs."""
        return frozenset(passport.certificate_url for claim in self.claims for passport in claim.passports)


def examine(values: Sequence[str], numbers: CallNumbers, now: float) -> Examination:
    """Reads the Identity headers of a call and sorts out what cannot hold whatever the certificates say."""
    if not values:
        return _settled(IdentityStatus.NO_SIGNATURE, "no Identity header")
    if len(values) > HEADER_COUNT_LIMIT:
        return _settled(IdentityStatus.FAILED, f"{len(values)} Identity headers; {HEADER_COUNT_LIMIT} is the limit")
    passports: list[Passport] = []
    fault: str | None = None
    for value in values:
        try:
            passport = Passport.parse(value)
        except PassportError as error:
            fault = fault or str(error)
            continue
        if passport is not None:
            passports.append(passport)
    diversions = [passport for passport in passports if passport.is_diversion]
    originals = [passport for passport in passports if not passport.is_diversion]
    if not originals:
        status = IdentityStatus.NO_SIGNATURE if fault is None else IdentityStatus.FAILED
        return _settled(status, fault or "no PASSporT of type shaken")
    return _examine(originals, diversions, numbers, now)


def _examine(
    originals: Sequence[Passport], diversions: Sequence[Passport], numbers: CallNumbers, now: float
) -> Examination:
    claims: list[Claim] = []
    objection: Verdict | None = None
    for shaken in originals:
        claim = _connect(shaken, diversions, numbers)
        verdict = _object(shaken, claim, numbers, now)
        if verdict is None and claim is not None:
            claims.append(claim)
        objection = objection or verdict
    return Examination(tuple(claims), None if claims else objection)


def _connect(shaken: Passport, diversions: Sequence[Passport], numbers: CallNumbers) -> Claim | None:
    """The way from what was dialled to the number that we were called by; RFC 8946 §5 follows div to dest."""
    way: list[Passport] = []
    reached, left = set(shaken.dest), list(diversions)
    while not reached & numbers.called:
        following = next((div for div in left if div.diverted_from in reached and div.orig == shaken.orig), None)
        if following is None:
            return None
        left.remove(following)
        way.append(following)
        reached = set(following.dest)
    return Claim(shaken, tuple(way))


def _object(shaken: Passport, claim: Claim | None, numbers: CallNumbers, now: float) -> Verdict | None:
    if shaken.orig not in numbers.callers:
        return _differs("caller", shaken, is_national=numbers.has_national_caller)
    if claim is None:
        return _differs("destination", shaken, is_national=numbers.has_national_called)
    for passport in claim.passports:
        age = now - passport.issued_at
        if abs(age) > FRESHNESS_SECONDS:
            tense = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s ahead of our clock"
            return _verdict(IdentityStatus.EXPIRED, f"it was signed {tense}", shaken)
    return None


def _differs(what: str, shaken: Passport, *, is_national: bool) -> Verdict:
    if is_national:
        detail = f"the {what} is given in national form, and the trunk names no country to compare it by"
        return _verdict(IdentityStatus.UNVERIFIED, detail, shaken)
    return _verdict(IdentityStatus.MISMATCH, f"it was signed for another {what}", shaken)


def judge(
    examination: Examination,
    chains: Mapping[str, CertificateChain | IdentityError],
    trust: TrustList,
    now: float,
) -> Verdict:
    """The verdict on a call.

    Args:
        examination: from `examine`.
        chains: by URL, the certificates or why there are none; a URL that is missing was not reached in time.
        trust: the roots.
        now: seconds since 1970.
    """
    if examination.verdict is not None:
        return examination.verdict
    verdicts = [_judge_claim(claim, chains, trust, now) for claim in examination.claims]
    return next((verdict for verdict in verdicts if verdict.status is IdentityStatus.PASSED), verdicts[0])


def _judge_claim(
    claim: Claim, chains: Mapping[str, CertificateChain | IdentityError], trust: TrustList, now: float
) -> Verdict:
    for passport in claim.passports:
        chain = chains.get(passport.certificate_url)
        if chain is None:
            return _verdict(IdentityStatus.UNAVAILABLE, "the certificate was not there in time", claim.shaken)
        if isinstance(chain, CertificateError):
            return _verdict(IdentityStatus.UNTRUSTED, str(chain), claim.shaken)
        if isinstance(chain, IdentityError):
            return _verdict(IdentityStatus.UNAVAILABLE, str(chain), claim.shaken)
        try:
            if not chain.has_signed(passport.signing_input, passport.signature):
                return _verdict(IdentityStatus.FAILED, "the signature is wrong", claim.shaken)
            trust.check(chain, now)
        except CertificateError as error:
            return _verdict(IdentityStatus.UNTRUSTED, str(error), claim.shaken)
    return _verdict(IdentityStatus.PASSED, "", claim.shaken, diverted=bool(claim.diversions))


def _settled(status: IdentityStatus, detail: str) -> Examination:
    return Examination((), Verdict(status, IdentitySource.PASSPORT, detail=detail))


def _verdict(status: IdentityStatus, detail: str, shaken: Passport, *, diverted: bool = False) -> Verdict:
    attestation: Attestation | None = shaken.attestation
    return Verdict(status, IdentitySource.PASSPORT, attestation, detail, diverted, shaken.orig)
