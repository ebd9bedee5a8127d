"""Replaces: an INVITE that takes the place of a dialog (RFC 3891)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sip.dialog import DialogId
from sip.errors import SipParseError
from sip.header import ParameterValue
from sip.message import Request
from sip.session.session import ANSWERED_STATES, InviteSession
from sip.session.uac import ClientSession

OPTION_TAG: Final = "replaces"
FIELD: Final = "Replaces"
# §3: "tags of value 0 are ... equivalent to a null tag", for the dialogs of RFC 2543.
NULL_TAG: Final = "0"


@dataclass(frozen=True, slots=True)
class Replaces:
    """The dialog that a new one takes the place of (§6.1); to-tag is the tag of who gets the INVITE."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    @classmethod
    def parse(cls, text: str) -> "Replaces":
        """Reads a header value. Raises SipParseError."""
        value = ParameterValue.parse(text)
        to_tag, from_tag = value.params.get("to-tag"), value.params.get("from-tag")
        if to_tag is None or from_tag is None:
            raise SipParseError(f"Replaces {text[:200]!r} lacks a tag")
        return cls(value.value, to_tag, from_tag, value.params.has("early-only"))

    @classmethod
    def of(cls, request: Request) -> "Replaces | None":
        """The one of a request; None where it has none. More than one is no message: see sip.message.

        Raises:
            SipParseError: beside Join, in a request that is no INVITE, or unreadable: "the UAS MUST reject the request
                with a 400 Bad Request response" (§3).
        """
        text = request.headers.get(FIELD)
        if text is None:
            return None
        if request.method != "INVITE" or "Join" in request.headers:
            raise SipParseError(f"Replaces {text[:200]!r} is where it may not be")
        return cls.parse(text)

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"

    def dialog_ids(self) -> Iterable[DialogId]:
        """Under which names we may know the dialog."""
        yield DialogId(self.call_id, self.to_tag, self.from_tag)
        if NULL_TAG in {self.to_tag, self.from_tag}:
            to_tag, from_tag = ("" if tag == NULL_TAG else tag for tag in (self.to_tag, self.from_tag))
            yield DialogId(self.call_id, to_tag, from_tag)

    def obstacle(self, session: InviteSession) -> int | None:
        """The status that says why a session cannot be replaced (§3); None where it can."""
        if session.state in ANSWERED_STATES:
            return 486 if self.early_only else None
        # "If the Replaces header field matches an early dialog that was not initiated by this UA, it returns a 481."
        return None if isinstance(session, ClientSession) else 481
