"""Answers digest challenges for sessions and requests of ours (RFC 3261 §22.2), with the maths of `sip.digest`."""

from collections.abc import Callable, Iterable
from typing import Final

from sip.digest import DigestChallenge, DigestCredentials, authorize, choose_challenge, is_worth_answering
from sip.message import Request, Response

_FIELDS: Final = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


class DigestAuthenticator:
    """The `Authenticator` of one call or registration.

    Credentials go to their own realm only. Where the same credentials are refused without `stale`, it gives up.
    `token` gives 16 or more random characters for each client nonce.
    """

    def __init__(self, credentials: Iterable[DigestCredentials], token: Callable[[], str]) -> None:
        self._credentials: Final = tuple(credentials)
        self._token: Final = token
        self._answered: DigestChallenge | None = None
        self._nonce_count = 0

    def authorize(self, request: Request, response: Response) -> tuple[str, str] | None:
        """The field that answers the challenge; None where there is nothing (more) to say."""
        challenge_field, answer_field = _FIELDS[response.status]
        answered = self._answered if answer_field in request.headers else None
        for credentials in self._credentials:
            challenge = choose_challenge(response.headers.get_all(challenge_field), credentials)
            if challenge is None or not is_worth_answering(challenge, answered):
                continue
            is_known = self._answered is not None and self._answered.nonce == challenge.nonce
            self._nonce_count = self._nonce_count + 1 if is_known else 1
            self._answered = challenge
            value = authorize(
                challenge,
                credentials,
                method=request.method,
                uri=str(request.uri),
                cnonce=self._token(),
                nonce_count=self._nonce_count,
                body=request.body,
            )
            return answer_field, value
        return None
