"""The demo's gateway: the real command in a process of its own, on loopback, with its log as a stream of events."""

import asyncio
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.errors import GatewayError

LOOPBACK: Final = "127.0.0.1"
# Speech models are read from disk; on a small machine that takes a few seconds.
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0
AGENT: Final = "reception"
NUMBER: Final = "+15550001111"


class DemoError(GatewayError):
    """The demo cannot go on; the message says why."""

    label = "demo"


def write_configuration(directory: Path, sip_port: int) -> Path:
    """Writes the configuration that the demo's gateway runs with, for the reader to keep and change."""
    configuration = {
        "network": {
            "sip": [{"transport": "udp", "bind": LOOPBACK, "port": sip_port}],
            "public_address": LOOPBACK,
            "rtp": {"bind": LOOPBACK, "first_port": 20000, "last_port": 29999},
        },
        "trunks": {"loopback": {"allow": [f"{LOOPBACK}/32"], "numbers": {NUMBER: AGENT}}},
        "agents": {
            AGENT: {
                "backends": ["embedded"],
                "instructions": "You are the receptionist of a restaurant, the Harbour Kitchen.",
                "greeting": "Good evening, this is the Harbour Kitchen. How may I help you?",
                "language": "en",
            }
        },
        "backends": {"embedded": {"type": "embedded", "mode": "agent"}},
        "recording": {"enabled": True, "directory": str(directory)},
        "records": {"directory": str(directory)},
        # One call, on whatever machine this is: that it is busy is no reason to refuse it.
        "limits": {"drain_timeout_seconds": 1, "overload": {"lag_ms": 1000}},
        "logging": {"format": "json", "level": "info", "personal": True},
    }
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    return path


def free_udp_port() -> int:
    """A UDP port on loopback that nobody holds at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class GatewayProcess:
    """`trunkline serve` as a child. Use it as an asynchronous context manager; leaving it ends the child.

    Args:
        configuration: the file that it runs with.
        log: where its log is kept.
        on_event: is given each log entry as it comes.
    """

    def __init__(self, configuration: Path, log: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._configuration = configuration
        self._log = log
        self._on_event = on_event
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "GatewayProcess":
        command = (sys.executable, "-m", "gateway", "serve", "-c", str(self._configuration))
        self._process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        self._reader = asyncio.create_task(self._read(self._process.stderr))
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self._reader}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._ready.is_set():
            await self._end()
            raise DemoError(f"The gateway did not start; its log is {self._log}")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._end()

    async def _read(self, stderr: asyncio.StreamReader | None) -> None:
        if stderr is None:
            return
        with self._log.open("wb") as log:
            async for line in stderr:
                log.write(line)
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # a traceback of an interpreter that could not start; the log keeps it
                if event.get("event") == "ready":
                    self._ready.set()
                self._on_event(event)

    async def _end(self) -> None:
        process, reader = self._process, self._reader
        if process is None or reader is None:
            return
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
                await reader
        except TimeoutError:
            process.kill()
            await process.wait()
            await reader
        self._process = None
