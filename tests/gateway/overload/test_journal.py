"""A flood of refusals is a few lines of log."""

import logging

import pytest

from gateway.overload.journal import SUMMARY_SECONDS, RefusalJournal


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(vars(record)["event"], vars(record)["reason"]) for record in caplog.records]


def refuse(journal: RefusalJournal, reason: str, now: float) -> None:
    journal.refuse(reason, "more calls a second than the trunk's rate", "carrier", "192.0.2.1", 503, now)


def test_a_refusal_tells_its_reason_its_rule_and_whose_it_is(caplog: pytest.LogCaptureFixture) -> None:
    refuse(RefusalJournal(), "trunk_rate", 0.0)
    told = vars(caplog.records[0])
    assert told["reason"] == "trunk_rate"
    assert told["rule"] == "more calls a second than the trunk's rate"
    assert (told["trunk"], told["source"], told["status"]) == ("carrier", "192.0.2.1", 503)


def test_a_flood_of_refusals_is_a_line_a_second_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    journal = RefusalJournal()
    for number in range(20_000):
        refuse(journal, "trunk_rate", 100 + number / 2000)
        journal.beat(100 + number / 2000)
    journal.beat(200.0)
    told = lines(caplog)
    assert told.count(("refused", "trunk_rate")) == 19
    counts = [vars(record)["count"] for record in caplog.records if vars(record)["event"] == "refused_many"]
    assert sum(counts) == 20_000 - 19
    assert len(counts) <= 10 / SUMMARY_SECONDS + 2


def test_one_reason_does_not_silence_another(caplog: pytest.LogCaptureFixture) -> None:
    journal = RefusalJournal()
    for _ in range(1000):
        refuse(journal, "trunk_rate", 0.0)
    refuse(journal, "half_open", 0.0)
    assert lines(caplog)[-1] == ("refused", "half_open")
