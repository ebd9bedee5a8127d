"""All TCP and TLS connections of an endpoint: who may come in, which one leads where, and which has to go."""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Final

from sip.errors import SipParseError
from sip.transport.census import Census, ConnectionLimits
from sip.transport.certificate import belongs_to, is_certified
from sip.transport.flow import Address, Flow, is_ip_literal
from sip.transport.stream import Phase, StreamConnection, TcpListener
from sip.transport.tls import ServerCredentials, TlsLayer, TlsListener, client_context
from sip.transport.udp import Admit

BACKLOG: Final = 256  # connections that the kernel holds for us, so that a burst of SYNs meets no reset
SWEEP_SECONDS: Final = 1.0  # between looks at who has exceeded a limit
CERTIFICATE_SECONDS: Final = 30.0  # between looks at the certificates' files
CONNECT_SECONDS: Final = 3.0  # for a connection and its handshake: below Twilio's 4 s of patience

# The domains one of which must stand in the certificate of a peer that is reached by its address.
DomainsOf = Callable[[Address], Iterable[str]]

logger = logging.getLogger(__name__)


class Connections:
    """Owns the listening sockets and the connections; `receive`, `broken` and `lost` are called synchronously.

    `in_use` names the flows that carry calls: their connections are not idle.
    """

    def __init__(
        self,
        *,
        counters: Counter[str],
        admit: Admit,
        receive: Callable[[bytes, Flow], None],
        broken: Callable[[SipParseError, Flow], None],
        lost: Callable[[StreamConnection], None],
        in_use: Callable[[], Collection[int]],
        flow_ids: Iterable[int],
        limits: ConnectionLimits | None = None,
        trust: ssl.SSLContext | None = None,
        domains_of: DomainsOf | None = None,
    ) -> None:
        self.limits = limits or ConnectionLimits()
        self._counters = counters
        self._admit = admit
        self._receive = receive
        self._broken = broken
        self._lost = lost
        self._in_use = in_use
        self._flow_ids = iter(flow_ids)
        self._trust = trust
        self._domains_of = domains_of or _no_domains
        self._census = Census(self.limits, counters)
        self._servers: list[asyncio.Server] = []
        self._credentials: list[ServerCredentials] = []
        self._connections: dict[int, StreamConnection] = {}
        self._outgoing: dict[tuple[str, Address], StreamConnection] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._certificates_at = 0.0

    def __len__(self) -> int:
        return len(self._connections)

    async def listen(self, listener: TcpListener | TlsListener) -> Address:
        """Binds a listener and says where. Raises OSError; TlsError where its certificate cannot be used."""
        loop = asyncio.get_running_loop()
        credentials = ServerCredentials(listener) if isinstance(listener, TlsListener) else None
        bound = _bind(listener.host, listener.port)

        def accept() -> StreamConnection:
            tls = TlsLayer(credentials.context, server_side=True) if credentials is not None else None
            return StreamConnection(self, "tls" if tls else "tcp", next(self._flow_ids), is_inbound=True, tls=tls)

        try:
            server = await loop.create_server(accept, sock=bound, backlog=BACKLOG)
        except OSError:
            bound.close()
            raise
        self._servers.append(server)
        if credentials is not None:
            self._credentials.append(credentials)
            self._certificates_at = loop.time() + CERTIFICATE_SECONDS
        self._arm(loop)
        return Address(*bound.getsockname()[:2])

    def find(self, flow: Flow) -> StreamConnection | None:
        """The connection of a flow, while it is open."""
        connection = self._connections.get(flow.id)
        return connection if connection is not None and connection.is_open else None

    async def connect(self, transport: str, address: Address, host: str) -> StreamConnection:
        """An open connection to an address, with the name or address by which it was looked for certified by TLS.

        The one that is there already is used again. Raises OSError (TimeoutError included).
        """
        connection = self._outgoing.get((transport, address))
        if connection is None or not connection.is_open or not self._is_good_for(connection, host):
            connection = self._begin(transport, address, host)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.shield(connection.ready)
        except TimeoutError:
            connection.abort("no handshake in time")
            raise
        return connection

    def open_connection(self, transport: str, address: Address, host: str) -> StreamConnection | None:
        """As `connect`, where there is nothing to wait for."""
        connection = self._outgoing.get((transport, address))
        is_usable = connection is not None and connection.phase is Phase.OPEN and self._is_good_for(connection, host)
        return connection if is_usable else None

    def reload_certificates(self) -> None:
        """Looks at the certificates' files now; what is new and good serves the next connections."""
        for credentials in self._credentials:
            credentials.reload_if_changed(self._counters)

    async def aclose(self) -> None:
        """Stops listening and closes every connection."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for server in self._servers:
            server.close()
        for connection in list(self._connections.values()):
            connection.leave()
        await asyncio.sleep(0)  # what was written goes out, then nobody is waited for
        for connection in list(self._connections.values()):
            connection.abort("the endpoint closes")
        self._servers.clear()

    # -- what connections tell -------------------------------------------------------------------------------------

    def count(self, label: str) -> None:
        """As the connection says."""
        self._counters[label] += 1

    def connection_begun(self, connection: StreamConnection) -> bool:
        """Admission comes before a byte is read or a handshake computed; then the limits."""
        if connection.is_inbound:
            remote = connection.flow.remote
            if not self._admit(connection.transport_name, remote):
                self._counters["stranger"] += 1
                return False
            if not self._census.enter(remote.host, asyncio.get_running_loop().time()):
                return False
            self._connections[connection.flow_id] = connection
        return True

    def connection_lost(self, connection: StreamConnection) -> None:
        """Forgets it, and tells what may have been lost with it."""
        if self._connections.pop(connection.flow_id, None) is None:
            return
        if connection.is_inbound:
            self._census.leave(connection.flow.remote.host)
        else:
            self._forget_outgoing(connection)
        self._lost(connection)

    def message_received(self, data: bytes, flow: Flow) -> None:
        """A whole message."""
        self._receive(data, flow)

    def stream_broken(self, error: SipParseError, flow: Flow) -> None:
        """Bytes that cannot be cut into messages."""
        self._broken(error, flow)

    # -- the rest --------------------------------------------------------------------------------------------------

    def _begin(self, transport: str, address: Address, host: str) -> StreamConnection:
        if len(self._outgoing) >= self.limits.outbound:
            self._counters["outbound_connection_limit"] += 1
            raise ConnectionRefusedError(f"{len(self._outgoing)} connections are open already")
        tls = None
        check: Callable[[tuple[str, ...]], bool] | None = None
        if transport == "tls":
            self._trust = self._trust or client_context()
            tls = TlsLayer(self._trust, server_side=False, server_name=None if is_ip_literal(host) else host)

            def check(names: tuple[str, ...]) -> bool:
                return self._is_named(names, host, address)

        connection = StreamConnection(self, transport, next(self._flow_ids), is_inbound=False, tls=tls, check=check)
        self._arm(asyncio.get_running_loop())
        self._outgoing[transport, address] = connection
        self._connections[connection.flow_id] = connection
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._open(connection, address))
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        connection.ready.add_done_callback(lambda _: task.cancel() if connection.phase is Phase.CLOSED else None)
        return connection

    async def _open(self, connection: StreamConnection, address: Address) -> None:
        """Lives until TCP is connected: the handshake behind it has its deadline in the connection's patience."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: connection, address.host, address.port)
        except OSError as error:
            logger.info("%s:%s cannot be reached: %s", *address, error)
            connection.fail(error)

    def _is_good_for(self, connection: StreamConnection, host: str) -> bool:
        if connection.transport_name != "tls" or connection.phase is Phase.OPENING:
            return True
        return self._is_named(connection.names, host, connection.flow.remote)

    def _is_named(self, names: tuple[str, ...], host: str, address: Address) -> bool:
        if is_certified(names, host):
            return True
        return is_ip_literal(host) and belongs_to(names, self._domains_of(address))

    def _forget_outgoing(self, connection: StreamConnection) -> None:
        for key, known in list(self._outgoing.items()):
            if known is connection:
                del self._outgoing[key]

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Closes who has exceeded a limit. One timer for all: a thousand looks cost less than a thousand timers."""
        loop = asyncio.get_running_loop()
        self._sweep_timer = loop.call_later(SWEEP_SECONDS, self._sweep)
        now = loop.time()
        in_use: Collection[int] | None = None
        for connection in list(self._connections.values()):
            fault = connection.patience.fault(now)
            if fault is None:
                continue
            if fault == "connection_idle":
                in_use = self._in_use() if in_use is None else in_use
                if connection.flow_id in in_use:
                    continue
            self._counters[fault] += 1
            connection.abort(fault)
        if now >= self._certificates_at:
            self._certificates_at = now + CERTIFICATE_SECONDS
            self.reload_certificates()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _no_domains(address: Address) -> Iterable[str]:
    del address
    return ()
