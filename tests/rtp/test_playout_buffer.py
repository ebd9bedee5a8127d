"""The playout buffer: sources behind networks with seeded jitter, heard in virtual time."""

import heapq
import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from rtp.codec import g711
from rtp.coding import ALAW, LINEAR, ULAW, Coding
from rtp.delay_estimate import DelayEstimate
from rtp.playout_buffer import MAX_TARGET_MS, PlayoutBuffer

FRAME_S = 0.02
TICK_PHASE_S = 0.007


def babble(seconds: float, seed: int = 1) -> NDArray[np.int16]:
    """A voice-like sound: 600 ms of a gliding tone, 400 ms of quiet noise, and so on."""
    time = np.arange(int(seconds * 8000)) / 8000
    glide = 6000 * np.sin(2 * np.pi * (150 * time + 20 * np.sin(2 * np.pi * time)))
    noise = np.random.default_rng(seed).normal(0, 20, len(time))
    return np.where(time % 1.0 < 0.6, glide, noise).astype(np.int16)


def frames_of(sound: NDArray[np.int16], coding: Coding) -> list[bytes]:
    return [coding.encode(sound[start : start + 160]) for start in range(0, len(sound) - 159, 160)]


def arrivals(
    frames: list[bytes], delay_s: Callable[[int], float], period_s: float = FRAME_S
) -> list[tuple[float, bytes]]:
    """When each frame comes, in order: the stream before the buffer never overtakes."""
    clock, result = 0.0, []
    for number, frame in enumerate(frames):
        clock = max(clock, (number + 1) * period_s + delay_s(number))
        result.append((clock, frame))
    return result


def punctual() -> float:
    return 0.0


def hear(
    buffer: PlayoutBuffer,
    arriving: list[tuple[float, bytes]],
    until_s: float,
    lateness_s: Callable[[], float] = punctual,
) -> Iterator[bytes]:
    """Takes a frame every 20 ms. `lateness_s` is how late a turn comes."""
    waiting = [(at, number, frame) for number, (at, frame) in enumerate(arriving)]
    heapq.heapify(waiting)
    now = TICK_PHASE_S
    while now < until_s:
        turn = now + lateness_s()
        while waiting and waiting[0][0] <= turn:
            at, _, frame = heapq.heappop(waiting)
            buffer.put(frame, at)
        yield buffer.take(turn)
        now += FRAME_S


def exponential(mean_s: float, seed: int = 5) -> Callable[[int], float]:
    chance = random.Random(seed)
    return lambda number: 0.03 + chance.expovariate(1 / mean_s)


def still(number: int) -> float:
    return 0.03


@pytest.mark.parametrize("coding", [ULAW, ALAW, LINEAR])
def test_without_jitter_every_octet_passes_as_it_is(coding: Coding) -> None:
    frames = frames_of(babble(10), coding)
    buffer = PlayoutBuffer(coding, 8000)
    heard = b"".join(hear(buffer, arrivals(frames, still), 12))
    speech = b"".join(frames[:30])  # the first word: nothing is quiet before its end
    assert speech in heard
    assert buffer.statistics().late_ms == 0


def test_without_jitter_the_delay_shrinks_to_little_more_than_a_frame() -> None:
    buffer = PlayoutBuffer(ULAW, 8000)
    list(hear(buffer, arrivals(frames_of(babble(20), ULAW), still), 20))
    statistics = buffer.statistics()
    assert statistics.target_ms == 5
    assert statistics.delay_ms <= 50
    assert statistics.concealed_ms == 0


def test_thirty_milliseconds_of_jitter_lose_about_the_accepted_share() -> None:
    buffer = PlayoutBuffer(ULAW, 8000)
    list(hear(buffer, arrivals(frames_of(babble(120), ULAW), exponential(0.030)), 120))
    statistics = buffer.statistics()
    assert statistics.late_ms + statistics.concealed_ms < 0.05 * 120_000
    assert 80 <= statistics.delay_ms <= 260


