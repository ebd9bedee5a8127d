"""The demo as a newcomer runs it: one command, and a recording in which both sides can be understood."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from gateway.audio_file import read_wav
from gateway.call.record import CallRecord, EndRecord, UtteranceRecord
from gateway.demo.screenplay import SCREENPLAY
from gateway.demo.verdict import check_agent, check_caller, heard, recognise

LINES = [line.text for line in SCREENPLAY]
# Sentences that nobody says in the demo: a recogniser that hears what it is told to expect would find them too.
NEVER_SAID = [
    "Where is the restaurant?",
    "I want to cancel my booking.",
    "You find us at number five, Mill Lane, right beside the old bridge.",
    "I am sorry, we have no table left at that time.",
]


@pytest.mark.process
@pytest.mark.timeout(180)
def test_one_command_leaves_a_recording_in_which_both_sides_are_understood(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "-o", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (record_path,) = tmp_path.glob("*.json")
    record = CallRecord.model_validate(json.loads(record_path.read_text()))
    samples, rate_hz = read_wav(record_path.with_suffix(".wav"))
    assert rate_hz == 8000

    agent = [sentence for said in record.transcript if said.speaker == "agent" for sentence in heard(said)]
    assert len(agent) >= 5
    known = [*LINES, *agent, *NEVER_SAID]
    assert recognise(samples[:, 0], known) == LINES
    in_recording = recognise(samples[:, 1], known)
    assert [sentence for sentence in in_recording if sentence in agent] == agent
    assert not set(in_recording) & {*NEVER_SAID, *LINES}

    assert any(said.interrupted for said in record.transcript)
    assert all(turn.latency_ms is not None for turn in record.turns if turn.kind == "reply")
    assert (tmp_path / "conversation.png").read_bytes().startswith(b"\x89PNG")
    for sentence in LINES:
        assert sentence.lower() in run.stdout.lower()
    assert "ms after the caller's last word" in run.stdout


def record_with(*transcript: UtteranceRecord) -> CallRecord:
    now = datetime.now(UTC)
    return CallRecord(
        call_id="1",
        sip_call_id="1@host",
        trunk="loop",
        agent="reception",
        caller="+15550002222",
        dialled="+15550001111",
        started_at=now,
        ended_at=now,
        end=EndRecord(reason="caller_hung_up", by="caller"),
        transcript=transcript,
    )


def test_a_line_that_the_agent_did_not_hear_is_not_good() -> None:
    record = record_with(UtteranceRecord(speaker="caller", at_ms=0, text="What are your opening hours?"))
    first, second = check_agent(record, ["What are your opening hours?", "Goodbye."])
    assert first.is_good
    assert not second.is_good


def test_words_that_the_caller_cannot_have_heard_are_not_good() -> None:
    said = UtteranceRecord(speaker="agent", at_ms=0, text="We are open.", heard_text="We are open.")
    (check,) = check_caller(record_with(said), np.zeros(16_000, np.int16))
    assert not check.is_good


def test_a_sentence_that_was_spoken_over_is_not_expected_to_be_heard() -> None:
    said = UtteranceRecord(
        speaker="agent", at_ms=0, text="We are open. Until ten.", heard_text="We are open. Until", interrupted=True
    )
    assert heard(said) == ["We are open."]
