"""The carrier's own verdict: X-Twilio-VerStat (facts on carriers §8)."""

import re
from collections.abc import Sequence
from typing import Final

from gateway.identity.verdict import Attestation, IdentitySource, IdentityStatus, Verdict

VERSTAT_HEADER: Final = "X-Twilio-VerStat"
_VERSTAT: Final = re.compile(
    r"(?:TN-Validation-(Passed|Failed)(?:-([ABC]))?(-Diverted)?|No-TN-Validation|NULL)", re.ASCII
)


def judge_verstat(values: Sequence[str]) -> Verdict:
    """The verdict that Twilio wrote. The caller of this has made sure that the INVITE came from Twilio.

    Absent is not failed: Twilio leaves the header out where it does not verify. `No-TN-Validation` and `NULL` say that
    it could not; what is not documented is taken as the same.
    """
    if not values:
        return _verdict(IdentityStatus.NO_SIGNATURE, "the carrier said nothing")
    if len(values) > 1:
        return _verdict(IdentityStatus.UNVERIFIED, f"{VERSTAT_HEADER} stands {len(values)} times")
    match = _VERSTAT.fullmatch(values[0].strip())
    if match is None:
        return _verdict(IdentityStatus.UNVERIFIED, f"{VERSTAT_HEADER} says {values[0][:80]!r}")
    if match[1] is None:
        return _verdict(IdentityStatus.UNVERIFIED, match[0])
    status = IdentityStatus.PASSED if match[1] == "Passed" else IdentityStatus.FAILED
    attestation = None if match[2] is None else Attestation(match[2])
    return Verdict(status, IdentitySource.CARRIER, attestation, match[0], diverted=match[3] is not None)


def disbelieve(values: Sequence[str]) -> Verdict:
    """The verdict where the header came from somebody else: anybody can write it."""
    if not values:
        return _verdict(IdentityStatus.NO_SIGNATURE, "the carrier said nothing")
    return _verdict(IdentityStatus.UNVERIFIED, f"{VERSTAT_HEADER} came from an address that is not Twilio's")


def _verdict(status: IdentityStatus, detail: str) -> Verdict:
    return Verdict(status, IdentitySource.CARRIER, detail=detail)
