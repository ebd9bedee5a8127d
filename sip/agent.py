"""The user agent: what answers requests and places calls, sans-I/O (RFC 3261 §8).

    agent.receive_message(data, flow, now)      bytes in
    agent.transmits() / agent.events()          what to send, what happened: drain both after every call
    agent.next_timer() / agent.handle_timer(now)

"Mutate once, drain fully, then mutate again." `sip.transport.endpoint` does this over real sockets.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from sip.agenda import Agenda, Timed
from sip.body import take_description, typed
from sip.configuration import AgentConfiguration
from sip.dialog import Dialog, DialogId, leaves_transport_open, target_of
from sip.errors import SipError, SipParseError
from sip.event import AgentEvent
from sip.header import NameAddr
from sip.listening import Listening, ListeningTable
from sip.message import Request, Response, parse_message
from sip.pause import Pauses, pause_seconds
from sip.reception import DESCRIBED_METHODS, Reception, Screen
from sip.replaces import Replaces
from sip.session.host import Authenticator
from sip.session.reliable import RELIABLE
from sip.session.session import InviteSession
from sip.session.uac import ClientSession
from sip.session.uas import ServerSession
from sip.stateless_responder import StatelessResponder
from sip.tombstone import Tombstones
from sip.transaction.layer import MAGIC_COOKIE, MergeKey, TransactionLayer, merge_key
from sip.transaction.search import OnOutcome
from sip.transport.flow import Address, Flow, Target, Transmit, is_ip_literal
from sip.uri import Uri


class SessionLimitError(SipError):
    """As many sessions live as the configuration allows."""

    status = 503
    label = "session_limit"


class UserAgent:
    """A SIP user agent of many sessions, as UAS and UAC.

    `token` gives unguessable strings for tags, branches and Call-IDs (random in production, seeded in tests).
    `screen` looks at every request outside a dialog and may refuse it: trunks, draining, overload.
    """

    def __init__(
        self, configuration: AgentConfiguration, *, token: Callable[[], str], screen: Screen | None = None
    ) -> None:
        self.configuration: Final = configuration
        self.counters: Final[Counter[str]] = Counter()
        self.screen = screen
        self.token: Final = token
        self._agenda = Agenda()
        self._transmits: deque[Transmit] = deque()
        self._events: deque[AgentEvent] = deque()
        self.transactions: Final = TransactionLayer(
            configuration.timers, self._agenda, self._transmits.append, self.counters, configuration.max_transactions
        )
        self.listening: Final = ListeningTable()
        for transport, address in configuration.advertised.items():
            self.listening.add(Listening(transport, None, address))
        # Told by the driver's side of a 503 with Retry-After: the flow that it came on, and for how many seconds.
        self.on_pause: Callable[[Flow, float], None] = lambda flow, seconds: None
        # Asks the driver which transport a domain wants; it calls back with the answer and `now`. None: always UDP.
        self.choose: Callable[[Target, Callable[[str, float], None]], None] | None = None
        self._pauses = Pauses[Target]()
        self._dialogs: dict[DialogId, InviteSession] = {}
        self._sessions: set[InviteSession] = set()
        self._half_open: set[InviteSession] = set()
        self._origins: dict[MergeKey, InviteSession] = {}
        self._ended = Tombstones(configuration.timers.timeout)
        self._now = 0.0
        self.stateless: Final = StatelessResponder(token(), self.send)
        self._reception = Reception(self)

    # -- the five verbs ----------------------------------------------------------------------------------------------

    def receive_message(self, data: bytes, flow: Flow, now: float) -> None:
        """Takes one complete message. What is no SIP is counted and dropped; what is malformed gets 400 if it can."""
        self._now = now
        try:
            message = parse_message(data)
        except SipParseError as error:
            self.receive_fault(error, flow, now)
            return
        if isinstance(message, Request):
            self._reception.receive_request(message, flow, now)
        else:
            self._receive_response(message, flow, now)

    def receive_fault(self, error: SipParseError, flow: Flow, now: float) -> None:
        """A stream could not be cut into messages: counts it, and answers if it can. The driver closes the stream."""
        self._now = now
        self.counters[error.label] += 1
        if error.partial is not None:
            self.stateless.respond_malformed(error.partial, error, flow)

    def transmits(self) -> Iterator[Transmit]:
        """Drains what is to be sent, in order."""
        while self._transmits:
            yield self._transmits.popleft()

    def events(self) -> Iterator[AgentEvent]:
        """Drains what happened, in order."""
        while self._events:
            yield self._events.popleft()

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next; never late, sometimes early."""
        return self._agenda.next_timer()

    def handle_timer(self, now: float) -> None:
        """Does all that is due."""
        self._now = now
        self._agenda.handle_timer(now)

    def transport_failed(self, transmit: Transmit, now: float) -> None:
        """The driver could not send this: its transaction fails as RFC 3261 §17.1.4 says."""
        self._now = now
        self.counters["transport_failed"] += 1
        if transmit.owner is not None:
            self.transactions.transport_failed(transmit.owner, now)

    # -- what the user does ------------------------------------------------------------------------------------------

    def invite(
        self,
        *,
        target: Uri,
        from_: NameAddr,
        offer: bytes,
        now: float,
        to: NameAddr | None = None,
        headers: Iterable[tuple[str, str]] = (),
        route: Iterable[str] = (),
        authenticator: Authenticator | None = None,
    ) -> ClientSession:
        """Places a call. An empty offer asks the callee for one.

        `route` is a preloaded route set, such as an outbound proxy, as header values. Where the URI of the first hop
        names neither transport nor port, its domain chooses (RFC 3263 §4.1), and the INVITE goes out once it has.
        Raises SessionLimitError, UnroutableUriError where the first hop is no SIP URI, and ServerPauseError.
        """
        if len(self._sessions) >= self.configuration.max_sessions:
            raise SessionLimitError(f"{len(self._sessions)} sessions live, which is the limit")
        self._now = now
        draft = self._draft_dialog(target, from_, to, route)
        hop = replace(target_of(draft.next_hop()), is_new=True)
        self._pauses.check(hop, now)
        secure = target.scheme == "sips"
        fields = self.refresh_headers(hop.transport, secure=secure, product_field="User-Agent", near=hop)
        if not offer:  # an offer in a reliable 1xx would want its answer in our PRACK, before our user has seen it
            fields = [(name, _without_100rel(value) if name == "Supported" else value) for name, value in fields]
        request = draft.create_request(
            "INVITE", via=self.via(hop.transport, hop), headers=[*fields, *headers, *typed(offer)], body=offer
        )
        session = ClientSession(self, request, hop, authenticator)
        self._sessions.add(session)
        if self.choose is None or not leaves_transport_open(draft.next_hop()):
            session.begin(now)
        else:
            self.choose(hop, partial(self._begin_over, session, secure))
        return session

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
        """Sends a request outside dialogs, such as OPTIONS; `on_outcome` gets its responses or its failure."""
        self._now = now
        draft = self._draft_dialog(target, from_, to, route, call_id)
        draft.local_cseq = cseq - 1
        hop = target_of(draft.next_hop())
        request = draft.create_request(method, via=self.via(hop.transport, hop), headers=headers, body=body)
        silence = self.configuration.next_server_after
        self.transactions.search(request, hop, lambda: self.via(hop.transport, hop), on_outcome, now, silence=silence)
        return request

    def advertise(self, transport: str, bound: Address, host: str = "") -> None:
        """Told by the endpoint where a listener is bound, and the host that others are told for it.

        Without a host of its own, the configuration's address for the transport holds for it, else where it is bound.
        """
        configured = self.configuration.advertised.get(transport)
        told = bound
        if host:
            told = Address(host, bound.port)
        elif configured is not None:
            told = Address(configured.host, configured.port or bound.port)
        self.listening.add(Listening(transport, bound, told))

    @property
    def sessions(self) -> frozenset[InviteSession]:
        """The sessions that have not ended."""
        return frozenset(self._sessions)

    @property
    def session_count(self) -> int:
        """How many sessions have not ended."""
        return len(self._sessions)

    @property
    def half_open_count(self) -> int:
        """How many inbound sessions still wait for their ACK."""
        return len(self._half_open)

    @property
    def dialog_count(self) -> int:
        """How many dialogs exist, early ones included."""
        return len(self._dialogs)

    # -- SessionHost -------------------------------------------------------------------------------------------------

    def random_fraction(self) -> float:
        """A number in [0, 1) from the source of tokens."""
        digest = hashlib.sha256(self.token().encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48

    def emit(self, event: AgentEvent) -> None:
        """Queues an event."""
        self._events.append(event)

    def send(self, data: bytes, to: Flow | Target, prefer: Flow | None = None) -> None:
        """Sends outside any transaction."""
        self._transmits.append(Transmit(data, to, prefer))

    def schedule(self, item: Timed) -> None:
        """The item's deadline may have changed."""
        self._agenda.update(item)

    def register(self, session: InviteSession, dialog_id: DialogId) -> None:
        """Requests of this dialog are the session's from now on."""
        self._dialogs[dialog_id] = session

    def unregister(self, dialog_id: DialogId) -> None:
        """The dialog is over."""
        if self._dialogs.pop(dialog_id, None) is not None:
            self._ended.add(dialog_id, self._now)

    def confirmed(self, session: InviteSession) -> None:
        """The session is half-open no more."""
        self._half_open.discard(session)

    def forget(self, session: InviteSession) -> None:
        """The session has ended."""
        self._sessions.discard(session)
        self._half_open.discard(session)
        key = merge_key(session.request)
        if self._origins.get(key) is session:
            del self._origins[key]

    def via(self, transport: str, near: Flow | Target | None = None) -> str:
        """A Via value with a new branch; `rport` asks for RFC 3581's symmetric response."""
        address = self.listening.address(transport, near)
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"SIP/2.0/{transport.upper()} {host}:{address.port};rport;branch={MAGIC_COOKIE}{self.token()}"

    def contact(self, transport: str, *, secure: bool = False, near: Flow | Target | None = None) -> str:
        """Our Contact value, for a peer on this flow or at this target."""
        address = self.listening.address(transport, near)
        host = f"[{address.host}]" if ":" in address.host else address.host
        parameter = "" if transport == "udp" or secure else f";transport={transport}"
        return f"<{'sips' if secure else 'sip'}:{host}:{address.port}{parameter}>"

    def refresh_headers(
        self,
        transport: str,
        *,
        secure: bool = False,
        product_field: str = "Server",
        near: Flow | Target | None = None,
    ) -> list[tuple[str, str]]:
        """Contact, Allow, Supported, and the product where the configuration names one."""
        contact = self.contact(transport, secure=secure, near=near)
        fields = [("Contact", contact), ("Allow", ", ".join(self.configuration.allow))]
        if self.configuration.supported:
            fields.append(("Supported", ", ".join(self.configuration.supported)))
        if self.configuration.product is not None:
            fields.append((product_field, self.configuration.product))
        return fields

    # -- for the reception -------------------------------------------------------------------------------------------

    def find_session(self, request: Request) -> InviteSession | None:
        """The session whose dialog a request belongs to."""
        return self._dialogs.get(_dialog_id(request))

    def has_ended(self, request: Request) -> bool:
        """Whether the request's dialog ended not long ago."""
        return self._ended.holds(_dialog_id(request), self._now)

    def is_merged(self, request: Request) -> bool:
        """Whether the request came by another path already, or began a session that still lives (RFC 3261 §8.2.2.2)."""
        return self.transactions.is_merged(request) or merge_key(request) in self._origins

    def find_replaced(self, replaces: Replaces) -> InviteSession | int:
        """The session that an INVITE is to take the place of, or the status that refuses it (RFC 3891 §3)."""
        for dialog_id in replaces.dialog_ids():
            if (session := self._dialogs.get(dialog_id)) is not None:
                return replaces.obstacle(session) or session
            if self._ended.holds(dialog_id, self._now):
                return 603  # "if the Replaces header field matches ... a dialog that has already terminated"
        return 481

    def begin_server_session(
        self, request: Request, flow: Flow, now: float, replaces: InviteSession | None = None
    ) -> None:
        """Takes on a new call, which is to take the place of another where `replaces` says so."""
        transaction = self.transactions.begin_invite_server(request, flow, now)
        session = ServerSession(self, transaction, flow)
        self.transactions.bind(transaction, session)
        self._sessions.add(session)
        self._half_open.add(session)
        self._origins[merge_key(request)] = session
        session.begin(now, replaces)

    # -- the rest ----------------------------------------------------------------------------------------------------

    def _draft_dialog(
        self, target: Uri, from_: NameAddr, to: NameAddr | None, route: Iterable[str], call_id: str | None = None
    ) -> Dialog:
        return Dialog(
            call_id=call_id or self.token(),
            local=from_ if from_.tag else from_.with_tag(self.token()),
            remote=to or NameAddr(None, target),
            remote_target=target,
            route_set=tuple(route),
            local_cseq=0,
            remote_cseq=None,
            is_secure=target.scheme == "sips",
        )

    def _begin_over(self, session: ClientSession, secure: bool, transport: str, now: float) -> None:
        """The domain has chosen: Via and Contact say so, and the INVITE goes out."""
        self._now = now
        hop = replace(session.target, transport=transport)
        session.begin_at(hop, self.via(transport, hop), self.contact(transport, secure=secure, near=hop), now)

    def _note_pause(self, response: Response, flow: Flow, now: float) -> None:
        seconds, target = pause_seconds(response), self.transactions.target_of(response)
        if target is None or not seconds or response.cseq.method != "INVITE":
            return
        if is_ip_literal(target.host):
            self._pauses.add(target, seconds, now)
        else:
            self.on_pause(flow, seconds)  # one server of a name: the transport knows which

    def _receive_response(self, response: Response, flow: Flow, now: float) -> None:
        contacts = response.contacts
        if contacts and not contacts[0].uri.is_sip and response.status < 300:
            self.counters["contact"] += 1
        elif len(response.vias) != 1:  # RFC 3261 §8.1.3.3: such a response "SHOULD be discarded"
            self.counters["response_misrouted"] += 1
        else:
            if response.status < 300 and response.cseq.method in DESCRIBED_METHODS:
                take_description(response, self.counters)
            if response.status == 503:
                self._note_pause(response, flow, now)
            if not self.transactions.receive_response(response, now):
                self.counters["stray_response"] += 1


def _without_100rel(supported: str) -> str:
    return ", ".join(tag for tag in supported.split(", ") if tag != RELIABLE)


def _dialog_id(request: Request) -> DialogId:
    return DialogId(request.call_id, request.to.tag or "", request.from_.tag or "")