@pytest.mark.parametrize("latest_s", [0.010, 0.015, 0.019])
def test_turns_that_come_late_in_a_busy_process_are_no_reason_to_leave_sound_out(latest_s: float) -> None:
    chance = random.Random(9)
    buffer = PlayoutBuffer(ULAW, 8000)
    arriving = arrivals(frames_of(babble(120), ULAW), lambda number: 0.03 + 0.002 * chance.random())
    list(hear(buffer, arriving, 120, lambda: chance.uniform(0, latest_s)))
    statistics = buffer.statistics()
    assert statistics.concealed_ms + statistics.late_ms < 0.002 * 120_000
    assert statistics.removed_ms <= 120


def test_more_loss_accepted_is_less_delay() -> None:
    def mean_target_ms(late_ratio: float) -> float:
        buffer = PlayoutBuffer(ULAW, 8000, late_ratio=late_ratio)
        targets = [
            buffer.statistics().target_ms
            for _ in hear(buffer, arrivals(frames_of(babble(30), ULAW), exponential(0.02)), 30)
        ]
        return sum(targets) / len(targets)

    assert mean_target_ms(0.005) > mean_target_ms(0.05) + 20


def test_the_delay_follows_a_network_that_grows_restless_and_calms() -> None:
    chance = random.Random(3)

    def delay(number: int) -> float:
        return 0.03 + (chance.uniform(0, 0.08) if 500 <= number < 1500 else 0.0)

    buffer = PlayoutBuffer(ULAW, 8000)
    delays = [buffer.statistics().delay_ms for _ in hear(buffer, arrivals(frames_of(babble(60), ULAW), delay), 60)]
    assert max(delays[400:500]) <= 50
    assert min(delays[1300:1500]) >= 80
    assert max(delays[-200:]) <= 60
    assert buffer.statistics().removed_ms > 0


def test_a_pause_in_speech_is_used_to_grow_the_delay() -> None:
    def delay(number: int) -> float:
        return 0.03 + (0.06 if 528 <= number < 530 else 0.0)  # just before the pause, which begins with frame 530

    buffer = PlayoutBuffer(ULAW, 8000)
    list(hear(buffer, arrivals(frames_of(babble(11), ULAW), delay), 11))
    assert buffer.statistics().inserted_ms > 0


@pytest.mark.parametrize("parts_per_million", [-200, 200])
def test_a_source_with_a_drifting_clock_is_followed_for_half_an_hour(parts_per_million: int) -> None:
    frames = frames_of(babble(10), ULAW) * 180
    period_s = FRAME_S * (1 + parts_per_million / 1e6)
    buffer = PlayoutBuffer(ULAW, 8000)
    delays = [buffer.statistics().delay_ms for _ in hear(buffer, arrivals(frames, still, period_s), 1790)]
    assert max(delays[500:]) <= 70
    assert buffer.statistics().restarts == 0


def test_one_spike_is_concealed_and_does_not_delay_the_rest_for_long() -> None:
    def delay(number: int) -> float:
        return 0.03 + (0.150 if number == 510 else 0.0)

    buffer = PlayoutBuffer(ULAW, 8000)
    delays = [buffer.statistics().delay_ms for _ in hear(buffer, arrivals(frames_of(babble(20), ULAW), delay), 20)]
    assert buffer.statistics().concealed_ms >= 40
    assert max(delays[600:]) <= 120
    assert max(delays[-100:]) <= 60


def test_a_pause_of_the_source_is_a_new_start_and_nothing_is_lost_after_it() -> None:
    frames = frames_of(babble(4), ULAW)
    first, second = arrivals(frames[:100], still), arrivals(frames[100:], still)
    buffer = PlayoutBuffer(ULAW, 8000)
    heard = b"".join(hear(buffer, first + [(at + 5, frame) for at, frame in second], 8))
    assert buffer.statistics().restarts == 1
    assert b"".join(frames[100:130]) in heard


def test_a_burst_after_a_stall_is_cut_to_the_target() -> None:
    frames = frames_of(babble(3), ULAW)
    buffer = PlayoutBuffer(ULAW, 8000)
    for frame in frames[:10]:
        buffer.put(frame, 0.2)
        buffer.take(0.2)
    for frame in frames[10:]:
        buffer.put(frame, 0.4)
    assert buffer.statistics().removed_ms > 1000


