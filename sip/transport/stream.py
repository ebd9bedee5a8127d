"""One TCP or TLS connection: bytes to messages and back, in bounded steps, without a task of its own."""

import asyncio
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol, cast

from sip.errors import SipParseError
from sip.framing import PONG_BYTES, KeepAlive, StreamFramer
from sip.transport.census import ConnectionLimits, Patience
from sip.transport.flow import Address, Flow, Transmit
from sip.transport.tls import TlsError, TlsLayer

BATCH_SECONDS: Final = 0.002  # for each turn of the loop, as on UDP: no 5 ms media step is missed because of signalling
# Bytes that wait for a peer to read them: two of the largest messages that exist here, and some answers. Whoever reads
# slower than that is closed, since nothing here ever waits for a reader.
WRITE_BUFFER_LIMIT: Final = 256 * 1024
SENT_MEMORY: Final = 64  # requests whose answers are awaited, for each connection that may be lost

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TcpListener:
    """Where to listen for TCP. Port 0 takes a free one. `advertised` is the host that others are told."""

    host: str
    port: int = 5060
    advertised: str = ""


class Phase(Enum):
    """The life of a connection."""

    OPENING = auto()  # not connected, or the TLS handshake is under way
    OPEN = auto()
    LEAVING = auto()  # our last bytes are under way; what comes is thrown away
    CLOSED = auto()


class Owner(Protocol):
    """What a connection tells whoever keeps it."""

    limits: ConnectionLimits

    def count(self, label: str) -> None:
        """Something happened that is counted."""

    def connection_begun(self, connection: "StreamConnection") -> bool:
        """The transport is there. False where it is to be closed unread: a stranger, or one connection too many."""

    def connection_lost(self, connection: "StreamConnection") -> None:
        """Exactly once for each that was begun with True, and for each outgoing one."""

    def message_received(self, data: bytes, flow: Flow) -> None:
        """One whole message."""

    def stream_broken(self, error: SipParseError, flow: Flow) -> None:
        """The bytes were no SIP: answer what can be answered; the connection closes itself behind that."""


