"""Silence: who is asked whether they are there, how often, and when the gateway hangs up."""

from gateway.call.silence import Silence, SilenceAct
from gateway.config.agent import SilenceSettings

ASKING = SilenceSettings(prompt="Are you there?", prompt_after_seconds=10, prompts=2, hang_up_after_seconds=60)


def acts(silence: Silence, seconds: range, *, talks: bool = False, turns: int = 0) -> list[tuple[int, str]]:
    found = []
    for second in seconds:
        act = silence.check(float(second), agent_talks=talks, caller_turns=turns)
        if act is not SilenceAct.NOTHING:
            found.append((second, act.value))
    return found


def test_a_silent_caller_is_asked_twice_and_then_hung_up_on() -> None:
    assert acts(Silence(ASKING, 0.0), range(1, 61)) == [(10, "prompt"), (20, "prompt"), (60, "hang_up")]


def test_a_caller_who_listens_is_not_silent() -> None:
    silence = Silence(ASKING, 0.0)
    assert acts(silence, range(1, 100), talks=True) == []
    assert acts(silence, range(100, 120)) == [(109, "prompt"), (119, "prompt")]


def test_a_word_of_the_caller_begins_it_anew() -> None:
    silence = Silence(ASKING, 0.0)
    acts(silence, range(1, 25))
    assert acts(silence, range(25, 50), turns=1) == [(30, "prompt"), (40, "prompt")]


def test_the_agents_own_question_does_not_put_off_the_end() -> None:
    silence = Silence(ASKING, 0.0)
    acts(silence, range(1, 11))
    acts(silence, range(11, 15), talks=True)
    assert acts(silence, range(15, 61)) == [(24, "prompt"), (60, "hang_up")]


def test_without_settings_nothing_happens() -> None:
    assert acts(Silence(SilenceSettings(), 0.0), range(1, 4000)) == []
