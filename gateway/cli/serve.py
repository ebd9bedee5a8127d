"""`trunkline serve`: answers calls until it is told to stop."""

import asyncio
import faulthandler
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from gateway.config.load import inspect, read_ephemeral_ports
from gateway.config.model import GatewayConfiguration, LogFormat
from gateway.embedded.errors import EmbeddedError
from gateway.errors import GatewayError
from gateway.log import configure_logging
from gateway.service import Service

# What may pass after the drain time-out and the last calls' summaries: for calls that do not end 5.5 s
# (gateway.switchboard), for the answers to the last BYEs 2, for a tool server that ignores its end 7, for a reader of
# the log that has stopped 4. A process that is still there afterwards would be there for ever.
LAST_RESORT_SECONDS: Final = 20.0
# The watch counts its own steps: time for which the process itself was stopped (SIGSTOP) does not count.
WATCH_STEP_SECONDS: Final = 0.25
# What the last line and the stacks may take to be written, to a reader that may have stopped.
LAST_WORDS_SECONDS: Final = 1.0
FORCED_EXIT_CODE: Final = 70  # EX_SOFTWARE of sysexits.h

_log = logging.getLogger(__name__)


def run(path: Path) -> int:
    """Serves the configuration at `path`.

    Returns:
        0 after an orderly stop, 1 where the configuration has faults or the service cannot start.
    """
    inspection = inspect(path, os.environ, ephemeral_ports=read_ephemeral_ports())
    configuration = inspection.configuration
    if configuration is None:
        faults = Console(stderr=True, soft_wrap=True, highlight=False)
        for fault in inspection.errors:
            faults.print(str(fault), markup=False)
        return 1
    logging_settings = configuration.logging
    configure_logging(
        logging_settings.level.value,
        console=logging_settings.format is LogFormat.CONSOLE,
        personal=logging_settings.personal,
    )
    for warning in inspection.warnings:
        _log.warning("configuration", extra={"fault": str(warning)})
    exit_code = 0
    try:
        uvloop.run(_serve(configuration, path))
    except* (OSError, EmbeddedError, GatewayError) as group:
        exit_code = 1
        for error in group.exceptions:
            _log.error("cannot start", extra={"event": "fault", "fault": str(error)})
    return exit_code


async def _serve(configuration: GatewayConfiguration, path: Path) -> None:
    service = Service(configuration, path)
    loop = asyncio.get_running_loop()
    watch = threading.Thread(target=_end_by_force, args=(_patience(configuration),), name="last resort", daemon=True)

    def stop() -> None:
        service.stop()
        if watch.ident is None:
            watch.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGUSR1, service.log_state)
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    await service.run()


def _patience(configuration: GatewayConfiguration) -> float:
    """How long the process may live after it was told to end."""
    summaries = (agent.summary for agent in configuration.agents.values() if agent.summary is not None)
    longest = max((summary.timeout_seconds for summary in summaries), default=0.0)
    return configuration.limits.drain_timeout_seconds + longest + LAST_RESORT_SECONDS


def _end_by_force(patience_seconds: float) -> None:
    """Ends a process that was told to end and does not: somebody else's code may block it for ever.

    A module of a tool that has left a thread behind is enough, and so is a disk that stands still.
    """
    for _ in range(round(patience_seconds / WATCH_STEP_SECONDS)):
        time.sleep(WATCH_STEP_SECONDS)
    _log.critical("the gateway does not end by itself", extra={"event": "ended_by_force", "seconds": patience_seconds})
    last_words = threading.Thread(target=_say_where_it_stands, daemon=True)
    last_words.start()
    last_words.join(LAST_WORDS_SECONDS)
    os._exit(FORCED_EXIT_CODE)


def _say_where_it_stands() -> None:
    time.sleep(LAST_WORDS_SECONDS / 2)  # the log's thread has had its turn then
    faulthandler.dump_traceback(file=2)
