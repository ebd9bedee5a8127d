"""Faults of a configuration, and the error that carries all of them.

GatewayError                  gateway/errors.py
  └─ ConfigurationError       the configuration cannot be used; `faults` says why, all at once
"""

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gateway.errors import GatewayError


class FaultLevel(enum.Enum):
    """Whether a fault stops the start."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where. Lines and columns count from 1; `key` is dotted, empty for a whole file."""

    file: Path
    line: int
    column: int
    key: str
    reason: str
    level: FaultLevel = FaultLevel.ERROR

    def __str__(self) -> str:
        subject = f"{self.key}: " if self.key else ""
        weight = "warning: " if self.level is FaultLevel.WARNING else ""
        return f"{self.file}:{self.line}:{self.column}: {subject}{weight}{self.reason}"


class ConfigurationError(GatewayError):
    """The configuration cannot be used. The message holds one line for each fault."""

    label: ClassVar[str] = "configuration"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults
