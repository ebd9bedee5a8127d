"""The WebSocket under a model session: `websockets`' sans-I/O protocol behind an asyncio Protocol of our own.

Refusals, control frames, fragments and faults are `websockets`' business. What every session does is cut short: a data
frame that arrives whole and unfragmented is handed over as it stands, a text frame is masked and written in one piece
(`benchmarks/realtime_wire.py` shows what that saves), and a handshake that is answered as it should be, or a closing in
good order, needs no protocol object (`benchmarks/signalling.py --whole`).

No task belongs to a wire. Its owner calls `check` once every `check_interval_s` at least.
"""

import asyncio
import ssl
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.frame import WHOLE_FRAMES
from gateway.backends.handshake import Handshake, accepts, new_key
from gateway.backends.upgrade import upgrade_error
from gateway.fast import ClientFrames, WirePath
from gateway.realtime.errors import (
    ModelRefusedError,
    ModelTlsError,
    ModelUpgradeError,
)

# The longest message taken. An item that is read back with its audio is some MB; beyond this a peer is broken.
MAX_MESSAGE_BYTES: Final = 32 * 2**20
# What waits in the process before the writer is told to pause: about 0.7 s of PCMU as base64.
WRITE_BUFFER_BYTES: Final = 8 * 2**10
# How often a connection is looked after from which something is awaited.
CHECK_INTERVAL_S: Final = 1.0
# An answer to the upgrade whose header section is longer is not from a model service.
MAX_UPGRADE_BYTES: Final = 64 * 2**10


class ClosureCause(Enum):
    """Who or what ended a wire."""

    PEER = "peer"
    LOST = "lost"
    UNRESPONSIVE = "unresponsive"
    STALLED = "stalled"
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class Closure:
    """How a wire ended. `code` and `reason` come from the peer's close frame, where there was one."""

    cause: ClosureCause
    code: int | None = None
    reason: str = ""


class WireReceiver(Protocol):
    """The owner of a wire. None of its methods may block or raise."""

    def message_received(self, message: bytes) -> None:
        """Takes one whole text or binary message."""
        ...

    def writing_resumed(self) -> None:
        """Learns that the wire takes data again after a pause."""
        ...

    def wire_closed(self, closure: Closure) -> None:
        """Learns, once and only if it did not close the wire itself, that it is over."""
        ...


