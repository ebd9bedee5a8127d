"""What every piece of a call's sound passes, compiled and interpreted, and what must not pass there."""

import base64
import importlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway import fast, path
from gateway.backends import frame
from gateway.backends.frame import MASK_POOL_BYTES, ClientFrames
from gateway.path import MAX_EVENT_ID_BYTES, decode_base64, read_audio
from gateway.realtime.event import AudioDelta
from tests.helpers.session_fuzz import diary, digest

SEEDS = range(16)


def either(interpreted: ModuleType) -> pytest.MarkDecorator:
    """Runs a test with what is interpreted and with what is compiled, where anything was."""
    modules = [pytest.param(interpreted, id="interpreted")]
    if fast.is_compiled:
        modules.append(pytest.param(importlib.import_module("gateway._fast"), id="compiled"))
    return pytest.mark.parametrize("module", modules)


HEAD = b'{"type":"response.output_audio.delta","event_id":"'
MIDDLE = b'","response_id":"resp_1","item_id":"item_1","output_index":0,"content_index":0,"delta":"'


def message(text: bytes, event_id: bytes = b"event_7") -> bytes:
    return HEAD + event_id + MIDDLE + text + b'"}'


@either(path)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 160, 319, 320, 1600])
def test_audio_of_any_length_is_read(module: ModuleType, length: int) -> None:
    audio = random.Random(length).randbytes(length)
    assert module.read_audio(message(base64.b64encode(audio)), HEAD, MIDDLE, MAX_EVENT_ID_BYTES) == audio


@either(path)
@pytest.mark.parametrize(
    "odd",
    [
        message(b"AAA"),
        message(b"A=AA"),
        message(b"AA==AAAA"),
        message(b"AAA\n"),
        message(b"AA-_"),
        message(b"AAAA", b'e","delta":"AAAA'),
        message(b"AAAA", b"e\\u0022"),
        message(b"AAAA", b"e" * (MAX_EVENT_ID_BYTES + 1)),
        message(b"AAAA")[:-1],
        message(b"AAAA") + b" ",
        message(b"AAAA")[1:],
        message(b"AAAA").replace(b"item_1", b"item_2"),
        HEAD,
        HEAD + b'"}',
        b"",
    ],
)
def test_what_may_be_anything_else_takes_the_long_way(module: ModuleType, odd: bytes) -> None:
    assert module.read_audio(odd, HEAD, MIDDLE, MAX_EVENT_ID_BYTES) is None


@pytest.mark.skipif(not fast.is_compiled, reason="nothing was compiled here: there is one implementation")
def test_compiled_never_reads_what_the_interpreted_would_not() -> None:
    compiled = importlib.import_module("gateway._fast")
    chance = random.Random(4)
    read = 0
    for number in range(20_000):
        text = bytearray(base64.b64encode(chance.randbytes(chance.randrange(9))))
        for _ in range(chance.choice((0, 0, 1, 2)) if text else 0):
            text[chance.randrange(len(text))] = chance.choice(b'=="A\\-/+ \n9=')
        whole = bytearray(message(bytes(text), b"event_%d" % number))
        if chance.random() < 0.2:
            whole[chance.randrange(len(whole))] = chance.choice(b'"\\}a')
        if chance.random() < 0.1:
            del whole[chance.randrange(len(whole)) :]
        assert compiled.decode_base64(text.decode()) == decode_base64(text.decode())
        audio = compiled.read_audio(bytes(whole), HEAD, MIDDLE, MAX_EVENT_ID_BYTES)
        if audio is not None:
            read += 1
            assert audio == read_audio(bytes(whole), HEAD, MIDDLE, MAX_EVENT_ID_BYTES)
    assert 5_000 < read < 19_000


LONG = b"\x81\x7f" + (70_000).to_bytes(8) + bytes(70_000)


