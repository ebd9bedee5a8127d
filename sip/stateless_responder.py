"""Answers without a transaction (RFC 3261 §8.2.7): every retransmission of the request gets the same answer anew."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from sip.errors import SipParseError
from sip.message import Message, PartialRequest, Request
from sip.transport.flow import Flow
from sip.transport.source import note_source

_TAG_FIELDS: Final = ("Call-ID", "From", "CSeq")


class StatelessResponder:
    """Holds nothing of what it answers. `secret` keeps its To tags from being guessed; `send` sends over a flow."""

    def __init__(self, secret: str, send: Callable[[bytes, Flow], None]) -> None:
        self._secret = secret
        self._send = send

    def respond(
        self,
        request: Request,
        flow: Flow,
        status: int,
        headers: Iterable[tuple[str, str]] = (),
        reason: str | None = None,
    ) -> None:
        """Answers a request."""
        tag = self._tag(request, request.top_via.branch)
        self._send(bytes(request.create_response(status, reason, to_tag=tag, headers=headers)), flow)

    def respond_malformed(self, partial: PartialRequest, error: SipParseError, flow: Flow) -> None:
        """Answers what could be read of a request, and tells what is wrong with it."""
        branch = None
        if partial.has_sound_via:
            branch = partial.top_via.branch
            note_source(partial, flow)
        self._send(bytes(partial.create_response(error.status, to_tag=self._tag(partial, branch))), flow)

    def _tag(self, request: Message, branch: str | None) -> str:
        """The same tag for the same request: "the UAS MUST ... generate To tags in a stateless manner" (§8.2.7)."""
        headers = request.headers
        parts = (self._secret, branch or "", *(headers.get(name) or "" for name in _TAG_FIELDS))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
