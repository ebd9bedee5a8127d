"""Playout: items, frames, and the account of what was sent."""

import random

import pytest

from rtp.codec.format import L16_16K, PCMU
from rtp.path import MAX_OWED_FRAMES, SPARE_TURNS
from rtp.playout import REMEMBERED_ITEMS, PlayedItem, Playout
from tests.helpers.rtp_peer import RecordingSink


def playout(sink: RecordingSink | None = None, ptime_ms: int = 20) -> Playout:
    return Playout(PCMU, ptime_ms, sink if sink is not None else RecordingSink())


def drain(source: Playout, turns: int) -> list[bytes | None]:
    return [source.next_frame() for _ in range(turns)]


def test_audio_comes_out_bit_exact_in_frames_whatever_its_chunks() -> None:
    chance = random.Random(1)
    speech = chance.randbytes(160 * 50)
    source = playout()
    rest = speech
    while rest:
        size = chance.randrange(1, 900)
        source.enqueue("a", rest[:size])
        rest = rest[size:]
    source.finish("a")
    frames = drain(source, 50)
    assert b"".join(frame for frame in frames if frame) == speech
    assert source.next_frame() is None


def test_flush_tells_what_was_sent_and_what_waited() -> None:
    source = playout()
    source.enqueue("a", bytes(800))
    source.enqueue("b", bytes(1600))
    drain(source, 3)
    assert source.flush() == [PlayedItem("a", 60, 40), PlayedItem("b", 0, 200)]
    assert source.next_frame() is None
    assert source.queued_ms == 0
    assert source.sent_ms("a") == 60
    assert source.flush() == []


def test_a_held_item_goes_on_where_it_stopped_with_all_that_came_meanwhile() -> None:
    speech = random.Random(2).randbytes(160 * 6)
    source = playout()
    source.enqueue("a", speech[:500])
    before = drain(source, 2)
    source.hold()
    source.enqueue("a", speech[500:])
    source.finish("a")
    source.enqueue("b", bytes(160))
    assert drain(source, 3) == [None] * 3
    assert source.current_item_id is None
    assert source.sent_ms("a") == 40
    source.release()
    after = drain(source, 4)
    assert b"".join(frame for frame in (*before, *after) if frame) == speech
    assert drain(source, 2) == [bytes(160), None]


def test_a_flush_ends_a_hold() -> None:
    source = playout()
    source.enqueue("a", bytes(320))
    source.next_frame()
    source.hold()
    assert source.flush() == [PlayedItem("a", 20, 20)]
    source.enqueue("b", bytes(160))
    assert source.next_frame() == bytes(160)


def test_late_audio_of_a_flushed_item_is_refused_and_counted() -> None:
    source = playout()
    source.enqueue("a", bytes(800))
    source.flush()
    source.enqueue("a", bytes(480))
    source.enqueue("b", bytes(160))
    assert source.refused_octets == 480
    source.next_frame()
    assert source.current_item_id == "b"


def test_the_last_partial_frame_is_padded_when_the_item_is_finished() -> None:
    source = playout()
    source.enqueue("a", b"\x01" * 200)
    source.finish("a")
    assert drain(source, 3) == [b"\x01" * 160, b"\x01" * 40 + b"\xff" * 120, None]
    assert source.sent_ms("a") == 25
    assert source.underruns == 0


def test_an_underrun_in_mid_speech_is_padded_and_counted() -> None:
    source = playout()
    source.enqueue("a", b"\x01" * 200)
    assert drain(source, 2) == [b"\x01" * 160, b"\x01" * 40 + b"\xff" * 120]
    assert source.underruns == 1
    source.enqueue("a", b"\x02" * 160)
    assert source.next_frame() == b"\x02" * 160


def test_the_first_octets_of_an_item_wait_one_turn_for_a_whole_frame() -> None:
    source = playout()
    source.enqueue("a", b"\x01" * 100)
    assert source.next_frame() is None
    source.enqueue("a", b"\x01" * 60)
    assert source.next_frame() == b"\x01" * 160
    source.enqueue("b", b"\x02" * 100)
    assert source.next_frame() is None
    assert source.next_frame() == b"\x02" * 100 + b"\xff" * 60


def test_an_unfinished_item_does_not_hold_up_the_next() -> None:
    sink = RecordingSink()
    source = playout(sink)
    source.enqueue("a", bytes(160))
    source.enqueue("b", bytes(160))
    drain(source, 2)
    assert source.current_item_id == "b"
    assert sink.happenings == ["started a", "finished a", "started b"]


def test_items_tell_when_they_start_and_finish_and_when_all_is_said() -> None:
    sink = RecordingSink()
    source = playout(sink)
    source.enqueue("a", bytes(320))
    source.enqueue("b", bytes(100))
    source.finish("a")
    source.finish("b")
    drain(source, 1)
    assert sink.happenings == ["started a"]
    drain(source, 2)
    assert sink.happenings == ["started a", "finished a", "started b", "finished b", "drained"]


