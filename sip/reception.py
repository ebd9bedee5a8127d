"""How a user agent takes requests: RFC 3261 §8.2, in the RFC's order, with what each refusal carries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sip.body import ACCEPTED_TYPES, SDP, UnsupportedBodyError, session_description
from sip.errors import SipParseError
from sip.header import MediaType
from sip.message import Request
from sip.replaces import OPTION_TAG as REPLACES
from sip.replaces import Replaces
from sip.session.refresh import TIMER, SessionExpires, knows_timers
from sip.transport.flow import Flow
from sip.transport.source import note_source

if TYPE_CHECKING:
    from sip.agent import UserAgent
    from sip.session.session import InviteSession

# Methods that some RFC defines: what is known but not served gets 405, the rest 501 (RFC 3261 §8.2.1, §21.5.2).
KNOWN_METHODS: Final = frozenset({
    "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "PRACK", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER",
    "MESSAGE", "PUBLISH",
})  # fmt: skip
URI_SCHEMES: Final = frozenset({"sip", "sips", "tel"})
# Methods whose body we interpret. Of the others (a BYE with ISUP in it) the body is no reason to refuse.
DESCRIBED_METHODS: Final = frozenset({"INVITE", "UPDATE", "PRACK"})
ACCEPT: Final = ", ".join(ACCEPTED_TYPES)
ACCEPTED_RANGES: Final = frozenset({SDP, "application/*", "*/*"})  # media-range of §25.1


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request outside a dialog is not taken. `label` is the reason code that is counted."""

    status: int
    label: str
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


Screen = Callable[[Request, Flow], Refusal | None]


