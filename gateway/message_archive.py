"""Messages that callers leave: mono, one file each, beside the recordings."""

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from gateway.recording import CallRecording
from gateway.recording_seal import SUFFIX, RecordingKey


@dataclass(frozen=True, slots=True)
class MessageArchive:
    """Where messages are kept.

    Args:
        directory: made with the first message.
        suffix: `wav` or `ogg`.
        executor: decodes and writes.
        key: encrypts the files, or None.
    """

    directory: Path
    suffix: str
    executor: Executor
    key: RecordingKey | None = None

    def begin(self, call_id: str) -> CallRecording:
        """The file of a message that begins. Raises OSError where there can be no folder."""
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"{call_id}-voicemail.{self.suffix}{SUFFIX if self.key is not None else ''}"
        return CallRecording(self.directory / name, self.executor, is_mixed=True, key=self.key)
