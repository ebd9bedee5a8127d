"""A connection that acts faults out. Every fault is done here, on the way between session and socket."""

import asyncio
import json
import struct
from collections import deque
from collections.abc import Sequence
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from gateway.embedded import fault as f
from gateway.embedded.served import ServedSession

_AUDIO_DELTA: Final = b'{"type": "response.output_audio.delta"'
_RESPONSE_CREATED: Final = b'{"type": "response.created"'
_RESPONSE_CREATE: Final = b'"response.create"'
_MALFORMED: Final = b'{"type": "response.output_audio.delta", "delta": "AAAA'
_UNKNOWN: Final = b'{"type": "response.mood.changed", "event_id": "event_unknown", "mood": {"level": 7}}'
_SHORT_FRAME, _LONG_FRAME = 126, 65_536
# The names before May 2026 (longer ones first: a name may begin like another).
_BETA_NAMES: Final = (
    (b'"type": "response.output_audio_transcript.', b'"type": "response.audio_transcript.'),
    (b'"type": "response.output_audio.', b'"type": "response.audio.'),
    (b'"type": "response.output_text.', b'"type": "response.text.'),
    (b'"type": "conversation.item.added"', b'"type": "conversation.item.created"'),
)


class FaultyWire:
    """One connection and its faults."""

    def __init__(self, socket: ServerConnection, faults: Sequence[f.Fault], *, text: bool = True) -> None:
        self._socket = socket
        self._text = text
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._session: ServedSession | None = None
        self._holds = 0
        self._held: deque[bytes] = deque()
        self._inbox: deque[bytes] = deque()
        self._swapped: bytes | None = None
        self._events = 0
        self._deltas = 0
        self._sent_bytes = 0
        self._races = sum(fault.times for fault in faults if isinstance(fault, f.ResponseRace))
        self._failures = sum(fault.times for fault in faults if isinstance(fault, f.FailResponse))
        # What holds or stops from the first moment must do so before the first event goes out.
        self._holds = sum(isinstance(fault, (f.Stall, f.HalfOpen)) and fault.after_ms == 0 for fault in faults)

    async def run(self, session: ServedSession) -> None:
        """Acts out what has its time."""
        self._session = session
        async with asyncio.TaskGroup() as group:
            for fault in self._faults:
                group.create_task(self._act(fault))

    async def receive(self) -> bytes:
        """The next message of the client, or one that the fault puts before it."""
        if self._inbox:
            return self._inbox.popleft()
        message = await self._socket.recv(decode=False)
        if self._races and _RESPONSE_CREATE in message[:200]:
            self._races -= 1
            self._inbox.append(message)
            return b'{"type": "response.create"}'
        return message

    async def send(self, data: bytes) -> None:
        """Sends one message with whatever the faults make of it."""
        for message in self._distort(data):
            if self._holds:
                self._held.append(message)
            else:
                await self._put(message)

    async def close(self, code: int, reason: str) -> None:
        """Closes in good order."""
        await self._socket.close(code, reason)

    def _distort(self, data: bytes) -> list[bytes]:
        self._events += 1
        self._fail_response(data)
        before: list[bytes] = []
        messages = [data]
        for fault in self._faults:
            match fault:
                case f.Mute(type=type_) if data.startswith(b'{"type": "' + type_.encode() + b'"'):
                    messages = []
                case f.BetaNames():
                    messages = [_in_beta(message) for message in messages]
                case f.Reorder(every=every):
                    messages = self._swap(messages, every)
                case f.Duplicate(every=every) if self._events % every == 0:
                    messages = [*messages, *messages]
                case f.Malformed(every=every) if self._events % every == 0:
                    before.append(_MALFORMED)
                case f.Unknown(every=every) if self._events % every == 0:
                    before.append(_UNKNOWN)
        return before + messages

    def _swap(self, messages: list[bytes], every: int) -> list[bytes]:
        """Keeps every Nth delta back until the next event. An item's last delta so comes after the item is done."""
        swapped, self._swapped = self._swapped, None
        if swapped is not None:
            return [*messages, swapped]
        if messages and messages[0].startswith(_AUDIO_DELTA):
            self._deltas += 1
            if self._deltas % every == 0:
                self._swapped = messages[0]
                return messages[1:]
        return messages

    def _fail_response(self, data: bytes) -> None:
        if not self._failures or self._session is None or not data.startswith(_RESPONSE_CREATED):
            return
        self._failures -= 1
        code = next(fault.code for fault in self._faults if isinstance(fault, f.FailResponse))
        self._session.fail_response(json.loads(data)["response"]["id"], code)

    async def _put(self, message: bytes) -> None:
        for fault in self._faults:
            if isinstance(fault, f.CloseAtByte) and self._sent_bytes + len(message) > fault.byte:
                self._break_off(message, fault.byte - self._sent_bytes)
                return
        self._sent_bytes += len(message)
        await self._socket.send(message, text=self._text)

    def _break_off(self, message: bytes, size: int) -> None:
        """Sends the head of a frame and then nothing: the client sees the stream end inside a message."""
        if not self._socket.transport.is_closing():
            self._socket.transport.write((_frame_header(len(message)) + message)[: max(size, 1) + 2])
            self._socket.transport.close()

    async def _act(self, fault: f.Fault) -> None:
        after_ms = getattr(fault, "after_ms", 0)
        if after_ms:
            await asyncio.sleep(after_ms / 1000)
        try:
            await self._act_now(fault, held_already=after_ms == 0)
        except ConnectionClosed:
            return

    async def _act_now(self, fault: f.Fault, *, held_already: bool) -> None:
        match fault:
            case f.Stall():
                self._holds += not held_already
                await asyncio.sleep(fault.for_ms / 1000)
                await self._release()
            case f.StopReading():
                self._socket.transport.pause_reading()
                await asyncio.sleep(fault.for_ms / 1000)
                self._socket.transport.resume_reading()
            case f.HalfOpen():
                self._holds += not held_already
                self._socket.transport.pause_reading()
            case f.Close():
                await self._socket.close(fault.code, fault.reason)
            case f.Reset():
                self._socket.transport.abort()
            case f.BigFrame():
                padding = b"x" * (fault.megabytes * 2**20)
                await self._socket.send(_UNKNOWN[:-1] + b', "padding": "' + padding + b'"}', text=True)

    async def _release(self) -> None:
        # While what was held goes out, what comes is held too, so that the order stays.
        while self._held and self._holds == 1:
            await self._put(self._held.popleft())
        self._holds -= 1


def _in_beta(message: bytes) -> bytes:
    for name, beta in _BETA_NAMES:
        if message.startswith(b"{" + name):
            return b"{" + beta + message[len(name) + 1 :]
    return message


def _frame_header(size: int) -> bytes:
    """Head of an unmasked text frame, RFC 6455 section 5.2."""
    if size < _SHORT_FRAME:
        return bytes([0x81, size])
    if size < _LONG_FRAME:
        return struct.pack("!BBH", 0x81, 126, size)
    return struct.pack("!BBQ", 0x81, 127, size)
