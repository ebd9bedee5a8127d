"""Call transfer: REFER and the NOTIFYs of its implicit subscription, sent and received (RFC 3515)."""

import re
from dataclasses import dataclass
from typing import Final

from sip.errors import SipParseError
from sip.event import ReferAccepted, ReferEnded, ReferProgress, ReferReceived
from sip.header import NameAddr
from sip.message import REASON_PHRASES, Request, Response
from sip.session.core import SessionCore
from sip.session.received import HeaderFields
from sip.transaction.machine import Failure
from sip.transaction.non_invite_server import NonInviteServerTransaction

SIPFRAG: Final = "message/sipfrag"
STATUS_LINE: Final = re.compile(rb"SIP/2\.0[ \t]+([1-6]\d\d)[ \t]*([^\r\n]{0,256})")
SUBSCRIPTION_SECONDS: Final = 180  # how long a transfer may take to come to its end
NO_SUBSCRIPTION: Final = "norefersub"  # RFC 4488 §7


@dataclass(slots=True)
class _Sent:
    is_accepted: bool = False
    status: int = 100
    reason: str = "Trying"


class Referrals:
    """The transfers of one dialog: at most one that we asked for, and one that the peer asked for."""

    def __init__(self, session: SessionCore) -> None:
        self._session = session
        self._sent: _Sent | None = None
        self._patience: float | None = None  # for the next NOTIFY
        self._asked: NonInviteServerTransaction | None = None  # a REFER that our user has to answer
        self._asked_until: float | None = None
        self._subscription: str | None = None  # the Event value of the peer's subscription, while it lasts

    # -- as referrer -------------------------------------------------------------------------------------------------

    def refer(self, refer_to: str, headers: HeaderFields, now: float) -> bool:
        """Sends a REFER; False while another is under way."""
        session = self._session
        if self._sent is not None:
            return False
        sent = self._sent = _Sent()
        self._patience = now + SUBSCRIPTION_SECONDS
        fields = [("Contact", session.contact()), ("Refer-To", refer_to), *headers]

        def handle(request: Request, outcome: Response | Failure, now: float) -> None:
            del request
            if self._sent is sent:
                self._handle_answer(sent, outcome, now)

        session.send_request("REFER", handle, now, headers=fields)
        session.changed()
        return True

    def _handle_answer(self, sent: _Sent, outcome: Response | Failure, now: float) -> None:
        del now
        session = self._session
        if 200 <= outcome.status < 300:
            sent.is_accepted = True
            session.host.emit(ReferAccepted(session.as_session()))
        elif outcome.status >= 300:
            reason = outcome.reason if isinstance(outcome, Response) else outcome.name
            self._finish(outcome.status, reason, is_accepted=False)
        session.changed()

    def receive_notify(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        """A NOTIFY: of our REFER's subscription, or of none (RFC 3515 §2.4.4, RFC 6665 §4.1.3)."""
        session = self._session
        event = (request.headers.get("Event") or "").partition(";")[0].strip().lower()
        if event != "refer":
            session.respond(transaction, 489, now)
            return
        if self._sent is None:
            session.respond(transaction, 481, now)
            return
        found = STATUS_LINE.match(request.body)
        state = (request.headers.get("Subscription-State") or "").partition(";")[0].strip().lower()
        if found is None and state != "terminated":
            session.respond(transaction, 400, now)
            return
        session.respond(transaction, 200, now)
        self._patience = now + SUBSCRIPTION_SECONDS
        if found is not None:
            self._sent.status = int(found[1])
            self._sent.reason = found[2].decode("utf-8", "replace").strip()
        if state == "terminated" or self._sent.status >= 200:
            self._finish(self._sent.status, self._sent.reason, is_accepted=True)
        else:
            session.host.emit(ReferProgress(session.as_session(), self._sent.status, self._sent.reason))

    def _finish(self, status: int, reason: str, *, is_accepted: bool) -> None:
        self._sent = self._patience = None
        self._session.host.emit(ReferEnded(self._session.as_session(), status, reason, is_accepted))

    # -- as the one who is referred ----------------------------------------------------------------------------------

    def receive_refer(self, transaction: NonInviteServerTransaction, request: Request, now: float) -> None:
        """A REFER: our user accepts or rejects it, under its policy of whom to call."""
        session = self._session
        target = _refer_to(request)
        if target is None:
            session.respond(transaction, 400, now)
        elif self._asked is not None or self._subscription is not None:
            session.respond(transaction, 491, now)
        else:
            self._asked = transaction
            self._asked_until = now + session.host.configuration.reinvite_limit
            session.host.emit(ReferReceived(session.as_session(), target, request.headers.get("Referred-By"), request))

    def accept(self, now: float) -> bool:
        """202, and at once the NOTIFY that the transfer is being tried (RFC 3515 §2.4.4).

        Where the peer wants no NOTIFYs it gets "a Refer-Sub header field set to false" in the 2xx (RFC 4488 §4), and
        `notify` says nothing.
        """
        transaction = self._asked
        if transaction is None:
            return False
        self._asked = self._asked_until = None
        session = self._session
        if NO_SUBSCRIPTION in session.host.configuration.supported and _wants_no_notify(transaction.request):
            session.respond(transaction, 202, now, [("Contact", session.contact()), ("Refer-Sub", "false")])
            return True
        session.respond(transaction, 202, now, [("Contact", session.contact())])
        # §2.4.6: the id parameter carries the CSeq number of the REFER.
        self._subscription = f"refer;id={transaction.request.cseq.number}"
        return self.notify(100, None, now)

    def reject(self, status: int, now: float) -> bool:
        """Refuses the peer's REFER."""
        transaction = self._asked
        if transaction is None:
            return False
        self._asked = self._asked_until = None
        self._session.respond(transaction, status, now)
        return True

    def notify(self, status: int, reason: str | None, now: float) -> bool:
        """Tells the referrer how the transfer goes; a final status ends the subscription."""
        subscription, session = self._subscription, self._session
        if subscription is None:
            return False
        is_final = status >= 200
        state = "terminated;reason=noresource" if is_final else f"active;expires={SUBSCRIPTION_SECONDS}"
        headers = [
            ("Contact", session.contact()),
            ("Event", subscription),
            ("Subscription-State", state),
            ("Content-Type", f"{SIPFRAG};version=2.0"),
        ]
        phrase = REASON_PHRASES.get(status, "") if reason is None else reason
        body = f"SIP/2.0 {status} {phrase}\r\n".encode()
        session.send_request("NOTIFY", session.count_outcome("notify"), now, headers=headers, body=body)
        if is_final:
            self._subscription = None
        return True

    # -- timers ------------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """The end of our patience with the peer, or with our user."""
        if self._patience is None or self._asked_until is None:
            return self._asked_until if self._patience is None else self._patience
        return min(self._patience, self._asked_until)

    def handle_timer(self, now: float) -> None:
        """A silent transfer has failed; an unanswered REFER is declined."""
        if self._patience is not None and self._patience <= now and self._sent is not None:
            self._finish(408, "Request Timeout", is_accepted=self._sent.is_accepted)
        if self._asked_until is not None and self._asked_until <= now:
            self._session.host.counters["refer_unanswered"] += 1
            self.reject(603, now)

    def stop(self) -> None:
        """The session is over, and all subscriptions with it."""
        self._sent = self._patience = self._asked = self._asked_until = self._subscription = None


def _wants_no_notify(request: Request) -> bool:
    return (request.headers.get("Refer-Sub") or "").partition(";")[0].strip().lower() == "false"


def _refer_to(request: Request) -> NameAddr | None:
    text = request.headers.get("Refer-To")
    try:
        return NameAddr.parse(text) if text is not None else None
    except SipParseError:
        return None
