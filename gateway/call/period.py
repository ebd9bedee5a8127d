"""The time of one session within a call: its backend, its number, and its events under names of its own."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.errors import ModelTimeoutError
from gateway.realtime.event import RealtimeEvent, SpeechStarted, SpeechStopped
from gateway.realtime.session import RealtimeBackend, RealtimeSession
from gateway.realtime.settings import SessionSettings


class Period:
    """One session of a backend. What it says is the call's as long as it is the current one.

    Args:
        number: 0 for the first session of a call, and then counted up.
        backend: whose session it is.
        receive: is told every event, with the period that it belongs to.
    """

    __slots__ = ("backend", "number", "opened", "session")

    def __init__(self, number: int, backend: RealtimeBackend, receive: Callable[["Period", RealtimeEvent], None]):
        self.number = number
        self.backend = backend
        self.opened: float | None = None
        """When it was opened, in monotonic seconds."""
        self.session: RealtimeSession = backend.create_session(lambda event: receive(self, event))

    async def open(
        self,
        settings: SessionSettings,
        history: Sequence[ConversationTurn],
        seconds: float | None,
        clock: Callable[[], float],
    ) -> None:
        """Opens the session within a time. Raises ModelError, and leaves nothing behind then."""
        try:
            async with asyncio.timeout(seconds):
                await self.session.open(settings, history)
        except TimeoutError:
            await self.aclose()
            raise ModelTimeoutError(f"the backend did not answer within {seconds} s") from None
        except BaseException:
            await self.aclose()
            raise
        self.opened = clock()

    async def aclose(self) -> None:
        """Ends it, and lets go of what it told its events to."""
        await self.session.aclose()
        self.session.sink = ignore

    def own_name(self, item_id: str) -> str | None:
        """The session's own name of an item; None for an item of another session, which this one does not know."""
        number, _, own = item_id.rpartition("~")
        return own if number == (str(self.number) if self.number else "") else None

    def renamed(self, event: RealtimeEvent) -> RealtimeEvent:
        """The event with names that are unique within the call: servers exist that count their items from 1."""
        if not self.number:
            return event
        names: dict[str, str | None] = {
            name: f"{self.number}~{getattr(event, name)}" for name in ("item_id", "response_id") if hasattr(event, name)
        }
        if isinstance(event, SpeechStarted | SpeechStopped):
            names["audio_ms"] = None  # it counts from the beginning of this session, which nobody else knows
        renamed: RealtimeEvent = replace(cast("Any", event), **names) if names else event
        return renamed


def ignore(event: RealtimeEvent) -> None:
    """Where events go that nobody waits for."""
