"""What every piece of a call's sound passes, compiled and interpreted, and what must not pass there."""

import base64
import functools
import importlib
import json
import random
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

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
from rtp.packet import RtpPacket
from tests.helpers import session_fuzz
from tests.helpers.twin import differing_seeds, interpreted

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
        message(b"AAAA===="),
        message(b"AAAA="),
        message(b"AAAA=="),
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
@pytest.mark.parametrize(
    "text", ["é", "AAA\ud800", "AAAA\x00AAA", "AA==\n", "=", "A===", "AAAA=", "AAAA==", "AAAA====", "\u0661AAA"]
)
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


class Transport:
    """Takes what is written, and then lets something happen."""

    def __init__(self) -> None:
        self.written = b""
        self.then: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        self.written += data
        self.then()

    def messages(self) -> list[bytes]:
        server = ServerProtocol(state=State.OPEN)
        server.receive_data(self.written)
        return [bytes(event.data) for event in server.events_received() if isinstance(event, Frame)]


def wire_on(module: ModuleType, transport: Transport) -> Any:
    wire = module.WirePath()
    wire.transport = transport
    wire.frames = (frame if module is path else module).ClientFrames()
    wire.is_open = wire.is_between = True
    wire.paused = False
    return wire


def session_on(module: ModuleType, wire: Any) -> Any:
    session = module.SessionPath()
    session.outlet, session.is_flowing, session.is_telling = wire, True, True
    session.append_head, session.append_tail, session.batch_bytes = b"<", b">", 3
    reader = session.reader = module.SpeechReader()
    reader.head, reader.middle, reader.response_id, reader.item_id = HEAD, MIDDLE, "resp_1", "item_1"
    reader.account = module.ItemAccount("resp_1")
    return session


def bridge_to(module: ModuleType, speech: Any) -> Any:
    bridge = type("Bridge", (module.BridgePath,), {})()
    bridge.recorder, bridge.first_audio_at, bridge.item_id = None, 0.0, "item_1"
    bridge.generated_octets, bridge.octets_per_ms, bridge.speech = 0, 8, speech
    bridge.utterance = module.GeneratedSpeech()
    return bridge


def succession_of(module: ModuleType, speaker: Any = None) -> Any:
    succession = type("Succession", (module.SuccessionPath,), {})()
    succession.recent = module.RecentAudio(3) if module is path else importlib.import_module("rtp._fast").RecentAudio(3)
    succession.tap, succession.speaker, succession.spoken_item, succession.sounded = None, speaker, "item_1", False
    return succession


def ignore(*_told: object) -> None:
    pass


@either(path)
def test_audio_that_comes_while_a_message_is_written_is_in_the_next(module: ModuleType) -> None:
    transport = Transport()
    session = session_on(module, wire_on(module, transport))

    def append_once() -> None:
        transport.then = ignore
        session.append_audio(b"def")
        session.append_audio(b"g")

    transport.then = append_once
    session.append_audio(b"abc")
    assert transport.messages() == [b"<YWJj>", b"<ZGVm>"]
    assert session.take_batch() == b"g"


@either(path)
def test_audio_of_a_message_that_could_not_be_written_is_not_said_again(module: ModuleType) -> None:
    transport = Transport()
    session = session_on(module, wire_on(module, transport))

    def fail() -> None:
        raise OSError("no room")

    transport.then = fail
    with pytest.raises(OSError, match="no room"):
        session.append_audio(b"abc")
    assert session.take_batch() == b""


@either(path)
def test_whoever_hears_the_caller_lives_until_it_has_heard(module: ModuleType) -> None:
    inbound = importlib.import_module("rtp.path" if module is path else "rtp._fast").InboundPath()
    inbound.source, inbound.unprotector, inbound.history = ("192.0.2.1", 4000), None, succession_of(module).recent
    inbound.is_open, inbound.ssrc, inbound.expected, inbound.next_timestamp = True, 7, 1000, 0
    inbound.payload_type, inbound.fast_limit, inbound.octet_shift, inbound.clock_rate_hz = 0, 1612, 0, 8000
    inbound.packets = inbound.played = 0
    inbound.transit = inbound.jitter = inbound.audio_at = 0.0
    bridge, succession, heard = bridge_to(module, None), succession_of(module), []
    kept = [bridge, succession]
    lives = [weakref.ref(one) for one in kept]

    def forget(payload: bytes) -> None:
        inbound.on_audio = kept[0].append = kept[1].append = ignore
        kept.clear()
        heard.append((payload, [life() is not None for life in lives]))

    inbound.on_audio, bridge.append, succession.append = bridge.on_audio, succession.append_audio, forget
    del bridge, succession
    inbound.receive_datagram(bytes(RtpPacket(0, 1000, 0, 7, b"sound")), ("192.0.2.1", 4000), 1.0)
    assert heard == [(b"sound", [True, True])]
    assert [life() for life in lives] == [None, None]


