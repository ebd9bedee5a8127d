"""Telephone-events, RFC 4733."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import EventRefusedError, RtpParseError
from rtp.sequence import timestamp_add
from rtp.telephone_event import MAX_QUEUED_DIGITS, TelephoneEvent, TelephoneEventReceiver, TelephoneEventSender


class Ear:
    def __init__(self, clock_rate_hz: int = 8000) -> None:
        self.digits: list[tuple[str, int]] = []
        self.receiver = TelephoneEventReceiver(clock_rate_hz, lambda digit, ms: self.digits.append((digit, ms)))

    def hear(
        self, event: int, timestamp: int, duration: int, now: float, *, end: bool = False, marker: bool = False
    ) -> None:
        self.receiver.receive(timestamp, marker, bytes(TelephoneEvent(event, end, 10, duration)), now)


def test_event_payload_is_read_and_written__section_2_3() -> None:
    assert TelephoneEvent.parse(bytes.fromhex("0b8a0320")) == TelephoneEvent(11, end=True, volume=10, duration=800)
    assert bytes(TelephoneEvent(11, end=True, volume=10, duration=800)) == bytes.fromhex("0b8a0320")
    with pytest.raises(RtpParseError, match="Telephone-event has 3 octets, fewer than 4"):
        TelephoneEvent.parse(b"\x01\x02\x03")


def test_a_digit_is_reported_once_though_its_end_comes_three_times() -> None:
    ear = Ear()
    ear.hear(5, 1000, 160, 0.00, marker=True)
    ear.hear(5, 1000, 320, 0.02)
    for now in (0.04, 0.06, 0.08):
        ear.hear(5, 1000, 480, now, end=True)
    assert ear.digits == [("5", 60)]


def test_the_same_digit_twice_is_two_digits() -> None:
    ear = Ear()
    ear.hear(1, 1000, 800, 0.1, end=True, marker=True)
    ear.hear(1, 3000, 800, 0.4, end=True, marker=True)
    assert ear.digits == [("1", 100), ("1", 100)]


def test_a_lost_end_is_made_good_after_200_ms() -> None:
    ear = Ear()
    ear.hear(9, 1000, 160, 0.00, marker=True)
    ear.hear(9, 1000, 640, 0.06)
    ear.receiver.poll(0.2)
    assert ear.digits == []
    assert ear.receiver.is_active
    ear.receiver.poll(0.26)
    assert ear.digits == [("9", 80)]
    ear.hear(9, 1000, 800, 0.27, end=True)
    assert ear.digits == [("9", 80)]


def test_a_lost_end_is_made_good_by_the_next_digit() -> None:
    ear = Ear()
    ear.hear(1, 1000, 480, 0.0, marker=True)
    ear.hear(2, 2600, 800, 0.1, end=True)
    assert ear.digits == [("1", 60), ("2", 100)]


def test_a_digit_of_which_only_an_end_arrived_without_marker_counts() -> None:
    ear = Ear()
    ear.hear(10, 1000, 800, 0.1, end=True)
    assert ear.digits == [("*", 100)]


def test_a_packet_overtaken_by_the_next_digit_is_no_digit() -> None:
    ear = Ear()
    ear.hear(1, 1000, 800, 0.1, end=True)
    ear.hear(2, 2600, 160, 0.3, marker=True)
    ear.hear(1, 1000, 800, 0.31, end=True)
    ear.hear(2, 2600, 800, 0.4, end=True)
    assert ear.digits == [("1", 100), ("2", 100)]


def test_reordered_updates_never_shorten_a_digit() -> None:
    ear = Ear()
    ear.hear(3, 1000, 640, 0.00)
    ear.hear(3, 1000, 320, 0.01)
    ear.hear(3, 1000, 480, 0.02, end=True)
    assert ear.digits == [("3", 80)]


def test_an_event_longer_than_16_bits_continues_in_segments__section_2_5_1_3() -> None:
    ear = Ear()
    timestamp, now = 1000, 0.0
    for segment in range(3):
        for duration in (20_000, 40_000, 0xFFFF) if segment < 2 else (1000,):
            now += 0.1
            ear.hear(4, timestamp, duration, now, end=segment == 2)
        timestamp = timestamp_add(timestamp, 0xFFFF)
    assert ear.digits == [("4", (2 * 0xFFFF + 1000) * 1000 // 8000)]


def test_timestamps_of_events_wrap() -> None:
    ear = Ear()
    ear.hear(1, 2**32 - 100, 800, 0.0, end=True)
    ear.hear(2, 1500, 800, 0.2, end=True)
    assert ear.digits == [("1", 100), ("2", 100)]


def test_a_restarted_sender_is_heard_though_its_timestamps_went_back() -> None:
    ear = Ear()
    ear.hear(1, 2_000_000, 800, 0.0, end=True)
    ear.hear(2, 1000, 800, 0.2, end=True)
    assert ear.digits == [("1", 100), ("2", 100)]


def test_a_sender_that_never_moves_its_timestamp_is_told_apart_by_digit() -> None:
    ear = Ear()
    ear.hear(1, 1000, 800, 0.0, end=True, marker=True)
    ear.hear(2, 1000, 800, 0.2, end=True, marker=True)
    assert ear.digits == [("1", 100), ("2", 100)]


def test_a_48_khz_clock_counts_its_own_durations() -> None:
    ear = Ear(48000)
    ear.hear(7, 0, 4800, 0.1, end=True)
    assert ear.digits == [("7", 100)]


def test_events_that_are_no_digits_are_refused() -> None:
    with pytest.raises(RtpParseError, match="Telephone-event 36 is not a digit"):
        Ear().hear(36, 0, 800, 0.0)


def test_reset_ends_the_digit_that_is_held_down() -> None:
    ear = Ear()
    ear.hear(8, 1000, 400, 0.0)
    ear.receiver.reset()
    assert ear.digits == [("8", 50)]


def sent(sender: TelephoneEventSender, frame_samples: int = 160) -> list[tuple[int, bool, TelephoneEvent] | None]:
    turns: list[tuple[int, bool, TelephoneEvent] | None] = []
    timestamp = 5000
    while sender.is_active:
        frame = sender.next_frame(timestamp, frame_samples)
        turns.append((frame.timestamp, frame.marker, TelephoneEvent.parse(frame.payload)) if frame else None)
        timestamp += frame_samples
    return turns


def test_a_sent_digit_has_its_exact_duration_and_three_ends() -> None:
    sender = TelephoneEventSender(8000)
    sender.enqueue("5", 50, 80)
    turns = sent(sender)
    packets = [turn for turn in turns if turn is not None]
    assert [packet[2].duration for packet in packets] == [160, 320, 400, 400, 400]
    assert [packet[2].end for packet in packets] == [False, False, True, True, True]
    assert [packet[1] for packet in packets] == [True, False, False, False, False]
    assert {packet[0] for packet in packets} == {5000}
    assert len(turns) * 20 >= 50 + 80


def test_sent_digits_keep_their_gap() -> None:
    sender = TelephoneEventSender(8000)
    sender.enqueue("12", 100, 80)
    starts = sorted({turn[0] for turn in sent(sender) if turn is not None})
    assert starts == [5000, 5000 + 180 * 8]


@given(st.text("0123456789*#ABCD", min_size=1, max_size=12), st.integers(20, 400), st.sampled_from([80, 160, 240, 480]))
def test_what_is_sent_is_what_is_heard(digits: str, duration_ms: int, frame_samples: int) -> None:
    sender, ear = TelephoneEventSender(8000), Ear()
    sender.enqueue(digits, duration_ms, 80)
    timestamp = 0
    while sender.is_active:
        frame = sender.next_frame(timestamp, frame_samples)
        if frame is not None:
            ear.receiver.receive(frame.timestamp, frame.marker, frame.payload, timestamp / 8000)
        timestamp += frame_samples
    assert ear.digits == [(digit, duration_ms) for digit in digits]


def test_clear_leaves_only_the_digit_under_way() -> None:
    sender, ear = TelephoneEventSender(8000), Ear()
    sender.enqueue("123", 60, 40)
    assert sender.next_frame(0, 160) is not None
    sender.clear()
    for timestamp in range(160, 4000, 160):
        if sender.is_active and (frame := sender.next_frame(timestamp, 160)) is not None:
            ear.receiver.receive(frame.timestamp, frame.marker, frame.payload, timestamp / 8000)
    assert ear.digits == [("1", 60)]


@pytest.mark.parametrize(
    ("digits", "duration_ms", "gap_ms"),
    [("", 100, 80), ("1x", 100, 80), ("1", 0, 80), ("1", 8192, 80), ("1", 100, -1), ("1" * 65, 100, 80)],
)
def test_what_cannot_be_sent_is_refused(digits: str, duration_ms: int, gap_ms: int) -> None:
    assert MAX_QUEUED_DIGITS == 64
    with pytest.raises(EventRefusedError):
        TelephoneEventSender(8000).enqueue(digits, duration_ms, gap_ms)


@pytest.mark.parametrize("segment", [0xFFFF, 65_440, 64_000])
@pytest.mark.parametrize("lost", [0, 3])
def test_segments_may_be_whole_packets_and_lose_their_last_updates__section_2_5_1_3(segment: int, lost: int) -> None:
    ear, held = Ear(), 160_000
    for elapsed in range(160, held + 160, 160):
        number, duration = divmod(elapsed - 1, segment)
        if 0 < (number + 1) * segment - elapsed < lost * 160 and elapsed < held:
            continue
        ear.hear(5, 1000 + number * segment, duration + 1, elapsed / 8000, end=elapsed == held, marker=elapsed == 160)
        ear.receiver.poll(elapsed / 8000)
    assert ear.digits == [("5", 20_000)]


def test_two_presses_of_one_key_are_no_segments() -> None:
    ear = Ear()
    ear.hear(1, 1000, 800, 0.1, marker=True)
    ear.hear(1, 1800, 160, 0.12)
    ear.hear(1, 1800, 800, 0.2, end=True)
    assert ear.digits == [("1", 100), ("1", 100)]


def test_a_duration_that_wraps_goes_on() -> None:
    ear = Ear()
    for elapsed in range(160, 80_160, 160):
        ear.hear(7, 1000, elapsed & 0xFFFF, elapsed / 8000, marker=elapsed == 160)
        if elapsed == 65_600:
            ear.hear(7, 1000, 65_440, elapsed / 8000)  # overtaken by the wrap
    ear.hear(7, 1000, 80_000 & 0xFFFF, 10.0, end=True)
    assert ear.digits == [("7", 10_000)]
