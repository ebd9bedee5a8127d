"""The registrations of trunks that want one: begun with the service, seen in its log, let go at its end."""

import logging
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from gateway.access import credentials_of
from gateway.config.access import RegisterSettings
from gateway.config.trunk import TrunkSettings
from sip.agent import UserAgent
from sip.authentication import DigestAuthenticator
from sip.dialog import target_of
from sip.header import NameAddr
from sip.registration import Registration, RegistrationSettings
from sip.registration_state import RegistrationState
from sip.uri import Uri

# RFC 3261 §25.1: `unreserved` without alphanumerics, and `user-unreserved`.
_USER_PUNCTUATION: Final = "-_.!~*'()&=+$,;?/"

_log = logging.getLogger(__name__)

Perform = Callable[..., object]


class TrunkRegistrations:
    """One registration for each trunk that is configured with one.

    Args:
        agent: the endpoint's.
        perform: calls a method with `now` and sends what comes of it.
        trunks: by name.
        clock: monotonic seconds, the endpoint's.
    """

    def __init__(
        self, agent: UserAgent, perform: Perform, trunks: Mapping[str, TrunkSettings], clock: Callable[[], float]
    ) -> None:
        self._agent = agent
        self._perform = perform
        self._trunks = trunks
        self._clock = clock
        self._registrations: dict[str, Registration] = {}
        self._said: dict[str, tuple[RegistrationState, str | None]] = {}

    def start(self) -> None:
        """Registers all. The endpoint must have been started: its addresses go into the Contacts."""
        for name, trunk in self._trunks.items():
            if trunk.registration is not None:
                self._registrations[name] = self._create(name, trunk.registration)
        for registration in self._registrations.values():
            self._perform(registration.start)

    def stop(self) -> None:
        """Lets all go. The endpoint's `aclose` waits for the answers."""
        for registration in self._registrations.values():
            self._perform(registration.stop)

    def state(self) -> dict[str, dict[str, object]]:
        """What is known of each, by the name of its trunk."""
        now = self._clock()
        return {name: _described(registration, now) for name, registration in self._registrations.items()}

    def _create(self, name: str, settings: RegisterSettings) -> Registration:
        registrar = settings.registrar_uri
        user = quote(settings.user, safe=_USER_PUNCTUATION)
        hop = target_of(registrar)
        contact = NameAddr.parse(self._agent.contact(hop.transport, near=hop)).uri
        return Registration(
            self._agent,
            RegistrationSettings(
                registrar=registrar,
                address_of_record=Uri("sip", user, None, registrar.host, None),
                contacts=(Uri(contact.scheme, user, None, contact.host, contact.port, contact.params),),
                expires_seconds=settings.expires_seconds,
            ),
            authenticator=DigestAuthenticator([credentials_of(settings, settings.effective_realm)], self._agent.token),
            on_change=lambda registration: self._on_change(name, registration),
        )

    def _on_change(self, name: str, registration: Registration) -> None:
        """Logs what an operator wants to know: bound, lost, given back; not every refresh."""
        fault = registration.fault
        news = (registration.state, None if fault is None else fault.reason)
        if registration.state.has_request or self._said.get(name) == news:
            return
        self._said[name] = news
        level = logging.WARNING if registration.state is RegistrationState.WAITING else logging.INFO
        described = _described(registration, self._clock())
        _log.log(level, "registration", extra={"event": "registration", "trunk": name, **described})


def _described(registration: Registration, now: float) -> dict[str, object]:
    fault, due_at = registration.fault, registration.next_timer()
    return {
        "state": registration.state.value,
        "registrar": str(registration.settings.registrar),
        "bound": registration.is_bound(now),
        "granted_seconds": registration.granted_seconds,
        "next_seconds": None if due_at is None else round(due_at - now),
        "status": None if fault is None else fault.status,
        "reason": None if fault is None else fault.reason,
    }
