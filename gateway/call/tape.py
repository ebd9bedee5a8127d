"""The recording of one call, where calls are recorded at all."""

from gateway.bridge import Recorder
from gateway.call.environment import CallEnvironment
from gateway.call.record import RecordingRecord, UploadRecord
from gateway.log import ContextLogger
from gateway.realtime.capability import AudioFormat
from gateway.recording import CallRecording
from rtp.codec.format import PayloadFormat


class Tape:
    """What the call does with its recording; without one, nothing.

    Args:
        call_id: ours; names the file.
        environment: says whether and where calls are recorded.
        logger: the call's.
    """

    def __init__(self, call_id: str, environment: CallEnvironment, logger: ContextLogger) -> None:
        self._call_id = call_id
        self._environment = environment
        self._logger = logger
        self._recording: CallRecording | None = None
        self._upload: UploadRecord | None = None

    def recorder(self) -> Recorder | None:
        """What takes both channels; None where calls are not recorded."""
        if self._recording is None and self._environment.recordings is not None:
            self._recording = self._environment.recordings.begin(self._call_id)
        return self._recording

    def take_formats(self, caller: AudioFormat, agent: PayloadFormat) -> None:
        """Says what the channels are made of from now on."""
        if self._recording is not None:
            self._recording.take_formats(caller, agent)

    def pause(self) -> bool:
        """Records silence from now on, while a card's number is said for example. False where nothing is recorded."""
        if self._recording is None:
            return False
        self._recording.pause()
        self._logger.info("recording paused", extra={"event": "recording_paused"})
        return True

    def resume(self) -> bool:
        """Records again. False where nothing is recorded."""
        if self._recording is None:
            return False
        self._recording.resume()
        self._logger.info("recording resumed", extra={"event": "recording_resumed"})
        return True

    async def aclose(self) -> None:
        """Writes what is left, and lets the file go to the store where there is one."""
        if self._recording is not None and self._environment.recordings is not None:
            self._upload = await self._environment.recordings.finish(self._call_id, self._recording)

    def record(self) -> RecordingRecord | None:
        """Where the recording is; None where nothing was recorded."""
        recording = self._recording
        if recording is None or not (recording.duration_ms or recording.fault):
            return None
        return RecordingRecord(
            path=str(recording.path),
            duration_ms=recording.duration_ms,
            paused_ms=recording.paused_ms,
            layout="mixed" if recording.is_mixed else "stereo",
            encrypted=recording.is_encrypted,
            upload=self._upload,
            fault=recording.fault,
        )
