"""The modes that serve measuring and load: echo, talk and silent. They hear nothing and understand nothing.

All three answer session.update and items as the service does. Hundreds of such sessions share one process.
"""

import base64
import math
from functools import lru_cache
from typing import Any, Final

import numpy as np

from gateway.embedded import client_event as c
from gateway.embedded.audio import WireFormat
from gateway.embedded.conversation import Item
from gateway.embedded.response import Pause, Response, SoundFrame, Steps
from gateway.embedded.session import Session

# A response of the mode `talk`: a sentence or two, sent in pieces as the service sends them.
_TALK_MS: Final = 8_000
_TALK_DELTA_MS: Final = 200
# Times real time. Services were seen between four and ten.
TALK_SPEED: Final = 8.0
_TALK_WORDS: Final = "I am talking without end. "


class SilentSession(Session):
    """Takes everything and says nothing, as the base does. Audio is not even decoded."""


class EchoSession(Session):
    """Gives every piece of audio back at once, in one long response that lasts until it is cancelled.

    The base64 text of the caller goes back as it stands, so both formats of the session must be the same.
    """

    _item: Item | None = None
    _response: Response | None = None
    _frame: SoundFrame | None = None
    _bytes = 0

    def _append(self, audio: bytes, now: float) -> None:
        item, response, frame = self._item, self._response, self._frame
        if item is None or response is None or frame is None or self._active is not response:
            response = self._response = self._begin(c.ResponsePart())
            item = self._item = self._writer.open_message(response)
            frame = self._frame = self._writer.sound_frame(response, item)
            self._bytes = 0
        self.transmits.append(frame.wrap(audio))
        self._bytes += len(audio) * 3 // 4 - audio[-2:].count(b"=")
        item.duration_ms = response.output_format.duration_ms(self._bytes)

    def _commit(self, now: float) -> None:
        """There is nothing to commit: what came is on its way back."""


class TalkSession(Session):
    """Speaks without end once audio or response.create has come, in bursts as the service sends them."""

    def __init__(self, model: str, *, speed: float = TALK_SPEED, **session: Any) -> None:
        super().__init__(model, **session)
        self._speed = speed
        self._next_due: float | None = None

    def _append(self, audio: bytes, now: float) -> None:
        if self._active is None and self._next_due is None:
            self._create_response(c.ResponsePart(), now)

    def _create_response(self, part: c.ResponsePart, now: float) -> None:
        response = self._begin(part)
        response.steps = self._steps(response)
        self._advance(response, None, now)

    def _response_finished(self, response: Response, now: float) -> None:
        # The listener is still hearing it; the next response follows when it has been played.
        self._next_due = now + (_TALK_MS - _TALK_MS / self._speed) / 1000

    def _cancel(self, response_id: str | None) -> None:
        super()._cancel(response_id)
        self._next_due = None

    def next_timer(self) -> float | None:
        """When `handle_timer` is due, in the clock of `now`."""
        dues = [due for due in (super().next_timer(), self._next_due) if due is not None]
        return min(dues, default=None)

    def handle_timer(self, now: float) -> None:
        """Does what is due."""
        super().handle_timer(now)
        if self._next_due is not None and now >= self._next_due:
            self._next_due = None
            if self._active is None:
                self._create_response(c.ResponsePart(), now)

    def _steps(self, response: Response) -> Steps:
        item = self._writer.open_message(response)
        self._writer.say(response, item, _TALK_WORDS)
        frame = self._writer.sound_frame(response, item)
        for index, piece in enumerate(talk_pieces(response.output_format), start=1):
            self.transmits.append(frame.wrap(piece))
            item.duration_ms = index * _TALK_DELTA_MS
            yield Pause(_TALK_DELTA_MS / 1000 / self._speed)
        self._writer.close_message(response, item)


@lru_cache(maxsize=3)
def talk_pieces(wire_format: WireFormat) -> tuple[bytes, ...]:
    """One response's audio as base64 text in pieces: a tone that swells and falls like syllables."""
    time_s = np.arange(_TALK_MS * wire_format.rate_hz // 1000) / wire_format.rate_hz
    swell = np.abs(np.sin(2 * math.pi * 2 * time_s))
    tone = (8000 * swell * np.sin(2 * math.pi * 300 * time_s)).astype(np.int16)
    audio = wire_format.encode(tone, wire_format.rate_hz)
    size = _TALK_DELTA_MS * wire_format.bytes_per_ms
    return tuple(base64.b64encode(audio[start : start + size]) for start in range(0, len(audio), size))
