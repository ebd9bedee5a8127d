"""The compiled paths do what those in Python do, bit for bit."""

import importlib
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rtp import fast, path
from tests.helpers import stream_fuzz
from tests.helpers.twin import differing_seeds, interpreted

SEEDS = range(24)
FAST = [pytest.param(importlib.import_module("rtp._fast"), id="compiled")] if fast.is_compiled else []
either = pytest.mark.parametrize("module", [pytest.param(path, id="interpreted"), *FAST])


def outbound_of(module: ModuleType, playout: Any) -> Any:
    outbound = module.OutboundPath()
    outbound.playout, outbound.silence = playout, b"hush"
    outbound.on_frame_sent = outbound.encode = outbound.protect = None
    outbound.is_paused = outbound.events_wait = outbound.marker_due = False
    outbound.sequence_number = outbound.payload_type = outbound.timestamp = outbound.ssrc = outbound.octets = 0
    outbound.speech_packets = outbound.silence_packets = 0
    outbound.frame_samples = 4
    return outbound


def playout_of(module: ModuleType, first_frame: Any) -> Any:
    """One whose first frame is what that gives."""
    playout = type("Playout", (module.PlayoutPath,), {"_irregular_frame": first_frame})()
    playout.head = playout.youngest = module.FrameQueue("item", 0)
    playout.queued_octets = playout.owed_frames = playout.spare_turns = 0
    playout.frame_octets, playout.current_item_id = 4, None
    return playout


@either
def test_a_listener_may_change_the_payload_type_of_the_packet_that_it_is_told_of(module: ModuleType) -> None:
    def first_frame(_playout: Any) -> bytes:
        outbound.payload_type = 8
        return b"word"

    outbound = outbound_of(module, playout_of(module, first_frame))
    assert outbound.tick()[1] == 8


@either
def test_a_sender_that_is_replaced_within_its_turn_still_finishes_it(module: ModuleType) -> None:
    def first_frame(_playout: Any) -> bytes:
        stream.outbound = outbound_of(module, playout_of(module, lambda _: b"next"))
        return b"word"

    class Inbound(module.InboundPath):  # type: ignore[misc, name-defined]  # one of two modules
        def _poll_irregular(self, now: float) -> None:
            pass

    stream = module.StreamPath()
    inbound = stream.inbound = Inbound()
    inbound.jitter = inbound.peak_jitter = 0.0
    inbound.is_restless = True
    stream.outbound = type("Outbound", (module.OutboundPath,), {})()
    vars_of = outbound_of(module, playout_of(module, first_frame))
    for name in (
        "playout", "silence", "on_frame_sent", "encode", "protect", "is_paused", "events_wait", "marker_due", "ssrc",
        "sequence_number", "payload_type", "timestamp", "octets", "speech_packets", "silence_packets", "frame_samples",
    ):  # fmt: skip
        setattr(stream.outbound, name, getattr(vars_of, name))
    del vars_of
    assert stream.tick(0.0)[12:] == b"word"
    assert stream.tick(0.0)[12:] == b"next"


@either
def test_a_mouth_may_close_the_leg_that_it_speaks_on(module: ModuleType) -> None:
    class Mouth:
        def speak(self, audio: bytes) -> bytes:
            turn.turning = None
            return audio.upper()

    turn, stream = module.TurnPath(), module.StreamPath()
    playout = playout_of(module, None)
    stream.outbound, turn.turning, turn.mouth = outbound_of(module, playout), stream, Mouth()
    turn.enqueue("item", b"word")
    assert playout.head.take(9) == b"WORD"


@either
def test_sound_that_is_none_is_an_error_and_nothing_worse(module: ModuleType) -> None:
    playout = playout_of(module, None)
    playout.head = None
    outbound = outbound_of(module, playout)
    outbound.silence = None
    with pytest.raises(TypeError):
        outbound.tick()


@either
def test_recent_audio_may_be_empty(module: ModuleType) -> None:
    recent = module.RecentAudio(2)
    for audio in (b"", b"abc", b"", b"de"):
        recent.append(audio)
    assert list(recent) == [b"", b"de"]


@pytest.mark.skipif(not fast.is_compiled, reason="nothing was compiled here: there is no memory to protect")
@pytest.mark.parametrize(("phases", "step"), [((0, 4), 1), ((1, 0), 1), ((3, 4), 2**62)])
def test_filters_that_nobody_means_read_nothing_outside(phases: tuple[int, int], step: int) -> None:
    filtered = importlib.import_module("rtp.codec._polyphase").filtered
    with pytest.raises(ValueError, match="more results"):
        filtered(np.zeros(9, np.int16), np.zeros(phases, np.int16), np.zeros(5, np.int16), 0, step)


@pytest.mark.skipif(not fast.is_compiled, reason="nothing was compiled here: there is one implementation")
def test_compiled_and_interpreted_streams_tell_send_and_count_the_same_whatever_happens() -> None:
    assert differing_seeds(stream_fuzz, SEEDS) == []


def test_the_fuzz_reaches_what_is_regular_and_what_is_not() -> None:
    lines = [line for seed in range(6) for line in stream_fuzz.diary(seed)]
    kinds = {line.split(" ", 1)[0] for line in lines}
    assert {"audio", "digit", "sent", "started", "finished", "drained", "turn"} <= kinds
    assert sum(line.startswith("audio") and line.endswith("False") for line in lines) > 1000
    assert sum(line.startswith("audio") and line.endswith("True") for line in lines) > 100


def test_paths_can_be_had_without_a_compiler() -> None:
    code = "from rtp import fast; from rtp.path import InboundPath; print(fast.InboundPath is InboundPath)"
    assert interpreted("-c", code).strip() == "True"
