"""A WebSocket whose socket is read and written past the loop's transport, against servers that are really there."""

import asyncio
import resource
import socket
import struct
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from gateway import fast
from gateway.backends.wire import WRITE_BUFFER_BYTES, Closure, ClosureCause
from tests.helpers.far_wire import Far, Receiver, wired
from tests.helpers.patience import until

pytestmark = pytest.mark.skipif(not fast.is_compiled, reason="nothing is compiled: the transport does it all")


def descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_messages_of_every_length_come_whole_and_in_order() -> None:
    lengths = [0, 1, 125, 126, 4000, 16_380, 16_384, 16_385, 65_535, 65_536, 400_000, 3]

    async def script(far: Far) -> None:
        for number, length in enumerate(lengths):
            far.say(bytes([65 + number]) * length)
        await far.frames(1)

    async with wired(script) as (wire, receiver):
        await until(lambda: len(receiver.messages) == len(lengths))
        assert receiver.messages == [bytes([65 + number]) * length for number, length in enumerate(lengths)]
        assert wire.has_shortcut


async def test_what_a_socket_does_not_take_at_once_is_sent_later_and_in_order() -> None:
    goes_on, sent, heard = asyncio.Event(), 0, 0

    async def script(far: Far) -> None:
        nonlocal heard
        await goes_on.wait()
        while frames := await far.frames(1):
            for frame in frames:
                if frame.opcode is Opcode.TEXT:
                    assert bytes(frame.data).partition(b",")[0] == b"%d" % heard
                    heard += 1

    async with wired(script) as (wire, receiver):
        while not wire.paused:
            wire.send(b"%d," % sent + bytes(1000))
            sent += 1
            await asyncio.sleep(0)
        for _ in range(5):  # whoever does not mind the pause loses nothing
            wire.send(b"%d," % sent + bytes(1000))
            sent += 1
        goes_on.set()
        await receiver.resumed.wait()
        while heard < sent:
            await asyncio.sleep(0.001)
        wire.send(b"%d,last" % sent)  # past the transport again, which has nothing left to write
        await until(lambda: heard == sent + 1)


async def test_ping_and_close_are_answered_behind_what_was_said_before() -> None:
    opcodes: list[Opcode] = []

    async def script(far: Far) -> None:
        far.writer.write(Frame(Opcode.PING, b"there?").serialize(mask=False))
        opcodes.extend(frame.opcode for frame in await far.frames(3))
        far.writer.write(Frame(Opcode.CLOSE, struct.pack(">H", 1001) + b"expired").serialize(mask=False))
        opcodes.extend(frame.opcode for frame in await far.frames(1))

    async with wired(script) as (wire, receiver):
        wire.send(b"one")
        wire.send(b"two")
        assert await receiver.closure == Closure(ClosureCause.PEER, 1001, "expired")
        await until(lambda: len(opcodes) == 4)
    assert sorted(opcodes[:3]) == sorted((Opcode.TEXT, Opcode.TEXT, Opcode.PONG))
    assert opcodes[3] is Opcode.CLOSE


async def test_everything_said_arrives_before_the_close() -> None:
    frames: list[Frame] = []

    async def script(far: Far) -> None:
        frames.extend(await far.frames(201))

    async with wired(script) as (wire, _):
        for number in range(200):
            wire.send(b"%d" % number)
    await until(lambda: len(frames) == 201)
    assert [frame.data for frame in frames[:200]] == [b"%d" % number for number in range(200)]
    assert frames[200].opcode is Opcode.CLOSE


@pytest.mark.parametrize(("breaks", "reason"), [(True, "reset"), (False, "without a word")])
async def test_a_connection_that_breaks_is_lost_after_what_came_before(breaks: bool, reason: str) -> None:
    async def script(far: Far) -> None:
        far.say(b"before")
        await far.frames(1)
        if breaks:
            far.reset()

    async with wired(script) as (wire, receiver):
        await until(lambda: receiver.messages == [b"before"])
        wire.send(b"heard")
        closure = await receiver.closure
        assert closure.cause is ClosureCause.LOST
        assert reason in closure.reason
        wire.send(b"too late")


