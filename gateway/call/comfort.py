"""Stored words in place of the model's: a filler while another session is sought, an apology when there is none."""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.call.prompt import Prompt
from gateway.realtime.capability import AudioFormat
from gateway.realtime.event import AgentTranscript, AudioDelta, AudioDone, ResponseDone, ResponseStatus
from gateway.realtime.session import EventSink

WATCH_SECONDS: Final = 0.05


class Comfort:
    """What one call's caller hears of stored words.

    Args:
        filler: the words that bridge a silence, or None.
        after_seconds: how long the caller has heard nothing by then.
        is_speaking: whether speech waits to be sent.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        filler: Prompt | None,
        after_seconds: float,
        is_speaking: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._filler = filler
        self._after_seconds = after_seconds
        self._is_speaking = is_speaking
        self._clock = clock
        self._said = 0

    async def bridge_silence(self, sink: EventSink, audio_format: AudioFormat) -> None:
        """A stored word or two, once the caller has heard nothing for a while. Cancel it when the model speaks."""
        silent_since: float | None = None
        while self._filler is not None:
            now = self._clock()
            if self._is_speaking():
                silent_since = None
            elif silent_since is None:
                silent_since = now
            if silent_since is not None and now - silent_since >= self._after_seconds:
                self.say(self._filler, sink, audio_format)
                return
            await asyncio.sleep(WATCH_SECONDS)

    def say(self, prompt: Prompt, sink: EventSink, audio_format: AudioFormat) -> None:
        """Stored words, as if the model had said them."""
        self._said += 1
        item_id = f"prompt-{self._said}"
        sink(AudioDelta(item_id, item_id, prompt.audio[audio_format]))
        sink(AudioDone(item_id, item_id))
        sink(ResponseDone(item_id, ResponseStatus.COMPLETED, "", None))
        if prompt.words:
            sink(AgentTranscript(item_id, prompt.words, final=True))