def test_silence_until_something_comes_and_every_frame_has_its_length() -> None:
    buffer = PlayoutBuffer(ALAW, 8000)
    assert buffer.take(0.0) == b"\xd5" * 160
    heard = list(hear(buffer, arrivals(frames_of(babble(5), ALAW), exponential(0.05)), 6))
    assert {len(frame) for frame in heard} == {160}


def test_packets_of_ten_and_sixty_milliseconds_become_frames_of_twenty() -> None:
    sound = g711.encode_ulaw(babble(6))
    for size in (80, 480):
        pieces = [sound[start : start + size] for start in range(0, len(sound), size)]
        buffer = PlayoutBuffer(ULAW, 8000)
        heard = b"".join(hear(buffer, arrivals(pieces, still, size / 8000), 7))
        assert sound[: 8000 * 6 // 10] in heard


def test_what_replaces_lost_sound_makes_no_step() -> None:
    tone = (8000 * np.sin(2 * np.pi * 200 * np.arange(80000) / 8000)).astype(np.int16)
    buffer = PlayoutBuffer(LINEAR, 8000)
    heard = b"".join(hear(buffer, arrivals(frames_of(tone, LINEAR), exponential(0.02)), 9))
    steps = np.abs(np.diff(LINEAR.decode(heard).astype(np.int32)))
    assert buffer.statistics().concealed_ms > 0
    assert float(np.quantile(steps, 0.9999)) < 4 * 1257
    assert np.count_nonzero(steps > 8000) <= 2


def test_the_target_is_the_delay_within_which_the_wanted_share_arrives() -> None:
    chance = random.Random(11)
    estimate = DelayEstimate(late_ratio=0.05, first_target_ms=40)
    for number in range(5000):
        estimate.arrive(number * 0.02, number * 0.02 + chance.uniform(0.0, 0.100))
    assert 0.090 <= estimate.target_s <= 0.105
    assert estimate.lateness_s(100.0, 100.05) == pytest.approx(0.05, abs=0.002)


def test_the_target_never_exceeds_what_a_conversation_bears() -> None:
    buffer = PlayoutBuffer(ULAW, 8000)
    list(hear(buffer, arrivals(frames_of(babble(10), ULAW), exponential(0.2)), 10))
    assert buffer.statistics().target_ms <= MAX_TARGET_MS


def test_what_waits_elsewhere_is_asked_for_when_its_turn_has_come() -> None:
    frames, waiting = frames_of(babble(1.0), ULAW), list[bytes]()

    def hurry() -> None:
        while waiting:
            buffer.put(waiting.pop(0), now)

    buffer = PlayoutBuffer(ULAW, 8000, hurry=hurry)
    played, now = [], 0.0
    for number, frame in enumerate(frames):
        now = (number + 1) * FRAME_S
        if 20 <= number < 23:  # behind a gap in the stream's order
            waiting.append(frame)
        else:
            hurry()
            buffer.put(frame, now)
        played.append(buffer.take(now + TICK_PHASE_S))
    statistics = buffer.statistics()
    assert statistics.concealed_ms == 0
    assert b"".join(frames[10:30]) in b"".join(played)


def test_time_moves_in_pauses_and_not_within_words() -> None:
    """A closure of 40 ms in the midst of a word is no pause, one of 200 ms between two words is."""
    word = np.where(np.arange(8 * 240) % (8 * 120) < 8 * 80, 6000 * np.sin(np.arange(8 * 240) / 3), 0)
    sentence = np.tile(np.concatenate((word, word)), 12)
    speech = np.concatenate((sentence, np.zeros(8 * 400), sentence)).astype(np.int16)
    buffer, removed = PlayoutBuffer(ULAW, 8000), []
    for number, frame in enumerate(frames_of(speech, ULAW)):
        buffer.put(frame, (number + 1) * FRAME_S)
        buffer.take((number + 1) * FRAME_S + TICK_PHASE_S)
        removed.append(buffer.statistics().removed_ms)
    pause = len(sentence) // 160
    assert removed[pause - 1] == 0
    assert removed[pause + 25] > 0