def test_an_item_that_was_played_out_finishes_when_its_end_is_known() -> None:
    sink = RecordingSink()
    source = playout(sink)
    source.enqueue("a", bytes(160))
    drain(source, 2)
    assert sink.happenings == ["started a"]
    source.finish("a")
    assert sink.happenings == ["started a", "finished a", "drained"]
    assert source.sent_ms("a") == 20


def test_an_ended_item_that_gets_more_goes_on_counting() -> None:
    sink = RecordingSink()
    source = playout(sink)
    source.enqueue("a", bytes(160))
    source.finish("a")
    drain(source, 1)
    source.enqueue("a", bytes(160))
    drain(source, 1)
    assert source.sent_ms("a") == 40
    assert sink.happenings.count("started a") == 1


def test_accounts_are_kept_for_the_last_items_only() -> None:
    source = playout()
    for number in range(REMEMBERED_ITEMS + 1):
        source.enqueue(str(number), bytes(160))
        source.finish(str(number))
        source.next_frame()
    assert source.sent_ms("0") == 0
    assert source.sent_ms("1") == 20
    assert source.sent_ms("never heard of") == 0


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 50, 60])
def test_frames_follow_ptime(ptime_ms: int) -> None:
    source = playout(ptime_ms=ptime_ms)
    source.enqueue("a", bytes(8 * 60))
    assert len(source.next_frame() or b"") == 8 * ptime_ms


def test_frames_follow_the_format() -> None:
    source = Playout(L16_16K, 20, RecordingSink())
    source.enqueue("a", bytes(6400))
    assert source.queued_ms == 200
    assert len(source.next_frame() or b"") == 640
    assert source.silence_frame == bytes(640)


def test_reframing_keeps_what_waits() -> None:
    source = playout()
    source.enqueue("a", bytes(range(240)) * 2)
    first = source.next_frame() or b""
    source.reframe(30)
    source.finish("a")
    rest = [frame for frame in drain(source, 2) if frame]
    assert (first + b"".join(rest))[:480] == bytes(range(240)) * 2


def test_finishing_or_feeding_nothing_is_no_fault() -> None:
    source = playout()
    source.finish("unknown")
    source.enqueue("a", b"")
    assert source.next_frame() is None
    assert source.flush() == []


def late_by_one_frame(then: bytes) -> Playout:
    """An item whose audio comes at the pace of its speaking, a frame a turn, but once a turn late; then some more."""
    source = playout()
    source.enqueue("a", SPEECH)
    assert drain(source, 2) == [SPEECH, None]
    source.enqueue("a", SPEECH * 2)
    for _ in range(SPARE_TURNS + 2):
        assert source.next_frame() == SPEECH
        source.enqueue("a", SPEECH)
    source.enqueue("a", then)
    return source


SPEECH = b"\x01" * 160
SILENCE = b"\xff" * 160


def test_silence_that_lateness_put_into_an_item_is_taken_back_from_its_next_pause() -> None:
    source = late_by_one_frame(SILENCE * 3 + SPEECH * 2)
    waiting = source.queued_ms
    frames = drain(source, waiting // 20 - 1)
    assert frames == [SPEECH] * 2 + [SILENCE] * 2 + [SPEECH] * 2
    assert (source.taken_back, source.queued_ms) == (1, 0)
    assert source.sent_ms("a") == (1 + SPARE_TURNS + 2 + 7) * 20  # what was left out had been heard before


def test_speech_is_never_taken_back() -> None:
    source = late_by_one_frame(SPEECH * 20)
    assert drain(source, 22) == [SPEECH] * 22
    assert source.taken_back == 0


def test_a_pause_that_came_in_time_keeps_its_length_however_much_waits() -> None:
    source = playout()
    source.enqueue("a", SPEECH * 50 + SILENCE * 50 + SPEECH)
    assert drain(source, 101) == [SPEECH] * 50 + [SILENCE] * 50 + [SPEECH]
    assert source.taken_back == 0


def test_audio_that_comes_just_in_time_keeps_its_pauses_too() -> None:
    source = playout()
    source.enqueue("a", SPEECH)
    drain(source, 4)
    for _ in range(100):
        source.enqueue("a", SILENCE)
        assert source.next_frame() == SILENCE
    assert source.taken_back == 0


def test_no_more_than_a_tenth_of_a_second_is_taken_back_and_nothing_from_another_item() -> None:
    source = playout()
    source.enqueue("a", SPEECH)
    drain(source, 50)
    source.enqueue("a", SILENCE * 500)
    drain(source, 400)
    assert source.taken_back == MAX_OWED_FRAMES
    source.flush()
    source.enqueue("b", SPEECH + SILENCE * 50)
    drain(source, 40)
    assert source.taken_back == MAX_OWED_FRAMES
