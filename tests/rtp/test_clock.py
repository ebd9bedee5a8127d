"""The media clock, driven by hand; and once by a real loop."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
import uvloop

from rtp.clock import MediaClock

STEP_S = 0.005


class Served:
    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.skipped = 0
        self.on_tick: Callable[[], None] = lambda: None

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.on_tick()

    def skip(self, turns: int) -> None:
        self.skipped += turns


def no_fault(media: object, error: Exception) -> None:
    raise AssertionError(f"{media} raised") from error


def clock() -> MediaClock:
    subject = MediaClock(no_fault)
    subject.wind(100.0)
    return subject


def play(subject: MediaClock, until: float, lag: Callable[[int], float] = lambda step: 0.0) -> None:
    """Wakes the clock at each deadline, `lag(step)` late."""
    due = 100.0 + STEP_S
    step = 0
    while due <= until:
        due = subject.advance(due + lag(step))
        step += 1


def test_four_calls_have_four_phases() -> None:
    subject, calls = clock(), [Served() for _ in range(4)]
    for call in calls:
        subject.register(call)
    play(subject, 100.2)
    phases = {round(call.ticks[0] / STEP_S) % 4 for call in calls}
    assert len(phases) == 4
    for call in calls:
        gaps = [later - earlier for earlier, later in zip(call.ticks, call.ticks[1:], strict=False)]
        assert gaps == pytest.approx([0.020] * len(gaps))


def test_a_new_call_takes_the_emptiest_phase() -> None:
    subject, calls = clock(), [Served() for _ in range(8)]
    for call in calls:
        subject.register(call)
    subject.unregister(calls[2])
    newcomer = Served()
    subject.register(newcomer)
    play(subject, 100.1)
    assert newcomer.ticks[0] == pytest.approx(calls[6].ticks[0])


def test_two_hours_have_exactly_their_turns() -> None:
    subject, call = clock(), Served()
    subject.register(call)
    play(subject, 100.0 + 7200.0, lag=lambda step: (step * 7 % 4) / 1000)
    assert len(call.ticks) == 7200 * 50
    assert call.ticks[-1] == pytest.approx(100.0 + 7200.0, abs=0.025)
    assert subject.lag.missed_turns == 0


@pytest.mark.parametrize("period_ms", [10, 20, 30, 40, 50, 60])
def test_periods_follow_ptime(period_ms: int) -> None:
    subject, call = clock(), Served()
    subject.register(call, period_ms)
    play(subject, 106.0001)
    assert len(call.ticks) == 6000 // period_ms


def test_a_short_delay_is_made_up_without_skipping() -> None:
    subject, calls = clock(), [Served() for _ in range(4)]
    for call in calls:
        subject.register(call)
    play(subject, 101.0, lag=lambda step: 0.014 if step == 50 else 0.0)
    assert [len(call.ticks) for call in calls] == [50] * 4
    assert sum(call.skipped for call in calls) == 0


def test_after_a_stall_each_call_is_served_once_and_told_what_it_missed() -> None:
    subject, calls = clock(), [Served() for _ in range(8)]
    for call in calls:
        subject.register(call)
    play(subject, 101.0, lag=lambda step: 0.250 if step == 50 else 0.0)
    for call in calls:
        assert len(call.ticks) + call.skipped == 50
        assert call.skipped in (11, 12)
        gaps = [later - earlier for earlier, later in zip(call.ticks, call.ticks[1:], strict=False)]
        assert min(gaps) > 0
        assert sum(gap < 0.004 for gap in gaps) == 0
    assert subject.lag.max_ms == pytest.approx(250, abs=1)
    assert subject.lag.missed_turns == sum(call.skipped for call in calls)


def test_a_call_that_is_unregistered_in_a_turn_is_not_served_in_it() -> None:
    subject, calls = clock(), [Served() for _ in range(8)]
    for call in calls:
        subject.register(call)
    calls[0].on_tick = lambda: subject.unregister(calls[4])
    play(subject, 100.1)
    assert calls[0].ticks
    assert calls[4].ticks == []
    assert subject.media_count == 7
    subject.unregister(calls[4])


def test_a_call_that_raises_is_ended_and_the_others_go_on() -> None:
    faults: list[object] = []
    subject = MediaClock(lambda media, error: faults.append((media, str(error))))
    subject.wind(100.0)
    good, bad = Served(), Served()

    def fail() -> None:
        raise ValueError("a fault of this call")

    bad.on_tick = fail
    for call in (bad, good):
        subject.register(call)
    play(subject, 101.0)
    assert faults == [(bad, "a fault of this call")]
    assert len(good.ticks) == 50


def test_lag_is_told_in_percentiles() -> None:
    subject, call = clock(), Served()
    subject.register(call)
    play(subject, 101.0, lag=lambda step: 0.004 if step % 10 == 0 else 0.0002)
    assert subject.lag.percentile_ms(50) == 0.5
    assert subject.lag.percentile_ms(99) == pytest.approx(4.5, abs=0.5)
    subject.lag.reset()
    assert subject.lag.steps == 0
    assert subject.lag.percentile_ms(99) == 0.0


def test_calls_of_any_period_may_come_in_a_turn() -> None:
    subject, call, newcomer = clock(), Served(), Served()
    call.on_tick = lambda: subject.register(newcomer, 60) if not newcomer.ticks else None
    subject.register(call)
    play(subject, 101.0)
    assert newcomer.ticks


def test_hooks_run_before_the_calls_of_a_step() -> None:
    subject, call, order = clock(), Served(), []
    subject.add_step_hook(lambda now: order.append("hook"))
    call.on_tick = lambda: order.append("tick")
    subject.register(call)
    play(subject, 100.0201)
    assert order.count("hook") == 4
    assert order[order.index("tick") - 1] == "hook"


@pytest.mark.parametrize("period_ms", [0, 15, 70])
def test_periods_that_no_phase_serves_are_refused(period_ms: int) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        clock().register(Served(), period_ms)


async def test_a_fault_in_a_hook_does_not_stop_the_clock() -> None:
    loop, faults, enough = asyncio.get_running_loop(), [], asyncio.Event()
    loop.set_exception_handler(lambda _, context: faults.append(context))

    def hook(now: float) -> None:
        if len(faults) < 2:
            raise ValueError("a fault of the hook")
        enough.set()

    subject = MediaClock(no_fault)
    subject.add_step_hook(hook)
    subject.start(loop)
    subject.register(Served())
    await asyncio.wait_for(enough.wait(), 5)
    subject.stop()
    assert len(faults) == 2


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_drives_the_clock_and_it_rests_when_empty(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> tuple[int, int]:
        subject, call, enough = MediaClock(no_fault), Served(), asyncio.Event()
        subject.start(asyncio.get_running_loop())
        call.on_tick = lambda: enough.set() if len(call.ticks) >= 5 else None
        subject.register(call)
        await enough.wait()
        subject.unregister(call)
        steps, quiet = subject.lag.steps, len(call.ticks)
        subject.register(call)
        enough.clear()
        await enough.wait()
        subject.stop()
        return steps, quiet

    with asyncio.Runner(loop_factory=factory) as runner:
        steps, ticks = runner.run(scenario())
    assert steps >= ticks >= 5


@pytest.mark.parametrize("heard_ms", [0.0, 1.9, 2.1, 4.9, 5.0, 13.3, 19.0, 19.9])
def test_an_aligned_call_has_its_turn_eight_to_thirteen_ms_after_its_far_end_speaks(heard_ms: float) -> None:
    subject, call = clock(), Served()
    subject.register(call)
    play(subject, 100.1)
    subject.align(call, 100.04 + heard_ms / 1000)
    call.ticks.clear()
    play(subject, 100.5)
    late_ms = (call.ticks[3] - (100.04 + heard_ms / 1000)) * 1000 % 20
    assert 7.9 < late_ms < 13.1
    assert len(call.ticks) == pytest.approx(20, abs=1)


def test_far_ends_that_speak_all_at_once_do_not_crowd_one_step() -> None:
    subject, calls = clock(), [Served() for _ in range(100)]
    for call in calls:
        subject.register(call)
    for call in calls:
        subject.align(call, 100.0)
    play(subject, 100.0999)
    steps = Counter(round(tick, 4) for call in calls for tick in call.ticks)
    assert max(steps.values()) < 50
    assert all(len(call.ticks) >= 4 for call in calls)


def test_aligning_what_is_not_served_does_nothing() -> None:
    subject, call = clock(), Served()
    subject.align(call, 100.0)
    assert subject.media_count == 0
