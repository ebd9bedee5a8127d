"""A model server that costs next to nothing, for measuring what stands before it: `echo`, `talk` and `silent`.

It speaks the OpenAI Realtime protocol over real WebSockets as far as a gateway needs it to hear and to speak, and of
Gemini Live what a model of linear samples needs, 16 kHz in and 24 kHz out; there it only talks. Frames
are read and written by hand, for the server shares its core with the packets' source and must not be the limit.
"""

import asyncio
import base64
import json
import random
from typing import ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask

_APPEND: Final = b'"input_audio_buffer.append"'
_AUDIO_KEY: Final = b'"audio":"'
# What `talk` says at a time, and how much it says for each piece that it hears: as fast as it is heard, so it never
# runs dry and never runs away.
TALK_MS: Final = 200
INTERRUPT_INTERVAL_S: Final = 0.005


def _text(data: bytes) -> bytes:
    length = len(data)
    if length < 126:
        return bytes((0x81, length)) + data
    if length < 65536:
        return bytes((0x81, 126)) + length.to_bytes(2) + data
    return bytes((0x81, 127)) + length.to_bytes(8) + data


def _event(kind: str, **fields: object) -> bytes:
    return _text(json.dumps({"type": kind, "event_id": "event_0", **fields}, separators=(",", ":")).encode())


class ModelConnection(asyncio.Protocol):
    """One session. `heard_octets` counts what all sessions were given, in octets of audio."""

    heard_octets = 0
    messages = 0
    speaking: ClassVar[set["ModelConnection"]] = set()

    def __init__(self) -> None:
        self._core = ServerProtocol()
        self._upgraded = False
        self._buffer = b""
        self._mode = "echo"
        self._number = 0
        self._owed_octets = 0
        self._response = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for the upgrade."""
        self._transport = transport

    def _write(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        """Takes the upgrade, then frames."""
        if not self._upgraded:
            self._upgrade(data)
            return
        data = self._buffer + data
        position, end = 0, len(data)
        while end - position >= 6:
            length, start = data[position + 1] & 0x7F, position + 2
            if length == 126:
                length, start = int.from_bytes(data[position + 2 : position + 4]), position + 4
            elif length == 127:
                if end - position < 10:
                    break
                length, start = int.from_bytes(data[position + 2 : position + 10]), position + 10
            stop = start + 4 + length
            if end < stop:
                break
            self._take(data[position] & 0x0F, apply_mask(data[start + 4 : stop], data[start : start + 4]))
            position = stop
        self._buffer = data[position:]

    def _upgrade(self, data: bytes) -> None:
        core = self._core
        core.receive_data(data)
        for request in core.events_received():
            if isinstance(request, Request):
                model = parse_qs(urlsplit(request.path).query).get("model", ["echo"])[0]
                self._mode = model.rpartition("-")[2]
                core.send_response(core.accept(request))
                self._write(b"".join(core.data_to_send()) + _event("session.created", session={"id": "sess_1"}))
                self._upgraded = True

    def _take(self, opcode: int, message: bytes) -> None:
        if opcode == 8:
            self._transport.close()
        elif _APPEND in message[:64]:
            start = message.index(_AUDIO_KEY) + len(_AUDIO_KEY)
            self._hear(message[start : message.index(b'"', start)])
        elif b'"session.update"' in message[:64]:
            session = json.loads(message)["session"]
            self._write(_event("session.updated", session=session))
        elif message.startswith(_LINEAR_APPEND):
            start = message.index(_DATA_KEY) + len(_DATA_KEY)
            self._hear_samples(message.index(b'"', start) - start)
        elif b'"setup"' in message[:16]:
            self._write(_text(b'{"setupComplete":{}}'))

    def _hear(self, audio: bytes) -> None:
        octets = len(audio) * 3 // 4 - audio[-2:].count(b"=")
        ModelConnection.heard_octets += octets
        ModelConnection.messages += 1
        if self._mode == "silent":
            return
        if self not in ModelConnection.speaking:
            ModelConnection.speaking.add(self)
            self._response += 1
            self._head = _DELTA_HEAD % (self._response, self._response)
            self._write(_event("response.created", response={"id": f"resp_{self._response}", "status": "in_progress"}))
        if self._mode == "talk":
            self._owed_octets += octets
            if self._owed_octets < TALK_MS * 8:
                return
            self._owed_octets -= TALK_MS * 8
            audio = _SPEECH
        self._number += 1
        self._write(_text(_DELTA_EVENT + b"%024d" % self._number + self._head + audio + b'"}'))

    def _hear_samples(self, length: int) -> None:
        """So much base64 of samples at 16 kHz: four octets for each that G.711 would have."""
        octets = length * 3 // 4 // 4
        ModelConnection.heard_octets += octets
        ModelConnection.messages += 1
        self._owed_octets += octets
        if self._owed_octets >= TALK_MS * 8:
            self._owed_octets -= TALK_MS * 8
            self._write(_LINEAR_SPEECH)

    def interrupt(self) -> None:
        """The caller is said to have spoken: the gateway drops what waits, and a new response begins."""
        response = {"id": f"resp_{self._response}", "status": "cancelled", "output": []}
        self._write(_event("input_audio_buffer.speech_started", item_id=f"turn_{self._number}", audio_start_ms=0))
        self._write(_event("response.done", response=response))
        ModelConnection.speaking.discard(self)


_SPEECH: Final = base64.b64encode(bytes(range(200)) * (TALK_MS * 8 // 200))
_LINEAR_APPEND: Final = b'{"realtimeInput":{"audio"'
_DATA_KEY: Final = b'"data":"'
_LINEAR_SPEECH: Final = _text(
    b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"'
    + base64.b64encode(random.Random(1).randbytes(TALK_MS * 48))
    + b'"}}]}}}'
)
_DELTA_EVENT: Final = b'{"type":"response.output_audio.delta","event_id":"event_'
_DELTA_HEAD: Final = b'","response_id":"resp_%d","item_id":"item_%d","output_index":0,"content_index":0,"delta":"'


async def interrupt_all() -> None:
    """What was late while calls were set up is dropped: every response begins anew, one after another.

    All at once they would be a stall of their own, and the new responses would begin late.
    """
    for connection in tuple(ModelConnection.speaking):
        connection.interrupt()
        await asyncio.sleep(INTERRUPT_INTERVAL_S)


async def serve_model() -> int:
    """Listens on loopback; returns the port."""
    server = await asyncio.get_running_loop().create_server(ModelConnection, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])
