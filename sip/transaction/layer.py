"""The transaction layer: matches messages to transactions (RFC 3261 §17.1.3, §17.2.3) and drains their outputs."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from sip.agenda import Agenda
from sip.message import Request, Response
from sip.transaction.client import ClientTransaction
from sip.transaction.invite_client import InviteClientTransaction
from sip.transaction.invite_server import InviteServerTransaction
from sip.transaction.machine import Act, Failure, Output, State, Transaction
from sip.transaction.non_invite_client import NonInviteClientTransaction
from sip.transaction.non_invite_server import NonInviteServerTransaction
from sip.transaction.search import OnOutcome, ServerSearch
from sip.transaction.timer import TimerValues
from sip.transport.flow import Flow, Target, Transmit, is_ip_literal

MAGIC_COOKIE: Final = "z9hG4bK"  # RFC 3261 §8.1.1.7: such a branch is unique for the request

ServerTransaction = InviteServerTransaction | NonInviteServerTransaction
ServerKey = tuple[str, ...]
ClientKey = tuple[str, str]
MergeKey = tuple[str, str, int, str]


class ServerUser(Protocol):
    """The transaction user of a received INVITE."""

    @property
    def local_tag(self) -> str:
        """The To tag of its responses."""

    def handle_ack(self, ack: Request, now: float) -> None:
        """The ACK for a 2xx came with the INVITE's own branch."""

    def handle_cancel(self, cancel: Request, now: float) -> None:
        """A CANCEL came for the INVITE; its 200 is sent."""

    def handle_response_not_sent(self, now: float) -> None:
        """The transport could not send a response."""


def server_key(request: Request) -> ServerKey:
    """Identifies the server transaction that a request belongs to (RFC 3261 §17.2.3); an ACK looks for its INVITE's.

    Without the magic cookie the peer speaks RFC 2543 and the fields of the request are compared instead.
    """
    via = request.top_via
    method = "INVITE" if request.method == "ACK" else request.method
    branch = via.branch or ""
    if branch.startswith(MAGIC_COOKIE):
        return (branch, via.host.lower(), str(via.port or ""), method)
    from_tag = request.from_.tag or ""
    hop = f"{via.host}:{via.port};{branch}"
    return (str(request.uri), from_tag, request.call_id, str(request.cseq.number), hop, method)


def invite_key(cancel: Request) -> ServerKey:
    """The server transaction that a CANCEL wants to end (RFC 3261 §9.2)."""
    return (*server_key(cancel)[:-1], "INVITE")


def merge_key(request: Request) -> MergeKey:
    """What two requests share that came from one by different paths (RFC 3261 §8.2.2.2)."""
    cseq = request.cseq
    return (request.call_id, request.from_.tag or "", cseq.number, cseq.method)


