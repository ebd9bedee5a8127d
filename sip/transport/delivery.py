"""Brings what the agent hands out to a socket: over the flow it names, or to its target's first address that works."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sip.listening import ListeningTable
from sip.pause import Pauses
from sip.transport.connections import Connections
from sip.transport.flow import DEFAULT_PORTS, RELIABLE_TRANSPORTS, Address, Flow, Target, Transmit, is_ip_literal
from sip.transport.hunt import Hunt, Hunts
from sip.transport.resolver import ResolveError, Resolver
from sip.transport.stream import StreamConnection
from sip.transport.udp import UdpSocket

RESOLUTION_LIMIT: Final = 256  # look-ups and connections under way at once; beyond it a call fails as if unreachable

logger = logging.getLogger(__name__)


class Pending(Protocol):
    """What the transaction layer knows."""

    def is_unanswered(self, owner: object) -> bool:
        """Whether a request still waits for its final response."""


class Delivery:
    """Sends at once where it can. Where a name or a connection has to be waited for, a bounded number of tasks does.

    `failed` is called for what could not be sent; it runs in the agent, so `settled` is called behind it.
    """

    def __init__(
        self,
        *,
        sockets: Sequence[UdpSocket],
        connections: Connections,
        resolver: Callable[[], Resolver],
        pending: Pending,
        counters: Counter[str],
        failed: Callable[[Transmit], None],
        settled: Callable[[], None],
        listening: ListeningTable,
    ) -> None:
        self._sockets = sockets
        self._connections = connections
        self._resolver = resolver
        self._pending = pending
        self._counters = counters
        self._failed = failed
        self._settled = settled
        self._listening = listening
        self._pauses = Pauses[Address]()
        self._hunts = Hunts()
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: set[str] = set()

    def deliver(self, transmit: Transmit) -> None:
        """Sends, now or soon. What fails now is told through `failed` before this returns."""
        to = transmit.to
        if isinstance(to, Flow):
            is_sent = self._send_on_flow(transmit, to)
        elif to.transport in RELIABLE_TRANSPORTS:
            is_sent = self._send_on_stream(transmit, to)
        elif to.transport == "udp" and is_ip_literal(to.host) and not to.after:
            is_sent = self._send_datagram(transmit, Address(to.host, to.port or DEFAULT_PORTS["udp"]))
        elif to.transport == "udp":
            self._begin(transmit, to)
            return
        else:
            is_sent = False
        if not is_sent:
            self._failed(transmit)

    def connection_lost(self, connection: StreamConnection) -> None:
        """Requests that were written to it and not answered go out once more, over a new connection."""
        for transmit in connection.sent:
            if isinstance(transmit.to, Target) and self._pending.is_unanswered(transmit.owner):
                hunt = self._hunts.get(transmit.branch)
                if hunt is not None:
                    hunt.retry()
                self._counters["resent_on_new_connection"] += 1
                self._begin(transmit, transmit.to, hunt)

    def pause(self, flow: Flow, seconds: float) -> None:
        """The server at the far end of this flow wants no new calls for a while: the others of its name come first."""
        self._pauses.add(flow.remote, seconds, asyncio.get_running_loop().time())

    async def aclose(self) -> None:
        """Gives up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- at once ---------------------------------------------------------------------------------------------------

    def _send_on_flow(self, transmit: Transmit, flow: Flow) -> bool:
        """RFC 3261 §18.2.2: a response goes back over the connection of its request, or the socket."""
        if flow.transport in RELIABLE_TRANSPORTS:
            connection = self._connections.find(flow)
            return connection is not None and connection.send(transmit)
        bound = self._socket_of(flow)
        return bound is not None and bound.send(transmit.data, flow.remote)

    def _send_on_stream(self, transmit: Transmit, target: Target) -> bool:
        """Over a connection that is there, or else over one that has to be opened first (True: it may still fail)."""
        connection = self._connection_of(transmit, target)
        if connection is None or not connection.send(transmit):
            self._begin(transmit, target)
        return True

    def _connection_of(self, transmit: Transmit, target: Target) -> StreamConnection | None:
        """The connection that the dialog began on, where it leads to the target's host; else one that we opened.

        The peer's end of an inbound connection has an ephemeral port; whoever stands behind NAT has no other.
        """
        prefer = transmit.prefer
        if prefer is not None and prefer.transport == target.transport and prefer.remote.host == target.host:
            connection = self._connections.find(prefer)
            if connection is not None:
                return connection
        hunt = self._hunts.get(transmit.branch)
        if hunt is not None and hunt.current is not None and not hunt.was_lost:
            return self._connections.open_connection(target.transport, hunt.current, target.host)
        if hunt is None and is_ip_literal(target.host) and not target.after:
            address = Address(target.host, target.port or DEFAULT_PORTS[target.transport])
            return self._connections.open_connection(target.transport, address, target.host)
        return None

    def _send_datagram(self, transmit: Transmit, remote: Address) -> bool:
        bound = self._socket_for(transmit, remote)
        return bound is not None and bound.send(transmit.data, remote)

    # -- soon ------------------------------------------------------------------------------------------------------

    def _begin(self, transmit: Transmit, target: Target, lost: Hunt | None = None) -> None:
        if transmit.branch and transmit.branch in self._under_way:
            return  # a retransmission, while the first one still looks for its way
        hunt = self._hunts.get(transmit.branch)
        if target.transport == "udp" and hunt is not None and hunt.current is not None:
            if not self._send_datagram(transmit, hunt.current):
                self._failed(transmit)
            return
        if len(self._tasks) >= RESOLUTION_LIMIT:
            self._counters["resolution_limit"] += 1
            self._failed(transmit)
            return
        self._under_way.add(transmit.branch)
        task = asyncio.get_running_loop().create_task(self._search(transmit, target, lost))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _search(self, transmit: Transmit, target: Target, lost: Hunt | None) -> None:
        """Owned by this object until it is done; `aclose` cancels what is left."""
        try:
            hunt = lost or await self._hunt(transmit, target)
            is_sent = await self._send_to_next(transmit, target, hunt)
        finally:
            self._under_way.discard(transmit.branch)
        try:
            if not is_sent:
                self._failed(transmit)
        finally:
            self._settled()

    async def _hunt(self, transmit: Transmit, target: Target) -> Hunt:
        now = asyncio.get_running_loop().time()
        known = self._hunts.get(transmit.branch)
        if known is not None and known.current is not None:
            return Hunt([known.current], known.expires)  # a CANCEL or an ACK: "the same server", or none
        if target.after:
            resumed = self._hunts.resume(target.after, transmit.branch, now)
            return resumed or self._hunts.begin(transmit.branch, (), now)
        try:
            addresses = await self._resolver().resolve(target)
        except ResolveError as error:
            logger.info("%s", error)
            addresses = []
        if target.transport == "udp":
            addresses = [remote for remote in addresses if self._socket_for(transmit, remote) is not None]
        if not addresses:
            self._counters["unresolved"] += 1
        if target.is_new:
            addresses = self._pauses.without(addresses, now)
        return self._hunts.begin(transmit.branch, addresses, now)

    async def _send_to_next(self, transmit: Transmit, target: Target, hunt: Hunt) -> bool:
        """Goes through the addresses until one takes the message (RFC 3263 §4.3)."""
        while (remote := hunt.advance()) is not None:
            if target.transport == "udp":
                if self._send_datagram(transmit, remote):
                    return True
                continue
            try:
                connection = await self._connections.connect(target.transport, remote, target.host)
            except OSError as error:  # TimeoutError is one
                logger.info("%s:%s cannot be reached: %s", *remote, error)
                self._counters["connect_failed"] += 1
                continue
            if connection.send(transmit):
                return True
        return False

    def _socket_of(self, flow: Flow) -> UdpSocket | None:
        return next((bound for bound in self._sockets if bound.flow_id == flow.id), None)

    def _socket_for(self, transmit: Transmit, remote: Address) -> UdpSocket | None:
        """The socket that the dialog began on, or the first that speaks the target's family."""
        is_ipv6 = ":" in remote.host
        if transmit.prefer is not None:
            preferred = self._socket_of(transmit.prefer)
            if preferred is not None and preferred.is_ipv6 == is_ipv6:
                return preferred
        chosen = self._listening.find("udp", Target("udp", remote.host))
        bounds = [bound for bound in self._sockets if bound.is_ipv6 == is_ipv6]
        named = [bound for bound in bounds if chosen is not None and bound.address == chosen.bound]
        return next(iter((*named, *bounds)), None)