@pytest.mark.parametrize("length", [7, 16_384, 50_000])
async def test_what_comes_with_the_end_of_the_connection_is_heard_before_it(length: int) -> None:
    async def script(far: Far) -> None:
        await far.frames(1)
        with far.connection() as connection:  # both are there before anything is read
            connection.sendall(Frame(Opcode.TEXT, bytes(length)).serialize(mask=False))
            connection.shutdown(socket.SHUT_WR)
        await far.frames(1)

    async with wired(script) as (wire, receiver):
        wire.send(b"now")
        assert (await receiver.closure).cause is ClosureCause.LOST
        assert [len(message) for message in receiver.messages] == [length]


async def test_a_receiver_that_raises_loses_its_own_connection_and_no_other() -> None:
    async def script(far: Far) -> None:
        await far.frames(1)
        far.say(b"{}")
        await far.frames(1)

    def raises() -> None:
        raise ValueError("cannot read this")

    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with wired(script) as (good, other), wired(script) as (bad, receiver):
        receiver.react = raises
        bad.send(b"begin")
        assert (await receiver.closure).cause is ClosureCause.LOST
        assert [str(context["exception"]) for context in told] == ["cannot read this"]
        good.send(b"begin")
        await until(lambda: other.messages == [b"{}"])


async def test_who_closes_another_while_both_have_something_to_read_harms_nobody() -> None:
    async def script(far: Far) -> None:
        await far.frames(1)
        far.say(b"{}")
        await far.frames(1)

    async with wired(script) as (first, one), wired(script) as (second, two):
        one.react, two.react = second.abort, first.abort
        first.send(b"begin")
        second.send(b"begin")
        await until(lambda: not first.is_open or not second.is_open)
        await asyncio.sleep(0.05)


async def test_nothing_is_left_when_the_last_has_ended() -> None:
    async def script(far: Far) -> None:
        await far.frames(1)

    async def round_of_wires() -> None:
        async with wired(script), wired(script):
            pass
        await asyncio.sleep(0.01)

    await round_of_wires()
    before = descriptors()
    for _ in range(5):
        await round_of_wires()
    assert descriptors() == before


async def test_the_clock_reads_and_writes_for_all_while_it_wants_to() -> None:
    heard: list[bytes] = []

    async def script(far: Far) -> None:
        for answer in (b"first", b"second"):
            heard.extend(bytes(frame.data) for frame in await far.frames(1))
            far.say(answer)
        await far.frames(1)

    loop = asyncio.get_running_loop()
    async with wired(script) as (wire, receiver):
        fast.step_shortcuts(loop, True)
        fast.flush_shortcuts(loop)
        wire.send(b"one")  # between two steps: it goes at the loop's next turn
        await asyncio.sleep(0.05)
        assert (heard, receiver.messages) == ([b"one"], [])
        fast.step_shortcuts(loop, True)
        assert receiver.messages == [b"first"]
        wire.send(b"two")
        await asyncio.sleep(0.05)
        assert heard == [b"one"]
        fast.flush_shortcuts(loop)
        await until(lambda: heard == [b"one", b"two"])
        fast.step_shortcuts(loop, False)
        fast.flush_shortcuts(loop)
        await until(lambda: receiver.messages == [b"first", b"second"])


async def test_what_the_transport_still_holds_stays_before_what_is_written_past_it() -> None:
    heard: list[bytes] = []
    drained, goes_on = bytearray(), asyncio.Event()
    connections: list[socket.socket] = []

    async def script(far: Far) -> None:
        connections.append(far.connection())
        await goes_on.wait()
        far.core.receive_data(bytes(drained))
        while frames := await far.frames(1):
            heard.extend(bytes(frame.data).partition(b",")[0] for frame in frames if frame.opcode is Opcode.TEXT)

    async with wired(script) as (wire, _):
        await until(lambda: bool(connections))
        transport, sent = wire.transport, 0
        assert transport is not None
        wire.leave_shortcut()
        while not transport.get_write_buffer_size():
            wire.send(b"%d," % sent + bytes(1000))
            sent += 1
        with connections[0] as connection:  # the socket takes more again, and the loop has not yet seen it
            deadline = asyncio.get_running_loop().time() + 0.1
            while asyncio.get_running_loop().time() < deadline:
                with suppress(BlockingIOError):
                    drained += connection.recv(65536, socket.MSG_DONTWAIT)
        wire.take_shortcut()
        wire.send(b"%d,last" % sent)
        fast.flush_shortcuts(asyncio.get_running_loop())
        goes_on.set()
        await until(lambda: len(heard) == sent + 1)
    assert heard == [b"%d" % number for number in range(sent + 1)]