@either(path)
def test_whoever_tells_speech_lives_until_it_is_told(module: ModuleType) -> None:
    told: list[tuple[str, bytes, list[bool]]] = []

    class Speech:
        def enqueue(self, item_id: str, audio: bytes) -> None:
            session.sink = kept[0].receive = kept[1].sink = ignore
            kept[2].speech = kept[1].speaker = None
            kept.clear()
            wire.receiver = None
            told.append((item_id, audio, [life() is not None for life in lives]))

    wire = wire_on(module, Transport())
    session = session_on(module, wire)
    period = type("Period", (module.PeriodPath,), {})()
    succession, bridge = succession_of(module, period), bridge_to(module, Speech())
    wire.receiver, session.sink, period.receive, succession.sink = (
        session, period.tell, succession.receive, bridge.on_model_event,
    )  # fmt: skip
    kept = [period, succession, bridge]
    lives = [weakref.ref(one) for one in kept]
    del period, succession, bridge
    whole = message(b"AAAA")
    wire.data_received(b"\x81\x7e" + len(whole).to_bytes(2) + whole)
    assert told == [("item_1", bytes(3), [True, True, True])]
    assert [life() for life in lives] == [None, None, None]


@either(path)
def test_speech_that_cannot_be_said_has_sounded(module: ModuleType) -> None:
    class Speech:
        def enqueue(self, item_id: str, audio: bytes) -> None:
            raise ValueError("hoarse")

    session, period = session_on(module, None), module.PeriodPath()
    succession, bridge = succession_of(module, period), bridge_to(module, Speech())
    session.sink, period.receive, succession.sink = period.tell, succession.receive, bridge.on_model_event
    with pytest.raises(ValueError, match="hoarse"):
        session.message_received(message(b"AAAA"))
    assert succession.sounded
    assert bridge.generated_octets == session.reader.account.received_bytes == 3


@either(path)
def test_methods_that_a_subclass_replaced_are_those_that_are_asked(module: ModuleType) -> None:
    asked: list[tuple[str, bytes]] = []

    class Session(module.SessionPath):  # type: ignore[misc, name-defined]  # one of two modules
        def message_received(self, message: bytes) -> None:
            asked.append(("message", message))

    class Succession(module.SuccessionPath):  # type: ignore[misc, name-defined]
        append_audio = functools.lru_cache(lambda _self, payload: asked.append(("audio", payload)))

    wire, bridge = wire_on(module, Transport()), bridge_to(module, None)
    wire.receiver, bridge.append = Session(), Succession().append_audio
    wire.data_received(b"\x81\x02hi")
    bridge.on_audio(b"sound", False)
    assert asked == [("message", b"hi"), ("audio", b"sound")]


@either(path)
def test_what_was_never_set_is_an_error_and_nothing_worse(module: ModuleType) -> None:
    session = session_on(module, wire_on(module, Transport()))
    session.reader.middle = None
    with pytest.raises(TypeError):
        session.message_received(message(b"AAAA"))
    session.append_head = None
    with pytest.raises(TypeError):
        session.append_audio(b"abc")
    succession = succession_of(module)
    succession.append, succession.recent = ignore, None
    with pytest.raises(AttributeError):
        succession.append_audio(b"abc")
    with pytest.raises(TypeError):
        bridge_to(module, object()).on_model_event(AudioDelta("resp_1", "item_1", None))  # type: ignore[arg-type]


@pytest.mark.skipif(not fast.is_compiled, reason="nothing was compiled here: there is no memory to protect")
def test_numbers_that_nobody_means_read_nothing_outside() -> None:
    compiled = importlib.import_module("gateway._fast")
    assert compiled.read_audio(message(b"AAAA"), HEAD, MIDDLE, -(2**62)) is None
    assert compiled.read_audio(message(b"AAAA"), HEAD, MIDDLE, 2**63 - 1) == bytes(3)
    with pytest.raises(ValueError, match="-1"):
        compiled.whole_frame(b"\x81\x01a", -(2**40) - 1)


@pytest.mark.skipif(not fast.is_compiled, reason="nothing was compiled here: there is one implementation")
def test_compiled_and_interpreted_sessions_tell_and_send_the_same_whatever_happens() -> None:
    assert differing_seeds(session_fuzz, SEEDS) == []


def test_the_fuzz_reaches_what_is_regular_and_what_is_not() -> None:
    lines = [line for seed in range(4) for line in session_fuzz.diary(seed)]
    kinds = [line.split(" ", 1)[0] for line in lines]
    assert {"told", "sent", "spoke", "turn", "item"} <= set(kinds)
    assert kinds.count("spoke") > 300
    appended = [json.loads(line[5:]) for line in lines if line.startswith("sent {")]
    assert sum(event["type"] == "input_audio_buffer.append" for event in appended) > 300


def test_paths_can_be_had_without_a_compiler() -> None:
    code = "from gateway import fast; from gateway.path import WirePath; print(fast.WirePath is WirePath)"
    assert interpreted("-c", code).strip() == "True"
