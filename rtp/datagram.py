"""Datagrams to and from bound sockets: the system calls of the media plane, and nothing else.

`rtp._fast` holds the same classes, compiled; `rtp.fast` chooses.
"""

import select
import socket
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from rtp.source_lock import Address

DatagramReceiver = Callable[[bytes, Address, float], None]
"""`(data, source, now)`: called for each datagram, must not block."""

MAX_DATAGRAM_OCTETS: Final = 8192
"""Longer ones are cut to this, which is longer than any audio packet: the stream discards them."""
_MAX_EVENTS: Final = 512


class Counters(Protocol):
    """Of what the network refused."""

    send_errors: int
    send_buffer_full: int
    receive_errors: int


class Outbox:
    """Between `gather` and `flush` datagrams of many senders wait here, and then go out in a row."""

    def __init__(self) -> None:
        self._posts: list[tuple[DatagramSender, bytes, Address]] = []
        self._gathers = False

    def gather(self) -> None:
        """Keeps what is posted from now on."""
        self._gathers = True

    def post(self, sender: "DatagramSender", data: bytes, remote: Address) -> None:
        """One more, behind the others."""
        if self._gathers:
            self._posts.append((sender, data, remote))
        else:
            sender.send(data, remote)

    def flush(self) -> None:
        """Sends them in the order of their coming; those of a sender that was closed meanwhile count as errors."""
        self._gathers = False
        posts, self._posts = self._posts, []
        for sender, data, remote in posts:
            sender.send(data, remote)


class DatagramSender:
    """Sends from one bound socket. What the network refuses is counted: media has no second chance."""

    def __init__(self, bound: socket.socket, counters: Counters, outbox: Outbox) -> None:
        self._sendto = bound.sendto
        self._counters = counters
        self._outbox = outbox

    def close(self) -> None:
        """Sends nothing from now on."""

    def post(self, data: bytes, remote: Address) -> None:
        """Sends one datagram to a validated address, as the outbox has it."""
        self._outbox.post(self, data, remote)

    def send(self, data: bytes, remote: Address) -> None:
        """Sends one datagram to a validated address."""
        try:
            self._sendto(data, remote)
        except BlockingIOError:
            self._counters.send_buffer_full += 1
        except (OSError, OverflowError):  # the latter for a port beyond 65535
            self._counters.send_errors += 1


class DatagramDrain:
    """Reads what has arrived at any of its sockets, one datagram of each in a round."""

    def __init__(self, epoll: select.epoll, counters: Counters, on_fault: Callable[[Exception], None]) -> None:
        self._epoll = epoll
        self._counters = counters
        self._on_fault = on_fault
        self._receivers: dict[int, tuple[Callable[[int], tuple[bytes, Address]], DatagramReceiver]] = {}

    def add(self, bound: socket.socket, receive: DatagramReceiver) -> None:
        """Reads a socket that the epoll watches."""
        if bound.fileno() < 0:
            raise ValueError("a socket that is closed gives nothing to read")
        self._receivers[bound.fileno()] = (bound.recvfrom, receive)

    def replace(self, descriptor: int, receive: DatagramReceiver) -> None:
        """Gives what comes to a socket to another receiver."""
        self._receivers[descriptor] = (self._receivers[descriptor][0], receive)

    def knows(self, descriptor: int) -> bool:
        """Whether the socket is read."""
        return descriptor in self._receivers

    def remove(self, descriptor: int) -> None:
        """Reads a socket no more, from this moment on."""
        self._receivers.pop(descriptor, None)

    def drain(self, now: float, limit: int) -> int:
        """Reads in rounds until nothing is left, or the limit passed. Returns how many sockets were ready."""
        taken = 0
        while taken < limit and (ready := self._epoll.poll(0, _MAX_EVENTS)):
            taken += len(ready)
            self._round(ready, now)
        return taken

    def _round(self, ready: Iterable[tuple[int, int]], now: float) -> None:
        receivers = self._receivers
        for descriptor, _ in ready:
            try:
                recvfrom, receive = receivers[descriptor]
                data, source = recvfrom(MAX_DATAGRAM_OCTETS)
            except KeyError:
                continue  # closed by a receiver of this round
            except BlockingIOError:
                continue  # the kernel dropped it at its checksum
            except OSError:
                self._counters.receive_errors += 1
                continue
            try:
                receive(data, source[:2], now)  # IPv6 adds flow and scope; streams compare host and port
            except Exception as error:  # noqa: BLE001  # nothing from the wire may end the receive loop
                self._on_fault(error)
