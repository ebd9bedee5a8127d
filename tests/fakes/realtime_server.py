"""A scripted server of the OpenAI Realtime protocol that can misbehave.

A test says in a coroutine what the server does with a connection; what it does not say does not happen.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Event = dict[str, object]


@dataclass
class Peer:
    """The server's end of one connection."""

    connection: ServerConnection
    released: asyncio.Event
    received: list[Event] = field(default_factory=list)

    @property
    def path(self) -> str:
        assert self.connection.request is not None
        return self.connection.request.path

    @property
    def headers(self) -> Headers:
        assert self.connection.request is not None
        return self.connection.request.headers

    async def send(self, *events: Mapping[str, object]) -> None:
        for event in events:
            await self.connection.send(json.dumps(event, separators=(",", ":")))

    async def send_raw(self, message: str | bytes | list[str]) -> None:
        """A message as it stands; a list is sent in as many fragments."""
        await self.connection.send(message)

    async def receive(self, kind: str = "") -> Event:
        """The next client event, or the next one of that type."""
        while True:
            event = json.loads(await self.connection.recv())
            assert isinstance(event, dict)
            self.received.append(event)
            if kind in ("", event["type"]):
                return event

    async def greet(self) -> Event:
        """Opens the session as OpenAI does. Returns the session.update."""
        await self.send({"type": "session.created", "event_id": "event_1", "session": {"id": "sess_1"}})
        update = await self.receive("session.update")
        await self.send({"type": "session.updated", "event_id": "event_2", "session": {"id": "sess_1"}})
        return update

    async def drain(self) -> None:
        """Takes everything until the client closes."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed:
            pass

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.connection.close(code, reason)

    def abort(self) -> None:
        """Breaks the connection without a closing handshake."""
        self.connection.transport.abort()

    async def stall(self) -> None:
        """Takes no more data from the socket until the test ends: writes stall, pings are not answered."""
        self.connection.transport.pause_reading()
        await self.released.wait()
        self.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class RealtimeServer:
    """A server that runs; `peers` are the connections it had, in order."""

    url: str
    peers: list[Peer]
    failures: list[BaseException]


@asynccontextmanager
async def realtime_server(
    script: Script, *, refuse: int | None = None, body: str = "", mute: bool = False
) -> AsyncIterator[RealtimeServer]:
    """Runs the script for every connection. `refuse` answers upgrades with that status; `mute` never answers them."""
    running = RealtimeServer("", [], [])
    released = asyncio.Event()

    async def answer(_connection: ServerConnection, _request: Request) -> Response | None:
        if mute:
            await released.wait()
        if refuse is None:
            return None
        payload = body.encode()
        headers = Headers({"Content-Length": str(len(payload)), "Connection": "close"})
        return Response(refuse, HTTPStatus(refuse).phrase, headers, payload)

    async def handle(connection: ServerConnection) -> None:
        peer = Peer(connection, released)
        running.peers.append(peer)
        try:
            await script(peer)
        except ConnectionClosed:
            pass
        except Exception as error:
            running.failures.append(error)
            raise

    async with serve(
        handle, "127.0.0.1", 0, process_request=answer, compression=None, ping_interval=None, close_timeout=0.2
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        running.url = f"ws://127.0.0.1:{port}/v1/realtime"
        try:
            yield running
        finally:
            released.set()
    assert running.failures == []


def response_created(response_id: str = "resp_1") -> Event:
    return {"type": "response.created", "event_id": "event_r", "response": {"id": response_id, "status": "in_progress"}}


def audio_delta(
    audio: bytes, *, response_id: str = "resp_1", item_id: str = "item_1", event_id: str = "event_d", beta: bool = False
) -> Event:
    return {
        "type": "response.audio.delta" if beta else "response.output_audio.delta",
        "event_id": event_id,
        "response_id": response_id,
        "item_id": item_id,
        "output_index": 0,
        "content_index": 0,
        "delta": base64.b64encode(audio).decode(),
    }


def audio_done(*, response_id: str = "resp_1", item_id: str = "item_1") -> Event:
    return {
        "type": "response.output_audio.done",
        "event_id": "event_o",
        "response_id": response_id,
        "item_id": item_id,
        "output_index": 0,
        "content_index": 0,
    }


def function_call(call_id: str, name: str = "look_up", arguments: str = "{}") -> Event:
    return {
        "type": "function_call",
        "id": f"item_{call_id}",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


def response_done(
    response_id: str = "resp_1", status: str = "completed", *output: Event, details: Event | None = None
) -> Event:
    return {
        "type": "response.done",
        "event_id": "event_e",
        "response": {"id": response_id, "status": status, "output": list(output), "status_details": details},
    }


def error(code: str, message: str = "", event_id: str | None = None, kind: str = "invalid_request_error") -> Event:
    return {
        "type": "error",
        "event_id": "event_x",
        "error": {"type": kind, "code": code, "message": message, "param": None, "event_id": event_id},
    }
