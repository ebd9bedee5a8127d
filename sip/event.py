"""What a user agent tells its user. Frozen values; every event of a session carries it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sip.header import NameAddr
from sip.message import Request, Response
from sip.session.state import EndCause

if TYPE_CHECKING:
    from sip.session.session import InviteSession
    from sip.session.uas import ServerSession


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Base of all events that belong to a session."""

    session: "InviteSession"


@dataclass(frozen=True, slots=True)
class IncomingInvite(SessionEvent):
    """A new call; 100 is sent. `offer` is None where the INVITE has none: then `answer` carries ours.

    `replaces` is the session whose place it is to take (RFC 3891): whoever answers it ends that one.
    """

    session: "ServerSession"
    offer: bytes | None
    replaces: "InviteSession | None" = None


@dataclass(frozen=True, slots=True)
class Cancelled(SessionEvent):
    """The caller gave up before the answer: CANCEL, or BYE of the early dialog. The INVITE got 487; Ended follows."""

    reason: str | None  # the Reason header field, such as 'SIP;cause=200;text="Call completed elsewhere"'


@dataclass(frozen=True, slots=True)
class Acknowledged(SessionEvent):
    """The ACK for our 2xx. `body` is the answer where the 2xx carried our offer. After a re-INVITE it comes again."""

    body: bytes | None


@dataclass(frozen=True, slots=True)
class ProvisionalAcknowledged(SessionEvent):
    """The PRACK for a reliable 1xx of ours (RFC 3262). `body` is the answer where that 1xx carried our offer."""

    body: bytes | None


@dataclass(frozen=True, slots=True)
class NotAcknowledged(SessionEvent):
    """No ACK for 64*T1 (RFC 3261 §13.3.1.4); the BYE is sent, and Ended follows."""


@dataclass(frozen=True, slots=True)
class ReinviteReceived(SessionEvent):
    """A re-INVITE: answer with `answer_reinvite` or `reject_reinvite`. Without an offer, the answer carries ours."""

    offer: bytes | None


@dataclass(frozen=True, slots=True)
class ReinviteCancelled(SessionEvent):
    """The peer took its unanswered re-INVITE back; the session goes on as it was."""


@dataclass(frozen=True, slots=True)
class ReinviteAnswered(SessionEvent):
    """Our re-INVITE was accepted. Where it had no offer, `body` is theirs: `acknowledge` with the answer."""

    body: bytes | None


@dataclass(frozen=True, slots=True)
class ReinviteFailed(SessionEvent):
    """Our re-INVITE was refused; the session goes on as it was (RFC 3261 §14.1)."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Provisional(SessionEvent):
    """A 1xx for our INVITE. `remote_tag` tells apart the branches of a forked call; `body` may be early media's SDP."""

    status: int
    reason: str
    body: bytes | None
    remote_tag: str | None
    response: Response


@dataclass(frozen=True, slots=True)
class Answered(SessionEvent):
    """The 2xx for our INVITE. The ACK is sent, except where we made no offer: then `acknowledge` carries our answer."""

    body: bytes | None
    response: Response


@dataclass(frozen=True, slots=True)
class Failed(SessionEvent):
    """Our INVITE came to nothing: a 3xx to 6xx, or 408 for silence, or 503 for a transport failure. Ended follows."""

    status: int
    reason: str
    response: Response | None


@dataclass(frozen=True, slots=True)
class ByeReceived(SessionEvent):
    """The peer hung up; its 200 is sent, and Ended follows."""

    reason: str | None
    request: Request


@dataclass(frozen=True, slots=True)
class InfoReceived(SessionEvent):
    """An INFO of the dialog, answered with 200 already (RFC 6086; DTMF from older PBXes)."""

    content_type: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class SessionRefreshed(SessionEvent):
    """A refresh of ours went through (RFC 4028). `body` is the peer's answer where it was a re-INVITE."""

    body: bytes | None


@dataclass(frozen=True, slots=True)
class ReferAccepted(SessionEvent):
    """The peer took our REFER (202); ReferProgress and ReferEnded tell the rest."""


@dataclass(frozen=True, slots=True)
class ReferProgress(SessionEvent):
    """A NOTIFY tells how the transfer goes: 100, 180 and so on."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReferEnded(SessionEvent):
    """The end of our REFER: the transfer's final status, or, not `is_accepted`, the refusal of the REFER itself.

    After a 2xx the transferor hangs up; Twilio wants that BYE at once.
    """

    status: int
    reason: str
    is_accepted: bool


@dataclass(frozen=True, slots=True)
class ReferReceived(SessionEvent):
    """The peer asks us to call somebody: `accept_refer` or `reject_refer`. Unanswered it is declined."""

    refer_to: NameAddr
    referred_by: str | None
    request: Request


@dataclass(frozen=True, slots=True)
class Ended(SessionEvent):
    """The session is over: the last event of every session, exactly once."""

    cause: EndCause


AgentEvent = SessionEvent
