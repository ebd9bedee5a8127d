"""Messages that callers leave: mono, one file each, beside the recordings, and with them on the way to a store."""

import asyncio
from collections import Counter
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from gateway.call.record import RecordedPart, UploadRecord
from gateway.recording import CallRecording
from gateway.recording_archive import Deliveries
from gateway.recording_seal import SUFFIX, RecordingKey


@dataclass(frozen=True, slots=True)
class MessageArchive:
    """Where messages are kept.

    Args:
        directory: made with the first message.
        suffix: `wav` or `ogg`.
        executor: decodes and writes.
        key: encrypts the files, or None.
        deliveries: brings finished files to a store, or None.
    """

    directory: Path
    suffix: str
    executor: Executor
    key: RecordingKey | None = None
    deliveries: Deliveries | None = None
    counters: Counter[str] = field(default_factory=Counter, init=False)

    def begin(self, call_id: str) -> CallRecording:
        """The file of a message that begins. Raises OSError where there can be no folder."""
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"{call_id}-voicemail.{self.suffix}{SUFFIX if self.key is not None else ''}"
        recording = CallRecording(self.directory / name, self.executor, is_mixed=True, key=self.key)
        if self.deliveries is not None:
            self.executor.submit(self.deliveries.announce, call_id, recording.path, RecordedPart.VOICEMAIL)
        return recording

    async def finish(self, call_id: str, recording: CallRecording) -> UploadRecord | None:
        """Closes a message's file, and says what is to become of it: None where it stays here."""
        await recording.aclose()
        if recording.fault is not None:
            self.counters["voicemail_fault"] += 1
        if self.deliveries is None:
            return None
        return await asyncio.to_thread(self.deliveries.release, call_id, recording.path, RecordedPart.VOICEMAIL)
