"""Which session speaks for a call's model: the first one, and those that follow when it is lost or about to end.

When a session is lost, the conversation is replayed, as it was heard, to the next one that can be had; before a service
ends a session, another is opened beside it and takes over in a quiet moment (`gateway.call.renewal`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from gateway.call.aside import Asides
from gateway.call.bill import Bill
from gateway.call.comfort import Comfort
from gateway.call.dead_air import DeadAir, DeadAirAct, DeadAirCount
from gateway.call.period import Period
from gateway.call.progress import Progress
from gateway.call.renewal import Renewal, renew
from gateway.call.search import ATTEMPT_SECONDS, Search
from gateway.call.surroundings import ModelChange, ModelSurroundings
from gateway.fast import SuccessionPath
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.errors import ModelError, ModelRefusedError
from gateway.realtime.event import (
    AudioDelta,
    FailureReason,
    RealtimeEvent,
    ResponseDone,
    SessionExpiring,
    SessionFailed,
    SessionUsage,
    TextAnswer,
)
from gateway.realtime.session import EventSink, RealtimeBackend, RealtimeSession
from gateway.realtime.settings import SessionSettings
from rtp.fast import RecentAudio

# The caller's last words go into the next session too: 2 s of 20 ms, which is all that a session holds while it opens.
RECENT_PACKETS: Final = 100
# Where the caller was silent when the session was lost: what the detection of speech wants before its start.
SILENT_PACKETS: Final = 15
# How often a model that owes an answer is looked after at least. What is due before is done when it is due.
DEAD_AIR_CHECK_SECONDS: Final = 1.0
# Commands that wait for a session.
PENDING_LIMIT: Final = 64

# No quotation marks, for there are servers that say quoted words.
GO_ON: Final = (
    "The connection was lost for a moment. Go on from where the conversation stopped: finish what you were saying, or "
    "answer what the caller said last. Do not greet again."
)


class Succession(SuccessionPath):
    """The sessions of one call, of which one is the current one.

    Args:
        backends: in order of preference, at least one.
        around: what the call gives.
        sink: where the current session's events go.
    """

    def __init__(self, backends: Sequence[RealtimeBackend], around: ModelSurroundings, sink: EventSink) -> None:
        self.sink = sink
        self.settings = SessionSettings()
        self.changes: list[ModelChange] = []
        self.progress = Progress()
        self.is_open = False
        self.append_ms: int | None = None
        self.recent = RecentAudio(RECENT_PACKETS)
        self.tap = self.speaker = None
        self.spoken_item = ""
        self.sounded = False
        self._backends = tuple(backends)
        self._around = around
        self._bill = Bill(around.prices)
        self._search = Search(self._backends, around)
        self._comfort = Comfort(around.prompts.filler, around.filler_after_seconds, around.is_speaking, around.clock)
        self._periods = 0
        self.period = self.next_period(self._backends[0])
        self.append = self.period.append
        self._pending: deque[Callable[[Period], None]] = deque(maxlen=PENDING_LIMIT)
        self._closed = False
        self._dropped_before_ms = 0
        self._renewal = Renewal(around.clock)
        self.dead_air_count = DeadAirCount()
        self._dead_air = DeadAir(around.dead_air)
        self._dead_air_check: asyncio.TimerHandle | None = None
        self._asides = Asides()
        self._bridging: asyncio.Task[None] | None = None
        self._works: set[asyncio.Task[None]] = set()

    @property
    def backend_name(self) -> str:
        """The backend that speaks now."""
        return self.period.backend.name

    @property
    def dropped_input_ms(self) -> int:
        """What all sessions together dropped of the caller's audio."""
        return self._dropped_before_ms + self.period.session.dropped_input_ms

    @property
    def cost(self) -> float | None:
        """What all sessions have cost so far; None where no backend has prices."""
        if not any(self._bill.has_prices(backend.name) for backend in self._backends):
            return None
        return self._bill.cost(self.backend_name, self.period.charged_seconds(self._around.clock()))

    @property
    def is_quiet(self) -> bool:
        """Whether nobody speaks or is about to."""
        return not (self.progress.reply_is_due or self.progress.caller_speaks or self._around.is_speaking())

    @property
    def _lived(self) -> float | None:
        opened = self.period.opened
        return None if opened is None else self._around.clock() - opened

    async def open(self, settings: SessionSettings, history: Sequence[ConversationTurn]) -> None:
        """Opens a session with the first backend that can be had. Raises ModelError when none can."""
        self.settings = settings
        self.period.adapt(settings)
        self.append = self.period.append
        refusals = []
        for index, backend in enumerate(self._backends):
            period = self.period if index == 0 else self.adopt(self.next_period(backend))
            is_last = index == len(self._backends) - 1
            try:
                await self.open_period(period, history, None if is_last else ATTEMPT_SECONDS)
            except ModelError as error:
                refusals.append(f"{backend.name}: {error}")
                self._around.logger.warning("model refused", extra={"backend": backend.name, "reason": error.label})
                continue
            self._begin()
            return
        raise ModelRefusedError("; ".join(refusals))

    def command(self, command: Callable[[RealtimeSession], None]) -> None:
        """Tells the current session something, or the one that will follow it."""
        self.command_period(lambda period: command(period.session))

    def command_period(self, command: Callable[[Period], None]) -> None:
        """The same for what is named otherwise in each session."""
        if self.is_open:
            command(self.period)
        elif not self._closed:
            self._pending.append(command)

    def ask(self, instructions: str | None = None) -> None:
        """Asks the model to speak."""
        self.progress.ask()
        self.command(lambda session: session.create_response(instructions))
        self.watch_dead_air()

    async def aclose(self) -> None:
        """Ends the current session."""
        self._closed = True
        self.is_open = False
        self._disarm()
        await self.period.aclose()

    def stop(self) -> None:
        """Stops what is under way, without waiting; `aclose` follows."""
        self._closed = True
        self._disarm()
        for work in list(self._works):
            work.cancel()

    def _disarm(self) -> None:
        self.speaker = None
        self._renewal.disarm()
        self._end_bridging()
        if self._dead_air_check is not None:
            self._dead_air_check.cancel()
            self._dead_air_check = None

    # Sessions come and go.

    def next_period(self, backend: RealtimeBackend, handle: str | None = None) -> Period:
        """A session that is still to be opened; with a handle it will know what another one knew."""
        period = Period(self._periods, backend, self.receive, handle)
        period.adapt(self.settings)
        self._periods += 1
        return period

    async def open_period(self, period: Period, history: Sequence[ConversationTurn], seconds: float | None) -> None:
        """Opens a session within a time. Raises ModelError, and leaves nothing behind then."""
        await period.open(history, seconds, self._around.clock)

    async def switch(self, former: Period, fresh: Period, began: float) -> None:
        """Lets a session that is open take over from one that will end."""
        due = self.progress.reply_is_due and not self.progress.caller_speaks
        self.adopt(fresh)
        for payload in list(self.recent)[-SILENT_PACKETS:]:
            fresh.append(payload)
        self._end_response("session renewed")
        self._note_change(began, former, "renewed")
        self._begin()
        if due:
            self.ask(GO_ON)
        await former.aclose()

    def adopt(self, period: Period) -> Period:
        """Makes a session the current one: the caller's audio and our commands are for it from now on."""
        self._dropped_before_ms += self.period.session.dropped_input_ms
        self._bill.add_time(self.backend_name, self.period.charged_seconds(self._around.clock()))
        self.period, self.speaker = period, None
        self.append = period.append
        return period

    def _begin(self) -> None:
        """The current session is open: what waited for it is done."""
        self.is_open, self.progress.caller_speaks = True, False
        if self.append_ms is not None:
            self.period.session.append_ms = self.append_ms
        while self._pending:
            self._pending.popleft()(self.period)
        limit = self.period.session.capabilities.session_limit_s
        if limit is not None:
            self._renewal.arm_for_limit(limit, self._renew)

    def _renew(self, deadline: float) -> None:
        self._spawn(renew(self, self._around, deadline))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._around.spawn(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        return task

    # Loss.

    def _lost(self, failure: SessionFailed) -> None:
        """The current session is over, and nobody of ours ended it."""
        self._around.logger.warning(
            "model lost",
            extra={"backend": self.backend_name, "reason": failure.reason.value, "detail": failure.detail},
        )
        self.is_open = False
        self._disarm()
        self._forget_dead_air()
        self._asides.give_up()
        due = self.progress.reply_is_due and not self.progress.caller_speaks
        self._end_response("session lost")
        if not self.progress.caller_speaks:
            self.recent.keep(SILENT_PACKETS)
        self._search.note_life(self._lived or 0.0)
        self._spawn(self._recover(failure, due))

    async def _recover(self, failure: SessionFailed, due: bool) -> None:
        """Seeks a session that goes on with the conversation, and gives up in the end."""
        began, lost = self._around.clock(), self.period
        if due and failure.reason is not FailureReason.UNANSWERED:  # then the caller has just heard the words
            self._bridging = self._spawn(self._comfort.bridge_silence(self.sink, self.settings.output_format))
        try:
            found = await self._search.seek(self, lost, failure)
        finally:
            await lost.aclose()
        if not found:
            self._end_bridging()
            self._give_up(failure)
            return
        self._note_change(began, lost, failure.reason.value)
        self._begin()
        if due:
            self.ask(GO_ON)

    # Dead air.

    def watch_dead_air(self) -> None:
        """Looks after an answer that is owed, until it comes."""
        if self._dead_air_check is None and self._dead_air.watches and self.is_open:
            if self.progress.model_is_awaited:
                now = self._around.clock()
                self._dead_air.begin(now)
                seconds = min(DEAD_AIR_CHECK_SECONDS, self._dead_air.seconds_left(now))
                self._dead_air_check = asyncio.get_running_loop().call_later(seconds, self._check_dead_air)
            else:
                self._forget_dead_air()

    def _forget_dead_air(self) -> None:
        self._dead_air.forget()
        self.sounded = False

    def _check_dead_air(self) -> None:
        self._dead_air_check = None
        sounded, self.sounded = self.sounded, False
        if sounded:
            self._search.unanswered_lives = 0
        waits = self.is_open and self.progress.model_is_awaited
        speaks = not sounded and self._around.is_speaking()
        act = self._dead_air.check(self._around.clock(), waits=waits, speaks=speaks, sounded=sounded)
        if act is not DeadAirAct.NOTHING:
            self._around.logger.warning("model does not answer", extra={"backend": self.backend_name, "act": act.value})
        takes_turns = self.period.session.capabilities.takes_turns
        match act:
            case DeadAirAct.NUDGE if not self.progress.responds:
                self.dead_air_count.nudges += 1
                self.command(lambda session: session.create_response())
            case _ if takes_turns:
                pass  # it may have good reason to be silent, and nobody can tell
            case DeadAirAct.FILL if (words := self._around.prompts.waiting) is not None:
                self.dead_air_count.fillers += 1
                self._comfort.say(words, self.sink, self.settings.output_format)
            case DeadAirAct.REPLACE:
                self._replace_silent()
            case _:
                pass
        self.watch_dead_air()

    def _replace_silent(self) -> None:
        """Gives the silent session up. Its own backend may be tried again only once."""
        self.dead_air_count.replacements += 1
        self._search.unanswered_lives += 1
        first = self._search.unanswered_lives == 1
        failure = SessionFailed(FailureReason.UNANSWERED, "the model did not answer", retryable=first)
        self._lost(failure)

    def _end_bridging(self) -> None:
        """The caller hears somebody: a filler that has not begun is not wanted any more."""
        bridging, self._bridging = self._bridging, None
        if bridging is not None:
            bridging.cancel()

    def _give_up(self, failure: SessionFailed) -> None:
        self._closed, self.speaker = True, None
        if (apology := self._around.prompts.apology) is not None:
            self._comfort.say(apology, self.sink, self.settings.output_format)
        self.sink(failure)

    def _end_response(self, reason: str) -> None:
        self.speaker = None
        for event in self.progress.end(reason):
            self.sink(event)

    def _note_change(self, began: float, former: Period, reason: str) -> None:
        now = self._around.clock()
        change = ModelChange(now, former.backend.name, self.backend_name, reason, now - began)
        self.changes.append(change)
        self._around.logger.info(
            "model replaced",
            extra={
                "event": "model_replaced",
                "from": change.from_backend,
                "backend": change.to_backend,
                "reason": reason,
                "took_ms": round(change.seconds * 1000),
            },
        )

    # What sessions say.

    def tell(self, event: RealtimeEvent) -> None:
        """Tells an event that the gateway itself has noticed as if the current session had."""
        self.progress.follow(event)
        self.watch_dead_air()
        self.sink(event)

    async def ask_aside(self, instructions: str, seconds: float) -> str | None:
        """Words of the model about the conversation that nobody hears; None where none come in time."""
        return await self._asides.ask(self.period.session, instructions, seconds) if self.is_open else None

    def _receive_irregular(self, period: object, event: RealtimeEvent) -> None:
        is_current = period is self.period and not self._closed
        period = self.period
        if is_current and type(event) is AudioDelta:
            self._receive_speech(period.translated_speech(event))
            return
        if isinstance(event, TextAnswer):  # awaited also when the call has ended and nothing else counts
            self._asides.settle(event)
            return
        if not is_current:
            return
        if isinstance(event, SessionFailed):
            self._lost(event)
            return
        event = period.translated(event)
        self.progress.follow(event)
        if self.spoken_item not in self.progress.open_items:
            self.speaker = None
        self.watch_dead_air()
        if isinstance(event, ResponseDone) and event.usage is not None:
            self._bill.add_usage(self.backend_name, event.usage)
        elif isinstance(event, SessionUsage):
            period.charged = event.seconds, self._around.clock()
        elif isinstance(event, SessionExpiring):
            self._renewal.arm(0.0, event.time_left_s, self._renew)
        self.sink(event)

    def _receive_speech(self, speech: AudioDelta) -> None:
        if speech.item_id not in self.progress.open_items:
            self.progress.follow(speech)
        self.sounded = True
        self._end_bridging()
        self.speaker = None if self.period.translates else self.period
        self.spoken_item = speech.item_id
        self.sink(speech)
