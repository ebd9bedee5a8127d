"""`trunkline serve`: answers calls until it is told to stop."""

import asyncio
import logging
import os
import signal
from pathlib import Path

import uvloop
from rich.console import Console

from gateway.config.load import inspect, read_ephemeral_ports
from gateway.config.model import GatewayConfiguration, LogFormat
from gateway.embedded.errors import EmbeddedError
from gateway.errors import GatewayError
from gateway.log import configure_logging
from gateway.service import Service

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
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    loop.add_signal_handler(signal.SIGUSR1, service.log_state)
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    await service.run()
