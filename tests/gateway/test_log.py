"""Log lines: fields as they were passed, and nothing personal where it is not wanted."""

import io
import json
import logging

import pytest

from gateway.log import REDACTED, ConsoleFormatter, ContextLogger, JsonFormatter


@pytest.fixture
def lines() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logger = logging.getLogger("tests.log")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(personal=False))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger, stream


def entry(stream: io.StringIO) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(stream.getvalue())
    return parsed


def test_a_line_is_json_with_the_fields_that_were_passed(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = lines
    logger.info("call refused", extra={"reason": "draining", "status": 503})
    assert entry(stream) | {"time": None} == {
        "time": None,
        "level": "info",
        "logger": "tests.log",
        "message": "call refused",
        "reason": "draining",
        "status": 503,
    }


@pytest.mark.parametrize("field", ["caller", "dialled", "text", "digit", "arguments"])
def test_personal_fields_are_redacted(lines: tuple[logging.Logger, io.StringIO], field: str) -> None:
    logger, stream = lines
    logger.info("said", extra={field: "+15552223333"})
    assert entry(stream)[field] == REDACTED
    assert "+15552223333" not in stream.getvalue()


def test_a_context_is_joined_with_each_calls_own_fields(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = lines
    ContextLogger(logger, {"call_id": "c1"}).info("answered", extra={"set_up_ms": 12})
    assert entry(stream)["call_id"] == "c1"
    assert entry(stream)["set_up_ms"] == 12


def test_a_line_for_people_has_its_fields_behind_the_message() -> None:
    record = logging.makeLogRecord({"name": "g", "levelname": "INFO", "msg": "ready", "event": "ready"})
    assert ConsoleFormatter(personal=True).format(record).endswith("info    ready  event=ready")


def test_an_exception_is_written_whole(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = lines
    try:
        raise ValueError("a bad value")
    except ValueError:
        logger.exception("call failed")
    assert "ValueError: a bad value" in str(entry(stream)["exception"])
