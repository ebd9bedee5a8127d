"""Verification of callers' numbers: the process's part (roots, patience) and each trunk's policy."""

import enum
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from gateway.config.value import InputPath, Name, Settings
from gateway.identity.verdict import IdentityStatus


class IdentityCheckKind(enum.StrEnum):
    """By what a caller's number is verified."""

    OFF = "off"
    CARRIER = "carrier"  # X-Twilio-VerStat, believed from Twilio's addresses only
    PASSPORT = "passport"  # the Identity header's signature, checked by ourselves


class IdentityPolicySettings(Settings):
    """Verification of callers' numbers (STIR/SHAKEN), and what follows from the verdict."""

    verify: IdentityCheckKind = IdentityCheckKind.OFF
    """`off`; `carrier`: the X-Twilio-VerStat header is believed when the call comes from Twilio's own addresses;
    `passport`: the signature in the Identity header is checked here, with the roots of `identity.trust_list`."""
    refuse: tuple[IdentityStatus, ...] = ()
    """Verdicts for which a call is refused with 603. `no_signature` and `unverified` are common on honest calls."""
    route: Mapping[IdentityStatus, Name] = {}
    """Verdict → agent that answers instead of the number's own. The agent's model is opened only after the verdict."""
    tell_agent: bool = False
    """Whether the agent is told the verdict, as a sentence after its instructions."""


class IdentitySettings(Settings):
    """What all trunks share that verify signatures."""

    trust_list: InputPath | None = None
    """Roots that signing certificates must lead to: a PEM bundle, or a folder of .pem, .crt and .cer files. In the
    United States, those of the STI-PA. When absent every rightly signed call is `untrusted`."""
    timeout_seconds: Annotated[float, Field(gt=0, le=5)] = 1.5
    """Longest wait for a signing certificate that is not known yet, while the model session opens; then the verdict is
    `unavailable`. Neither 100 nor 180 waits for it."""
