"""Versions of agents, and the share of calls that a candidate answers."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.agent import AgentSettings
from gateway.config.tool import WebhookToolSettings
from gateway.roster import AgentEdition, Roster, bucket, version_of


def agent(**values: object) -> AgentSettings:
    return AgentSettings.model_validate({"backends": ["model"], "instructions": "Be brief.", **values})


def webhook(**values: object) -> WebhookToolSettings:
    return WebhookToolSettings.model_validate(
        {"type": "webhook", "url": "https://tools.example/book", "description": "Books a table.", **values}
    )


def roster(percent: float) -> Roster:
    share = {"agent": "next", "percent": percent}
    return Roster([AgentEdition("reception", agent(candidate=share), "1"), AgentEdition("next", agent(), "2")])


def names(percent: float, calls: int = 2_000) -> list[str]:
    chosen = [roster(percent).choose("reception", f"call-{number}@carrier") for number in range(calls)]
    return [edition.name for edition in chosen if edition is not None]


def test_a_call_always_finds_the_same_edition() -> None:
    assert names(30) == names(30)


@pytest.mark.parametrize(("percent", "low", "high"), [(0, 0, 0), (10, 150, 250), (50, 900, 1_100), (100, 2_000, 2_000)])
def test_a_candidate_answers_its_share(percent: float, low: int, high: int) -> None:
    assert low <= names(percent).count("next") <= high


def test_a_larger_share_holds_the_calls_of_the_smaller() -> None:
    small = [number for number, name in enumerate(names(10)) if name == "next"]
    large = {number for number, name in enumerate(names(30)) if name == "next"}
    assert set(small) < large


def test_agents_share_out_their_calls_independently() -> None:
    keys = [f"call-{number}" for number in range(500)]
    assert [bucket("one", key) for key in keys] != [bucket("other", key) for key in keys]


def test_a_candidate_knows_whose_call_it_answers() -> None:
    shared = roster(100)
    chosen = shared.choose("reception", "call-1")
    assert chosen is not None
    assert (chosen.name, chosen.version, chosen.candidate_of) == ("next", "2", "reception")
    by_number = shared.choose("next", "call-1")
    assert by_number is not None
    assert by_number.candidate_of is None


def test_nobody_answers_for_an_agent_that_is_not_there() -> None:
    assert Roster().choose("reception", "call-1") is None


CHANGES: list[dict[str, Any]] = [
    {"instructions": "Be very brief."},
    {"voice": "cedar"},
    {"greeting": "Hello."},
    {"max_duration_seconds": 60},
    {"variables": {"shop": "Harbour Kitchen"}},
]


@pytest.mark.parametrize("change", CHANGES)
def test_another_content_is_another_version(change: dict[str, Any]) -> None:
    assert version_of(agent(**change), {}) != version_of(agent(), {})


def test_the_same_content_is_the_same_version() -> None:
    candidate = {"agent": "next", "percent": 5}
    assert version_of(agent(candidate=candidate), {}) == version_of(agent(), {})


def test_tools_are_content_and_their_secrets_are_not() -> None:
    plain = version_of(agent(), {"book": webhook(secret="one")})
    assert version_of(agent(), {"book": webhook(secret="another")}) == plain
    assert version_of(agent(), {"book": webhook(timeout_seconds=5)}) != plain
    assert version_of(agent(), {}) != plain


@pytest.mark.parametrize("place", ["apology", "music", "announcement"])
def test_a_sound_is_content_and_its_path_is_not(tmp_path: Path, place: str) -> None:
    def version(path: Path, sound: bytes) -> str:
        path.write_bytes(sound)
        values: dict[str, dict[str, object]] = {
            "apology": {"model_loss": {"apology": {"file": str(path)}}},
            "music": {"hold": {"music": str(path)}},
            "announcement": {"announcements": {"rules": {"file": str(path), "description": "The rules."}}},
        }
        return version_of(agent(**values[place]), {})

    first = version(tmp_path / "one.wav", b"one")
    assert version(tmp_path / "one.wav", b"another") != first
    assert version(tmp_path / "other.wav", b"one") == first


def test_a_name_stands_before_the_hash() -> None:
    plain = version_of(agent(), {})
    assert version_of(agent(version="winter"), {}) == f"winter+{plain}"
