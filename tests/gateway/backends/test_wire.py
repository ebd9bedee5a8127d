"""The wire without a network: frames in every cut, control frames, and time that the test makes."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.handshake import handshake_with
from gateway.backends.wire import Closure, ClosureCause, Wire
from tests.fakes.transport import FakeTransport

ENDPOINT = WireEndpoint("ws://localhost/v1", ping_interval_s=10.0, ping_timeout_s=5.0, write_stall_s=3.0)


class Receiver:
    """What the wire told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.closures: list[Closure] = []
        self.resumed = 0

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)

    def writing_resumed(self) -> None:
        self.resumed += 1

    def wire_closed(self, closure: Closure) -> None:
        self.closures.append(closure)


class Line:
    """An open wire with a server's protocol at the other end."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self.wire = Wire(ENDPOINT, handshake_with(ENDPOINT.url, ENDPOINT.headers), self.receiver)
        self.transport = FakeTransport(self.wire)
        self.server = ServerProtocol()
        self.wire.connection_made(self.transport)
        [request] = self.frames()
        assert isinstance(request, Request)
        self.server.send_response(self.server.accept(request))
        self.deliver()
        assert self.wire.is_open

    def frames(self) -> list[object]:
        """What the client sent since the last call."""
        self.server.receive_data(bytes(self.transport.written))
        self.transport.written.clear()
        return list(self.server.events_received())

    def deliver(self) -> None:
        for data in self.server.data_to_send():
            self.wire.data_received(data)


@pytest.fixture
async def line() -> Line:
    return Line()


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


def traffic(source: random.Random) -> Iterator[tuple[bytes, bytes | None]]:
    """Frames of every kind and length form, with the message that each completes."""
    for _ in range(40):
        message = source.randbytes(source.choice([0, 1, 125, 126, 127, 4000, 65535, 65536, 70000]))
        kind = source.randrange(4)
        if kind == 0:
            third = len(message) // 3
            yield frame(Opcode.TEXT, message[:third], fin=False), None
            yield frame(Opcode.PING, b"between"), None
            yield frame(Opcode.CONT, message[third : 2 * third], fin=False), None
            yield frame(Opcode.CONT, message[2 * third :]), message
        elif kind == 1:
            yield frame(Opcode.PONG, message[:125]), None
        else:
            yield frame(Opcode.TEXT if kind == 2 else Opcode.BINARY, message), message


@pytest.mark.parametrize("seed", range(8))
async def test_messages_are_whole_however_the_stream_is_cut(line: Line, seed: int) -> None:
    source = random.Random(seed)
    frames = list(traffic(source))
    stream = b"".join(data for data, _ in frames)
    position = 0
    while position < len(stream):
        length = source.choice([1, 2, 3, 5, 100, 1500, 65536, 200_000])
        line.wire.data_received(stream[position : position + length])
        position += length
    assert line.receiver.messages == [message for _, message in frames if message is not None]
    assert line.receiver.closures == []


async def test_ping_is_answered(line: Line) -> None:
    line.wire.data_received(frame(Opcode.PING, b"are you there"))
    [pong] = line.frames()
    assert isinstance(pong, Frame)
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"are you there")


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x81\x86\x01\x02\x03\x04"
        + bytes(octet ^ mask for octet, mask in zip(b"masked", b"\x01\x02\x03\x04\x01\x02", strict=True)),
        frame(Opcode.CONT, b"without a beginning"),
        frame(Opcode.TEXT, b"one", fin=False) + frame(Opcode.TEXT, b"another"),
        bytes([0xC1, 0]),  # RSV1 without an extension
        bytes([0x83, 0]),  # an opcode that is none
        bytes([0x89, 0x7E, 0, 200]) + bytes(200),  # a ping that is too long
        bytes([0x81, 0x7F]) + (2**40).to_bytes(8),
    ],
)
async def test_peer_that_breaks_the_protocol_is_left__rfc6455_7_1_7(line: Line, rubbish: bytes) -> None:
    line.wire.data_received(rubbish)
    line.wire.data_received(frame(Opcode.TEXT, b"after"))
    assert [closure.cause for closure in line.receiver.closures] == [ClosureCause.PROTOCOL]
    assert b"after" not in line.receiver.messages
    assert not line.wire.is_open
    line.transport.abort()
    await asyncio.sleep(0)
    await line.wire.close()


async def test_close_frame_is_told_at_once_and_answered(line: Line) -> None:
    line.server.send_close(CloseCode.GOING_AWAY, "session_expired")
    line.deliver()
    assert line.receiver.closures == [Closure(ClosureCause.PEER, 1001, "session_expired")]
    [answer] = line.frames()
    assert isinstance(answer, Frame)
    assert answer.opcode is Opcode.CLOSE
    line.transport.abort()
    await asyncio.sleep(0)
    assert len(line.receiver.closures) == 1


async def test_silent_peer_is_pinged_and_given_up(line: Line) -> None:
    line.wire.check(100.0)
    line.wire.check(109.0)
    assert line.frames() == []
    line.wire.check(110.0)
    [ping] = line.frames()
    assert isinstance(ping, Frame)
    assert ping.opcode is Opcode.PING
    line.wire.check(114.9)
    assert line.receiver.closures == []
    line.wire.check(115.0)
    assert [closure.cause for closure in line.receiver.closures] == [ClosureCause.UNRESPONSIVE]
    await asyncio.sleep(0)
    assert len(line.receiver.closures) == 1


async def test_peer_that_is_heard_is_not_pinged(line: Line) -> None:
    for now in range(100, 200, 5):
        line.wire.data_received(frame(Opcode.TEXT, b"{}"))
        line.wire.check(float(now))
    assert line.frames() == []
    line.wire.check(206.0)
    line.wire.data_received(frame(Opcode.PONG, b""))
    line.wire.check(211.0)
    line.wire.check(212.0)
    assert line.receiver.closures == []


async def test_peer_that_takes_no_data_is_given_up_after_the_stall_time(line: Line) -> None:
    now = asyncio.get_running_loop().time()
    line.wire.pause_writing()
    assert line.wire.paused
    line.wire.check(now + 2.9)
    assert line.receiver.closures == []
    line.wire.resume_writing()
    assert line.receiver.resumed == 1
    line.wire.check(now + 10.0)
    assert line.receiver.closures == []
    line.wire.pause_writing()
    line.wire.check(now + 20.0)
    assert [closure.cause for closure in line.receiver.closures] == [ClosureCause.STALLED]


async def test_wire_is_looked_after_rarely_unless_something_is_awaited(line: Line) -> None:
    assert line.wire.check_interval_s == 5.0
    line.wire.pause_writing()
    assert line.wire.check_interval_s == 1.0
    line.wire.resume_writing()
    assert line.wire.check_interval_s == 5.0
    line.wire.check(100.0)
    line.wire.check(110.0)
    assert len(line.frames()) == 1  # the ping, whose answer is awaited
    assert line.wire.check_interval_s == 1.0


async def test_nothing_is_sent_after_the_end(line: Line) -> None:
    line.wire.abort()
    line.transport.written.clear()
    line.wire.send(b"too late")
    line.wire.check(1e9)
    assert line.transport.written == b""
    assert line.receiver.closures == []


async def test_endpoint_does_not_show_its_headers() -> None:
    assert "sk-secret" not in repr(WireEndpoint("ws://h", headers=(("Authorization", "Bearer sk-secret"),)))


async def test_a_session_in_good_order_is_closed_with_the_code_and_without_a_word_to_its_owner(line: Line) -> None:
    line.wire.data_received(frame(Opcode.TEXT, b"{}"))
    closing = asyncio.create_task(line.wire.close())
    await asyncio.sleep(0)
    [close] = line.frames()
    assert isinstance(close, Frame)
    assert (close.opcode, close.data) == (Opcode.CLOSE, CloseCode.NORMAL_CLOSURE.to_bytes(2))
    line.deliver()  # the server's close frame, and the end of its stream
    line.wire.eof_received()
    line.transport.close()
    await closing
    assert line.receiver.messages == [b"{}"]
    assert line.receiver.closures == []
    assert line.frames() == []
