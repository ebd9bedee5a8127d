"""A session that has ended leaves no cycle of objects: the garbage collector stops the media clock while it looks."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from gateway.backends.gemini.backend import GeminiBackend, GeminiEndpoint
from gateway.backends.openai.backend import OpenAiBackend, OpenAiEndpoint
from gateway.backends.openai_live.backend import OpenAiLiveBackend, OpenAiLiveEndpoint
from gateway.realtime.errors import ModelError
from gateway.realtime.event import RealtimeEvent, SessionFailed
from gateway.realtime.session import RealtimeBackend, RealtimeSession
from gateway.realtime.settings import SessionSettings
from tests.fakes.realtime_server import Peer, audio_delta, error, realtime_server, response_created, response_done
from tests.helpers.garbage import uncollected

# Objects of the gateway and of what it drives; those of the test's server come from the same packages.
OURS = {"WireSession", "Wire", "InputAudio", "OpenAiProtocol", "GeminiProtocol", "OpenAiLiveProtocol", "ResponseQueue"}
OURS |= {"OutputLedger", "ToolCallLedger", "ClientProtocol", "InvalidStatus", "Holder"}


@pytest.fixture
def garbage() -> Iterator[Callable[[], Counter[str]]]:
    with uncollected(lambda kind: kind.__name__ in OURS) as found:
        yield found


class Holder:
    """A call as the session sees it: it holds the session, and the session holds its method."""

    def __init__(self, backend: RealtimeBackend) -> None:
        self.failed = asyncio.Event()
        self.session: RealtimeSession = backend.create_session(self.take)

    def take(self, event: RealtimeEvent) -> None:
        if isinstance(event, SessionFailed):
            self.failed.set()


def openai(url: str) -> RealtimeBackend:
    return OpenAiBackend("b", OpenAiEndpoint(url=url, close_timeout_s=0.5))


async def talk(peer: Peer) -> None:
    await peer.greet()
    await peer.send(response_created(), audio_delta(b"\x55" * 160), response_done())
    await peer.drain()


async def test_closed_session_is_freed_at_once(garbage: Callable[[], Counter[str]]) -> None:
    async with realtime_server(talk) as server:
        holder = Holder(openai(server.url))
        await holder.session.open(SessionSettings())
        holder.session.append_audio(bytes(160))
        holder.session.create_response("Hello.")
        await holder.session.aclose()
        del holder
        await asyncio.sleep(0)
        assert garbage() == {}


async def test_lost_session_is_freed_at_once(garbage: Callable[[], Counter[str]]) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("input_audio_buffer.append")
        peer.abort()

    async with realtime_server(script) as server:
        holder = Holder(openai(server.url))
        await holder.session.open(SessionSettings())
        holder.session.append_audio(bytes(160))
        await holder.failed.wait()
        await holder.session.aclose()
        del holder
        await asyncio.sleep(0)
        assert garbage() == {}


async def open_in_vain(backend: RealtimeBackend) -> None:
    holder = Holder(backend)
    try:
        await holder.session.open(SessionSettings())
    except ModelError:
        return
    raise AssertionError("the session was opened")


async def test_session_that_was_not_taken_is_freed_at_once(garbage: Callable[[], Counter[str]]) -> None:
    async def script(peer: Peer) -> None:
        await peer.send({"type": "session.created", "session": {}})
        await peer.send(error("invalid_value", "no such voice"))
        await peer.drain()

    async with realtime_server(script) as server:
        await open_in_vain(openai(server.url))
        await asyncio.sleep(0)
        assert garbage() == {}


async def test_session_that_nobody_answers_is_freed_at_once(garbage: Callable[[], Counter[str]]) -> None:
    await open_in_vain(openai("ws://127.0.0.1:9/v1/realtime"))
    await asyncio.sleep(0)
    assert garbage() == {}


@pytest.mark.parametrize("kind", ["gemini", "openai_live"])
async def test_other_backends_sessions_are_freed_as_well(kind: str, garbage: Callable[[], Counter[str]]) -> None:
    async def script(peer: Peer) -> None:
        await peer.connection.recv()
        if kind == "gemini":
            await peer.send_raw(b'{"setupComplete":{}}')
        else:
            await peer.send({"type": "session.started", "session": {"id": "live_1"}})
        await peer.connection.wait_closed()

    async with realtime_server(script) as server:
        backend: RealtimeBackend = GeminiBackend("b", GeminiEndpoint(url=server.url))
        if kind == "openai_live":
            backend = OpenAiLiveBackend("b", OpenAiLiveEndpoint(url=server.url))
        holder = Holder(backend)
        await holder.session.open(SessionSettings())
        await holder.session.aclose()
        del holder, backend
        await asyncio.sleep(0)
        assert garbage() == {}


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_session_that_is_refused_at_the_upgrade_is_freed_at_once(
    status: int, garbage: Callable[[], Counter[str]]
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 4\r\n\r\nsory".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        await open_in_vain(openai(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"))
        await asyncio.sleep(0.05)
        assert garbage() == {}