async def test_a_writer_learns_at_once_that_the_socket_takes_no_more() -> None:
    goes_on = asyncio.Event()

    async def script(far: Far) -> None:
        await goes_on.wait()
        await far.frames(100_000)

    async with wired(script) as (wire, receiver):
        for again in (False, True):
            sent = 0
            while not wire.paused and sent < 50_000:
                wire.send(bytes(1000))
                sent += 1
            assert wire.paused
            assert wire.transport is not None
            assert wire.transport.get_write_buffer_size() < WRITE_BUFFER_BYTES + 2 * 1008
            assert wire.has_shortcut
            if not again:
                goes_on.set()
                await receiver.resumed.wait()
                goes_on.clear()


async def test_a_process_that_has_no_descriptor_left_stays_with_the_transport() -> None:
    async def script(far: Far) -> None:
        await far.frames(1)
        far.say(b"{}")
        await far.frames(1)

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with wired(script) as (wire, receiver):
        wire.leave_shortcut()
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
        try:
            wire.take_shortcut()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert not wire.has_shortcut
        wire.send(b"now")
        await until(lambda: receiver.messages == [b"{}"])


async def test_a_clock_that_comes_to_rest_leaves_nothing_unread_nor_unwritten() -> None:
    heard: list[bytes] = []

    async def script(far: Far) -> None:
        heard.extend(bytes(frame.data) for frame in await far.frames(1))
        far.say(b"answer")
        await far.frames(1)

    async with wired(script) as (wire, receiver):
        fast.step_shortcuts(asyncio.get_running_loop(), True)  # whose flush never comes
        wire.send(b"one")
        await until(lambda: receiver.messages == [b"answer"])
    assert heard == [b"one"]


async def test_a_receiver_that_has_raised_is_told_no_more_messages() -> None:
    connections: list[socket.socket] = []

    async def script(far: Far) -> None:
        connections.append(far.connection())
        await far.frames(1)

    def raises() -> None:
        raise ValueError("cannot read this")

    told: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    async with wired(script) as (_, receiver):
        receiver.react = raises
        await until(lambda: bool(connections))
        with connections[0] as connection:
            for message in (b"first", b"second"):
                connection.sendall(Frame(Opcode.TEXT, message).serialize(mask=False))
                fast.step_shortcuts(loop, False)
        assert await receiver.closure == Closure(ClosureCause.LOST, reason="cannot read this")
    assert receiver.messages == [b"first"]
    assert len(told) == 1


async def test_one_that_says_little_is_heard_beside_many_that_flood() -> None:
    connections: list[socket.socket] = []

    async def script(far: Far) -> None:
        connections.append(far.connection())
        await far.frames(1)

    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        _, receiver = await stack.enter_async_context(wired(script))
        for _ in range(40):
            await stack.enter_async_context(wired(script))
        await until(lambda: len(connections) == 41)
        for connection in connections:
            stack.callback(connection.close)
        quiet, *floods = connections
        for connection in floods:
            connection.sendall(bytes([0x82, 127]) + (2**24).to_bytes(8, "big") + bytes(65536))
        for turn in range(3):
            fast.step_shortcuts(loop, True)
            for connection in floods:  # more than a step reads
                with suppress(BlockingIOError):
                    connection.send(bytes(32768), socket.MSG_DONTWAIT)
            if turn == 0:
                quiet.sendall(Frame(Opcode.TEXT, b"{}").serialize(mask=False))
        assert receiver.messages == [b"{}"]


async def test_who_takes_a_connection_over_hears_what_comes_from_then_on() -> None:
    goes_on = asyncio.Event()

    async def script(far: Far) -> None:
        far.say(b"greeting")
        await goes_on.wait()
        far.say(b"answer")
        await far.frames(1)

    async with wired(script) as (wire, first):
        await until(lambda: first.messages == [b"greeting"])
        second = Receiver()
        wire.hand_over(second)
        goes_on.set()
        await until(lambda: second.messages == [b"answer"])
        assert wire.has_shortcut
        assert first.messages == [b"greeting"]
