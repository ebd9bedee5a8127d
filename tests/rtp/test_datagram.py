"""The system calls of the media plane, compiled and not: hostile datagrams, receivers that change what is read."""

import importlib
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any, Final

import pytest

from rtp import fast
from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from rtp.socket import SocketCounters
from rtp.source_lock import Address
from tests.helpers.rtp_peer import RecordingSink, make_stream

LOOPBACK: Final = "127.0.0.1"
PAYLOAD: Final = bytes(range(160))
MOST: Final = 1000


@pytest.fixture(params=["rtp.datagram", "rtp._fast"])
def plane(request: pytest.FixtureRequest) -> ModuleType:
    """The module whose DatagramDrain and DatagramSender are under test."""
    if request.param == "rtp._fast" and not fast.is_compiled:
        pytest.skip("nothing was compiled here: there is one implementation")
    return importlib.import_module(request.param)


class Wire:
    """One far end and the sockets it sends to, all of which one drain reads."""

    def __init__(self, plane: ModuleType) -> None:
        self.counters = SocketCounters()
        self.faults: list[Exception] = []
        self._stack = ExitStack()
        self.epoll = self._stack.enter_context(select.epoll())
        self.drain: Any = plane.DatagramDrain(self.epoll, self.counters, self.faults.append)
        self.far_end = self.bound()

    def bound(self) -> socket.socket:
        one = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        one.bind((LOOPBACK, 0))
        return one

    def listen(self, receive: Any) -> socket.socket:
        one = self.bound()
        self.drain.add(one, receive)
        self.epoll.register(one.fileno(), select.EPOLLIN)
        return one

    def stop(self, one: socket.socket) -> None:
        self.drain.remove(one.fileno())
        self.epoll.unregister(one.fileno())
        one.close()

    def send(self, data: bytes, to: socket.socket) -> None:
        self.far_end.sendto(data, to.getsockname())

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def wire(plane: ModuleType) -> Iterator[Wire]:
    wire = Wire(plane)
    yield wire
    wire.close()


def audio(index: int) -> bytes:
    return bytes(RtpPacket(0, 1000 + index, 160 * index, 7, PAYLOAD))


def test_datagrams_of_every_length_leave_the_stream_that_they_reach_as_it_was(wire: Wire) -> None:
    sink = RecordingSink()
    stream = make_stream(sink, StreamParameters(remote=wire.far_end.getsockname()))
    ear = wire.listen(stream.receive_datagram)
    wire.send(audio(0), ear)
    wire.send(audio(1), ear)
    assert wire.drain.drain(0.0, MOST) == 2
    expected = audio(2)
    # The packet that comes next, cut short of its header or drawn out beyond 200 ms.
    hostile = [expected[:octets] for octets in range(12)]
    hostile += [expected[:12] + bytes(octets) for octets in (1601, 8192, 20_000)]
    for data in hostile:
        wire.send(data, ear)
    wire.drain.drain(0.0, MOST)
    assert [payload for payload, _ in sink.audio] == [PAYLOAD, PAYLOAD]
    for index in (2, 3):
        wire.send(audio(index), ear)
    wire.drain.drain(0.04, MOST)
    assert sink.genuine == [PAYLOAD] * 4
    assert sum(stream.statistics().rx.discards.values()) == len(hostile)
    assert wire.faults == []


def test_a_receiver_that_drains_again_is_given_each_datagram_whole_and_once(wire: Wire) -> None:
    heard: list[bytes] = []

    def receive(data: bytes, source: Address, now: float) -> None:
        heard.append(data)
        wire.drain.drain(now, MOST)
        heard.append(data)  # what was read meanwhile must not have been written over it

    ears = [wire.listen(receive) for _ in range(3)]
    sent = [bytes([number]) * (100 - number) for number in range(12)]
    for number, data in enumerate(sent):
        wire.send(data, ears[number % len(ears)])
    wire.drain.drain(0.0, MOST)
    assert sorted(heard) == sorted(sent * 2)
    assert wire.faults == []