class Wire(WirePath, asyncio.Protocol):
    """A client's WebSocket connection. It is had from `gateway.backends.opening`."""

    receiver: WireReceiver
    transport: asyncio.Transport | None

    def __init__(self, endpoint: WireEndpoint, handshake: Handshake, receiver: WireReceiver) -> None:
        self._endpoint = endpoint
        self.receiver = receiver
        self._handshake = handshake
        self._key = new_key()
        self._made_core: ClientProtocol | None = None
        self._loop = asyncio.get_running_loop()
        self.transport = None
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.is_open = False
        self._was_open = False
        self._refused = False
        self._told = False
        self._buffer = bytearray()
        self._needed_bytes = 0
        self._fragments: list[bytes] | None = None
        self.is_between = True
        self.frames = ClientFrames()
        self.paused = False
        self._paused_since: float | None = None
        self.heard = True
        self._heard_at = self._loop.time()
        self._ping_sent_at: float | None = None
        self._failure: Exception | None = None
        self._close_deadline: asyncio.TimerHandle | None = None

    @property
    def _core(self) -> ClientProtocol:
        """The protocol object, in the state that the connection is in when it is first needed."""
        core = self._made_core
        if core is None:
            state = State.OPEN if self._was_open else State.CONNECTING
            core = self._made_core = ClientProtocol(self._handshake.uri, state=state, max_size=MAX_MESSAGE_BYTES)
            core.key = self._key.decode()
        return core

    def hand_over(self, receiver: WireReceiver) -> None:
        """Tells another owner from now on."""
        self.receiver = receiver

    # --- sending ---

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self.paused = True
        self._paused_since = self._loop.time()

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self.paused = False
        self._paused_since = None
        if self.is_open:
            self.receiver.writing_resumed()

    # --- receiving ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the upgrade."""
        stream = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self.transport = stream
        if self._told:  # given up before it was there
            stream.abort()
            return
        stream.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._endpoint.bound(stream)
        stream.write(self._handshake.request(self._key))

    def _receive_irregular(self, data: bytes) -> None:
        buffer = self._buffer
        if not self.is_open:
            self._receive_while_not_open(data)
        elif buffer and len(buffer) + len(data) < self._needed_bytes:
            buffer += data
        else:
            data = bytes(buffer) + data
            buffer.clear()
            self._receive_frames(data)
        self.is_between = not self._buffer and self._fragments is None

    def _receive_while_not_open(self, data: bytes) -> None:
        if self._made_core is None and (self._told or self.opened.done()):
            return  # closing, or given up: the peer has no more to say
        if self._told or self._refused:
            self._core.receive_data(data)  # a refusal's body; or, when closing, what websockets discards
        elif self.opened.done():
            return
        else:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n") + 4
            if end < 4 and len(self._buffer) <= MAX_UPGRADE_BYTES:
                return
            head, rest = bytes(self._buffer[:end]), bytes(self._buffer[end:])
            self._buffer.clear()
            self._receive_upgrade(head, rest)
        self._write_core()
        self._settle_refusal()

    def _receive_upgrade(self, head: bytes, rest: bytes) -> None:
        if accepts(head, self._key):
            self.is_open = self._was_open = True
            self.opened.set_result(None)
            self._receive_frames(rest)  # some servers greet in the same segment
            return
        core = self._core
        core.receive_data(head)
        core.events_received()
        self.is_open = self._was_open = core.state is State.OPEN
        if self.is_open:
            self.opened.set_result(None)
            self._receive_frames(rest)
        else:
            self._refused = True
            if rest:
                core.receive_data(rest)

    def _receive_frames(self, data: bytes) -> None:
        position, end = 0, len(data)
        self._needed_bytes = 2
        while end - position >= 2 and self.is_open:
            first, length = data[position], data[position + 1]
            start = position + 2
            if length >= 126:
                if length > 127:
                    # RFC 6455 §5.1: a client MUST close a connection if it detects a masked frame.
                    self._receive_frame(data[position:])
                    return
                start += 2 if length == 126 else 8
                if end < start:
                    self._needed_bytes = start - position
                    break
                length = int.from_bytes(data[position + 2 : start])
                if length > MAX_MESSAGE_BYTES:
                    self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message of {length} bytes is over the limit")
                    return
            stop = start + length
            if end < stop:
                self._needed_bytes = stop - position
                break
            if first in WHOLE_FRAMES and self._fragments is None:
                self.receiver.message_received(data[start:stop])
            else:
                self._receive_frame(data[position:stop])
            position = stop
        if position < end and self.is_open:
            self._buffer += data[position:]

    def _receive_frame(self, data: bytes) -> None:
        """Gives one frame that is not the plain case to websockets, and does what it says."""
        core = self._core
        core.receive_data(data)
        for event in core.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._receive_fragment(event)
        self._write_core()
        if core.state is not State.OPEN and self.is_open:
            self._end()
            self._arm_close_deadline()
            if core.close_rcvd is not None:
                self._tell(Closure(ClosureCause.PEER, core.close_rcvd.code, core.close_rcvd.reason))
            else:
                self._tell(Closure(ClosureCause.PROTOCOL, reason=str(core.parser_exc)))

    def _receive_fragment(self, frame: Frame) -> None:
        fragments = self._fragments if self._fragments is not None else []
        fragments.append(bytes(frame.data))
        self._fragments = fragments
        if frame.fin:
            self._fragments = None
            self.receiver.message_received(b"".join(fragments))

    def eof_received(self) -> bool:
        """The peer half-closed. The transport then closes by itself."""
        if self._made_core is not None or not self._was_open:
            self._core.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        exc = exc or self._failure
        if self._close_deadline is not None:
            self._close_deadline.cancel()
        self._end()
        if not self.opened.done():
            self._core.receive_eof()
            self._told = True
            self._settle_refusal(exc)
        self._tell(Closure(ClosureCause.LOST, reason=str(exc) if exc else "the connection ended without a word"))
        if (core := self._made_core) is not None:
            core.receive_eof()
            core.parser.close()  # a generator whose frame and object hold each other, as this exception's may
            core.parser_exc = None
            _unbind(core.handshake_exc)
        if not self._closed.done():
            self._closed.set_result(None)

    def _settle_refusal(self, exc: Exception | None = None) -> None:
        """Says why the upgrade failed, once the answer is complete."""
        if self.opened.done():
            return
        failure = self._core.handshake_exc
        if isinstance(failure, InvalidStatus):
            self.opened.set_exception(upgrade_error(failure.response))
        elif isinstance(exc, ssl.SSLError):
            self.opened.set_exception(ModelTlsError(f"TLS failed: {exc}"))
        elif failure is not None:
            self.opened.set_exception(ModelUpgradeError(f"the upgrade was not answered as HTTP asks: {failure}"))
        elif self.transport is None or self.transport.is_closing():
            self.opened.set_exception(ModelRefusedError(f"the connection broke before the upgrade was answered: {exc}"))

    # --- keeping alive, and ending ---

    @property
    def check_interval_s(self) -> float:
        """How soon it is to be looked after again."""
        is_awaited = self.paused or self._ping_sent_at is not None
        return CHECK_INTERVAL_S if is_awaited else max(CHECK_INTERVAL_S, self._endpoint.ping_interval_s / 2)

    def check(self, now: float) -> None:
        """Looks after the connection: pings a silent peer, gives up one that neither answers nor takes data."""
        if not self.is_open:
            return
        self.take_shortcut()  # not sooner: a call that is shorter has no use for it
        if self._paused_since is not None and now - self._paused_since >= self._endpoint.write_stall_s:
            self._abandon(Closure(ClosureCause.STALLED, reason=f"took no data for {now - self._paused_since:.1f} s"))
        elif self.heard:
            self.heard, self._heard_at, self._ping_sent_at = False, now, None
        elif self._ping_sent_at is not None:
            if now - self._ping_sent_at >= self._endpoint.ping_timeout_s:
                self._abandon(Closure(ClosureCause.UNRESPONSIVE, reason=f"silent for {now - self._heard_at:.1f} s"))
        elif now - self._heard_at >= self._endpoint.ping_interval_s:
            self._core.send_ping(b"")
            self._write_core()
            self._ping_sent_at = now

    def abort(self) -> None:
        """Ends the connection at once and without a word to anybody."""
        self._told = True
        self._end()
        self.opened.cancel()
        if self.transport is not None:
            self.transport.abort()

    async def close(self) -> None:
        """Ends the connection in good order, or, when the peer does not, after `close_timeout_s`. No socket is left."""
        self._told = True
        is_open = self.is_open
        self._end()
        if self.transport is None:
            return
        if self._made_core is None:
            if is_open:
                self.write(self.frames.close(CloseCode.NORMAL_CLOSURE))
        elif self._core.state is State.OPEN:
            self._core.send_close(CloseCode.NORMAL_CLOSURE)
            self._write_core()
        try:
            async with asyncio.timeout(self._endpoint.close_timeout_s):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self.transport.abort()
            await self._closed
        except asyncio.CancelledError:
            self.transport.abort()
            raise

    def _fail(self, code: CloseCode, reason: str) -> None:
        self._core.fail(code, reason)
        self._end()
        self._write_core()
        self._arm_close_deadline()
        self._tell(Closure(ClosureCause.PROTOCOL, reason=reason))

    def connection_failed(self, error: Exception) -> None:
        """The socket is no good any more, as was found out past the transport, or the receiver is not."""
        self._failure = error
        self._end()
        if self.transport is not None:
            self.transport.abort()

    def _end(self) -> None:
        """Takes and sends no messages from now on. What is left to say and to hear is the transport's."""
        self.is_open = False
        self.leave_shortcut()

    def _abandon(self, closure: Closure) -> None:
        self._end()
        if self.transport is not None:
            self.transport.abort()
        self._tell(closure)

    def _arm_close_deadline(self) -> None:
        if self.transport is not None and self._close_deadline is None:
            self._close_deadline = self._loop.call_later(self._endpoint.close_timeout_s, self.transport.abort)

    def _tell(self, closure: Closure) -> None:
        if not self._told:
            self._told = True
            self.receiver.wire_closed(closure)

    def _write_core(self) -> None:
        if self.transport is None:
            return
        if self._made_core is None:
            return
        for data in self._core.data_to_send():
            if data:
                self.write(data)
            else:
                self.leave_shortcut()
                self.transport.close()  # websockets' sign for the end of the stream


def _unbind(refusal: Exception | None) -> None:
    """Cuts what leads from a refused handshake back to itself: the frames of its traceback, and its response."""
    if refusal is not None:
        refusal.__traceback__ = None
        if isinstance(refusal, InvalidStatus):
            refusal.response._exception = None