class TransactionLayer:
    """All transactions of a user agent, in bounded tables.

    Every input ends with its outputs drained: bytes go to `transmit`, messages and failures to the transaction's user.
    """

    def __init__(
        self,
        values: TimerValues,
        agenda: Agenda,
        transmit: Callable[[Transmit], None],
        counters: Counter[str],
        limit: int,
    ) -> None:
        self.values: Final = values
        self._agenda = agenda
        self._transmit = transmit
        self._counters = counters
        self._limit = limit
        self._servers: dict[ServerKey, _Server] = {}
        self._clients: dict[ClientKey, _Client] = {}
        self._merges: dict[MergeKey, _Server] = {}

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    @property
    def client_count(self) -> int:
        """How many requests of ours are under way, or have just been answered."""
        return len(self._clients)

    @property
    def unanswered_count(self) -> int:
        """How many requests of ours still wait for a final response."""
        return sum(_is_unanswered(client) for client in self._clients.values())

    @property
    def is_full(self) -> bool:
        """Whether no further transaction may be begun for a stranger's request."""
        return len(self) >= self._limit

    def receive_retransmission(self, request: Request, now: float) -> bool:
        """Gives a request to the server transaction that it belongs to; False if it belongs to none."""
        server = self._servers.get(server_key(request))
        if server is None:
            return False
        server.receive_request(request, now)
        return True

    def find_invite(self, cancel: Request) -> ServerUser | None:
        """The user of the INVITE that a CANCEL wants to end; None if there is no such INVITE."""
        server = self._servers.get(invite_key(cancel))
        return server.user if server is not None else None

    def is_merged(self, request: Request) -> bool:
        """Whether a request without To tag came by another path already (it matched no transaction)."""
        return merge_key(request) in self._merges

    def begin_invite_server(self, request: Request, flow: Flow, now: float) -> InviteServerTransaction:
        """Takes on a new INVITE."""
        transaction = InviteServerTransaction(request, flow, self.values)
        self._add_server(_Server(self, transaction), now)
        return transaction

    def begin_server(self, request: Request, flow: Flow, now: float) -> NonInviteServerTransaction:
        """Takes on a new request other than INVITE."""
        transaction = NonInviteServerTransaction(request, flow, self.values)
        self._add_server(_Server(self, transaction), now)
        return transaction

    def bind(self, transaction: InviteServerTransaction, user: ServerUser) -> None:
        """Names who is told of ACKs and transport failures."""
        self._servers[server_key(transaction.request)].user = user

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> bool:
        """Sends a response; False where the transaction's state forbids it."""
        server = self._servers.get(server_key(transaction.request))
        return server is not None and server.respond(response, now)

    def request(
        self,
        request: Request,
        to: Flow | Target,
        on_outcome: OnOutcome,
        now: float,
        *,
        prefer: Flow | None = None,
        is_resent: bool = True,
        patience: float | None = None,
        silence: float | None = None,
        on_silence: Callable[[float], None] | None = None,
    ) -> ClientTransaction:
        """Sends a request (no ACK) through a new transaction; `on_outcome` gets every response or the failure.

        An INVITE that got a 1xx has no timer in RFC 3261; `patience`, in seconds, is its time for a final response.
        `on_silence` is called once where nothing at all has come after `silence` seconds; the transaction goes on.
        """
        maker: type[ClientTransaction] = (
            InviteClientTransaction if request.method == "INVITE" else NonInviteClientTransaction
        )
        transaction = maker(request, to, self.values, now)
        if not is_resent:
            transaction.send_once()
        client = _Client(self, transaction, on_outcome, prefer)
        client.give_up_at = now + patience if patience is not None else None
        if silence is not None and on_silence is not None:
            client.silent_at, client.on_silence = now + silence, on_silence
        self._clients[client.key] = client
        self.settle(client, now)
        return transaction

    def search(
        self,
        request: Request,
        to: Flow | Target,
        via: Callable[[], str],
        on_outcome: OnOutcome,
        now: float,
        *,
        prefer: Flow | None = None,
        is_resent: bool = True,
        silence: float | None = None,
    ) -> None:
        """Sends a request other than INVITE to one server of a name after the other (RFC 3263 §4.3).

        `via` makes the Via of each further attempt.
        """
        if isinstance(to, Flow) or is_ip_literal(to.host) or not is_resent:
            self.request(request, to, on_outcome, now, prefer=prefer, is_resent=is_resent)
            return

        def attempt(
            request: Request, target: Target, on_outcome: OnOutcome, on_silence: Callable[[float], None], now: float
        ) -> None:
            self.request(request, target, on_outcome, now, prefer=prefer, silence=silence, on_silence=on_silence)

        ServerSearch(attempt, via, on_outcome).begin(request, to, now)

    def target_of(self, response: Response) -> Target | None:
        """Where the request went that this is the response to, if it is one of ours."""
        client = self._clients.get((response.top_via.branch or "", response.cseq.method))
        peer = client.transaction.peer if client is not None else None
        return peer if isinstance(peer, Target) else None

    def receive_response(self, response: Response, now: float) -> bool:
        """Matches by branch and CSeq method (RFC 3261 §17.1.3); False if nobody asked for it."""
        client = self._clients.get((response.top_via.branch or "", response.cseq.method))
        if client is None:
            return False
        client.receive_response(response, now)
        return True

    def abandon(self, transaction: ClientTransaction) -> None:
        """Destroys a client transaction whose outcome interests nobody any more (RFC 3261 §9.1)."""
        key = (transaction.request.top_via.branch or "", transaction.request.method)
        client = self._clients.get(key)
        if client is not None and client.transaction is transaction:
            transaction.destroy()
            self._forget(client)
            self._agenda.update(client)

    def transport_failed(self, owner: object, now: float) -> None:
        """The transport could not send what `owner`, as named in the Transmit, had handed out."""
        if isinstance(owner, _Keeper):
            owner.transaction.transport_failed(now)
            self.settle(owner, now)

    def is_unanswered(self, owner: object) -> bool:
        """Whether `owner`, as named in a Transmit, is a request of ours that still waits for a final response."""
        return isinstance(owner, _Client) and _is_unanswered(owner)

    def settle(self, keeper: "_Keeper", now: float) -> None:
        """Drains a transaction's outputs and forgets it when it has terminated."""
        transaction = keeper.transaction
        while transaction.outputs:
            outputs, transaction.outputs = transaction.outputs, []
            for output in outputs:
                if output.data:
                    self._transmit(Transmit(output.data, transaction.peer, keeper.prefer, keeper, keeper.branch))
                    if output.act is Act.RESEND:
                        self._counters["retransmission_sent"] += 1
                else:
                    keeper.tell(output, now)
        if transaction.is_terminated:
            self._forget(keeper)
        self._agenda.update(keeper)

    def _add_server(self, server: "_Server", now: float) -> None:
        request = server.transaction.request
        self._servers[server.key] = server
        if request.to.tag is None:
            self._merges[server.merge_key] = server
        self.settle(server, now)

    def _forget(self, keeper: "_Keeper") -> None:
        if isinstance(keeper, _Client):
            if self._clients.get(keeper.key) is keeper:
                del self._clients[keeper.key]
        elif isinstance(keeper, _Server):
            if self._servers.get(keeper.key) is keeper:
                del self._servers[keeper.key]
            if self._merges.get(keeper.merge_key) is keeper:
                del self._merges[keeper.merge_key]


