"""Lines on their way to the stream: in order, off the loop, and counted where they are lost."""

import io
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.log import JsonFormatter
from gateway.log_thread import DescriptorStream, LogThread


class SlowStream(io.StringIO):
    """A stream whose reader has stopped, until it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.may_go_on = threading.Event()
        self.writers: list[threading.Thread] = []

    def write(self, text: str) -> int:
        self.writers.append(threading.current_thread())
        self.reached.set()
        assert self.may_go_on.wait(10)
        return super().write(text)


class StuckStream:
    """A stream whose reader has stopped for good."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def write(self, text: str, /) -> None:
        self.let_go.wait(30)

    def flush(self) -> None:
        pass


class BrokenStream(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def logger_of(handler: logging.Handler) -> logging.Logger:
    handler.setFormatter(JsonFormatter(personal=True))
    logger = logging.getLogger("tests.log_thread")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def slow() -> Iterator[SlowStream]:
    stream = SlowStream()
    yield stream
    stream.may_go_on.set()


def test_lines_are_written_in_their_order_when_the_handler_closes() -> None:
    stream = io.StringIO()
    handler = LogThread(stream)
    logger = logger_of(handler)
    for number in range(300):
        logger.info("line", extra={"number": number})
    handler.close()
    assert [entry["number"] for entry in entries(stream)] == list(range(300))


def test_whoever_logs_does_not_wait_for_a_reader_that_has_stopped(slow: SlowStream) -> None:
    handler = LogThread(slow)
    logger = logger_of(handler)
    logger.info("first")
    assert slow.reached.wait(10)
    for _ in range(10):
        logger.info("while nobody reads")  # would hang here
    slow.may_go_on.set()
    handler.close()
    assert [entry["message"] for entry in entries(slow)] == ["first", *["while nobody reads"] * 10]
    assert threading.current_thread() is not slow.writers[0]


def test_lines_that_found_no_place_are_counted_and_told_in_a_line(slow: SlowStream) -> None:
    handler = LogThread(slow, waiting_limit=3)
    logger = logger_of(handler)
    logger.info("first")
    assert slow.reached.wait(10)
    for number in range(5):
        logger.info("line", extra={"number": number})
    slow.may_go_on.set()
    handler.close()
    written = entries(slow)
    assert [entry["number"] for entry in written if entry["message"] == "line"] == [0, 1, 2]
    assert [entry["count"] for entry in written if entry.get("event") == "lines_dropped"] == [2]
    assert handler.dropped == 2


def test_flush_returns_when_all_is_written() -> None:
    stream = io.StringIO()
    handler = LogThread(stream)
    logger_of(handler).info("line")
    handler.flush()
    assert len(entries(stream)) == 1
    handler.close()


def test_a_reader_that_has_stopped_for_good_does_not_keep_the_process() -> None:
    stream = StuckStream()
    handler = LogThread(stream, closing_seconds=0.1)
    logger = logger_of(handler)
    logger.info("line")
    began = time.monotonic()
    handler.flush()
    logger.info("another")
    handler.flush()
    handler.close()
    assert time.monotonic() - began < 20
    stream.let_go.set()


def test_a_descriptor_gets_what_is_longer_than_a_pipe_takes_at_once() -> None:
    reading, writing = os.pipe()
    handler = LogThread(DescriptorStream(writing))
    logger = logger_of(handler)
    with os.fdopen(reading, "rb") as pipe:
        for number in range(2000):
            logger.info("é" * 100, extra={"number": number})
        lines = [json.loads(pipe.readline()) for _ in range(2000)]
        handler.close()
        os.close(writing)
        assert pipe.read() == b""
    assert [line["number"] for line in lines] == list(range(2000))


def test_arguments_are_put_into_words_before_they_change() -> None:
    stream = io.StringIO()
    handler = LogThread(stream)
    names = ["first"]
    logger_of(handler).info("names: %s", names)
    names.append("second")
    handler.close()
    assert entries(stream)[0]["message"] == "names: ['first']"


def test_an_exception_is_put_into_words_at_once_so_that_no_frame_is_held() -> None:
    stream = io.StringIO()
    handler = LogThread(stream)
    logger = logger_of(handler)
    try:
        raise ValueError("a bad value")
    except ValueError:
        logger.exception("call failed")
    handler.close()
    assert "ValueError: a bad value" in entries(stream)[0]["exception"]


def test_a_stream_that_nobody_reads_any_more_costs_lines_and_nothing_else() -> None:
    handler = LogThread(BrokenStream())
    logger = logger_of(handler)
    logger.info("line")
    handler.close()
    assert handler.dropped == 1


def test_a_line_that_has_no_form_takes_no_other_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    stream = io.StringIO()
    handler = LogThread(stream)
    logger = logger_of(handler)
    logger.info("before")
    logger.info("bad", extra={"value": Unspeakable()})
    logger.info("after")
    handler.close()
    assert [entry["message"] for entry in entries(stream)] == ["before", "after"]
    assert "no words" in capsys.readouterr().err
