"""Media sockets: non-blocking UDP, one epoll for all of them, drained in batches by the event loop.

The loop watches a single descriptor, the epoll's. While few calls run each arrival wakes it at once; with many calls
the media clock drains instead, every 5 ms, which spares a wake-up a packet. One datagram of each ready socket is read
in a round and the rounds are bounded, so a flood at one port holds up nobody else.
"""

import asyncio
import errno
import secrets
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rtp.clock import MediaClock
from rtp.datagram import DatagramReceiver
from rtp.errors import PortsExhaustedError
from rtp.fast import DatagramDrain, DatagramSender, Outbox
from rtp.port_pool import PortPool
from rtp.source_lock import Address

DSCP_EXPEDITED_FORWARDING: Final = 46
"""RFC 4594 section 4.1: the class of telephony."""
MAX_DATAGRAMS_PER_DRAIN: Final = 1024
"""5 ms of 200,000 packets a second: more than a core can carry. What is left waits for the next drain."""
_BIND_ATTEMPTS: Final = 64
"""Other processes may hold some ports of the range, not all of them."""
COALESCE_FROM: Final = 64
"""Calls from which on the clock drains: 3,200 packets a second, two a millisecond and more wake-ups than steps."""
_COALESCE_UNTIL: Final = 0.75
"""Share of that number below which the loop wakes at each packet again: no flutter in between."""


@dataclass(slots=True)
class SocketCounters:
    """What the network refused, over all media sockets of the process."""

    send_errors: int = 0
    send_buffer_full: int = 0
    receive_errors: int = 0
    drains: int = 0
    datagrams: int = 0


class MediaSocket:
    """One bound UDP socket. `send` takes only validated addresses (`rtp.source_lock.validated_address`)."""

    __slots__ = ("_socket", "local", "send", "sender")

    def __init__(self, bound: socket.socket, counters: SocketCounters, outbox: Outbox) -> None:
        self._socket = bound
        self.sender = DatagramSender(bound, counters, outbox)
        host, port = bound.getsockname()[:2]
        self.local: Address = (host, port)
        self.send: Callable[[bytes, Address], None] = self.sender.send
        """Sends one datagram. What the network refuses is counted: media has no second chance."""

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the socket."""
        self.sender.close()
        self._socket.close()


class MediaPort:
    """The pair of sockets of one stream: RTP on the even port, RTCP on the next."""

    def __init__(self, owner: "MediaSockets", port: int, rtp: MediaSocket, rtcp: MediaSocket) -> None:
        self._owner = owner
        self.port = port
        self.rtp = rtp
        self.rtcp = rtcp

    def receive_with(self, receive_rtp: DatagramReceiver) -> None:
        """Gives RTP to another receiver from now on, such as a stream's own method once there is a stream."""
        self._owner.replace_receiver(self.rtp, receive_rtp)

    def close(self) -> None:
        """Closes both and sends the port into quarantine. Closing twice does nothing."""
        self._owner.close_port(self)


