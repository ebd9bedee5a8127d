"""What a caller hears when the embedded server misbehaves: the real gateway, a real call, faults by script."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.embedded import gemini
from gateway.embedded.process import EmbeddedServer
from gateway.embedded.server import PATH
from tests.helpers.house import called, embedded_backend
from tests.helpers.patience import until

SILENCE = b"\xff"
FRAME_OCTETS = 160
PROMISED_GAP_MS = 1500
"""Issue 5: killed in mid-sentence → speaking again. Filler words may stand in between, and count as speech here."""


def longest_silence_ms(audio: bytes) -> int:
    """The longest run of silent frames after the first speech."""
    longest = run = 0
    spoken = False
    for start in range(0, len(audio), FRAME_OCTETS):
        if audio[start : start + FRAME_OCTETS].strip(SILENCE):
            spoken, longest, run = True, max(longest, run), 0
        elif spoken:
            run += 1
    return max(longest, run) * 20


async def test_a_socket_killed_in_mid_sentence_is_replaced_within_the_promised_time(tmp_path: Path) -> None:
    async with EmbeddedServer(
        arguments=("--mode", "talk", "--speed", "1", "--fault", "1:reset,after_ms=1500")
    ) as server:
        async with called(tmp_path, {"main": embedded_backend(server)}) as (gateway, call):
            await asyncio.sleep(4)
            audio = bytes(call.captured)
        record: dict[str, Any] = await gateway.record()
    (change,) = record["model"]["changes"]
    assert change["reason"] == "connection_lost"
    assert change["took_ms"] < PROMISED_GAP_MS
    assert longest_silence_ms(audio) < PROMISED_GAP_MS
    assert record["end"]["reason"] == "caller_hung_up"


async def test_a_primary_that_refuses_leaves_the_call_to_the_secondary(tmp_path: Path) -> None:
    async with (
        EmbeddedServer(arguments=("--mode", "talk", "--fault", "status,code=503")) as first,
        EmbeddedServer(arguments=("--mode", "talk")) as second,
    ):
        async with called(tmp_path, {"main": embedded_backend(first), "spare": embedded_backend(second)}) as (
            gateway,
            call,
        ):
            await until(lambda: bytes(call.captured).strip(SILENCE) != b"")
        record = await gateway.record()
    assert record["model"]["backend"] == "spare"


async def test_a_lost_primary_that_is_gone_leaves_the_conversation_to_the_secondary(tmp_path: Path) -> None:
    async with EmbeddedServer(arguments=("--mode", "talk")) as second:
        first = EmbeddedServer(arguments=("--mode", "talk"))
        async with first:
            backends = {"main": embedded_backend(first), "spare": embedded_backend(second)}
            async with called(tmp_path, backends) as (gateway, call):
                await until(lambda: bytes(call.captured).strip(SILENCE) != b"")
                await first.__aexit__(None, None, None)
                await asyncio.sleep(1.5)
                assert longest_silence_ms(bytes(call.captured)) < PROMISED_GAP_MS
        record = await gateway.record()
    assert [change["to_backend"] for change in record["model"]["changes"]] == ["spare"]


async def test_a_backend_with_other_audio_formats_goes_on_with_the_conversation(tmp_path: Path) -> None:
    """The call stays in G.711; Gemini's linear audio is converted from the moment on when it takes over."""
    async with EmbeddedServer(arguments=("--mode", "talk")) as second:
        spare = {
            "type": "gemini",
            "url": second.url.replace(PATH, gemini.PATH),
            "api_key": "key",
            "model": "embedded-talk",
        }
        first = EmbeddedServer(arguments=("--mode", "talk"))
        async with first:
            backends = {"main": embedded_backend(first), "spare": spare}
            async with called(tmp_path, backends) as (gateway, call):
                await until(lambda: bytes(call.captured).strip(SILENCE) != b"")
                await first.aclose()
                await asyncio.sleep(9.5)  # what the first had said already is eight seconds long
                audio = bytes(call.captured)
        record = await gateway.record()
    assert [change["to_backend"] for change in record["model"]["changes"]] == ["spare"]
    assert longest_silence_ms(audio) < PROMISED_GAP_MS
    assert audio[-4000:].strip(SILENCE)
    assert record["media"]["codec"] == "PCMU"


async def test_a_session_that_its_service_announces_to_end_is_replaced_before(tmp_path: Path) -> None:
    """Gemini's goAway in compressed time: the next session goes on by the handle of the one before."""
    async with EmbeddedServer(arguments=("--session-limit-s", "8")) as server:
        backends = {
            "main": {
                "type": "gemini",
                "url": server.url.replace(PATH, gemini.PATH),
                "api_key": "key",
                "model": "embedded-agent",
            }
        }
        async with called(tmp_path, backends) as (gateway, call):
            await until(lambda: bytes(call.captured).strip(SILENCE) != b"")
            await asyncio.sleep(11)
            assert not call.is_over
        record = await gateway.record()
    changes = record["model"]["changes"]
    assert changes
    assert {change["reason"] for change in changes} == {"renewed"}
    assert [said["text"] for said in record["transcript"]] == ["Hello."]  # the next session greets nobody again


async def test_a_caller_whose_model_is_gone_for_good_hears_why(tmp_path: Path) -> None:
    async with EmbeddedServer(arguments=("--mode", "silent", "--fault", "reset,after_ms=300")) as server:
        port_backends = {"main": embedded_backend(server, "embedded-silent")}
        async with called(tmp_path, port_backends) as (gateway, call):
            async with asyncio.timeout(20):
                await call.ended()
            audio = bytes(call.captured)
        record = await gateway.record()
    assert record["end"]["reason"] == "model_lost"
    assert any("technical problem" in said["text"] for said in record["transcript"])
    assert len(audio.replace(SILENCE, b"")) > 8000  # the apology was heard, not only noted


async def test_a_model_that_falls_silent_on_a_sound_connection_is_covered_up_and_replaced(tmp_path: Path) -> None:
    """The server answers pings all the while: nothing but the missing speech tells that something is wrong."""
    arguments = ("--mode", "talk", "--fault", "1:stall,after_ms=250,for_ms=60000")
    dead_air = {"nudge_after_seconds": 0.5, "filler_after_seconds": 0.7, "replace_after_seconds": 2.0}
    async with EmbeddedServer(arguments=arguments) as server:
        async with called(tmp_path, {"main": embedded_backend(server)}, dead_air=dead_air) as (gateway, call):
            await asyncio.sleep(7)
            audio = bytes(call.captured)
        record = await gateway.record()
    (change,) = record["model"]["changes"]
    assert change["reason"] == "unanswered"
    assert record["model"]["dead_air"] == {"nudges": 0, "fillers": 1, "replacements": 1}  # a response was running
    assert any(said["text"] == "One moment, please." for said in record["transcript"])
    assert audio[-8000:].strip(SILENCE)  # the next session speaks
    assert record["end"]["reason"] == "caller_hung_up"


@pytest.mark.parametrize(("frames", "silence_ms"), [("s", 0), ("s..s", 40), ("..s.s..", 40)])
def test_silence_is_measured_from_the_first_word(frames: str, silence_ms: int) -> None:
    audio = b"".join((b"\x10" if frame == "s" else SILENCE) * FRAME_OCTETS for frame in frames)
    assert longest_silence_ms(audio) == silence_ms
