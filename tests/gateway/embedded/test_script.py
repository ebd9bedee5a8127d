"""Scripts: what they mean, and how faults in them are told."""

from pathlib import Path

import pytest

from gateway.embedded.brain import Brain, quoted_words
from gateway.embedded.errors import ScriptError
from gateway.embedded.phrase import edit_distance, split_words
from gateway.embedded.script import load_script, parse_script
from gateway.embedded.server import DEFAULT_SCRIPT
from tests.gateway.embedded.scripts import TEXT, script


def faults(text: str) -> list[str]:
    with pytest.raises(ScriptError) as caught:
        parse_script(text, "s.yaml")
    return [str(fault) for fault in caught.value.faults]


def test_phrases_stand_for_all_values_of_their_slots() -> None:
    meanings = script().meanings
    assert meanings["A table for three please"].slots == {"count": "three"}
    assert meanings["A table for two please"].turn.name == "booking"
    assert len(meanings) == 4


def test_default_script_is_in_order() -> None:
    default = load_script(DEFAULT_SCRIPT)
    tools = {turn.call.tool for turn in default.turns if turn.call is not None}
    assert tools == {"book_table", "transfer_call", "end_call"}


def test_every_fault_is_told_with_line_and_key() -> None:
    text = TEXT.replace("idle: Are you there?", "idel: Are you there?").replace(
        "call: {tool: end_call}", "call: {toll: x}"
    )
    assert faults(text) == [
        "s.yaml:22: turns[2].call.tool: Field required",
        "s.yaml:22: turns[2].call.toll: Extra inputs are not permitted",
        "s.yaml:5: idel: Extra inputs are not permitted",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("Goodbye]", "table 4]", "s.yaml:20: turns[2].heard[0]: has digits; numbers are written as they are spoken"),
        ("[Goodbye]", '["?"]', "s.yaml:20: turns[2].heard[0]: has no words"),
        ("{count} please", "{number} please", "names the slot 'number', which `slots` lacks"),
        ("[Goodbye]", '["When are you OPEN"]', "belongs to the turns 'hours' and 'goodbye'"),
        ("greeting: Good morning.", "greeting: [", "is not YAML"),
        (
            "    say: We are open every day from noon until ten in the evening.\n",
            "",
            "s.yaml:8: turns[0]: needs words in `say` or a tool in `call`",
        ),
    ],
)
def test_faults_are_sentences(old: str, new: str, fault: str) -> None:
    assert old in TEXT
    assert any(fault in text for text in faults(TEXT.replace(old, new)))


@pytest.mark.parametrize("text", ["", "[]", "5", "a: b: c", "\x00"])
def test_what_is_no_script_is_refused(text: str) -> None:
    assert faults(text)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="cannot be read: No such file"):
        load_script(tmp_path / "none.yaml")


def test_phrases_are_compared_by_their_words() -> None:
    brain = Brain(script())
    assert brain.answer("WHEN are you open", ()).words == "We are open every day from noon until ten in the evening."
    assert split_words("It’s 'fine', isn't it?") == ("it's", "fine", "isn't", "it")
    assert edit_distance(["a", "b", "c"], ["a", "c", "d"]) == 2


@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        ('Greet with these words: "Hello."', "Hello."),
        ("Say “Hello.” and then “Bye.”", "Hello. Bye."),
        ("Greet the caller.", None),
        ('An inch is "', None),
        ('""', None),
    ],
)
def test_quoted_words_are_taken_from_instructions(instructions: str, words: str | None) -> None:
    assert quoted_words(instructions) == words
