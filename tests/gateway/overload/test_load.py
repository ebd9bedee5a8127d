"""When a process takes on no more: lag and occupancy, beat by beat."""

from gateway.overload.load import BEAT_SECONDS, BEATS, LoadLevel, LoopLoad

LIMIT = 0.010


def beat(load: LoopLoad, count: int, *, lag: float = 0.0, share: float = 0.1) -> LoadLevel:
    for _ in range(count):
        elapsed = BEAT_SECONDS + lag
        load.beat(lag, share * elapsed, elapsed)
    return load.level


def test_an_idle_loop_is_calm() -> None:
    assert beat(LoopLoad(LIMIT), 1000, lag=0.002) is LoadLevel.CALM


def test_one_long_piece_of_work_is_no_reason_to_refuse_calls() -> None:
    load = LoopLoad(LIMIT)
    beat(load, 50)
    assert beat(load, 1, lag=0.150, share=1.0) is LoadLevel.CALM
    assert beat(load, 50) is LoadLevel.CALM


def test_lag_that_stays_sheds_within_half_a_second() -> None:
    load = LoopLoad(LIMIT)
    beat(load, 50)
    assert beat(load, BEATS // 2 + 1, lag=0.012) is LoadLevel.OVERLOADED
    assert (BEATS // 2 + 1) * (BEAT_SECONDS + 0.012) < 0.5


def test_shedding_ends_below_the_threshold_and_not_at_it() -> None:
    load = LoopLoad(LIMIT)
    beat(load, 50, lag=0.012)
    assert beat(load, 50, lag=0.009) is LoadLevel.OVERLOADED
    assert beat(load, 50, lag=0.007) is LoadLevel.CALM


def test_a_loop_without_time_left_sheds_although_nothing_is_late() -> None:
    load = LoopLoad(LIMIT)
    assert beat(load, 50, share=0.85) is not LoadLevel.OVERLOADED
    assert beat(load, 100, share=0.85) is LoadLevel.BUSY
    assert beat(load, 100, share=1.0) is LoadLevel.OVERLOADED
    assert beat(load, 100, share=0.5) is LoadLevel.CALM


def test_calls_that_keep_a_process_busy_do_not_keep_others_out_once_the_peak_is_over() -> None:
    load = LoopLoad(LIMIT)
    assert beat(load, 100, share=1.0) is LoadLevel.OVERLOADED
    assert beat(load, 100, share=0.85) is LoadLevel.BUSY


def test_the_occupancy_that_sheds_is_the_configured_one() -> None:
    assert beat(LoopLoad(LIMIT, 0.6), 100, share=0.7) is LoadLevel.OVERLOADED
    assert beat(LoopLoad(LIMIT, 1.0), 100, share=1.0) is LoadLevel.BUSY
