"""What a call does for its caller when no model can be had any more: the agent's fallback, once the apology is over."""

import asyncio
from collections.abc import Callable

from gateway.admission import Route
from gateway.bridge import Recorder
from gateway.call.opening import OpenModel
from gateway.call.record import UploadRecord, VoicemailRecord
from gateway.call.transfer import Transfers
from gateway.call.transition import CallInput
from gateway.call.voicemail import Message
from gateway.config.fallback import HangUpSettings, TransferFallbackSettings, VoicemailSettings
from gateway.leg import AudioLeg
from gateway.log import ContextLogger
from gateway.message_archive import MessageArchive
from gateway.recording import CallRecording


class LastResort:
    """The fallback of one call.

    Args:
        call_id: names the file of a message.
        messages: keeps messages; None: there is nowhere to keep them.
        transfers: hands the caller over.
        logger: the call's.
    """

    def __init__(
        self, call_id: str, messages: MessageArchive | None, transfers: Transfers, logger: ContextLogger
    ) -> None:
        self._call_id = call_id
        self._messages = messages
        self._transfers = transfers
        self._logger = logger
        self._message: Message | None = None
        self._recording: CallRecording | None = None
        self._upload: UploadRecord | None = None

    async def serve(
        self, route: Route, leg: AudioLeg, opened: OpenModel, recorder: Recorder | None, now_ms: Callable[[], int]
    ) -> CallInput | None:
        """Does what the agent's fallback says; the apology has been heard.

        Returns:
            What the call is to be told of it; None where the far end has told it already.
        """
        fallback = route.agent.model_loss.fallback
        self._logger.info("fallback", extra={"event": "fallback", "fallback": fallback.type})
        match fallback:
            case HangUpSettings():
                return CallInput.MODEL_LOST
            case TransferFallbackSettings(destination=destination):
                return await self._transfer(route, destination, now_ms())
            case VoicemailSettings():
                return await self._take_message(fallback, leg, opened, recorder)

    async def _transfer(self, route: Route, destination: str, at_ms: int) -> CallInput | None:
        transfer = route.agent.transfer
        uri = None if transfer is None else transfer.resolve(destination)
        if transfer is None or uri is None:  # the configuration's rules do not let it come to this
            return CallInput.MODEL_LOST
        try:
            async with asyncio.timeout(transfer.timeout_seconds):
                outcome = await self._transfers.transfer(uri, at_ms)
        except TimeoutError:
            return CallInput.MODEL_LOST
        return None if outcome.is_done else CallInput.MODEL_LOST

    async def _take_message(
        self, settings: VoicemailSettings, leg: AudioLeg, opened: OpenModel, recorder: Recorder | None
    ) -> CallInput:
        if (messages := self._messages) is None:
            return CallInput.MODEL_LOST
        try:
            recording = self._recording = messages.begin(self._call_id)
        except OSError as error:
            self._logger.error("no message can be taken", extra={"fault": str(error)})
            return CallInput.MODEL_LOST
        heard = opened.settings.input_format
        recording.take_formats(heard, leg.playout_format)
        message = self._message = Message(
            settings, [] if recorder is None else [recorder], recording, heard, opened.settings.output_format
        )
        await message.take(leg)
        return CallInput.MESSAGE_LEFT

    async def aclose(self) -> None:
        """Writes what is left of a message, and lets the file go to the store where there is one."""
        if self._recording is not None and self._messages is not None:
            self._upload = await self._messages.finish(self._call_id, self._recording)

    def record(self) -> VoicemailRecord | None:
        """Where the message is; None where nobody was asked for one."""
        recording, message = self._recording, self._message
        if recording is None or message is None:
            return None
        return VoicemailRecord(
            path=str(recording.path) if recording.duration_ms else None,
            duration_ms=recording.duration_ms,
            ended_by=message.end.value,
            upload=self._upload,
            fault=recording.fault,
        )