class _Keeper(ABC):
    """A transaction with what the layer knows about it."""

    __slots__ = ("layer", "prefer")

    transaction: Transaction

    def __init__(self, layer: TransactionLayer, prefer: Flow | None) -> None:
        self.layer = layer
        self.prefer = prefer

    @property
    def branch(self) -> str:
        """What the transport knows a request by, so that all of its transmissions take one way; "" for responses."""
        return ""

    def next_timer(self) -> float | None:
        return self.transaction.next_timer()

    def handle_timer(self, now: float) -> None:
        self.transaction.handle_timer(now)
        self.layer.settle(self, now)

    @abstractmethod
    def tell(self, output: Output, now: float) -> None:
        """Hands a message or a failure to the transaction's user."""


class _Server(_Keeper):
    __slots__ = ("key", "merge_key", "transaction", "user")

    def __init__(self, layer: TransactionLayer, transaction: ServerTransaction) -> None:
        super().__init__(layer, None)
        self.transaction: ServerTransaction = transaction
        self.key = server_key(transaction.request)
        self.merge_key = merge_key(transaction.request)
        self.user: ServerUser | None = None

    def receive_request(self, request: Request, now: float) -> None:
        self.transaction.receive_request(request, now)
        self.layer.settle(self, now)

    def respond(self, response: Response, now: float) -> bool:
        is_legal = self.transaction.respond(response, now)
        self.layer.settle(self, now)
        return is_legal

    def tell(self, output: Output, now: float) -> None:
        if self.user is None:
            return
        if output.act is Act.PASS_UP and isinstance(output.message, Request):
            self.user.handle_ack(output.message, now)
        elif output.act is Act.TELL_TRANSPORT_ERROR:
            self.user.handle_response_not_sent(now)


class _Client(_Keeper):
    __slots__ = ("give_up_at", "key", "on_outcome", "on_silence", "silent_at", "transaction")

    def __init__(
        self, layer: TransactionLayer, transaction: ClientTransaction, on_outcome: OnOutcome, prefer: Flow | None
    ) -> None:
        super().__init__(layer, prefer)
        self.transaction: ClientTransaction = transaction
        self.key = (transaction.request.top_via.branch or "", transaction.request.method)
        self.on_outcome = on_outcome
        self.give_up_at: float | None = None
        self.silent_at: float | None = None
        self.on_silence: Callable[[float], None] | None = None

    @property
    def branch(self) -> str:
        return self.key[0]

    def next_timer(self) -> float | None:
        at = self.transaction.next_timer()
        if at is None and not self.transaction.is_terminated:
            at = self.give_up_at
        if self.silent_at is not None and self.transaction.state in _SILENT:
            return self.silent_at if at is None else min(at, self.silent_at)
        return at

    def handle_timer(self, now: float) -> None:
        if self.silent_at is not None and self.silent_at <= now:
            self.silent_at = None
            if self.on_silence is not None and self.transaction.state in _SILENT:
                self.on_silence(now)
        if self.transaction.next_timer() is None and self.give_up_at is not None and self.give_up_at <= now:
            self.transaction.destroy()
            self.on_outcome(Failure.TIMEOUT, now)
        super().handle_timer(now)

    def receive_response(self, response: Response, now: float) -> None:
        self.transaction.receive_response(response, now)
        self.layer.settle(self, now)

    def tell(self, output: Output, now: float) -> None:
        if isinstance(output.message, Response):
            self.on_outcome(output.message, now)
        elif output.act is Act.TELL_TIMEOUT:
            self.on_outcome(Failure.TIMEOUT, now)
        elif output.act is Act.TELL_TRANSPORT_ERROR and self.transaction.is_terminated:
            self.on_outcome(Failure.TRANSPORT_ERROR, now)


def _is_unanswered(client: _Client) -> bool:
    return client.transaction.state in _UNANSWERED


_UNANSWERED: Final = frozenset({State.CALLING, State.TRYING, State.PROCEEDING})
_SILENT: Final = frozenset({State.CALLING, State.TRYING})
