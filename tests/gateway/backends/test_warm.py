"""Sockets that wait for calls: opened, told nothing, taken once, aged out, replaced, closed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.backends import warm
from gateway.backends.openai.backend import OpenAiBackend, OpenAiEndpoint
from gateway.backends.openai.dialect import DIALECTS, OPENAI, XAI
from gateway.backends.warm import GREETING_MESSAGES, WarmPool
from gateway.config.load import inspect
from gateway.realtime.event import RealtimeEvent
from gateway.realtime.settings import SessionSettings
from tests.fakes.realtime_server import Peer, RealtimeServer, realtime_server


@pytest.fixture(autouse=True)
def quick_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(warm, "REFILL_SECONDS", 0.02)
    monkeypatch.setattr(warm, "FIRST_PAUSE_SECONDS", 0.05)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def greets(peer: Peer) -> None:
    await peer.greet()
    await peer.drain()


@asynccontextmanager
async def pooled(server: RealtimeServer, sockets: int = 2) -> AsyncIterator[tuple[OpenAiBackend, WarmPool]]:
    backend = OpenAiBackend("test", OpenAiEndpoint(url=server.url, api_key="sk", close_timeout_s=0.2))
    pool = backend.keep_warm(sockets)
    assert pool is not None
    pool.start()
    try:
        yield backend, pool
    finally:
        await pool.aclose()


def ignore(_event: RealtimeEvent) -> None: ...


async def test_a_session_begins_on_a_socket_that_waits_and_no_other_gets_it() -> None:
    async with realtime_server(greets) as server, pooled(server) as (backend, pool):
        await until(lambda: pool.resting == 2)
        await asyncio.sleep(0.1)
        assert all(peer.received == [] for peer in server.peers)  # no agent's settings before its call
        sessions = [backend.create_session(ignore) for _ in range(2)]
        for number, session in enumerate(sessions):
            await session.open(SessionSettings(instructions=f"You are {number}."))
        assert pool.counters["warm_taken"] == 2
        told = [str(peer.received) for peer in server.peers[:2]]
        assert ["You are 0." in told[0], "You are 1." in told[1]] == [True, True]
        assert ["You are 1." in told[0], "You are 0." in told[1]] == [False, False]
        for session in sessions:
            await session.aclose()
        await until(lambda: pool.resting == 2)  # replaced by new ones; what a call had is closed
        assert len(server.peers) == 4


async def test_without_a_socket_that_waits_a_session_opens_its_own() -> None:
    async with realtime_server(greets) as server, pooled(server, 1) as (backend, pool):
        await until(lambda: pool.resting == 1)
        sessions = [backend.create_session(ignore) for _ in range(3)]
        await asyncio.gather(*(session.open(SessionSettings()) for session in sessions))
        assert (pool.counters["warm_taken"], pool.counters["warm_missed"]) == (1, 2)
        for session in sessions:
            await session.aclose()


async def test_a_socket_that_the_service_closes_is_replaced() -> None:
    closing = asyncio.Event()

    async def closes(peer: Peer) -> None:
        await peer.send({"type": "session.created", "event_id": "e", "session": {"id": "s"}})
        if len(server.peers) == 1:
            await closing.wait()
            await peer.close(1001, "session_expired")
        await peer.drain()

    async with realtime_server(closes) as server, pooled(server, 1) as (_, pool):
        await until(lambda: pool.resting == 1)
        closing.set()
        await until(lambda: pool.counters["warm_lost"] > 0)
        await until(lambda: pool.counters["warm_opened"] > 1)


async def test_a_socket_that_was_lost_unnoticed_costs_a_call_nothing_but_time() -> None:
    async def dies_when_told(peer: Peer) -> None:
        await peer.send({"type": "session.created", "event_id": "e", "session": {"id": "s"}})
        await peer.receive("session.update")
        if len(server.peers) == 1:
            peer.abort()
            return
        await peer.send({"type": "session.updated", "event_id": "e", "session": {"id": "s"}})
        await peer.drain()

    async with realtime_server(dies_when_told) as server, pooled(server, 1) as (backend, pool):
        await until(lambda: pool.resting == 1)
        session = backend.create_session(ignore)
        await session.open(SessionSettings(instructions="You are patient."))
        assert pool.counters["warm_failed"] == 1
        session.append_audio(bytes(160))
        await until(lambda: any("input_audio_buffer.append" in str(peer.received) for peer in server.peers))
        await session.aclose()


async def test_a_socket_does_not_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    async with realtime_server(greets) as server, pooled(server, 1) as (_, pool):
        pool._rest_seconds = 0.1
        await until(lambda: pool.counters["warm_aged"] >= 2)
        await until(lambda: pool.counters["warm_opened"] >= 3)
        assert pool.resting <= 1


async def test_a_service_that_talks_without_end_is_not_listened_to() -> None:
    async def talks(peer: Peer) -> None:
        for _ in range(GREETING_MESSAGES + 1):
            await peer.send({"type": "session.created", "event_id": "e"})
        await peer.drain()

    async with realtime_server(talks) as server, pooled(server, 1) as (_, pool):
        await until(lambda: pool.counters["warm_lost"] > 0)
        assert pool.resting == 0


async def test_a_service_that_refuses_is_asked_again_with_pauses() -> None:
    async with realtime_server(greets, refuse=429) as server, pooled(server, 1) as (_, pool):
        await until(lambda: pool.counters["warm_refused"] >= 2)
        await asyncio.sleep(0.2)
        assert pool.counters["warm_refused"] < 6  # 0.05, 0.1, 0.2 s apart
        assert pool.resting == 0


async def test_nothing_rests_after_the_end() -> None:
    async with realtime_server(greets) as server:
        async with pooled(server, 3) as (_, pool):
            await until(lambda: pool.resting == 3)
        assert pool.resting == 0
        await until(lambda: all(peer.connection.close_code is not None for peer in server.peers))


def test_a_session_is_taken_to_be_as_old_as_its_socket_may_be() -> None:
    backend = OpenAiBackend("test", OpenAiEndpoint(url="ws://127.0.0.1:9"))
    assert backend.capabilities.session_limit_s == OPENAI.capabilities.session_limit_s == 3600
    backend.keep_warm(1)
    assert backend.capabilities.session_limit_s == 3600 - (OPENAI.capabilities.rest_s or 0)


def test_where_waiting_may_cost_no_socket_waits() -> None:
    assert OpenAiBackend("test", OpenAiEndpoint(url="ws://127.0.0.1:9", dialect=XAI)).keep_warm(1) is None
    assert {name for name, dialect in DIALECTS.items() if dialect.capabilities.rest_s is None} == {"xai"}


def test_the_configuration_says_where_sockets_may_wait(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        """\
trunks: {pbx: {allow: [192.0.2.0/24], numbers: {"*": one}}}
agents: {one: {backends: [grok, gemini], instructions: Be brief.}}
backends:
  grok: {type: openai, dialect: xai, url: "wss://api.x.ai/v1/realtime", api_key: k, warm: 1}
  gemini: {type: gemini, api_key: k, warm: 1}
"""
    )
    faults = [str(fault).partition(" ")[2] for fault in inspect(file, {}).errors]
    assert any(fault.startswith("backends.gemini.warm: is not known here") for fault in faults)
    file.write_text(file.read_text().replace("type: gemini, api_key: k, warm: 1", "type: gemini, api_key: k"))
    (fault,) = inspect(file, {}).errors
    assert (fault.key, fault.reason) == ("backends.grok.warm", "the dialect 'xai' has no sockets that wait")