@either(frame)
@pytest.mark.parametrize("first", [0x81, 0x82])
@pytest.mark.parametrize("length", [0, 1, 125, 126, 427, 65_535])
def test_a_whole_frame_is_one_message(module: ModuleType, first: int, length: int) -> None:
    head = bytes((first, length)) if length < 126 else bytes((first, 126)) + length.to_bytes(2)
    message = bytes(length)
    start, stop = len(head), len(head) + length
    assert module.whole_frame(head + message, 0) == (start, stop)
    assert module.whole_frame(head + message + b"\x81", 0) == (start, stop)
    assert module.whole_frame(b"before" + head + message, 6) == (start + 6, stop + 6)
    assert module.whole_frame((head + message)[:-1], 0) is None
    assert module.whole_frame(head + message, stop) is None


@either(frame)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81",
        b"\x81\x7e",
        b"\x81\x7e\x00",
        b"\x01\x01a",
        b"\x88\x00",
        b"\x89\x00",
        b"\xc1\x01a",
        b"\x81\x81abcda",
        LONG,
    ],
)
def test_anything_else_is_left_to_the_long_way(module: ModuleType, data: bytes) -> None:
    assert module.whole_frame(data, 0) is None


@either(path)
@pytest.mark.parametrize("text", ["é", "AAA\ud800", "AAAA\x00AAA", "AA==\n", "=", "A===", "AAAA====", "\u0661AAA"])
def test_text_that_is_not_base64_gives_nothing(module: ModuleType, text: str) -> None:
    assert module.decode_base64(text) is None


@either(path)
def test_reader_counts_what_it_reads_and_stops_where_the_response_was_cut(module: ModuleType) -> None:
    reader = module.SpeechReader()
    assert reader.read(message(b"AAAA")) is None
    reader.head, reader.middle, reader.response_id, reader.item_id = HEAD, MIDDLE, "resp_1", "item_1"
    account = reader.account = module.ItemAccount("resp_1")
    assert reader.read(message(b"AAAA")) == AudioDelta("resp_1", "item_1", bytes(3))
    assert reader.read(message(b"AA@A")) is None
    account.is_cut = True
    assert reader.read(message(b"AAAA")) is None
    assert account.received_bytes == 3


@either(frame)
@given(st.binary(max_size=300), st.binary(max_size=70_000), st.binary(max_size=70_000))
def test_frames_are_what_websockets_reads(module: ModuleType, head: bytes, audio: bytes, tail: bytes) -> None:
    frames: ClientFrames = module.ClientFrames()
    server = ServerProtocol(state=State.OPEN)
    server.receive_data(frames.text(tail) + frames.audio(head, audio, tail) + frames.text(head))
    received = [event.data for event in server.events_received() if isinstance(event, Frame)]
    assert received == [tail, head + base64.b64encode(audio) + tail, head]


@either(frame)
def test_masks_are_never_used_twice(module: ModuleType) -> None:
    frames: ClientFrames = module.ClientFrames()
    masks = [frames.text(b"")[2:6] for _ in range(MASK_POOL_BYTES)]
    assert len(set(masks)) == len(masks)
    assert all(len(mask) == 4 for mask in masks)


@either(frame)
def test_a_closing_frame_is_what_websockets_reads(module: ModuleType) -> None:
    server = ServerProtocol(state=State.OPEN)
    server.receive_data(module.ClientFrames().close(1000))
    assert server.close_rcvd is not None
    assert (server.close_rcvd.code, server.close_rcvd.reason) == (1000, "")


@pytest.mark.skipif(not fast.is_compiled, reason="nothing was compiled here: there is one implementation")
def test_compiled_and_interpreted_sessions_tell_and_send_the_same_whatever_happens() -> None:
    interpreted = subprocess.run(
        [sys.executable, "-m", "tests.helpers.session_fuzz", *map(str, SEEDS)],
        env={**os.environ, "TRUNKLINE_FAST": "off"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [digest(seed) for seed in SEEDS] == interpreted


def test_the_fuzz_reaches_what_is_regular_and_what_is_not() -> None:
    lines = [line for seed in range(4) for line in diary(seed)]
    kinds = [line.split(" ", 1)[0] for line in lines]
    assert {"told", "sent", "spoke", "turn", "item"} <= set(kinds)
    assert kinds.count("spoke") > 300
    appended = [json.loads(line[5:]) for line in lines if line.startswith("sent {")]
    assert sum(event["type"] == "input_audio_buffer.append" for event in appended) > 300
