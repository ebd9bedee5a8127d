"""A tap between the gateway and a model server: every message with its moment, and a connection that can be cut.

The stamps are the system's clock, as the kernel's on RTP packets are, so the two can be compared. A message of the
server is stamped right before it is handed on: what is measured from there on is the gateway's, and a little of ours.
"""

import asyncio
import base64
import json
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

LOOPBACK: Final = "127.0.0.1"
BYTES_A_MS: Final = 8
AUDIO_DELTA: Final = "response.output_audio.delta"


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `at` in seconds since the epoch."""

    at: float
    is_from_model: bool
    connection: int
    event: dict[str, Any]

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.event.get("type"))


@dataclass(slots=True)
class Speech:
    """One item of the agent's speech, as the model sent it."""

    connection: int
    item_id: str
    first_at: float
    audio: bytearray = field(default_factory=bytearray)

    @property
    def generated_ms(self) -> int:
        """All that the model sent of it."""
        return len(self.audio) // BYTES_A_MS


class ModelTap:
    """Stands before one model server.

    Args:
        upstream: the server's WebSocket URL without a query.
    """

    def __init__(self, upstream: str) -> None:
        self.messages: list[Message] = []
        self.speeches: dict[tuple[int, str], Speech] = {}
        self.url = ""
        self._upstream = upstream
        self._count = 0
        self._open: dict[int, tuple[ServerConnection, ClientConnection]] = {}
        self._server: Server | None = None
        self._upstreams: dict[ServerConnection, ClientConnection] = {}

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._pass, LOOPBACK, 0, process_request=self._connect, compression=None, max_size=None
        )
        (port,) = {listener.getsockname()[1] for listener in self._server.sockets}
        self.url = f"ws://{LOOPBACK}:{port}/v1/realtime"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def cut(self, connection: int) -> float:
        """Breaks a connection off in the midst of whatever is said. Returns the moment."""
        server, client = self._open[connection]
        at = time.time()
        server.transport.abort()
        client.transport.abort()
        return at

    def is_open(self, connection: int) -> bool:
        """Whether a connection stands."""
        return connection in self._open

    async def _connect(self, downstream: ServerConnection, request: Request) -> Response | None:
        """The upgrade waits for the server's: what refuses there refuses here."""
        query = request.path.partition("?")[2]
        try:
            upstream = await connect(f"{self._upstream}?{query}", compression=None, max_size=None)
        except InvalidStatus as refusal:
            return downstream.respond(refusal.response.status_code, "The model server refused.\n")
        self._upstreams[downstream] = upstream
        return None

    async def _pass(self, downstream: ServerConnection) -> None:
        upstream = self._upstreams.pop(downstream)
        self._count += 1
        number = self._count
        self._open[number] = downstream, upstream
        ways = [
            asyncio.create_task(self._forward(number, upstream, downstream, is_from_model=True)),
            asyncio.create_task(self._forward(number, downstream, upstream, is_from_model=False)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.pop(number, None)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await asyncio.gather(upstream.close(), downstream.close(), return_exceptions=True)

    async def _forward(
        self,
        number: int,
        source: ServerConnection | ClientConnection,
        target: ServerConnection | ClientConnection,
        *,
        is_from_model: bool,
    ) -> None:
        try:
            while True:
                data = await source.recv(decode=False)
                at = time.time()
                await target.send(data, text=True)
                self._note(Message(at, is_from_model, number, json.loads(data)))
        except ConnectionClosed:
            return

    def _note(self, message: Message) -> None:
        if message.type == "input_audio_buffer.append":
            return
        if message.type == AUDIO_DELTA:
            key = (message.connection, str(message.event["item_id"]))
            speech = self.speeches.setdefault(key, Speech(*key, message.at))
            speech.audio += base64.b64decode(message.event["delta"])
            return
        self.messages.append(message)
