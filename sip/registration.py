"""A registration as its user keeps it (RFC 3261 §10.2), sans-I/O: bound, refreshed, tried again, and let go.

    registration = Registration(agent, settings, authenticator=…, on_change=…)
    registration.start(now=…)           REGISTER goes out; the agent's timers do the rest
    registration.stop(now=…)            the binding is removed

Back-off is RFC 5626 §4.5's. Redirections are not followed: credentials and calls stay with the configured registrar.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from sip.agenda import Timed
from sip.header import NameAddr
from sip.message import Request, Response
from sip.registration_state import REGISTRATION, RegistrationAct, RegistrationInput, RegistrationState
from sip.session.host import Authenticator
from sip.transaction.machine import Failure
from sip.transaction.search import OnOutcome
from sip.uri import Uri

# The share of the granted time after which it is refreshed, drawn between these. Half leaves time for two attempts that
# meet silence (32 s each) even where only two minutes were granted; the draw spreads the clients of one registrar.
REFRESH_SHARE: Final = (0.5, 0.6)
# A registrar that grants a second does not get a REGISTER every half second; but one that grants little is asked before
# that has passed, since calls would find nobody in between.
SHORTEST_REFRESH_SECONDS: Final = 5.0
LATEST_REFRESH_SHARE: Final = 0.8
LEAST_REFRESH_SECONDS: Final = 1.0
# RFC 5626 §4.5: W = min(max-time, base-time * 2 ^ consecutive-failures), and the wait is drawn from its upper half.
BASE_WAIT_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 1800.0
# Requests one after another without a success: a 423, a challenge after it, a nonce that went stale, and one to spare.
ATTEMPT_LIMIT: Final = 5
LONGEST_EXPIRES_SECONDS: Final = 7 * 86_400  # a Min-Expires beyond it is no wish that can be met
# A 4xx says that the same request would fail again (RFC 3261 §21.4), so it waits the longest; these may pass.
TRANSIENT_STATUSES: Final = frozenset({408, 429, 480, 486, 491, 494})

_DELTA_SECONDS: Final = re.compile(r"[ \t]*([0-9]{1,10})[ \t]*(?:[(;].*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """What is registered where.

    `address_of_record` is whom we register, `contacts` where calls for it shall go.
    """

    registrar: Uri
    address_of_record: Uri
    contacts: tuple[Uri, ...]
    expires_seconds: int = 3600
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RegistrationFault:
    """Why the last attempt failed. `status` is None where no response came."""

    status: int | None
    reason: str


class RegistrationAgent(Protocol):
    """The user agent, as a registration sees it."""

    def request(
        self,
        method: str,
        *,
        target: Uri,
        from_: NameAddr,
        on_outcome: OnOutcome,
        now: float,
        to: NameAddr | None = None,
        headers: Iterable[tuple[str, str]] = (),
        route: Iterable[str] = (),
        body: bytes = b"",
        call_id: str | None = None,
        cseq: int = 1,
    ) -> Request:
        """Sends a request outside dialogs."""

    def schedule(self, item: Timed) -> None:
        """To be called when the item's deadline may have changed."""

    def token(self) -> str:
        """A new unguessable token."""

    def random_fraction(self) -> float:
        """A number in [0, 1)."""


