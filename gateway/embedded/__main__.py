"""`python -m gateway.embedded`: prints `listening ws://HOST:PORT` when it is ready and serves until stdin closes.

It ends on SIGTERM and SIGINT too. Exit status 2 and the list of faults on stderr: the script cannot be used.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Final

from gateway.embedded.agent import Pace
from gateway.embedded.errors import EmbeddedError
from gateway.embedded.fault import parse_fault_rule
from gateway.embedded.script import load_script
from gateway.embedded.server import DEFAULT_SCRIPT, Mode, ServerSettings, running
from gateway.embedded.session import SESSION_LIMIT_S

_PACE: Final = Pace()


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway.embedded", description="The embedded model server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--script", type=Path, default=DEFAULT_SCRIPT, help="what the agent understands and says")
    parser.add_argument(
        "--mode",
        choices=[mode.value for mode in Mode],
        default=Mode.AGENT.value,
        help="for models that are not named embedded-MODE",
    )
    parser.add_argument("--delta-ms", type=int, default=_PACE.delta_ms, help="length of one piece of speech")
    parser.add_argument("--speed", type=float, default=_PACE.speed, help="times real time; 0 sends all at once")
    parser.add_argument("--thinking-ms", type=int, default=_PACE.thinking_ms, help="pause before a response's words")
    parser.add_argument("--session-limit-s", type=float, default=SESSION_LIMIT_S, help="longest session")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="[N:]KIND,…", help="see gateway/embedded/fault.py; repeatable"
    )
    return parser.parse_args(arguments)


def watch_signals() -> asyncio.Event:
    """An event that is set by a signal to end."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    return ended


async def wait_for_end(ended: asyncio.Event) -> None:
    """Returns when stdin closes or `ended` is set."""
    reader = asyncio.StreamReader()
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
    except (PermissionError, ValueError):
        # A file or /dev/null: nobody holds the other end, so only a signal ends the server.
        await ended.wait()
        return
    closed = asyncio.ensure_future(_drain(reader))
    closed.add_done_callback(lambda _: ended.set())
    try:
        await ended.wait()
    finally:
        closed.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closed
        transport.close()


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(1024):
        pass


async def main(arguments: list[str]) -> int:
    """Serves; returns the exit status."""
    options = parse_arguments(arguments)
    ended = watch_signals()
    try:
        settings = ServerSettings(
            script=load_script(options.script),
            host=options.host,
            port=options.port,
            mode=Mode(options.mode),
            pace=Pace(options.delta_ms, options.speed, options.thinking_ms),
            session_limit_s=options.session_limit_s,
            faults=tuple(parse_fault_rule(text) for text in options.fault),
        )
        async with running(settings) as url:
            sys.stdout.write(f"listening {url}\n")
            sys.stdout.flush()
            await wait_for_end(ended)
    except (EmbeddedError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def run(arguments: list[str]) -> int:
    """Serves on uvloop where there is one: a message costs a third less."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main(arguments))
    return uvloop.run(main(arguments))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
