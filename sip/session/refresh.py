"""Session timers: RFC 4028, for both sides of a dialog.

A session interval holds only between peers that both say `Supported: timer`. A Session-Expires that leaked through from
some carrier, as behind Twilio, is left alone.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from sip.errors import SipParseError
from sip.grammar import parse_number
from sip.header import ParameterValue
from sip.message import Message, Request, Response

TIMER: Final = "timer"
INTERVAL_LIMIT: Final = 2**31 - 1
EXPIRY_MARGIN: Final = 32.0  # seconds: §10: BYE goes out "min(32, 1/3 session interval)" before the expiration


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """The value of Session-Expires: seconds, and who refreshes: "uac", "uas" (of the transaction), or None."""

    seconds: int
    refresher: str | None = None

    @classmethod
    def of(cls, message: Message) -> "SessionExpires | None":
        """What a message says; None where it says nothing, or nothing that can be read."""
        text = message.headers.get("Session-Expires")
        if text is None:
            return None
        try:
            value = ParameterValue.parse(text)
        except SipParseError:
            return None
        if not (value.value.isascii() and value.value.isdigit()):
            return None
        seconds = parse_number(value.value, INTERVAL_LIMIT)
        refresher = (value.params.get("refresher") or "").lower()
        return cls(INTERVAL_LIMIT if seconds is None else seconds, refresher if refresher in {"uac", "uas"} else None)

    def __str__(self) -> str:
        return f"{self.seconds}" if self.refresher is None else f"{self.seconds};refresher={self.refresher}"


def min_se(message: Message) -> int:
    """The least interval that a message allows; 0 where it names none."""
    return parse_number((message.headers.get("Min-SE") or "").partition(";")[0].strip(), INTERVAL_LIMIT) or 0


def knows_timers(message: Message) -> bool:
    """Whether its sender does: who requires an extension supports it, though some leave that unsaid."""
    return TIMER in message.supported or TIMER in message.require


class RefreshedSession(Protocol):
    """What the timer drives."""

    def refresh(self, now: float) -> None:
        """Sends an UPDATE or re-INVITE that changes nothing."""

    def expire(self, now: float) -> None:
        """Ends the session: no refresh came in time."""


class SessionRefresher:
    """The session timer of one dialog.

    `interval` is None until both sides have agreed on one; `is_ours` says whether it is for us to refresh.
    """

    def __init__(self, session: RefreshedSession, *, wanted: int | None, minimum: int) -> None:
        self.interval: int | None = None
        self.is_ours = False
        self._session = session
        self._wanted = wanted
        self._minimum = minimum
        self._refresh_at: float | None = None
        self._expire_at: float | None = None

    def request_headers(self, least: int = 0) -> list[tuple[str, str]]:
        """For an INVITE or UPDATE of ours. `least` is what a 422 demanded (§7.4: "the largest Min-SE")."""
        if self._wanted is None:
            return []
        minimum = max(self._minimum, least)
        interval = max(self.interval or self._wanted, minimum)
        refresher = None if self.interval is None else "uac" if self.is_ours else "uas"
        return [("Session-Expires", str(SessionExpires(interval, refresher))), ("Min-SE", str(minimum))]

    def answer(self, request: Request, now: float) -> list[tuple[str, str]]:
        """Agrees on what a request that we accept asks for; gives the fields of its 2xx (§9)."""
        asked = SessionExpires.of(request)
        is_asked = asked is not None or self.interval is not None
        if self._wanted is None or not knows_timers(request) or not is_asked:
            # Who knows timers but asks for none (Twilio's <Sip>, with Min-SE alone) is held to none: a peer that then
            # forgot to refresh would lose its call.
            self.stop()
            return []
        # The UAS may lower the interval, but never below the request's Min-SE, and never raise it.
        floor = max(self._minimum, min_se(request))
        interval = max(self._wanted if asked is None else min(asked.seconds, self._wanted), floor)
        refresher = asked.refresher if asked is not None and asked.refresher is not None else "uac"
        self._begin(interval, is_ours=refresher == "uas", now=now)
        fields = [("Session-Expires", str(SessionExpires(interval, refresher)))]
        if refresher == "uac":
            fields.insert(0, ("Require", TIMER))  # §9: so the UAC cannot overlook that it is to refresh
        return fields

    def accept(self, response: Response, now: float) -> None:
        """Takes over what the 2xx for our request says (§7.2). Without Session-Expires there is no expiration.

        Nor is there one where the peer is to refresh and does not say that it knows timers: that Session-Expires leaked
        through from a network behind it, and nobody would refresh.
        """
        agreed = SessionExpires.of(response)
        is_leaked = agreed is not None and agreed.refresher == "uas" and not knows_timers(response)
        if self._wanted is None or agreed is None or is_leaked:
            self.stop()
        else:
            # §9: never below the Min-SE of our request. Less would end the call, or flood the peer with refreshes.
            interval = max(agreed.seconds, self._minimum)
            self._begin(interval, is_ours=agreed.refresher != "uas", now=now)

    def _begin(self, interval: int, *, is_ours: bool, now: float) -> None:
        self.interval = interval
        self.is_ours = is_ours
        self._refresh_at = now + interval / 2 if is_ours else None
        self._expire_at = now + interval - min(EXPIRY_MARGIN, interval / 3)

    def next_timer(self) -> float | None:
        """When to refresh, or to give up."""
        if self._refresh_at is None or self._expire_at is None:
            return self._expire_at
        return min(self._refresh_at, self._expire_at)

    def handle_timer(self, now: float) -> None:
        """Refreshes at half the interval; ends the session shortly before the expiration (§10)."""
        if self._expire_at is not None and self._expire_at <= now:
            self.stop()
            self._session.expire(now)
        elif self._refresh_at is not None and self._refresh_at <= now:
            self._refresh_at = None
            self._session.refresh(now)

    def stop(self) -> None:
        """No interval any more."""
        self.interval = self._refresh_at = self._expire_at = None