class Registration:
    """One address of record at one registrar.

    Args:
        agent: sends the requests and serves the timer.
        settings: what is registered where.
        authenticator: answers challenges; None gives up on them.
        on_change: called after every change of `state`, and after every refresh.
    """

    def __init__(
        self,
        agent: RegistrationAgent,
        settings: RegistrationSettings,
        *,
        authenticator: Authenticator | None = None,
        on_change: "Callable[[Registration], None]" = lambda registration: None,
    ) -> None:
        self.settings: Final = settings
        self.state = RegistrationState.IDLE
        self.bound_until: float | None = None  # monotonic seconds; None where nothing was granted
        self.granted_seconds: int | None = None
        self.fault: RegistrationFault | None = None
        self.failures = 0  # one after another
        self._agent = agent
        self._authenticator = authenticator
        self._on_change = on_change
        self._expires_seconds = settings.expires_seconds
        # §8.1.3.5: what is sent again after a challenge SHOULD have the same Call-ID, To and From, tag included.
        self._from = NameAddr(None, settings.address_of_record).with_tag(agent.token())
        self._call_id = agent.token()  # §10.2: all registrations of one client SHOULD use the same Call-ID
        self._cseq = 0
        self._attempt = 1
        self._request: Request | None = None
        self._credentials: tuple[str, str] | None = None
        self._retry_after = 0.0
        self._due_at: float | None = None

    def is_bound(self, now: float) -> bool:
        """Whether the registrar sends us calls, as far as we know."""
        return self.bound_until is not None and now < self.bound_until

    def start(self, *, now: float) -> None:
        """Registers."""
        self._step(RegistrationInput.START, now)

    def stop(self, *, now: float) -> None:
        """Removes the binding. `state` is ENDED when that is done, or given up."""
        self._step(RegistrationInput.STOP if self.is_bound(now) else RegistrationInput.ABANDON, now)

    def next_timer(self) -> float | None:
        """When to refresh, or to try again."""
        return self._due_at

    def handle_timer(self, now: float) -> None:
        """Does it."""
        if self._due_at is not None and now >= self._due_at:
            self._due_at = None
            self._step(RegistrationInput.DUE, now)

    # -- steps and acts ----------------------------------------------------------------------------------------------

    def _step(self, news: RegistrationInput, now: float) -> None:
        step = REGISTRATION[self.state].get(news)
        if step is None:
            return
        self.state = step.state
        if news is not RegistrationInput.RETRY:
            self._attempt, self._credentials = 1, None
        self._due_at = None
        match step.act:
            case RegistrationAct.REGISTER:
                self._send(self._expires_seconds, now)
            case RegistrationAct.UNREGISTER:
                self._send(0, now)
            case RegistrationAct.ARM_REFRESH:
                self._due_at = now + self._refresh_seconds()
            case RegistrationAct.BACK_OFF:
                self._due_at = now + self._wait_seconds()
            case RegistrationAct.NOTHING:
                pass
        self._agent.schedule(self)
        self._on_change(self)

    def _send(self, expires_seconds: int, now: float) -> None:
        """REGISTER for all contacts. Zero removes them, each by its name: "*" would take other clients' too."""
        settings = self.settings
        self._cseq += 1
        headers = [("Contact", f"<{contact}>;expires={expires_seconds}") for contact in settings.contacts]
        headers += [("Expires", str(expires_seconds)), *settings.headers]
        if self._credentials is not None:
            headers.append(self._credentials)
        cseq = self._cseq
        self._request = self._agent.request(
            "REGISTER",
            target=settings.registrar,
            from_=self._from,
            to=NameAddr(None, settings.address_of_record),
            headers=headers,
            call_id=self._call_id,
            cseq=cseq,
            on_outcome=lambda outcome, at: self._handle_outcome(cseq, outcome, at),
            now=now,
        )

    def _refresh_seconds(self) -> float:
        low, high = REFRESH_SHARE
        share = low + (high - low) * self._agent.random_fraction()
        granted = self.granted_seconds or 0
        shortest = max(LEAST_REFRESH_SECONDS, min(SHORTEST_REFRESH_SECONDS, LATEST_REFRESH_SHARE * granted))
        return max(shortest, share * granted)

    def _wait_seconds(self) -> float:
        wait = min(LONGEST_WAIT_SECONDS, BASE_WAIT_SECONDS * 2.0 ** min(self.failures, 10))
        status = None if self.fault is None else self.fault.status
        if status is not None and 300 <= status < 500 and status not in TRANSIENT_STATUSES:
            wait = LONGEST_WAIT_SECONDS
        return max(wait * (1 + self._agent.random_fraction()) / 2, self._retry_after)

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def _handle_outcome(self, cseq: int, outcome: Response | Failure, now: float) -> None:
        if cseq != self._cseq or not self.state.has_request:
            return  # of a REGISTER that has its final response already
        if isinstance(outcome, Failure):
            reason = "no answer" if outcome is Failure.TIMEOUT else "it could not be sent"
            self._refuse(RegistrationFault(None, reason), now)
        elif outcome.status >= 200:
            self._handle_final(outcome, now)

    def _handle_final(self, response: Response, now: float) -> None:
        if response.status < 300:
            self._accept(response, now)
        elif self._attempt < ATTEMPT_LIMIT and self._amend(response):
            self._attempt += 1
            self._step(RegistrationInput.RETRY, now)
        else:
            self._retry_after = min(_delta_seconds(response, "Retry-After") or 0, LONGEST_WAIT_SECONDS)
            self._refuse(RegistrationFault(response.status, response.reason), now)

    def _accept(self, response: Response, now: float) -> None:
        if self.state is RegistrationState.UNREGISTERING:
            self.bound_until = self.granted_seconds = None
            self._step(RegistrationInput.GRANTED, now)
            return
        granted = self._granted(response)
        if granted <= 0:
            self._refuse(RegistrationFault(response.status, "the registrar granted no time"), now)
            return
        self.granted_seconds, self.bound_until = granted, now + granted
        self.failures, self.fault, self._retry_after = 0, None, 0.0
        self._step(RegistrationInput.GRANTED, now)

    def _refuse(self, fault: RegistrationFault, now: float) -> None:
        self.failures += 1
        self.fault = fault
        if not self.is_bound(now):
            self.bound_until = self.granted_seconds = None
        self._step(RegistrationInput.REFUSED, now)

    def _amend(self, response: Response) -> bool:
        """Whether another request at once can do better; it is prepared then."""
        match response.status:
            case 401 | 407:
                return self._answer(response)
            case 423:
                return self._lengthen(response)
            case _:
                return False

    def _answer(self, response: Response) -> bool:
        """Answers a challenge; the request that follows carries the answer."""
        if self._authenticator is None or self._request is None:
            return False
        self._credentials = self._authenticator.authorize(self._request, response)
        return self._credentials is not None

    def _lengthen(self, response: Response) -> bool:
        """§10.3 step 7: 423 carries the least time that the registrar takes."""
        least = _delta_seconds(response, "Min-Expires")
        if least is None or not self._expires_seconds < least <= LONGEST_EXPIRES_SECONDS:
            return False
        self._expires_seconds = least
        # The answer to an earlier challenge covers method and URI only, so it would do; its nonce count would not.
        self._credentials = None
        return True

    def _granted(self, response: Response) -> int:
        """The shortest time that was granted to a contact of ours.

        The 2xx lists every binding of the address, other clients' too (§10.3 step 8). Registrars that rewrite contacts
        for clients behind NAT (Asterisk and Kamailio do where told to) list ours in a form that we do not know; then
        Expires counts, or what was asked for.
        """
        asked = self._expires_seconds
        default = asked if response.expires is None else response.expires
        times = [
            _expires_parameter(binding, default)
            for binding in response.contacts
            if any(binding.uri.equivalent(contact) for contact in self.settings.contacts)
        ]
        return min([asked, *(times or [default])])


def _expires_parameter(binding: NameAddr, default: int) -> int:
    match = _DELTA_SECONDS.fullmatch(binding.params.get("expires") or "")
    return default if match is None else int(match[1])


def _delta_seconds(response: Response, name: str) -> int | None:
    match = _DELTA_SECONDS.fullmatch(response.headers.get(name) or "")
    return None if match is None else int(match[1])