class StreamConnection(asyncio.Protocol):
    """A connection that was accepted, or that we open. Everything here is synchronous.

    `check` judges the names in the certificate of a server that we connect to; it says whether it is the one we meant.
    """

    def __init__(
        self,
        owner: Owner,
        transport_name: str,
        flow_id: int,
        *,
        is_inbound: bool,
        tls: TlsLayer | None = None,
        check: Callable[[tuple[str, ...]], bool] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._tls = tls
        self._check = check
        self._framer = StreamFramer()
        self._arrived: deque[bytes] = deque()
        self._items: Iterator[bytes | KeepAlive] | None = None
        self._socket: asyncio.Transport | None = None
        self._is_scheduled = False
        self._is_paused = False
        self._is_counted = not is_inbound
        self.transport_name: Final = transport_name
        self.flow_id: Final = flow_id
        self.is_inbound: Final = is_inbound
        self.phase = Phase.OPENING
        self.patience = Patience(owner.limits, self._loop.time(), handshake=tls is not None)
        self.sent: deque[Transmit] = deque(maxlen=SENT_MEMORY)
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.flow = Flow(transport_name, Address("", 0), Address("", 0), flow_id)
        self.names: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether something can be sent, now or as soon as the handshake is over."""
        return self.phase in {Phase.OPENING, Phase.OPEN}

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The kernel's part of the connection is there."""
        self._socket = stream = cast("asyncio.Transport", transport)  # TCP has no other, on any loop
        local, remote = stream.get_extra_info("sockname"), stream.get_extra_info("peername")
        if not remote or self.phase is Phase.CLOSED:
            stream.abort()  # it went while it came
            return
        self.flow = Flow(self.transport_name, Address(*local[:2]), Address(*remote[:2]), self.flow_id)
        if not self._owner.connection_begun(self):
            stream.abort()
            return
        self._is_counted = True
        _set_options(stream.get_extra_info("socket"))
        if self._tls is None:
            self._open()
        else:
            self._advance_handshake()

    def data_received(self, data: bytes) -> None:
        """Bytes came. They are looked at in a turn of their own, so that no user's fault ends the stream."""
        if self.phase in {Phase.OPENING, Phase.OPEN}:
            if self._tls is None:
                self._arrived.append(data)
            else:
                self._tls.receive(data)
            self.patience.heard(self._loop.time())
            self._schedule()

    def eof_received(self) -> bool:
        """The peer sends nothing more. What it sent is answered, then the connection closes."""
        if self.phase is Phase.OPEN:
            self._loop.call_soon(self._close_behind_answers)
            return True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over, by whosever will."""
        self._finish(error or ConnectionResetError("The connection was closed"))

    # -- out -------------------------------------------------------------------------------------------------------

    def send(self, transmit: Transmit) -> bool:
        """Sends a message. False where the connection cannot take it."""
        if self.phase is not Phase.OPEN:
            return False
        if transmit.branch:
            self.sent.append(transmit)
        return self._write(transmit.data)

    def leave(self) -> None:
        """Sends what is still to be sent, says that no more comes, and closes when the peer does, or soon.

        Closing at once with bytes of the peer unread would make the kernel send a reset, which overtakes our answer.
        """
        if self.phase is Phase.OPEN and self._socket is not None:
            self.phase = Phase.LEAVING
            self._arrived.clear()
            self._items = None
            self.patience.bid_farewell(self._loop.time())
            if self._tls is not None:
                self._tls.end()
                self._flush()
            if self._is_paused:
                self._is_paused = False
                self._socket.resume_reading()
            if self._socket.can_write_eof() and not self._socket.is_closing():
                self._socket.write_eof()
        elif self.phase is Phase.OPENING:
            self.abort("closed")

    def abort(self, reason: str) -> None:
        """Closes at once."""
        if self._socket is not None:
            self._socket.abort()
        self._finish(ConnectionAbortedError(reason))

    def fail(self, error: OSError) -> None:
        """It could not be opened."""
        self._finish(error)

    def _write(self, data: bytes) -> bool:
        if self._tls is not None:
            try:
                self._tls.write(data)
            except ssl.SSLError as error:
                self._break_tls(error)
                return False
            data = self._tls.outgoing()
        return self._write_raw(data)

    def _write_raw(self, data: bytes) -> bool:
        transport = self._socket
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        self.patience.heard(self._loop.time())
        if transport.get_write_buffer_size() > WRITE_BUFFER_LIMIT:
            self._owner.count("slow_reader")
            self.abort("the peer does not read")
            return False
        return True

    def _flush(self) -> None:
        if self._tls is not None and (data := self._tls.outgoing()):
            self._write_raw(data)

    # -- in --------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Takes what has come, for at most BATCH_SECONDS; the rest waits, and the socket with it, for the next turn."""
        self._is_scheduled = False
        if self.phase is Phase.OPENING and not self._advance_handshake():
            return
        if self.phase is not Phase.OPEN:
            return
        is_drained = False
        try:
            is_drained = self._take_items(self._loop.time() + BATCH_SECONDS)
        except SipParseError as error:
            self._break_stream(error)
        except ssl.SSLError as error:
            self._break_tls(error)
        finally:
            if not is_drained and self.phase is Phase.OPEN:
                self._schedule()  # too much for one turn, or a callback of our user has failed: go on behind it
            self._hold_back(held=not is_drained and self.phase is Phase.OPEN)

    def _take_items(self, deadline: float) -> bool:
        """Whether everything was taken that has come."""
        pings = 0
        has_progressed = False
        try:
            while (item := self._next_item()) is not None:
                if item is KeepAlive.PING:
                    pings += 1
                elif isinstance(item, bytes):
                    has_progressed = True
                    self._owner.message_received(item, self.flow)
                    if self.phase is not Phase.OPEN:
                        return True
                if self._loop.time() >= deadline:
                    self._owner.count("batch_cut")
                    return False
        finally:
            if pings and self.phase is Phase.OPEN:
                self._write(PONG_BYTES * pings)  # RFC 5626 §3.5.1, in one write for those that came together
            self.patience.note_partial(self._loop.time(), unfinished=self._framer.unfinished, progressed=has_progressed)
        if self._tls is not None and self._tls.is_ended:
            self._close_behind_answers()
        return True

    def _next_item(self) -> bytes | KeepAlive | None:
        while True:
            if self._items is not None:
                item = next(self._items, None)
                if item is not None:
                    return item
                self._items = None
            chunk = self._next_chunk()
            if not chunk:
                return None
            self._items = self._framer.feed(chunk)

    def _next_chunk(self) -> bytes:
        if self._tls is not None:
            return self._tls.read()
        return self._arrived.popleft() if self._arrived else b""

    def _hold_back(self, *, held: bool) -> None:
        """Stops reading while a batch is unfinished: the kernel's window then slows the sender."""
        if self._socket is None or self._socket.is_closing() or held is self._is_paused:
            return
        self._is_paused = held
        if held:
            self._socket.pause_reading()
        else:
            self._socket.resume_reading()

    def _close_behind_answers(self) -> None:
        """The peer has said its last word: so do we, once it is answered."""
        if self._is_scheduled:
            self._loop.call_soon(self._close_behind_answers)
        elif self.phase is Phase.OPEN and self._socket is not None:
            if self._tls is not None:
                self._tls.end()
                self._flush()
            self.phase = Phase.LEAVING
            self.patience.bid_farewell(self._loop.time())
            self._socket.close()  # behind what is still to be sent

    def _break_stream(self, error: SipParseError) -> None:
        self._owner.stream_broken(error, self.flow)
        self.leave()

    def _break_tls(self, error: Exception) -> None:
        self._owner.count("tls_error")
        logger.info("TLS with %s failed: %s", self.flow.remote, error)
        self._flush()  # the alert
        if self._socket is not None:
            self._socket.close()  # behind the alert
        self._finish(TlsError(f"TLS with {self.flow.remote.host} failed: {error}"))

    # -- opening and closing ---------------------------------------------------------------------------------------

    def _advance_handshake(self) -> bool:
        tls = self._tls
        if tls is None:
            return True
        try:
            is_complete = tls.shake_hands()
        except ssl.SSLError as error:
            self._break_tls(error)
            return False
        self._flush()
        if not is_complete or self.phase is not Phase.OPENING:
            return False
        self.patience.shake_hands()
        self.names = tls.peer_names()
        if self._check is not None and not self._check(self.names):
            names = ", ".join(self.names) or "nobody"
            self._break_tls(TlsError(f"the certificate is for {names}"))
            return False
        # A server's certificate says whom we have reached, by authorities of its own: it is no client's identity.
        shown = self.names if self.is_inbound else ()
        self.flow = Flow(self.transport_name, self.flow.local, self.flow.remote, self.flow_id, shown)
        self._open()
        return True

    def _open(self) -> None:
        self.phase = Phase.OPEN
        if not self.ready.done():
            self.ready.set_result(None)

    def _finish(self, error: Exception) -> None:
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._arrived.clear()
        self._items = None
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # whoever awaits it still gets it; nobody need
        if self._is_counted:
            self._owner.connection_lost(self)


def _set_options(raw: socket.socket) -> None:
    """No delay for small messages; a peer that vanished without a word is found out in two minutes."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):  # Linux has them all, other systems not
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
