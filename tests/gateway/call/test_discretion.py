"""What was said and keyed while the recording was paused: for the model, and for nothing that is kept."""

import pytest

from gateway.call.conversation import Conversation
from gateway.call.discretion import Discretion
from gateway.call.entry import KeypadEntry
from gateway.call.history import history_of
from gateway.call.record import transcript_of
from gateway.realtime.conversation import AgentTurn, CallerTurn

CARD = "four one one one"


def paused_call(ended: float | None = None) -> Conversation:
    """A call that was answered at 0, whose recording is paused, and goes on where an end is given."""
    talk = Conversation(started=0.0)
    talk.withhold()
    if ended is not None:
        talk.discretion.end(ended)
    return talk


def kept(talk: Conversation) -> list[tuple[str, bool]]:
    return [(said.text, said.withheld) for said in transcript_of(talk)]


def test_words_of_a_pause_are_known_to_the_model_and_to_no_record() -> None:
    talk = paused_call()
    talk.caller_started("c1", 11.0)
    talk.caller_said("c1", CARD, 14.0)
    talk.agent_said("a1", f"I heard {CARD}.", 15.0)
    assert kept(talk) == [("", True), ("", True)]
    assert [record.heard_text for record in transcript_of(talk)] == [None, ""]
    assert history_of(talk) == (CallerTurn(CARD), AgentTurn(f"I heard {CARD}."))


@pytest.mark.parametrize(
    ("started", "stopped", "withheld"),
    [
        (4.0, 6.0, False),
        (9.0, 11.0, True),
        (12.0, 14.0, True),
        (19.0, 22.0, True),
        (20.5, 22.0, True),
        (21.5, 23, False),
    ],
    ids=["before", "into", "in", "out of", "told late", "behind"],
)
def test_what_counts_is_when_it_was_spoken_and_not_when_the_words_come(
    started: float, stopped: float, withheld: bool
) -> None:
    """The pause lasts from 10 to 20; the transcript comes at 30."""
    talk = Conversation(started=0.0)
    steps = [
        (10.0, talk.withhold),
        (20.0, lambda: talk.discretion.end(20.0)),
        (started, lambda: talk.caller_started("c1", started)),
        (stopped, lambda: talk.caller_stopped(stopped, stopped, "c1")),
    ]
    for _, step in sorted(steps, key=lambda step: step[0]):
        step()
    assert talk.caller_said("c1", CARD, 30.0).withheld is withheld


def test_a_beginning_that_did_not_count_at_once_is_told_with_its_true_moment() -> None:
    talk = paused_call(ended=20.0)
    talk.caller_started("c1", 24.0, began=19.5)
    assert talk.caller_said("c1", CARD, 26.0).withheld


def test_words_whose_beginning_nobody_told_may_be_as_old_as_the_words_before_them() -> None:
    talk = Conversation(started=0.0)
    talk.caller_said("c1", "I want to pay.", 5.0)
    talk.withhold()
    talk.discretion.end(20.0)
    talk.caller_said("c2", CARD, 40.0)
    talk.caller_said("c3", "Thank you.", 50.0)
    assert kept(talk) == [("I want to pay.", False), ("", True), ("Thank you.", False)]


def test_several_of_them_may_come_one_after_another_behind_the_pause() -> None:
    talk = paused_call(ended=20.0)
    talk.caller_said("c1", CARD, 20.5)
    talk.caller_said("c2", CARD, 21.0)
    assert kept(talk) == [("", True), ("", True)]


def test_words_that_two_sessions_hear_are_the_same_words() -> None:
    """The session was lost while the caller spoke; the next one is told the last of it, and hears them begin later."""
    talk = paused_call()
    talk.caller_started("c1", 15.0)
    talk.discretion.end(16.0)
    talk.caller_started("1~c1", 25.0)
    talk.caller_stopped(26.0, 26.0, "1~c1")
    talk.caller_said("1~c1", CARD, 27.0)
    talk.caller_started("1~c2", 30.0)
    talk.caller_said("1~c2", "Thank you.", 31.0)
    assert kept(talk) == [("", True), ("Thank you.", False)]


@pytest.mark.parametrize("final", [True, False])
def test_an_answer_that_reaches_into_a_pause_is_withheld_and_the_one_behind_it_is_not(final: bool) -> None:
    def says(item_id: str, now: float) -> None:
        if final:
            talk.agent_said(item_id, "Your card", now)
        else:  # it was interrupted: its last words never come
            talk.agent_fragment(item_id, "Your card", now)

    talk = Conversation(started=0.0)
    says("a1", 9.0)
    talk.agent_audio("r2", "a2", 100, 9.5)
    talk.withhold()
    talk.discretion.end(20.0)
    says("a2", 20.1)
    says("a3", 20.2)
    assert kept(talk) == [("Your card", False), ("", True), ("Your card", False)]


def test_keys_of_a_pause_are_told_and_not_kept() -> None:
    entry = KeypadEntry()
    entry.read("application/dtmf", b"4", 100, withheld=True)
    entry.press("1", 80, 200, withheld=True)
    entry.press("#", 80, 300)
    assert [(key.digit, key.at_ms, key.withheld) for key in entry.digits] == [
        ("", 100, True),
        ("", 200, True),
        ("#", 300, False),
    ]
    assert entry.take() == "41#"


def test_what_begins_soon_behind_a_pause_counts_to_it_for_the_caller_alone() -> None:
    pause = Discretion()
    assert not pause.covers(0.0)
    pause.begin()
    assert pause.covers(5.0)
    assert pause.touches(5.0)
    pause.end(10.0)
    pause.end(12.0)  # it was over
    assert (pause.covers(10.9), pause.covers(11.1), pause.touches(9.9), pause.touches(10.1)) == (
        True,
        False,
        True,
        False,
    )
    assert pause.has_been_on


def test_an_utterance_is_kept_unless_somebody_paused() -> None:
    talk = Conversation(started=0.0)
    talk.caller_started("c1", 1.0)
    said = talk.caller_said("c1", "Good evening.", 3.0)
    assert not said.withheld
    assert kept(talk) == [("Good evening.", False)]