class Reception:
    """Sorts received requests: to their transaction, their dialog, a new session, or a refusal.

    Refusals are stateless (§8.2.7), so that no flood of them can fill a table.
    """

    def __init__(self, agent: "UserAgent") -> None:
        self._agent = agent
        self._configuration = agent.configuration
        self._stateless = agent.stateless
        self._knows_replaces = REPLACES in agent.configuration.supported

    def receive_request(self, request: Request, flow: Flow, now: float) -> None:
        """Takes one parsed request."""
        agent = self._agent
        if request.method == "ACK":
            self._receive_ack(request, now)
        elif agent.transactions.receive_retransmission(request, now):
            agent.counters["retransmission_received"] += 1
        else:
            note_source(request, flow)
            if request.method == "CANCEL":
                self._receive_cancel(request, flow, now)
            elif (refusal := self._inspect(request)) is not None:
                self._refuse(request, flow, refusal)
            elif request.to.tag is not None:
                self._receive_in_dialog(request, flow, now)
            else:
                self._receive_outside_dialog(request, flow, now)

    def _receive_ack(self, ack: Request, now: float) -> None:
        agent = self._agent
        if agent.transactions.receive_retransmission(ack, now):
            return
        session = agent.find_session(ack) if ack.to.tag is not None else None
        if session is None:
            agent.counters["stray_ack"] += 1
        else:
            session.handle_ack(ack, now)

    def _receive_cancel(self, cancel: Request, flow: Flow, now: float) -> None:
        agent = self._agent
        user = agent.transactions.find_invite(cancel)
        if user is None:
            self._refuse(cancel, flow, Refusal(481, "cancel_without_invite"))
            return
        transaction = agent.transactions.begin_server(cancel, flow, now)
        # "the To tag of the response to the CANCEL and the To tag in the response to the original request SHOULD be
        # the same" (§9.2).
        response = cancel.create_response(200, to_tag=user.local_tag)
        agent.transactions.respond(transaction, response, now)
        user.handle_cancel(cancel, now)

    def _inspect(self, request: Request) -> Refusal | None:
        """The checks of §8.2.1 to §8.2.3 that hold for every request."""
        # Refusing a BYE would keep what fills the table. It ends its session, so that there are no more than sessions.
        if self._agent.transactions.is_full and not (request.method == "BYE" and request.to.tag is not None):
            return self._overload("transaction_limit")
        method = request.method
        if method not in self._configuration.allow:
            allow = (("Allow", ", ".join(self._configuration.allow)),)
            known = method in KNOWN_METHODS
            return Refusal(405 if known else 501, "method_not_allowed" if known else "method_unknown", headers=allow)
        if request.uri.scheme not in URI_SCHEMES:
            return Refusal(416, "uri_scheme")
        if (refusal := self._inspect_interval(request)) is not None:
            return refusal
        if self._knows_replaces:
            try:
                Replaces.of(request)
            except SipParseError as error:
                return Refusal(error.status, "replaces_malformed")
        if any(tag not in self._configuration.supported for tag in request.require):
            spelled = request.headers.values("Require")
            unsupported = [tag for tag in spelled if tag.lower() not in self._configuration.supported]
            return Refusal(420, "extension", headers=(("Unsupported", ", ".join(unsupported)),))
        return _inspect_content(request) or _inspect_accept(request)

    def _inspect_interval(self, request: Request) -> Refusal | None:
        """RFC 4028 §9: 422 for a session interval below our least, from peers that know session timers."""
        if TIMER not in self._configuration.supported or request.method not in {"INVITE", "UPDATE"}:
            return None
        asked = SessionExpires.of(request)
        if asked is None or asked.seconds >= self._configuration.min_se or not knows_timers(request):
            return None
        return Refusal(422, "session_interval", headers=(("Min-SE", str(self._configuration.min_se)),))

    def _receive_in_dialog(self, request: Request, flow: Flow, now: float) -> None:
        agent = self._agent
        session = agent.find_session(request)
        if session is None:
            if request.method == "BYE" and agent.has_ended(request):
                self._stateless.respond(request, flow, 200)
            else:
                self._refuse(request, flow, Refusal(481, "dialog_unknown"))
            return
        if request.method == "OPTIONS":
            self._stateless.respond(request, flow, 200, self._capabilities(flow))
            return
        session.flow = flow  # a peer may come back over another connection
        if request.method == "INVITE":
            session.handle_invite(agent.transactions.begin_invite_server(request, flow, now), now)
        else:
            session.handle_request(agent.transactions.begin_server(request, flow, now), now)

    def _receive_outside_dialog(self, request: Request, flow: Flow, now: float) -> None:
        agent = self._agent
        if agent.is_merged(request):
            self._refuse(request, flow, Refusal(482, "merged"))
        elif request.method not in {"INVITE", "OPTIONS"}:
            self._refuse(request, flow, Refusal(481, "dialog_unknown"))
        elif agent.screen is not None and (refusal := agent.screen(request, flow)) is not None:
            self._refuse(request, flow, refusal)
        elif request.method == "OPTIONS":
            self._stateless.respond(request, flow, 200, self._capabilities(flow))
        elif isinstance(replaced := self._replaced(request), Refusal):
            self._refuse(request, flow, replaced)
        elif agent.session_count >= self._configuration.max_sessions:
            self._refuse(request, flow, self._overload("session_limit"))
        elif agent.half_open_count >= self._configuration.max_half_open:
            self._refuse(request, flow, self._overload("half_open_limit"))
        else:
            agent.begin_server_session(request, flow, now, replaced)

    def _replaced(self, request: Request) -> "InviteSession | Refusal | None":
        """The session that an INVITE is to take the place of, or why it cannot (RFC 3891 §3)."""
        replaces = Replaces.of(request) if self._knows_replaces else None
        if replaces is None:
            return None
        found = self._agent.find_replaced(replaces)
        return Refusal(found, f"replaces_{found}") if isinstance(found, int) else found

    def _capabilities(self, flow: Flow) -> list[tuple[str, str]]:
        """What §11.2 asks of the answer to OPTIONS: Allow, Accept, Accept-Encoding, Accept-Language, Supported."""
        fields = [
            *self._agent.refresh_headers(flow.transport, near=flow),
            ("Accept", ACCEPT),
            ("Accept-Encoding", "identity"),
            ("Accept-Language", "en"),  # that of our reason phrases and warnings
        ]
        if not self._configuration.supported:
            fields.append(("Supported", ""))  # §20.37: an empty one says that no extensions are supported
        return fields

    def _overload(self, label: str) -> Refusal:
        return Refusal(503, label, headers=(("Retry-After", str(self._configuration.retry_after)),))

    def _refuse(self, request: Request, flow: Flow, refusal: Refusal) -> None:
        self._agent.counters[refusal.label] += 1
        self._stateless.respond(request, flow, refusal.status, refusal.headers, refusal.reason)


def _inspect_accept(request: Request) -> Refusal | None:
    """§21.4.7: an INVITE whose caller takes no session description cannot be answered (RFC 4475 §3.3.15).

    Without Accept, "application/sdp" is taken (§20.1); an empty one "means that no formats are acceptable".
    """
    if request.method != "INVITE" or "Accept" not in request.headers:
        return None
    for value in request.headers.values("Accept"):
        try:
            accepted = MediaType.parse(value)
        except SipParseError:
            return None  # what cannot be read refuses nothing
        if accepted.essence in ACCEPTED_RANGES and accepted.params.get("q") not in {"0", "0.0", "0.00", "0.000"}:
            return None
    return Refusal(406, "not_acceptable", headers=(("Accept", ACCEPT),))


def _inspect_content(request: Request) -> Refusal | None:
    """§8.2.3: 415 for an encoding or a type that we cannot take, unless its handling is optional (RFC 5621)."""
    if not request.body:
        return None
    encodings = [encoding.lower() for encoding in request.headers.get_all("Content-Encoding")]
    if any(encoding != "identity" for encoding in encodings):
        return Refusal(415, "content_encoding", headers=(("Accept-Encoding", "identity"),))
    if request.method not in DESCRIBED_METHODS:
        return None
    try:
        request.body = session_description(request)
    except UnsupportedBodyError as error:
        return Refusal(415, error.label, headers=(("Accept", ACCEPT),))
    except SipParseError as error:
        return Refusal(error.status, error.label)
    return None
