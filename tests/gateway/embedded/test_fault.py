"""Each fault as a client meets it on a real socket, and what the fault leaves whole."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.embedded.errors import FaultError
from gateway.embedded.fault import FaultRule, Mute, Stall, Status, faults_for, parse_fault, parse_fault_rule
from gateway.embedded.process import EmbeddedServer
from gateway.embedded.server import Mode

pytestmark = pytest.mark.asyncio(loop_scope="module")
CREATE = json.dumps({"type": "response.create"})
PIECES = 40


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server() -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(mode=Mode.SILENT, arguments=("--fault", "1:status,code=503")) as running:
        with pytest.raises(InvalidStatus):
            await connect(f"{running.url}?model=embedded-silent")
        yield running


def talk(server: EmbeddedServer, *faults: str, model: str = "embedded-talk") -> connect:
    query = "".join(f"&fault={fault}" for fault in faults)
    return connect(f"{server.url}?model={model}{query}", compression=None, max_size=None, ping_interval=None)


async def receive(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        event: dict[str, Any] = json.loads(await socket.recv())
    return event


async def one_response(socket: ClientConnection) -> list[str]:
    """Everything up to response.done, as it came."""
    await socket.send(CREATE)
    messages = [str(await socket.recv())]
    while '"response.done"' not in messages[-1]:
        async with asyncio.timeout(20):
            messages.append(str(await socket.recv()))
    return messages


def deltas(messages: list[str]) -> list[dict[str, Any]]:
    return [json.loads(message) for message in messages if '"response.output_audio.delta", "event_id"' in message]


async def received_until_close(socket: ClientConnection) -> int:
    """Size of all messages until the connection ends, whichever way."""
    size = 0
    try:
        while True:
            async with asyncio.timeout(20):
                size += len(await socket.recv())
    except ConnectionClosed:
        return size


async def answers(socket: ClientConnection) -> bool:
    await socket.send(json.dumps({"type": "input_audio_buffer.clear"}))
    while (await receive(socket))["type"] != "input_audio_buffer.cleared":
        pass
    return True


async def test_faults_of_the_command_line_befall_the_numbered_connection_only(server: EmbeddedServer) -> None:
    async with talk(server) as socket:
        assert await answers(socket)


@pytest.mark.parametrize(
    ("code", "reason"), [(401, "invalid_api_key"), (429, "rate_limit_exceeded"), (503, "server_error")]
)
async def test_status_refuses_the_upgrade(server: EmbeddedServer, code: int, reason: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await talk(server, f"status,code={code},retry_after_s=7")
    response = caught.value.response
    assert response.status_code == code
    assert response.headers["Retry-After"] == "7"
    assert json.loads(response.body or b"")["error"]["code"] == reason


async def test_stall_holds_everything_back_and_loses_nothing(server: EmbeddedServer) -> None:
    async with talk(server, "stall,for_ms=400", "burst") as socket:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await socket.recv()
        messages = await one_response(socket)
        assert len(deltas(messages)) == PIECES
        assert await answers(socket)


async def test_stop_reading_leaves_the_client_s_messages_unread_for_a_while(server: EmbeddedServer) -> None:
    async with talk(server, "stop_reading,after_ms=50,for_ms=600") as socket:
        await receive(socket)
        await asyncio.sleep(0.15)
        pong = await socket.ping()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.shield(pong)
        assert await answers(socket)


async def test_half_open_answers_nothing_not_even_pings(server: EmbeddedServer) -> None:
    async with talk(server, "half_open") as socket:
        await socket.send(CREATE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await socket.recv()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await (await socket.ping())
        assert socket.close_code is None
        socket.transport.abort()


async def test_close_at_byte_breaks_in_the_middle_of_a_message(server: EmbeddedServer) -> None:
    async with talk(server, "close_at_byte,byte=20000") as socket:
        await socket.send(CREATE)
        size = await received_until_close(socket)
        assert 12_000 < size <= 20_000
        assert socket.close_code == 1006


async def test_close_says_code_and_reason(server: EmbeddedServer) -> None:
    async with talk(server, "close,after_ms=50,code=1013,reason=overloaded") as socket:
        await received_until_close(socket)
        assert (socket.close_code, socket.close_reason) == (1013, "overloaded")


async def test_reset_ends_without_a_closing_handshake(server: EmbeddedServer) -> None:
    async with talk(server, "reset,after_ms=50") as socket:
        await received_until_close(socket)
        assert socket.close_code == 1006


async def test_expiry_comes_in_compressed_time(server: EmbeddedServer) -> None:
    async with talk(server, "expire,after_ms=100") as socket:
        await receive(socket)
        assert (await receive(socket))["error"]["code"] == "session_expired"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1001


async def test_delta_storm_comes_many_times_faster_than_real_time(server: EmbeddedServer) -> None:
    loop = asyncio.get_running_loop()
    async with talk(server, "delta_storm,speed=80") as socket:
        began = loop.time()
        assert len(deltas(await one_response(socket))) == PIECES
        assert loop.time() - began < 8 / 2


async def test_reorder_swaps_deltas_and_loses_none(server: EmbeddedServer) -> None:
    async with talk(server, "reorder,every=4", "burst") as socket, talk(server, "burst") as plain:
        swapped = [event["delta"] for event in deltas(await one_response(socket))]
        straight = [event["delta"] for event in deltas(await one_response(plain))]
        assert sorted(swapped) == sorted(straight)
        assert swapped != straight


async def test_duplicate_sends_events_twice(server: EmbeddedServer) -> None:
    async with talk(server, "duplicate,every=3", "burst") as socket:
        messages = await one_response(socket)
        assert len(messages) > len(set(messages)) > PIECES


async def test_malformed_and_unknown_messages_come_between_whole_ones(server: EmbeddedServer) -> None:
    async with talk(server, "malformed,every=3", "unknown,every=4", "burst") as socket:
        messages = await one_response(socket)
        broken = [message for message in messages if not message.endswith("}")]
        assert broken
        for message in broken:
            with pytest.raises(json.JSONDecodeError):
                json.loads(message)
        assert any("response.mood.changed" in message for message in messages)
        assert len(deltas(messages)) == PIECES


async def test_big_frame_is_one_message_of_its_size(server: EmbeddedServer) -> None:
    async with talk(server, "big_frame,after_ms=20,megabytes=20") as socket:
        await receive(socket)
        async with asyncio.timeout(20):
            assert len(await socket.recv()) > 20 * 2**20
        assert await answers(socket)


async def test_mute_swallows_one_type(server: EmbeddedServer) -> None:
    async with talk(server, "mute,type=rate_limits.updated", "burst") as socket:
        messages = await one_response(socket)
        assert not any("rate_limits.updated" in message for message in messages)
        assert len(deltas(messages)) == PIECES


async def test_beta_names_are_those_from_before(server: EmbeddedServer) -> None:
    async with talk(server, "beta_names", "burst") as socket:
        types = [json.loads(message)["type"] for message in await one_response(socket)]
        assert types.count("response.audio.delta") == PIECES
        assert {"response.audio.done", "response.audio_transcript.done", "conversation.item.created"} < set(types)
        assert not any("output_audio." in type_ or "output_audio_" in type_ for type_ in types)


async def test_response_race_meets_a_response_that_the_client_did_not_ask_for(server: EmbeddedServer) -> None:
    async with talk(server, "response_race", "burst") as socket:
        await receive(socket)
        await socket.send(json.dumps({"type": "response.create", "event_id": "mine"}))
        events = [await receive(socket)]
        while events[-1]["type"] != "error":
            events.append(await receive(socket))
        assert events[0]["type"] == "response.created"
        assert events[-1]["error"]["code"] == "conversation_already_has_active_response"
        assert events[-1]["error"]["event_id"] == "mine"


async def test_fail_response_ends_a_response_with_an_error_and_the_session_lives(server: EmbeddedServer) -> None:
    async with talk(server, "fail_response,code=insufficient_quota", "burst") as socket:
        response = json.loads((await one_response(socket))[-1])["response"]
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == "insufficient_quota"
        assert len(deltas(await one_response(socket))) == PIECES


async def test_echo_suffers_faults_too(server: EmbeddedServer) -> None:
    async with talk(server, "duplicate,every=1", model="embedded-echo") as socket:
        audio = base64.b64encode(bytes(160)).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        events = [await receive(socket) for _ in range(14)]
        assert [event["type"] for event in events][-2:] == ["response.output_audio.delta"] * 2


async def test_a_fault_that_is_none_refuses_the_upgrade(server: EmbeddedServer) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await talk(server, "earthquake")
    assert caught.value.response.status_code == 400


async def test_fault_lines_are_parsed() -> None:
    assert parse_fault("stall,after_ms=5,for_ms=6") == Stall(kind="stall", after_ms=5, for_ms=6)
    assert parse_fault_rule("3:mute,type=error") == FaultRule(3, Mute(kind="mute", type="error"))
    every = parse_fault_rule("status,code=429")
    assert every == FaultRule(None, Status(kind="status", code=429))
    assert faults_for([every, parse_fault_rule("2:burst")], 1) == (every.fault,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "kind"),
        ("stall", "for_ms: Field required"),
        ("stall,for_ms", "NAME=VALUE is wanted"),
        ("stall,for_ms=x", "for_ms: Input should be a valid integer"),
        ("stall,for_ms=5,colour=red", "colour: Extra inputs are not permitted"),
        ("status,code=499", "499 is no HTTP status"),
    ],
)
async def test_faults_that_are_not_described_rightly_are_refused(text: str, reason: str) -> None:
    with pytest.raises(FaultError, match=reason):
        parse_fault(text)
