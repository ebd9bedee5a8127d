"""Logs: one JSON object a line, or a readable line on a terminal.

What a log call passes in `extra` becomes fields. Fields that may hold personal data are named in `PERSONAL`; they are
left out unless the configuration asks for them.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from gateway.log_thread import DescriptorStream, LogThread, Stream

# Numbers, words, digits and tool arguments: what may not stand in a log that many can read.
PERSONAL: Final = frozenset({"caller", "dialled", "text", "digit", "arguments"})
REDACTED: Final = "[redacted]"

# One for all lines: `json.dumps` makes a new one for each whenever a parameter is not its default.
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the record's fields.

    Args:
        personal: whether fields with personal data are written in clear.
    """

    def __init__(self, *, personal: bool) -> None:
        super().__init__()
        self._personal = personal

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line of JSON."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields(record),
        }
        if exception := self.exception(record):
            entry["exception"] = exception
        return _ENCODE(entry)

    def exception(self, record: logging.LogRecord) -> str | None:
        """The exception with its traceback, as words; None where there is none."""
        return self.formatException(record.exc_info) if record.exc_info else record.exc_text

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What the log call passed in `extra`, redacted."""
        return {
            key: value if self._personal or key not in PERSONAL else REDACTED
            for key, value in vars(record).items()
            if key not in _STANDARD
        }


class ConsoleFormatter(JsonFormatter):
    """A line for a person: time, level, message, fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a readable line."""
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{key}={value}" for key, value in self.fields(record).items())
        line = f"{clock} {record.levelname.lower():7} {record.getMessage()}"
        if fields:
            line += f"  {fields}"
        if exception := self.exception(record):
            line += f"\n{exception}"
        return line


class ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose every record carries the same fields, beside those of each log call."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Adds the context to what the log call passes in `extra`."""
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs


def _standard_error() -> Stream:
    try:
        return DescriptorStream(sys.stderr.fileno())
    except OSError:  # something that only looks like a file stands in for it
        return sys.stderr


def configure_logging(level: str, *, console: bool, personal: bool, stream: TextIO | None = None) -> None:
    """Sends all logs to `stream` (standard error) in the chosen form. Called once, by the command line."""
    handler = LogThread(stream or _standard_error())
    handler.setFormatter((ConsoleFormatter if console else JsonFormatter)(personal=personal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # No form of ours shows them, and each costs every line a look-up (the logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # as that HOWTO says: no walk up the stack
    # Each frame and handshake of the WebSocket library is not news.
    logging.getLogger("websockets").setLevel(logging.WARNING)
