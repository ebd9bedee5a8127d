"""The cost of a message is in proportion to its bytes, whatever is in them (promise 5: limits in constant work).

Wall clocks lie on shared machines, so these tests count: the lines of Python that run, and, for the regular
expressions, the ways in which they can match. benchmarks/sip_message.py measures the same messages in milliseconds.
"""

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest

import sip.framing
import sip.grammar
from sip.errors import SipParseError
from sip.framing import StreamFramer
from sip.message import parse_message
from tests.helpers.hostile_sip import HOSTILE

DATAGRAM = 65_507  # the largest that UDP carries
# An INVITE as carriers send it takes some 800 lines. At 30 to 50 ns a line, this many stay below 5 ms.
LINES_LIMIT = 60_000


def lines_run(action: Callable[[], object]) -> int:
    """How many lines of Python of ours `action` runs."""
    count = 0

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        return local if "/sip/" in frame.f_code.co_filename else None

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except SipParseError:
        pass  # most are refused; refusing must be cheap too
    finally:
        sys.settrace(outer)
    return count


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_datagram_of_any_size_takes_bounded_work(name: str) -> None:
    data = HOSTILE[name](DATAGRAM)
    assert len(data) <= 70_000
    assert lines_run(partial(parse_message, data)) < LINES_LIMIT


@pytest.mark.parametrize("name", HOSTILE)
def test_work_grows_no_faster_than_the_datagram(name: str) -> None:
    messages = [HOSTILE[name](size) for size in (7_500, 30_000)]
    small, large = (lines_run(partial(parse_message, message)) for message in messages)
    assert large <= 4.5 * small + 400


def test_stream_in_single_bytes_takes_work_in_proportion() -> None:
    def lines_a_byte(size: int) -> float:
        data = HOSTILE["one header value of letters"](size)
        framer = StreamFramer()
        return lines_run(lambda: [list(framer.feed(data[i : i + 1])) for i in range(len(data))]) / len(data)

    assert lines_a_byte(8_000) < 1.2 * lines_a_byte(2_000)


def patterns() -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    for module in (sip.grammar, sip.framing):
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{module.__name__}.{name}", value


def repetitions_that_backtrack(parsed: Any) -> Iterator[str]:
    for operation, argument in parsed:
        name = str(operation)
        if name in {"MAX_REPEAT", "MIN_REPEAT"} and argument[0] != argument[1]:
            yield name
        yield from _within(argument)


def _within(argument: Any) -> Iterator[str]:
    if hasattr(argument, "data"):
        yield from repetitions_that_backtrack(argument)
    elif isinstance(argument, (tuple, list)):
        for part in argument:
            yield from _within(part)


@pytest.mark.parametrize(("name", "pattern"), list(patterns()))
def test_no_regular_expression_can_backtrack(name: str, pattern: "re.Pattern[Any]") -> None:
    parsed = re._parser.parse(pattern.pattern, pattern.flags)  # type: ignore[attr-defined]
    assert list(repetitions_that_backtrack(parsed)) == []


def test_the_check_for_backtracking_finds_what_it_looks_for() -> None:
    for text in ("a*", "(?:a|b)+c", "x(a+?)", "(?P<n>[ab]{1,3})"):
        assert list(repetitions_that_backtrack(re._parser.parse(text)))  # type: ignore[attr-defined]
    for text in ("a*+", "(?:a|b)++c", "(?:a{2}){0,3}+"):
        assert not list(repetitions_that_backtrack(re._parser.parse(text)))  # type: ignore[attr-defined]
