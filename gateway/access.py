"""Digest on trunks: what callers must show (RFC 3261 §22), and what we show when a trunk challenges us.

A trunk's address ranges say who is heard at all; where it has credentials, whoever is heard must show one of them too.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from gateway.config.access import CredentialSettings
from gateway.config.trunk import TrunkSettings
from sip.authentication import DigestAuthenticator
from sip.digest import DigestCredentials
from sip.digest_verifier import DigestVerdict, DigestVerifier
from sip.message import Request
from sip.reception import Refusal
from sip.session.host import Authenticator

# RFC 3261 §22.1: UASs and registrars challenge with 401; 407 is for proxies, which we are not.
CHALLENGE_STATUS: Final = 401

_log = logging.getLogger(__name__)


class TrunkAccess:
    """The challenges of all trunks. They are stateless, so that nobody fills a table by not answering them.

    Args:
        trunks: by name.
        realm: what callers are challenged for where a trunk names no realm of its own.
        secret: random bytes of this process, from which nonces are made.
        clock: monotonic seconds.
    """

    def __init__(
        self, trunks: Mapping[str, TrunkSettings], realm: str, secret: bytes, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._verifiers = {
            name: DigestVerifier(trunk.realm or realm, secret + name.encode(), _passwords(trunk.credentials).get)
            for name, trunk in trunks.items()
            if trunk.credentials
        }

    def challenge(self, trunk_name: str, request: Request) -> Refusal | None:
        """The response that asks a request outside dialogs for credentials; None where it shows them, or need not.

        OPTIONS is challenged as an INVITE is: RFC 3261 §11.2 has both answered alike.
        """
        verifier = self._verifiers.get(trunk_name)
        if verifier is None:
            return None
        now = self._clock()
        verdict, _ = verifier.verify(
            request.headers.get_all("Authorization"), method=request.method, request_uri=str(request.uri), now=now
        )
        if verdict is DigestVerdict.ACCEPTED:
            return None
        if verdict is not DigestVerdict.MISSING:
            _log.info("credentials not accepted", extra={"trunk": trunk_name, "reason": verdict.name.lower()})
        challenges = verifier.challenges(now, stale=verdict.is_stale)
        headers = tuple(("WWW-Authenticate", challenge) for challenge in challenges)
        return Refusal(CHALLENGE_STATUS, f"digest_{verdict.name.lower()}", headers=headers)


def trunk_authenticator(trunk: TrunkSettings, token: Callable[[], str]) -> Authenticator | None:
    """Answers the challenges that a call of ours meets on this trunk, for the configured realm only.

    One for each call: it counts what it has answered. None where the trunk has nothing to show.
    """
    if trunk.authenticate is None:
        return None
    return DigestAuthenticator([credentials_of(trunk.authenticate, trunk.authenticate.realm)], token)


def credentials_of(settings: CredentialSettings, realm: str) -> DigestCredentials:
    """Configured credentials, bound to their realm."""
    return DigestCredentials(realm, settings.user, settings.password.get_secret_value())


def _passwords(credentials: tuple[CredentialSettings, ...]) -> dict[str, str]:
    return {credential.user: credential.password.get_secret_value() for credential in credentials}
