"""What every piece of the model's speech passes, compiled and interpreted, and what must not pass there."""

import base64
import random
from collections.abc import Callable

import pytest

from gateway.backends.frame import fast_whole_message, whole_message
from gateway.backends.openai.delta import MAX_EVENT_ID_BYTES, fast_read_audio, read_audio

Reader = Callable[[bytes, bytes, bytes, int], bytes | None]
Splitter = Callable[[bytes, int], bytes | None]

HEAD = b'{"type":"response.output_audio.delta","event_id":"'
MIDDLE = b'","response_id":"resp_1","item_id":"item_1","output_index":0,"content_index":0,"delta":"'
READERS = pytest.mark.parametrize("read", [read_audio, fast_read_audio], ids=["interpreted", "compiled, where it is"])


def message(text: bytes, event_id: bytes = b"event_7") -> bytes:
    return HEAD + event_id + MIDDLE + text + b'"}'


@READERS
@pytest.mark.parametrize("length", [0, 1, 2, 3, 160, 319, 320, 1600])
def test_audio_of_any_length_is_read(read: Reader, length: int) -> None:
    audio = random.Random(length).randbytes(length)
    assert read(message(base64.b64encode(audio)), HEAD, MIDDLE, MAX_EVENT_ID_BYTES) == audio


@READERS
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
def test_what_may_be_anything_else_takes_the_long_way(read: Reader, odd: bytes) -> None:
    assert read(odd, HEAD, MIDDLE, MAX_EVENT_ID_BYTES) is None


def test_compiled_never_reads_what_the_interpreted_would_not() -> None:
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
        audio = fast_read_audio(bytes(whole), HEAD, MIDDLE, MAX_EVENT_ID_BYTES)
        if audio is not None:
            read += 1
            assert audio == read_audio(bytes(whole), HEAD, MIDDLE, MAX_EVENT_ID_BYTES)
    assert 5_000 < read < 19_000


LONG = b"\x81\x7f" + (70_000).to_bytes(8) + bytes(70_000)
SPLITTERS = pytest.mark.parametrize("split", [whole_message, fast_whole_message], ids=["interpreted", "compiled"])


@SPLITTERS
@pytest.mark.parametrize("first", [0x81, 0x82])
@pytest.mark.parametrize("length", [0, 1, 125, 126, 427, 65_535])
def test_a_whole_frame_is_one_message(split: Splitter, first: int, length: int) -> None:
    head = bytes((first, length)) if length < 126 else bytes((first, 126)) + length.to_bytes(2)
    message = bytes(length)
    assert split(head + message, 2**20) == message
    assert split(head + message + b"\x81", 2**20) is None
    assert split((head + message)[:-1], 2**20) is None
    assert split(head + message, length - 1) is None


@SPLITTERS
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
def test_anything_else_is_left_to_the_long_way(split: Splitter, data: bytes) -> None:
    assert split(data, 2**20) is None