class MediaSockets:
    """All media sockets of the process, bound to one host.

    `on_fault(error)` hears of an error raised by a receiver; the drain goes on with the next datagram. The clock drains
    from `coalesce_from` calls on.
    """

    def __init__(
        self,
        host: str,
        pool: PortPool,
        clock: MediaClock,
        on_fault: Callable[[Exception], None],
        *,
        dscp: int = DSCP_EXPEDITED_FORWARDING,
        coalesce_from: int = COALESCE_FROM,
    ) -> None:
        self._host = host
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._pool = pool
        self._clock = clock
        self._traffic_class = dscp << 2
        self._coalesce_from = coalesce_from
        self._epoll = select.epoll()
        self._ports: dict[int, MediaPort] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = False
        self.counters = SocketCounters()
        self._outbox = Outbox()
        self._drain = DatagramDrain(self._epoll, self.counters, on_fault)
        clock.add_step_hook(self._on_step)
        clock.add_flush_hook(self._outbox.flush)

    @property
    def open_ports(self) -> int:
        """Pairs that are open."""
        return len(self._ports)

    @property
    def waits_for_clock(self) -> bool:
        """Whether what arrives is read at the next step of the clock, and not at once."""
        return self._loop is not None and not self._watched

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lets the loop watch the sockets."""
        self._loop = loop
        self._watch()

    def close(self) -> None:
        """Closes every port and the epoll. Nothing can be opened afterwards."""
        for port in tuple(self._ports.values()):
            port.close()
        self._unwatch()
        self._loop = None
        self._epoll.close()

    def open(self, receive_rtp: DatagramReceiver, receive_rtcp: DatagramReceiver) -> MediaPort:
        """Binds a pair of ports from the pool.

        Raises `PortsExhaustedError`, and `OSError` for a host that is not ours.
        """
        for _ in range(_BIND_ATTEMPTS):
            port = self._pool.acquire(time.monotonic())
            bound: list[socket.socket] = []
            try:
                for number in (port, port + 1):
                    bound.append(self._bind(number))  # noqa: PERF401  # the first must be closed when the second fails
            except OSError as error:
                for half in bound:
                    half.close()
                self._pool.release(port, time.monotonic())
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            media_port = MediaPort(self, port, *(MediaSocket(half, self.counters, self._outbox) for half in bound))
            self._ports[port] = media_port
            for half, receive in zip(bound, (receive_rtp, receive_rtcp), strict=True):
                self._register(half, receive)
            return media_port
        raise PortsExhaustedError(f"{_BIND_ATTEMPTS} media ports were tried, other processes hold them all")

    def close_port(self, port: MediaPort) -> None:
        """Closes the pair and sends its number into quarantine."""
        if self._ports.pop(port.port, None) is None:
            return
        for half in (port.rtp, port.rtcp):
            self._drain.remove(half.fileno())
            self._epoll.unregister(half.fileno())
            half.close()
        self._pool.release(port.port, time.monotonic())

    def replace_receiver(self, half: MediaSocket, receive: DatagramReceiver) -> None:
        """Gives what comes to an open socket to another receiver."""
        if self._drain.knows(half.fileno()):
            self._drain.replace(half.fileno(), receive)

    def drain(self, now: float) -> int:
        """Reads what has arrived, within bounds, and returns how many datagrams that were."""
        taken = self._drain.drain(now, MAX_DATAGRAMS_PER_DRAIN)
        self.counters.drains += 1
        self.counters.datagrams += taken
        return taken

    def _on_readable(self) -> None:
        self.drain(time.monotonic())

    def _on_step(self, now: float) -> None:
        """Chooses between waking at each packet and draining at each step."""
        if self._loop is None:
            return
        if self._watched:
            if self._clock.media_count >= self._coalesce_from:
                self._unwatch()
        elif self._clock.media_count < self._coalesce_from * _COALESCE_UNTIL:
            self._watch()
        self._outbox.gather()
        # In either case what has arrived is heard before a call is served: after a stall of the loop a full socket must
        # not look like a far end that fell silent.
        self.drain(now)

    def _watch(self) -> None:
        if self._loop is not None and not self._watched:
            self._loop.add_reader(self._epoll.fileno(), self._on_readable)
            self._watched = True

    def _unwatch(self) -> None:
        if self._loop is not None and self._watched:
            self._loop.remove_reader(self._epoll.fileno())
            self._watched = False

    def _bind(self, port: int) -> socket.socket:
        bound = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if self._family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, self._traffic_class)
            else:
                bound.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, self._traffic_class)
            bound.bind((self._host, port))
        except OSError:
            bound.close()
            raise
        return bound

    def _register(self, bound: socket.socket, receive: DatagramReceiver) -> None:
        self._drain.add(bound, receive)
        self._epoll.register(bound.fileno(), select.EPOLLIN)


def random_port_pool(first: int, last: int) -> PortPool:
    """A pool that draws its ports unpredictably."""
    return PortPool(first, last, choose=secrets.randbelow)
