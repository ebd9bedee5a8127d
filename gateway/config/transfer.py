"""Where an agent may send its callers: the allow-list of `transfer_call`. Nothing else is ever dialled."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field, field_validator, model_validator

from gateway.config.value import E164, Name, Settings

# Names, hosts and parameters that need no escape: nothing that ends the angle brackets of a Refer-To, and no "?",
# behind which headers such as Replaces would stand.
_SIP_URI: Final = re.compile(r"sips?:([A-Za-z0-9\-_.!~*'()&=+$,%]+@)?[A-Za-z0-9\-.\[\]:]+(;[A-Za-z0-9\-_.;=+]+)?")
_PREFIX: Final = re.compile(r"\+[1-9][0-9]{0,14}\*")
_HOST: Final = re.compile(r"[A-Za-z0-9\-.]+(:[0-9]{1,5})?")
# What people and models put between the digits of a number.
_DECORATION: Final = re.compile(r"[ ().\-/]")
# Longer than it rings anywhere; the far end's own limit is usually 32 to 60 s.
LONGEST_TRANSFER_SECONDS: Final = 180


def parse_destination(value: str) -> str:
    """A number in E.164 form or a SIP URI."""
    if not E164.fullmatch(value) and not _SIP_URI.fullmatch(value):
        raise ValueError(f"{value!r} is neither an E.164 number such as +15557778888 nor a URI such as sip:sales@host")
    return value


def parse_permission(value: str) -> str:
    """A destination, or a prefix of numbers that ends in an asterisk."""
    return value if _PREFIX.fullmatch(value) else parse_destination(value)


def parse_sip_host(value: str) -> str:
    """The host of a SIP URI, with a port where one is needed."""
    if not _HOST.fullmatch(value):
        raise ValueError(f"{value!r} is not a host such as acme.pstn.twilio.com")
    return value


Destination = Annotated[str, AfterValidator(parse_destination)]
Permission = Annotated[str, AfterValidator(parse_permission)]
SipHost = Annotated[str, AfterValidator(parse_sip_host)]


class TransferSettings(Settings):
    """Where `transfer_call` may send the caller. What is not listed is never dialled, whatever caller and model say."""

    destinations: Mapping[Name, Destination] = {}
    """Name that the model says (sales) → number in E.164 form or SIP URI."""
    allow: tuple[Permission, ...] = ()
    """Further destinations, which the model names itself: numbers in E.164 form, prefixes of numbers (+1555*), SIP
    URIs. A prefix opens every number behind it, at the cost of whoever pays the trunk."""
    sip_host: SipHost | None = None
    """Host of the SIP URI that a number becomes (sip:+15557778888@HOST). When absent, numbers are sent as tel: URIs,
    which carriers take."""
    timeout_seconds: Annotated[float, Field(gt=0, le=LONGEST_TRANSFER_SECONDS)] = 90.0
    """Longest wait for the far end's word. Then the model is told that the transfer has failed."""
    confirm: bool = False
    """Whether the caller must agree first, as with tools of your own."""
    fallback: str | None = None
    """What the agent should say when the transfer fails."""

    @field_validator("destinations")
    @classmethod
    def _no_name_is_a_number(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name in value:
            if name.isdigit():
                raise ValueError(f"the name {name!r} could be taken for a number")
        return value

    @model_validator(mode="after")
    def _lead_somewhere(self) -> "TransferSettings":
        if not self.destinations and not self.allow:
            raise ValueError("lists no destination; write at least one under destinations or allow")
        return self

    def resolve(self, wish: str) -> str | None:
        """The URI that a model's wish leads to, or None where it is not listed."""
        if wish in self.destinations:
            return self._uri_of(self.destinations[wish])
        if wish in self.allow and not wish.endswith("*"):
            return self._uri_of(wish)
        number = number_in(wish.removeprefix("tel:"))
        if number is not None and any(permits(permission, number) for permission in self.allow):
            return self._uri_of(number)
        return None

    def _uri_of(self, destination: str) -> str:
        if not destination.startswith("+"):
            return destination
        return f"tel:{destination}" if self.sip_host is None else f"sip:{destination}@{self.sip_host}"


def number_in(text: str) -> str | None:
    """The number in E.164 form that a text is, whatever stands between its digits; None where it is none."""
    number = _DECORATION.sub("", text)
    return number if E164.fullmatch(number) else None


def permits(permission: str, number: str) -> bool:
    """Whether an entry of an allow-list holds a number."""
    if permission.endswith("*") and permission.startswith("+"):
        return number.startswith(permission[:-1])
    return number == permission
