"""The server as a process on a real socket, with the official client where that is the point."""

import asyncio
import base64
import http
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.embedded.audio import WireFormat
from gateway.embedded.errors import StartError
from gateway.embedded.process import EmbeddedServer
from gateway.embedded.server import Mode
from gateway.embedded.voice import Voice
from tests.gateway.embedded.realtime_peer import check_server_event
from tests.gateway.embedded.scripts import BOOK_TABLE

PCMU = {"type": "audio/pcmu"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


def open_session(server: EmbeddedServer, model: str) -> connect:
    return connect(f"{server.url}?model={model}", compression=None, max_size=None)


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def receive(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        return check_server_event(await socket.recv(decode=False))


async def receive_until(socket: ClientConnection, type_: str) -> list[dict[str, Any]]:
    events = [await receive(socket)]
    while events[-1]["type"] != type_:
        events.append(await receive(socket))
    return events


async def configure(socket: ClientConnection, **session: Any) -> None:
    audio = {"input": {"format": PCMU} | session.pop("input", {}), "output": {"format": PCMU}}
    update = {"type": "session.update", "session": {"type": "realtime", "audio": audio, **session}}
    await socket.send(json.dumps(update))
    await receive_until(socket, "session.updated")


async def say(socket: ClientConnection, text: str) -> None:
    speech = Voice(pitch=0.87).speak(text)
    payload = WireFormat.PCMU.encode(np.concatenate([speech, np.zeros(24_000, dtype=np.int16)]), 24_000)
    for start in range(0, len(payload), 160):
        audio = base64.b64encode(payload[start : start + 160]).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))


async def test_a_spoken_booking_from_greeting_to_the_tool_s_result(server: EmbeddedServer) -> None:
    async with open_session(server, "embedded-agent") as socket:
        await configure(socket, tools=[BOOK_TABLE], input={"transcription": {"model": "gpt-transcribe"}})
        await say(socket, "I would like to book a table for two tomorrow at seven.")
        events = await receive_until(socket, "response.done")
        texts = [e["transcript"] for e in events if e["type"].endswith("transcription.completed")]
        assert texts == ["I would like to book a table for two tomorrow at seven."]
        call = events[-1]["response"]["output"][1]
        assert json.loads(call["arguments"]) == {"guests": "two", "day": "tomorrow", "time": "seven"}
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "{}"}
        await socket.send(json.dumps({"type": "conversation.item.create", "item": result}))
        await socket.send(json.dumps({"type": "response.create"}))
        message = (await receive_until(socket, "response.done"))[-1]["response"]["output"][0]
        assert message["content"][0]["transcript"].startswith("Your table for two is booked tomorrow at seven.")


async def test_the_official_client_talks_with_it(server: EmbeddedServer) -> None:
    client = AsyncOpenAI(api_key="none", websocket_base_url=server.url.removesuffix("/realtime"))
    async with client.realtime.connect(model="embedded-agent") as connection:
        await connection.session.update(
            session={"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcmu"}}}}
        )
        await connection.response.create(response={"instructions": 'Say "Hello there."'})
        audio = 0
        async for event in connection:
            if event.type == "response.output_audio.delta":
                audio += len(base64.b64decode(event.delta))
            elif event.type == "response.done":
                assert event.response.status == "completed"
                break
        assert audio > 4000


