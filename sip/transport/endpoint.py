"""Drives a UserAgent over real sockets: the only place where SIP meets the event loop and its clock."""

import asyncio
import itertools
import ssl
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from sip.agent import UserAgent
from sip.errors import SipParseError
from sip.event import AgentEvent
from sip.transport.census import ConnectionLimits
from sip.transport.connections import Connections, DomainsOf
from sip.transport.delivery import RESOLUTION_LIMIT, Delivery
from sip.transport.flow import Address, Flow, Target, Transmit
from sip.transport.resolver import RESOLVE_SECONDS, Resolver, default_resolver
from sip.transport.stream import StreamConnection, TcpListener
from sip.transport.tls import TlsListener
from sip.transport.udp import Admit, UdpListener, UdpSocket

CLOSE_STEP: Final = 0.02  # seconds between looks at what is still under way

Listener = UdpListener | TcpListener | TlsListener
R = TypeVar("R")
Sift = Callable[[bytes, Flow, float], bool]


def admit_all(transport: str, source: Address) -> bool:
    """Lets everybody in: for tests and for a gateway behind a firewall."""
    del transport, source
    return True


def transport_of(listener: Listener) -> str:
    """The transport that a listener serves."""
    return "udp" if isinstance(listener, UdpListener) else "tls" if isinstance(listener, TlsListener) else "tcp"


