"""What was said, how much of it was heard, and how long it took."""

import pytest

from gateway.call import conversation
from gateway.call.conversation import Conversation, Speaker


def test_an_interrupted_utterance_keeps_only_the_words_that_were_heard() -> None:
    talk = Conversation(started=10.0)
    talk.response_started("r1", 11.0)
    talk.agent_audio("r1", "a1", 4000, 11.1)
    talk.agent_said("a1", "one two three four five six seven eight", 11.2)
    talk.agent_interrupted("a1", 2000)
    (said,) = talk.utterances
    assert said.interrupted
    assert said.heard_ms == 2000
    assert said.heard_text == "one two three four"
    assert talk.turns[0].interrupted


def test_what_was_never_heard_has_no_heard_words() -> None:
    talk = Conversation(started=0.0)
    talk.agent_audio("r1", "a1", 4000, 0.1)
    talk.agent_said("a1", "one two three", 0.2)
    talk.agent_interrupted("a1", 0)
    assert talk.utterances[0].heard_text == ""


def test_words_that_were_heard_to_the_end_stay_whole() -> None:
    talk = Conversation(started=0.0)
    talk.agent_audio("r1", "a1", 1000, 0.1)
    talk.agent_said("a1", "one two", 0.2)
    talk.agent_item_played("a1", 1000)
    assert talk.utterances[0].heard_text == "one two"


def test_fragments_add_up_until_the_final_words_replace_them() -> None:
    talk = Conversation(started=0.0)
    talk.agent_fragment("a1", "Good ", 0.1)
    talk.agent_fragment("a1", "evning", 0.2)
    assert talk.utterances[0].text == "Good evning"
    talk.agent_said("a1", "Good evening", 0.3)
    assert [said.text for said in talk.utterances] == ["Good evening"]


def test_the_caller_takes_their_place_when_they_begin_though_their_words_come_late() -> None:
    talk = Conversation(started=0.0)
    talk.caller_started("c1", 1.0)
    talk.agent_said("a1", "It is noon.", 2.0)
    talk.caller_said("c1", "What time is it?", 3.0)
    assert [(said.speaker, said.text) for said in talk.utterances] == [
        (Speaker.CALLER, "What time is it?"),
        (Speaker.AGENT, "It is noon."),
    ]


def test_a_turn_is_measured_from_the_last_word_to_the_first_packet() -> None:
    talk = Conversation(started=0.0)
    talk.caller_stopped(5.0, 5.5)
    talk.response_started("r1", 5.6)
    talk.agent_audio("r1", "a1", 20, 5.9)
    turn = talk.agent_heard_from("a1", 5.92)
    assert turn is not None
    assert turn.is_reply
    assert turn.latency_ms == 920
    assert talk.agent_heard_from("a1", 6.0) is None


def test_a_greeting_answers_nobody() -> None:
    talk = Conversation(started=0.0)
    talk.response_started("r1", 0.1)
    talk.agent_audio("r1", "a1", 20, 0.2)
    turn = talk.agent_heard_from("a1", 0.3)
    assert turn is not None
    assert not turn.is_reply
    assert turn.latency_ms is None


def test_speech_is_answered_by_one_response_only() -> None:
    talk = Conversation(started=0.0)
    talk.caller_stopped(5.0, 5.5)
    talk.response_started("r1", 5.6)
    talk.response_started("r2", 9.0)
    assert [turn.is_reply for turn in talk.turns] == [True, False]


def test_the_oldest_utterances_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "UTTERANCE_LIMIT", 3)
    talk = Conversation(started=0.0)
    for number in range(5):
        talk.caller_said(f"c{number}", f"words {number}", float(number))
    assert [said.text for said in talk.utterances] == ["words 2", "words 3", "words 4"]
    assert talk.dropped_utterances == 2
