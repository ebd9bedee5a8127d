"""Drives a UserAgent over real sockets: the only place where SIP meets the event loop and its clock."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from sip.agent import UserAgent
from sip.event import AgentEvent
from sip.transport.flow import DEFAULT_PORTS, Address, Flow, Target, Transmit, is_ip_literal
from sip.transport.resolver import ResolveError, Resolver, SystemResolver
from sip.transport.udp import Admit, UdpListener, UdpSocket

CLOSE_STEP: Final = 0.02  # seconds between looks at what is still under way
RESOLUTION_LIMIT: Final = 256  # look-ups under way at once; beyond it a call fails as if its target had no address

R = TypeVar("R")

logger = logging.getLogger(__name__)


def admit_all(transport: str, source: Address) -> bool:
    """Lets everybody in: for tests and for a gateway behind a firewall."""
    del transport, source
    return True


class SipEndpoint:
    """The listeners of one user agent, and the one timer that serves all its transactions and sessions.

    `on_event` is called synchronously for every event and must not block; it may call `perform`. `admit` is asked with
    the transport and the source of every datagram before anything is parsed.
    """

    def __init__(
        self,
        agent: UserAgent,
        *,
        listeners: Sequence[UdpListener],
        on_event: Callable[[AgentEvent], None],
        admit: Admit = admit_all,
        resolver: Resolver | None = None,
    ) -> None:
        self.agent: Final = agent
        self._listeners = tuple(listeners)
        self._on_event = on_event
        self._admit = admit
        self._resolver = resolver or SystemResolver()
        self._sockets: list[UdpSocket] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._is_draining = False
        self._is_closed = False
        self._resolutions: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> list[Address]:
        """Where the listeners are bound, in their order."""
        return [bound.address for bound in self._sockets]

    async def start(self) -> None:
        """Binds the listeners. Raises OSError, with nothing left open, where one cannot be bound."""
        self._loop = asyncio.get_running_loop()
        try:
            for number, listener in enumerate(self._listeners):
                bound = UdpSocket(listener, number, self.agent.counters)
                self._sockets.append(bound)
                if number == 0:
                    self.agent.advertise("udp", bound.address)
        except OSError:
            self._close_sockets()
            raise
        for bound in self._sockets:
            self._loop.add_reader(bound.fileno(), self._readable, bound)
        self._drain()

    def perform(self, function: Callable[..., R], /, *args: object, **kwargs: object) -> R:
        """Calls a method of the agent or of a session with `now`, then sends and tells what came of it."""
        try:
            return function(*args, now=self._running_loop().time(), **kwargs)
        finally:
            self._drain()

    async def aclose(self, patience: float = 0.0) -> None:
        """Stops. Waits at most `patience` seconds for the requests under way, such as the BYEs of the last calls."""
        if self._is_closed:
            return
        loop = self._running_loop()
        deadline = loop.time() + patience
        while self.agent.transactions.client_count and loop.time() < deadline:  # noqa: ASYNC110  once in a process's life
            await asyncio.sleep(CLOSE_STEP)
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._resolutions:
            task.cancel()
        await asyncio.gather(*self._resolutions, return_exceptions=True)
        self._close_sockets()

    # -- in --------------------------------------------------------------------------------------------------------

    def _readable(self, bound: UdpSocket) -> None:
        bound.receive_batch(self._admit, self._receive, self._running_loop().time)

    def _receive(self, data: bytes, flow: Flow) -> None:
        try:
            self.agent.receive_message(data, flow, self._running_loop().time())
        finally:
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
                    self._transmit(transmit)
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

    def _transmit(self, transmit: Transmit) -> None:
        to = transmit.to
        if isinstance(to, Flow):
            self._send(transmit, self._socket_of(to), to.remote)
        elif to.transport != "udp":
            self._fail(transmit)
        elif is_ip_literal(to.host):
            remote = Address(to.host, to.port or DEFAULT_PORTS["udp"])
            self._send(transmit, self._socket_for(transmit, remote), remote)
        else:
            self._resolve(transmit, to)

    def _send(self, transmit: Transmit, bound: UdpSocket | None, remote: Address) -> None:
        if bound is None or not bound.send(transmit.data, remote):
            self._fail(transmit)

    def _fail(self, transmit: Transmit) -> None:
        self.agent.transport_failed(transmit, self._running_loop().time())

    def _socket_of(self, flow: Flow) -> UdpSocket | None:
        return next((bound for bound in self._sockets if bound.flow_id == flow.id), None)

    def _socket_for(self, transmit: Transmit, remote: Address) -> UdpSocket | None:
        """The socket that the dialog began on, or the first that speaks the target's family."""
        is_ipv6 = ":" in remote.host
        if transmit.prefer is not None:
            preferred = self._socket_of(transmit.prefer)
            if preferred is not None and preferred.is_ipv6 == is_ipv6:
                return preferred
        return next((bound for bound in self._sockets if bound.is_ipv6 == is_ipv6), None)

    def _resolve(self, transmit: Transmit, target: Target) -> None:
        if len(self._resolutions) >= RESOLUTION_LIMIT:
            self.agent.counters["resolution_limit"] += 1
            self._fail(transmit)
            return
        task = self._running_loop().create_task(self._resolve_and_send(transmit, target))
        self._resolutions.add(task)
        task.add_done_callback(self._resolutions.discard)

    async def _resolve_and_send(self, transmit: Transmit, target: Target) -> None:
        """Owned by this endpoint until it is done; `aclose` cancels what is left."""
        try:
            addresses = await self._resolver.resolve(target)
        except ResolveError as error:
            logger.info("%s", error)
            addresses = []
        usable = (remote for remote in addresses if self._socket_for(transmit, remote) is not None)
        remote = next(usable, None)
        bound = self._socket_for(transmit, remote) if remote is not None else None
        try:
            if remote is None:
                self.agent.counters["unresolved"] += 1
                self._fail(transmit)
            else:
                self._send(transmit, bound, remote)
        finally:
            self._drain()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("The endpoint has not been started")
        return self._loop

    def _close_sockets(self) -> None:
        for bound in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(bound.fileno())
            bound.close()
        self._sockets.clear()
