"""What a program says, cut into messages of a bounded length."""

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest
import uvloop
from mcp import StdioServerParameters
from mcp.shared.message import SessionMessage

from gateway.tools import mcp_program
from gateway.tools.mcp_program import EDGE_OCTETS, MessageLines, TooLong, program_streams

LIMIT = 2_000
LONG = "x" * (2 * LIMIT)


def lines_of(data: bytes, piece: int) -> list[bytes | TooLong]:
    lines = MessageLines(LIMIT)
    return [line for at in range(0, len(data), piece) for line in lines.feed(data[at : at + piece])]


@pytest.mark.parametrize("piece", [1, 7, 1999, 65_536])
def test_messages_are_cut_at_their_line_ends_however_they_come(piece: int) -> None:
    random_ = random.Random(piece)
    messages = [b"", b"{}", b"y" * LIMIT, *(b"z" * random_.randrange(LIMIT) for _ in range(20))]
    assert lines_of(b"".join(message + b"\n" for message in messages) + b"not yet", piece) == messages


@pytest.mark.parametrize("piece", [1, 999, 65_536])
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"jsonrpc": "2.0", "id": 7, "result": {"text": LONG, "id": 5}}, TooLong(True, 7)),
        ({"id": 7, "jsonrpc": "2.0", "error": {"message": LONG}}, TooLong(True, 7)),
        ({"result": {"text": LONG, "id": 5}, "jsonrpc": "2.0", "id": 7}, TooLong(True, 7)),
        ({"result": {"text": LONG}, "id": 7, "jsonrpc": "2.0"}, TooLong(True, 7)),
        ({"result": {"text": LONG, "last": {"id": 5}}}, TooLong(True)),
        ({"jsonrpc": "2.0", "result": {"text": LONG, "id": 5}}, TooLong(True)),
        ({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": LONG}}, TooLong(False)),
        ({"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {"x": LONG}}, TooLong(False)),
        ([LONG], TooLong(True)),
        (LONG, TooLong(True)),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_message_that_is_too_long_is_known_by_its_edges(
    message: object, expected: TooLong, separators: tuple[str, str], piece: int
) -> None:
    data = json.dumps(message, separators=separators).encode()
    assert lines_of(b"{}\n" + data + b"\n{}\n", piece) == [b"{}", expected, b"{}"]


def test_no_more_is_held_than_a_message_may_have() -> None:
    lines = MessageLines(LIMIT)
    for _ in range(100):
        assert not list(lines.feed(b"x" * 10_000))
        assert len(lines._line) <= LIMIT + EDGE_OCTETS


STUBBORN = """\
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"pids": [os.getpid(), child]}}), flush=True)
while True:
    time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    """A zombie is not: it waits for whoever is the container's first process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_program_that_will_not_end_is_killed_with_what_it_started(
    run: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_program, "END_SECONDS", 0.2)

    async def live() -> list[int]:
        with (tmp_path / "errors").open("w") as errors:
            parameters = StdioServerParameters(command=sys.executable, args=["-c", STUBBORN])
            async with asyncio.timeout(60), program_streams(parameters, errors, LIMIT, lambda: None) as (received, _):
                message = await received.receive()
                assert isinstance(message, SessionMessage)
                pids = message.message.model_dump()["result"]["pids"]
        assert isinstance(pids, list)
        return pids

    assert callable(run)
    assert not [pid for pid in run(live()) if is_alive(pid)]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_program_that_is_not_there_is_said(run: object, tmp_path: Path) -> None:
    async def live() -> None:
        with (tmp_path / "errors").open("w") as errors:
            parameters = StdioServerParameters(command="/nowhere/at-all")
            async with program_streams(parameters, errors, LIMIT, lambda: None):
                raise AssertionError("not reached")

    assert callable(run)
    with pytest.raises(FileNotFoundError):
        run(live())
