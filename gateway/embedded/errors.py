"""Errors of the embedded server.

EmbeddedError
  ├─ ScriptError      the script cannot be used; every fault with file, line and key
  ├─ SpeechError      a phrase cannot be spoken or recognised
  ├─ FaultError       a fault to be acted out is not described as it must be
  └─ StartError       the server's process did not come up
"""

from dataclasses import dataclass


class EmbeddedError(Exception):
    """The root of this room's errors."""


@dataclass(frozen=True, slots=True)
class ScriptFault:
    """One fault of a script. `line` counts from 1."""

    file: str
    line: int
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.reason}"


class ScriptError(EmbeddedError):
    """A script that cannot be used. `faults` holds all that was found."""

    def __init__(self, faults: tuple[ScriptFault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class SpeechError(EmbeddedError):
    """A phrase that cannot be spoken or recognised, such as one with digits in it."""


class FaultError(EmbeddedError):
    """A fault that is not described as `fault.py` says."""


class StartError(EmbeddedError):
    """The server's process did not say in time where it listens."""