async def test_echo_comes_back_byte_for_byte(server: EmbeddedServer) -> None:
    async with open_session(server, "embedded-echo") as socket:
        await configure(socket)
        sent = [bytes([index] * 160) for index in range(50)]
        for payload in sent:
            audio = base64.b64encode(payload).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        heard: list[bytes] = []
        while len(heard) < len(sent):
            event = await receive(socket)
            if event["type"] == "response.output_audio.delta":
                heard.append(base64.b64decode(event["delta"]))
        assert heard == sent


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/realtime", http.HTTPStatus.BAD_REQUEST),
        ("/v1/realtime?model=embedded-none", http.HTTPStatus.NOT_FOUND),
        ("/v2/realtime?model=embedded-echo", http.HTTPStatus.NOT_FOUND),
    ],
)
async def test_upgrades_that_the_service_refuses_are_refused(server: EmbeddedServer, path: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(server.url.removesuffix("/v1/realtime") + path)
    assert caught.value.response.status_code == status
    assert json.loads(caught.value.response.body or b"")["error"]["message"]


async def test_a_model_of_another_name_gets_the_default_mode(server: EmbeddedServer) -> None:
    async with open_session(server, "gpt-realtime-2.1") as socket:
        assert (await receive(socket))["session"]["model"] == "gpt-realtime-2.1"
        await configure(socket)
        await socket.send(json.dumps({"type": "response.create"}))
        message = (await receive_until(socket, "response.done"))[-1]["response"]["output"][0]
        assert message["content"][0]["transcript"].startswith("Good evening")


async def test_a_client_that_vanishes_leaves_the_others_alone(server: EmbeddedServer) -> None:
    async with open_session(server, "embedded-talk") as lost, open_session(server, "embedded-agent") as kept:
        await lost.send(json.dumps({"type": "response.create"}))
        lost.transport.abort()
        await configure(kept)


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_a_hundred_sessions_however_they_end_leave_no_descriptor(server: EmbeddedServer) -> None:
    assert server.pid is not None
    async with open_session(server, "embedded-agent") as socket:
        await configure(socket)
    before = open_files(server.pid)
    for number in range(100):
        mode = ("agent", "echo", "talk", "silent")[number % 4]
        async with open_session(server, f"embedded-{mode}") as socket:
            await socket.send(json.dumps({"type": "response.create"}))
            if number % 3 == 0:
                socket.transport.abort()
    async with asyncio.timeout(20):
        while open_files(server.pid) > before:
            await asyncio.sleep(0.05)


async def test_text_frames_that_are_no_events_are_answered(server: EmbeddedServer) -> None:
    async with open_session(server, "embedded-agent") as socket:
        await receive(socket)
        for garbage in ("", "{", "\x00" * 1000, "[1]"):
            await socket.send(garbage)
            assert (await receive(socket))["type"] == "error"


async def test_the_session_limit_closes_with_1001() -> None:
    async with (
        EmbeddedServer(mode=Mode.SILENT, arguments=("--session-limit-s", "0.2")) as short,
        open_session(short, "embedded-silent") as socket,
    ):
        assert (await receive_until(socket, "error"))[-1]["error"]["code"] == "session_expired"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1001


async def test_process_ends_when_its_parent_closes_its_stdin() -> None:
    async with EmbeddedServer(mode=Mode.SILENT) as server:
        pid = server.pid
        assert pid is not None
        assert is_running(pid)
    assert not is_running(pid)
    assert await server.wait() == 0
    await server.aclose()


async def test_process_prints_one_line_and_ends_on_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.embedded",
        "--mode",
        "silent",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line.startswith(b"listening ws://127.0.0.1:")
    process.terminate()
    rest, errors = await process.communicate()
    assert (rest, errors, process.returncode) == (b"", b"", 0)


async def test_a_script_with_faults_stops_the_start_with_a_list(tmp_path: Path) -> None:
    script = tmp_path / "bad.yaml"
    script.write_text("name: x\ngreeting: y\nturns: []\n")
    with pytest.raises(StartError, match=r"bad\.yaml:1: not_understood: Field required"):
        async with EmbeddedServer(script=script):
            raise AssertionError("it started")


async def test_a_child_that_does_not_come_up_is_ended() -> None:
    server = EmbeddedServer(start_timeout_s=0.01)
    with pytest.raises(StartError, match="did not come up"):
        await server.__aenter__()
    if server.pid is not None:
        assert not is_running(server.pid)
