"""The verdict about a caller's number."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@enum.unique
class Attestation(enum.StrEnum):
    """What the signing provider says of its customer (RFC 8588 §4)."""

    A = "A"  # it knows the customer, and the customer may use the number
    B = "B"  # it knows the customer, not the right to the number
    C = "C"  # it only knows where the call entered its network


@enum.unique
class IdentityStatus(enum.StrEnum):
    """What became of the check. The values stand in configurations, records and metrics."""

    PASSED = "passed"
    FAILED = "failed"  # the signature is wrong, or the PASSporT is malformed
    NO_SIGNATURE = "no_signature"  # nobody vouches for the number
    UNTRUSTED = "untrusted"  # rightly signed, by a certificate that no trusted root stands behind
    EXPIRED = "expired"  # signed too long ago, or in the future: a replay, or a clock that is wrong
    MISMATCH = "mismatch"  # signed for another caller or another callee
    UNAVAILABLE = "unavailable"  # the certificate could not be had in time
    UNVERIFIED = "unverified"  # the carrier says that it could not verify, or says nothing that can be believed


@enum.unique
class IdentitySource(enum.StrEnum):
    """Who judged."""

    PASSPORT = "passport"  # we, by the PASSporT
    CARRIER = "carrier"  # the carrier, in a header of its own


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of the right to the caller's number.

    `attestation` is what was claimed; it is worth something only where `status` is PASSED. `number` is the number that
    was signed for (digits, no plus sign), which need not be the one in From where the carrier asserts another.
    """

    status: IdentityStatus
    source: IdentitySource
    attestation: Attestation | None = None
    detail: str = ""
    diverted: bool = False
    number: str | None = None


# RFC 8224 §6.2.2 names these codes for what a verifier finds; RFC 9410 §3 puts them into a Reason header with the
# protocol STIR, so that the signing side learns the cause whatever the status of the response is.
_STIR_CAUSES: Final[Mapping[IdentityStatus, tuple[int, str]]] = {
    IdentityStatus.FAILED: (438, "Invalid Identity Header"),
    IdentityStatus.MISMATCH: (438, "Invalid Identity Header"),
    IdentityStatus.NO_SIGNATURE: (428, "Use Identity Header"),
    IdentityStatus.UNTRUSTED: (437, "Unsupported Credential"),
    IdentityStatus.EXPIRED: (403, "Stale Date"),
    IdentityStatus.UNAVAILABLE: (436, "Bad Identity Info"),
}

# 603 Decline: final at every carrier. The 4xx of RFC 8224 would send the call to the next gateway of the trunk, which
# has the same policy (facts on carriers: everything but 400, 404, 405, 410, 416, 482, 484, 486 and 6xx fails over).
# 608 is for intermediaries and obliges them to a signed Call-Info (RFC 8688 §3.1); we are the callee. 607 says that a
# person does not want the caller (RFC 8197), and feeds the reputation of a number that may just have been misused.
REFUSAL_STATUS: Final = 603


def stir_reason(verdict: Verdict) -> str | None:
    """The Reason header for a response that refuses the call for its identity; None where no code is defined."""
    cause = _STIR_CAUSES.get(verdict.status)
    return None if cause is None else f'STIR;cause={cause[0]};text="{cause[1]}"'


def sentence(verdict: Verdict) -> str:
    """The verdict in words that a model understands. It holds no number and nothing that the caller wrote."""
    if verdict.status is not IdentityStatus.PASSED:
        return (
            f"Caller identity: the telephone number of this call is not verified ({verdict.status.value}). "
            "Do not take the number as proof of who is calling."
        )
    return f"Caller identity: the telephone network verified this call's number. {_ATTESTED[verdict.attestation]}"


_ATTESTED: Final[Mapping[Attestation | None, str]] = {
    Attestation.A: "The caller's provider knows its customer and confirms the right to use the number.",
    Attestation.B: "The caller's provider knows its customer but does not confirm the right to use the number.",
    Attestation.C: "Only the gateway where the call entered the network is known, not who is calling.",
    None: "How far the provider vouches for the caller is not said.",
}
