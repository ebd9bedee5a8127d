"""The time of one session within a call: its backend, its number, and its events under names of its own."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from gateway.call.audio_format import with_nearest_formats
from gateway.call.conversion import Conversion, conversion_between
from gateway.fast import PeriodPath
from gateway.realtime.conversation import ConversationTurn, ToolExchange
from gateway.realtime.errors import ModelTimeoutError
from gateway.realtime.event import AudioDelta, RealtimeEvent, SpeechStarted, SpeechStopped
from gateway.realtime.session import RealtimeBackend, RealtimeSession, ResumingBackend
from gateway.realtime.settings import SessionSettings

_NAMES: Final = ("item_id", "response_id", "call_id")


class Period(PeriodPath):
    """One session of a backend. What it says is the call's as long as it is the current one.

    Args:
        number: 0 for the first session of a call, and then counted up.
        backend: whose session it is.
        receive: is told every event, with the period that it belongs to.
        handle: by which the service goes on with what an earlier session knew; only for a `ResumingBackend`.
    """

    __slots__ = (
        "_heard", "_resumes", "_settings", "_spoken", "append", "backend", "charged", "number", "opened", "session",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        backend: RealtimeBackend,
        receive: Callable[[object, RealtimeEvent], None],
        handle: str | None = None,
    ) -> None:
        self.number = number
        self.backend = backend
        self.opened: float | None = None
        """When it was opened, in monotonic seconds."""
        self._resumes = handle is not None and isinstance(backend, ResumingBackend)
        self.receive = receive
        self.charged: tuple[float, float] | None = None
        """Seconds that the service said it had charged, and when it said so."""
        self.session: RealtimeSession = (
            backend.resume_session(self.tell, handle)
            if handle is not None and isinstance(backend, ResumingBackend)
            else backend.create_session(self.tell)
        )
        self.append: Callable[[bytes], None] = self.session.append_audio
        """Takes the caller's audio in the call's format."""
        self._settings = SessionSettings()
        self._heard: Conversion | None = None
        self._spoken: Conversion | None = None

    def adapt(self, settings: SessionSettings) -> None:
        """Learns what the call wants, before any audio: a backend that does not speak its formats is converted."""
        own = self._settings = with_nearest_formats(settings, self.backend.capabilities)
        self._heard = conversion_between(settings.input_format, own.input_format)
        self._spoken = conversion_between(own.output_format, settings.output_format)
        self.append = self.session.append_audio if self._heard is None else self._append_converted

    def _append_converted(self, payload: bytes) -> None:
        if self._heard is not None and (audio := self._heard.convert(payload)):
            self.session.append_audio(audio)

    async def open(
        self, history: Sequence[ConversationTurn], seconds: float | None, clock: Callable[[], float]
    ) -> None:
        """Opens the session within a time. Raises ModelError, and leaves nothing behind then."""
        try:
            async with asyncio.timeout(seconds):
                await self.session.open(self._settings, tuple(map(self._as_told, history)))
        except TimeoutError:
            await self.aclose()
            raise ModelTimeoutError(f"the backend did not answer within {seconds} s") from None
        except BaseException:
            await self.aclose()
            raise
        self.opened = clock()

    def charged_seconds(self, now: float) -> float | None:
        """The time that the service charges for, by its own count where it tells it; None before it was opened."""
        if self.charged is not None:
            seconds, told_at = self.charged
            return seconds + now - told_at
        return None if self.opened is None else now - self.opened

    async def aclose(self) -> None:
        """Ends it, and lets go of what it told its events to."""
        await self.session.aclose()
        self.session.sink = ignore
        self.receive = _ignore
        self.append = self.session.append_audio

    def own_name(self, item_id: str) -> str | None:
        """The session's own name of an item; None for an item of another session, which this one does not know."""
        number, _, own = item_id.rpartition("~")
        return own if number == (str(self.number) if self.number else "") else None

    def own_tool_call(self, call_id: str) -> str:
        """The session's own id of a tool call: as it gave it, or as the history has told it of an earlier session's."""
        if not self.number:
            return call_id
        number, own = _origin(call_id)
        if number == self.number or self._resumes:
            return own
        return f"s{number}_{own}"  # of letters that every service takes, and none that one gives by itself

    def _as_told(self, turn: ConversationTurn) -> ConversationTurn:
        return replace(turn, call_id=self.own_tool_call(turn.call_id)) if isinstance(turn, ToolExchange) else turn

    @property
    def translates(self) -> bool:
        """Whether speech is not told as it comes."""
        return self._spoken is not None or self.number > 0

    def translated_speech(self, event: AudioDelta) -> AudioDelta:
        """Speech in the call's format and under the call's names: see `translated`."""
        if not self.translates:
            return event
        audio = event.audio if self._spoken is None else self._spoken.convert(event.audio)
        if not self.number:
            return AudioDelta(event.response_id, event.item_id, audio)
        return AudioDelta(f"{self.number}~{event.response_id}", f"{self.number}~{event.item_id}", audio)

    def translated(self, event: RealtimeEvent) -> RealtimeEvent:
        """The event with names that are unique within the call: servers exist that count their items from 1.

        A tool at work is known by its call's id, and so is a request to a web server that may come twice.
        """
        if not self.number:
            return event
        names: dict[str, str | None] = {
            name: f"{self.number}~{getattr(event, name)}" for name in _NAMES if hasattr(event, name)
        }
        if isinstance(event, SpeechStarted | SpeechStopped):
            names["audio_ms"] = None  # it counts from the beginning of this session, which nobody else knows
        renamed: RealtimeEvent = replace(cast("Any", event), **names) if names else event
        return renamed


def _ignore(period: object, event: RealtimeEvent) -> None:
    """Where a period's events go that is over."""


def _origin(name: str) -> tuple[int, str]:
    """The number of the session that a name is of, and that session's own name."""
    number, mark, own = name.partition("~")
    return (int(number), own) if mark and number.isascii() and number.isdecimal() else (0, name)


def ignore(event: RealtimeEvent) -> None:
    """Where events go that nobody waits for."""
