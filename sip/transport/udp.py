"""UDP: one non-blocking socket for each listener, drained in bounded batches.

Why an own socket with `add_reader` and not asyncio's DatagramProtocol: the size of a batch is ours to bound, so a flood
of signalling waits in the kernel's buffer (and is dropped there) while RTP and timers get their turn; a socket error is
a return value, where asyncio's transport may close itself; and it costs one Python call for a datagram, not three.
"""

import logging
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sip.transport.flow import Address, Flow, is_usable_port

DATAGRAM_LIMIT: Final = 65535  # bytes: nothing longer exists in UDP
BATCH_LIMIT: Final = 256  # datagrams for each turn of the event loop: those of strangers cost 3 µs each
BATCH_SECONDS: Final = 0.002  # and what is let in for so long: signalling must not make a 5 ms media step late
RECEIVE_BUFFER: Final = 4 << 20  # bytes: a burst of 2,000 INVITEs a second for one second, should the loop stand still

Admit = Callable[[str, Address], bool]
OnDatagram = Callable[[bytes, Flow], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UdpListener:
    """Where to listen. Port 0 takes a free one. `advertised` is the host that others are told, where it is another."""

    host: str
    port: int = 5060
    advertised: str = ""


class UdpSocket:
    """One bound socket. Every datagram passes `admit` before anybody looks into it."""

    def __init__(self, listener: UdpListener, flow_id: int, counters: Counter[str]) -> None:
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind((listener.host, listener.port))
        except OSError:
            self._socket.close()
            raise
        self.is_ipv6: Final = family == socket.AF_INET6
        self.address: Final = Address(*self._socket.getsockname()[:2])
        self.flow_id: Final = flow_id
        self._counters = counters

    def fileno(self) -> int:
        """For the loop's `add_reader`."""
        return self._socket.fileno()

    def flow_to(self, remote: Address) -> Flow:
        """The flow between this socket and a peer."""
        return Flow("udp", self.address, remote, self.flow_id)

    def receive_batch(self, admit: Admit, on_datagram: OnDatagram, clock: Callable[[], float]) -> None:
        """Takes what has come, within the bounds above; what is left brings the next turn of the loop back here."""
        deadline = clock() + BATCH_SECONDS
        counters = self._counters
        for _ in range(BATCH_LIMIT):
            try:
                data, source = self._socket.recvfrom(DATAGRAM_LIMIT)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # such as ECONNREFUSED for something sent before: it says nothing of this socket
                counters["receive_error"] += 1
                logger.debug("Receiving on %s failed: %s", self.address, error)
                continue
            remote = Address(source[0], source[1])
            if not admit("udp", remote):
                counters["stranger"] += 1
                continue
            on_datagram(data, Flow("udp", self.address, remote, self.flow_id))
            if clock() >= deadline:
                counters["batch_cut"] += 1
                return

    def send(self, data: bytes, remote: Address) -> bool:
        """Sends one datagram; False where it could not be sent, which is counted and never raised."""
        if not is_usable_port(remote.port) or len(data) > DATAGRAM_LIMIT:
            self._counters["unsendable"] += 1
            return False
        try:
            self._socket.sendto(data, remote)
        except (BlockingIOError, InterruptedError):
            self._counters["send_buffer_full"] += 1  # lost like any datagram: the retransmission repairs it
        except OSError as error:
            self._counters["send_error"] += 1
            logger.debug("Sending to %s failed: %s", remote, error)
            return False
        return True

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()