def test_a_sink_that_closes_its_own_socket_and_every_other_ends_the_reading(wire: Wire) -> None:
    class Leaver(RecordingSink):
        def on_audio(self, payload: bytes, concealed: bool) -> None:
            super().on_audio(payload, concealed)
            for one in ears:
                wire.stop(one)
            ears.clear()

    sinks = [Leaver() for _ in range(2)]
    remote = StreamParameters(remote=wire.far_end.getsockname())
    # No name holds the streams but the drain: they go while one of them is being served.
    ears = [wire.listen(make_stream(sink, remote).receive_datagram) for sink in sinks]
    for one in ears:
        wire.send(audio(0), one)
        wire.send(audio(1), one)
    wire.drain.drain(0.0, MOST)
    assert sum(len(sink.audio) for sink in sinks) == 1
    assert wire.faults == []


def test_a_descriptor_that_is_used_anew_within_a_round_is_read_for_its_new_owner(wire: Wire) -> None:
    heard: list[str] = []
    ears: list[socket.socket] = []

    def replace_other(data: bytes, source: Address, now: float) -> None:
        heard.append("first")
        if len(ears) == 2:
            wire.stop(ears.pop(1 if ears[0].getsockname() == old else 0))
            newcomer = wire.listen(lambda data, source, now: heard.append("newcomer"))
            wire.send(b"new", newcomer)

    ears += [wire.listen(replace_other) for _ in range(2)]
    old = ears[0].getsockname()
    for one in ears:
        wire.send(b"old", one)
    wire.drain.drain(0.0, MOST)
    assert heard == ["first", "newcomer"]
    assert (wire.faults, wire.counters.receive_errors) == ([], 0)


def test_what_cannot_be_sent_is_counted_and_never_raised(plane: ModuleType, wire: Wire) -> None:
    sender: Any = plane.DatagramSender(wire.far_end, wire.counters, plane.Outbox())
    ear = wire.bound()
    for remote in ((LOOPBACK, 70_000), ("2001:db8::1", 9), (LOOPBACK, -1)):
        sender.send(b"x", remote)
    sender.send(bytes(70_000), ear.getsockname())
    sender.send(b"", ear.getsockname())
    sender.send(PAYLOAD, ear.getsockname())
    assert [ear.recv(MOST), ear.recv(MOST)] == [b"", PAYLOAD]
    assert (wire.counters.send_errors, wire.counters.send_buffer_full) == (4, 0)


def test_what_is_posted_goes_out_in_its_order_when_all_is_made(plane: ModuleType, wire: Wire) -> None:
    outbox: Any = plane.Outbox()
    ear = wire.bound()
    senders: list[Any] = [plane.DatagramSender(wire.bound(), wire.counters, outbox) for _ in range(3)]
    outbox.gather()
    for number, sender in enumerate(senders):
        sender.post(b"%d" % number, ear.getsockname())
    with pytest.raises(BlockingIOError):
        ear.recv(100)
    outbox.flush()
    outbox.flush()
    assert [ear.recv(100) for _ in senders] == [b"0", b"1", b"2"]
    with pytest.raises(BlockingIOError):
        ear.recv(100)
    senders[0].post(b"at once", ear.getsockname())
    assert ear.recv(100) == b"at once"
    assert wire.counters.send_errors == 0


def test_what_a_sender_posted_before_it_was_closed_is_not_sent_by_another(plane: ModuleType, wire: Wire) -> None:
    outbox: Any = plane.Outbox()
    ear, gone = wire.bound(), wire.bound()
    sender: Any = plane.DatagramSender(gone, wire.counters, outbox)
    outbox.gather()
    sender.post(b"late", ear.getsockname())
    sender.close()
    gone.close()
    heir = wire.bound()  # it has the descriptor now
    outbox.flush()
    with pytest.raises(BlockingIOError):
        ear.recv(100)
    assert (wire.counters.send_errors, heir.fileno() > 0) == (1, True)


def test_a_socket_that_is_closed_is_not_read(wire: Wire) -> None:
    closed = wire.bound()
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        wire.drain.add(closed, lambda data, source, now: None)
    assert not wire.drain.knows(-1)