class SipEndpoint:
    """The listeners of one user agent, and the one timer that serves all its transactions and sessions.

    `on_event` is called synchronously for every event and must not block; it may call `perform`. `admit` is asked with
    the transport and the source of every datagram and of every connection before anything is read or parsed, and `sift`
    with every message, its flow and `now` before it is parsed: what it does not let through is dropped. `trust`
    holds the authorities of outgoing TLS (the system's, when absent), and `domains_of` says which domains a peer may
    show that is reached by its address alone, such as "twilio.com" for Twilio's ranges.
    """

    def __init__(
        self,
        agent: UserAgent,
        *,
        listeners: Sequence[Listener],
        on_event: Callable[[AgentEvent], None],
        admit: Admit = admit_all,
        sift: Sift | None = None,
        resolver: Resolver | None = None,
        limits: ConnectionLimits | None = None,
        trust: ssl.SSLContext | None = None,
        domains_of: DomainsOf | None = None,
    ) -> None:
        self.agent: Final = agent
        self._listeners = tuple(listeners)
        self._on_event = on_event
        self._admit = admit
        self._sift = sift
        self._resolver = resolver
        self._sockets: list[UdpSocket] = []
        self._addresses: list[Address] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._is_draining = False
        self._is_closed = False
        self._connections = Connections(
            counters=agent.counters,
            admit=admit,
            receive=self._receive,
            broken=self._receive_fault,
            lost=self._connection_lost,
            in_use=self._flows_in_use,
            flow_ids=itertools.count(len(self._listeners)),
            limits=limits,
            trust=trust,
            domains_of=domains_of,
        )
        self._delivery = Delivery(
            sockets=self._sockets,
            connections=self._connections,
            resolver=self._running_resolver,
            pending=agent.transactions,
            counters=agent.counters,
            failed=self._fail,
            settled=self._drain,
            listening=agent.listening,
        )
        agent.on_pause = self._delivery.pause
        agent.choose = self._choose
        self._choices: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> list[Address]:
        """Where the listeners are bound, in their order."""
        return list(self._addresses)

    @property
    def connection_count(self) -> int:
        """How many TCP and TLS connections there are, in both directions."""
        return len(self._connections)

    async def start(self) -> None:
        """Binds the listeners. Raises OSError, with nothing left open, where one cannot be bound.

        TlsError, which is an OSError, says that a certificate cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        try:
            for number, listener in enumerate(self._listeners):
                transport, address = await self._bind(listener, number)
                self._addresses.append(address)
                self.agent.advertise(transport, address, listener.advertised)
        except OSError:
            await self._connections.aclose()
            self._close_sockets()
            raise
        for bound in self._sockets:
            self._loop.add_reader(bound.fileno(), self._readable, bound)
        self._drain()

    async def _bind(self, listener: Listener, number: int) -> tuple[str, Address]:
        if isinstance(listener, UdpListener):
            bound = UdpSocket(listener, number, self.agent.counters)
            self._sockets.append(bound)
            return "udp", bound.address
        return transport_of(listener), await self._connections.listen(listener)

    def reload_certificates(self) -> None:
        """Takes changed certificates for the connections to come. It also happens by itself, within half a minute."""
        self._connections.reload_certificates()

    def perform(self, function: Callable[..., R], /, *args: object, **kwargs: object) -> R:
        """Calls a method of the agent or of a session with `now`, then sends and tells what came of it."""
        try:
            return function(*args, now=self._running_loop().time(), **kwargs)
        finally:
            self._drain()

    async def aclose(self, patience: float = 0.0) -> None:
        """Stops. Waits at most `patience` seconds for unanswered requests, such as the BYEs of the last calls."""
        if self._is_closed:
            return
        loop = self._running_loop()
        deadline = loop.time() + patience
        while self.agent.transactions.unanswered_count and loop.time() < deadline:  # noqa: ASYNC110  once in a process
            await asyncio.sleep(CLOSE_STEP)
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._choices:
            task.cancel()
        await asyncio.gather(*self._choices, return_exceptions=True)
        await self._delivery.aclose()
        await self._connections.aclose()
        self._close_sockets()

    # -- look-ups --------------------------------------------------------------------------------------------------

    def _choose(self, target: Target, chosen: Callable[[str, float], None]) -> None:
        """Asks DNS for the transport that a domain wants, among those that we listen on (RFC 3263 §4.1)."""
        if len(self._choices) >= RESOLUTION_LIMIT:
            self.agent.counters["resolution_limit"] += 1
            chosen(target.transport, self._running_loop().time())
            return
        task = self._running_loop().create_task(self._ask(target, chosen))
        self._choices.add(task)
        task.add_done_callback(self._choices.discard)

    async def _ask(self, target: Target, chosen: Callable[[str, float], None]) -> None:
        """Owned by this object until it is done; `aclose` cancels what is left."""
        transport = target.transport
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                ours = [transport_of(listener) for listener in self._listeners]
                transport = await self._running_resolver().choose_transport(target, ours)
        except TimeoutError:
            self.agent.counters["transport_not_chosen"] += 1
        try:
            chosen(transport, self._running_loop().time())
        finally:
            self._drain()

    # -- in --------------------------------------------------------------------------------------------------------

    def _readable(self, bound: UdpSocket) -> None:
        bound.receive_batch(self._admit, self._receive, self._running_loop().time)

    def _receive(self, data: bytes, flow: Flow) -> None:
        now = self._running_loop().time()
        if self._sift is not None and not self._sift(data, flow, now):
            return
        try:
            self.agent.receive_message(data, flow, now)
        finally:
            self._drain()

    def _receive_fault(self, error: SipParseError, flow: Flow) -> None:
        try:
            self.agent.receive_fault(error, flow, self._running_loop().time())
        finally:
            self._drain()

    def _connection_lost(self, connection: StreamConnection) -> None:
        if not self._is_closed:
            self._delivery.connection_lost(connection)
            self._drain()

    def _fire(self) -> None:
        self._timer = None
        try:
            self.agent.handle_timer(self._running_loop().time())
        finally:
            self._drain()

    # -- out -------------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Sends and tells until nothing is left, then arms the timer. What `on_event` performs joins the same drain."""
        if self._is_draining or self._is_closed:
            return
        self._is_draining = True
        try:
            while True:
                for transmit in self.agent.transmits():
                    self._delivery.deliver(transmit)
                event = next(self.agent.events(), None)
                if event is None:
                    break
                self._on_event(event)
        finally:
            self._is_draining = False
            self._arm()

    def _arm(self) -> None:
        at = self.agent.next_timer()
        if self._timer is not None:
            if at is not None and self._timer_at <= at:
                return  # it comes first, and looks again
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = self._running_loop().call_at(at, self._fire)
            self._timer_at = at

    def _fail(self, transmit: Transmit) -> None:
        self.agent.transport_failed(transmit, self._running_loop().time())

    def _flows_in_use(self) -> set[int]:
        return {session.flow.id for session in self.agent.sessions if session.flow is not None}

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("The endpoint has not been started")
        return self._loop

    def _running_resolver(self) -> Resolver:
        self._resolver = self._resolver or default_resolver()
        return self._resolver

    def _close_sockets(self) -> None:
        for bound in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(bound.fileno())
            bound.close()
        self._sockets.clear()
        self._addresses.clear()
