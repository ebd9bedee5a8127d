"""The model of a call: one session that lasts as long as the call, whatever becomes of those behind it.

To the bridge it is a `RealtimeSession` like any other. Behind it stand the backends of the agent, in order. When a
session is lost the conversation is replayed, as it was heard, to the next one that can be had; before a service ends a
session, another is opened beside it and takes over in a quiet moment. Only when no backend answers, the caller hears a
stored apology and the call learns that its model has failed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from gateway.call.prompt import Prompt, Prompts
from gateway.config.price import PriceSettings
from gateway.log import ContextLogger
from gateway.realtime.capability import RealtimeCapabilities
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.errors import ModelError, ModelRefusedError, ModelTimeoutError
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    SessionExpiring,
    SessionFailed,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
)
from gateway.realtime.session import EventSink, RealtimeBackend, RealtimeSession, TextRole
from gateway.realtime.settings import SessionSettings

# A backend that has not answered by then is passed over while there is another. OpenAI takes 0.3 to 0.8 s.
ATTEMPT_SECONDS: Final = 1.5
# Between two rounds through backends that all refused for a reason that may pass.
ROUND_PAUSE_SECONDS: Final = 0.3
# Sessions in a row that ended within so many seconds: the conversation itself breaks them.
SHORT_LIFE_SECONDS: Final = 5.0
SHORT_LIVES_LIMIT: Final = 3
# The caller's last words go into the next session too: 2 s of 20 ms, which is all that a session holds while it opens.
RECENT_PACKETS: Final = 100
# Where the caller was silent when the session was lost: what the detection of speech wants before its start.
SILENT_PACKETS: Final = 15
# Commands that wait for a session.
PENDING_LIMIT: Final = 64
# How long before its end a session is replaced: a tenth of its life, and never more than five minutes.
RENEWAL_SHARE: Final = 0.1
LONGEST_RENEWAL_SECONDS: Final = 300.0
# A renewal that no quiet moment came for is made this long before the end, in the midst of whatever is said.
RENEWAL_RESERVE_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 0.05

# No quotation marks, for there are servers that say quoted words.
GO_ON: Final = (
    "The connection was lost for a moment. Go on from where the conversation stopped: finish what you were saying, or "
    "answer what the caller said last. Do not greet again."
)

Spawn = Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"]


@dataclass(frozen=True, slots=True)
class ModelSurroundings:
    """What a call gives to its model.

    `history` is the conversation as it was heard; `is_speaking` says whether speech of ours still waits to be sent.
    """

    history: Callable[[], Sequence[ConversationTurn]]
    is_speaking: Callable[[], bool]
    spawn: Spawn
    clock: Callable[[], float]
    logger: ContextLogger
    prompts: Prompts
    filler_after_seconds: float
    give_up_after_seconds: float
    prices: Mapping[str, PriceSettings]


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A session that took over from another: when (monotonic), from which backend to which, and why."""

    at: float
    from_backend: str
    to_backend: str
    reason: str
    seconds: float


class _Period:
    """One session of a backend. What it says is ours as long as it is the current one."""

    __slots__ = ("backend", "number", "opened", "session")

    def __init__(self, number: int, backend: RealtimeBackend, receive: Callable[["_Period", RealtimeEvent], None]):
        self.number = number
        self.backend = backend
        self.opened: float | None = None
        self.session: RealtimeSession = backend.create_session(lambda event: receive(self, event))

    async def aclose(self) -> None:
        """Ends it, and lets go of what it told its events to."""
        await self.session.aclose()
        self.session.sink = ignore


class CallModel:
    """A `RealtimeSession` over several.

    Args:
        backends: in order of preference, at least one.
        surroundings: what the call gives.
        sink: where events go.
    """

    def __init__(
        self, backends: Sequence[RealtimeBackend], surroundings: ModelSurroundings, sink: EventSink | None = None
    ) -> None:
        self.sink: EventSink = sink or ignore
        self.tap: Callable[[bytes], None] | None = None
        """Hears the caller's audio too."""
        self.changes: list[ModelChange] = []
        self._backends = tuple(backends)
        self._around = surroundings
        self._settings = SessionSettings()
        self._periods = 0
        self._period = self._next_period(self._backends[0])
        self._append = self._period.session.append_audio
        self._recent: deque[bytes] = deque(maxlen=RECENT_PACKETS)
        self._pending: deque[Callable[[RealtimeSession], None]] = deque(maxlen=PENDING_LIMIT)
        self._is_open = False
        self._closed = False
        self._append_ms: int | None = None
        self._dropped_before_ms = 0
        self._cost = 0.0
        self._short_lives = 0
        self._revision = 0
        self._response_id: str | None = None
        self._open_items: dict[str, str] = {}
        self._reply_due = False
        self._caller_speaks = False
        self._unanswered: set[str] = set()
        self._said = 0
        self._renewal: asyncio.TimerHandle | None = None
        self._works: set[asyncio.Task[None]] = set()

    # RealtimeSession.

    @property
    def capabilities(self) -> RealtimeCapabilities:
        """Of the session that is there now."""
        return self._period.session.capabilities

    @property
    def backend_name(self) -> str:
        """The backend that speaks now."""
        return self._period.backend.name

    @property
    def dropped_input_ms(self) -> int:
        """See `RealtimeSession`; of all sessions together."""
        return self._dropped_before_ms + self._period.session.dropped_input_ms

    @property
    def cost(self) -> float | None:
        """What all sessions have cost so far; None where no backend has prices."""
        if not any(backend.name in self._around.prices for backend in self._backends):
            return None
        return self._cost + self._time_cost()

    def _time_cost(self) -> float:
        """What the time of the present session cost, where its service charges for that."""
        prices, opened = self._around.prices.get(self.backend_name), self._period.opened
        return 0.0 if prices is None or opened is None else prices.cost_of_time(self._around.clock() - opened)

    @property
    def append_ms(self) -> int:
        """See `RealtimeSession`."""
        return self._period.session.append_ms

    @append_ms.setter
    def append_ms(self, append_ms: int) -> None:
        self._append_ms = append_ms
        self._period.session.append_ms = append_ms

    @property
    def reply_is_due(self) -> bool:
        """Whether the caller waits for words: a response runs or should, or a tool is at work."""
        return self._response_id is not None or self._reply_due or bool(self._unanswered)

    @property
    def caller_speaks(self) -> bool:
        """Whether the model hears the caller speak."""
        return self._caller_speaks

    async def open(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None:
        """Opens a session with the first backend that can be had. Raises ModelError when none can."""
        self._settings = settings
        refusals = []
        for index, backend in enumerate(self._backends):
            period = self._period if index == 0 else self._adopt(self._next_period(backend))
            is_last = index == len(self._backends) - 1
            try:
                await self._open_period(period, history, None if is_last else ATTEMPT_SECONDS)
            except ModelError as error:
                refusals.append(f"{backend.name}: {error}")
                self._around.logger.warning("model refused", extra={"backend": backend.name, "reason": error.label})
                continue
            self._begin()
            return
        raise ModelRefusedError("; ".join(refusals))

    def append_audio(self, payload: bytes) -> None:
        """See `RealtimeSession`."""
        self._recent.append(payload)
        self._append(payload)
        if self.tap is not None:
            self.tap(payload)

    def create_response(self, instructions: str | None = None) -> None:
        """See `RealtimeSession`."""
        self._reply_due = True
        self._command(lambda session: session.create_response(instructions))

    def cancel_response(self) -> None:
        """See `RealtimeSession`."""
        self._command(lambda session: session.cancel_response())

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """See `RealtimeSession`. Items of former sessions are nothing that the present one knows."""
        number, _, own_id = item_id.rpartition("~")
        if self._is_open and number == ("" if self._period.number == 0 else str(self._period.number)):
            self._period.session.truncate(own_id, audio_end_ms)

    def end_turn(self) -> None:
        """See `RealtimeSession`."""
        self._command(lambda session: session.end_turn())

    def send_tool_result(self, call_id: str, output: str) -> None:
        """See `RealtimeSession`."""
        self._unanswered.discard(call_id)
        self._reply_due = True
        self._command(lambda session: session.send_tool_result(call_id, output))

    def send_text(self, text: str, *, role: TextRole = TextRole.USER) -> None:
        """See `RealtimeSession`."""
        self._command(lambda session: session.send_text(text, role=role))

    async def aclose(self) -> None:
        """See `RealtimeSession`."""
        self._closed = True
        self._is_open = False
        self._disarm_renewal()
        await self._period.aclose()

    def stop(self) -> None:
        """Stops what is under way for the model, without waiting; `aclose` follows."""
        self._closed = True
        self._disarm_renewal()
        for work in list(self._works):
            work.cancel()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._around.spawn(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        return task

    def _command(self, command: Callable[[RealtimeSession], None]) -> None:
        if self._is_open:
            command(self._period.session)
        elif not self._closed:
            self._pending.append(command)

    # Sessions come and go.

    def _next_period(self, backend: RealtimeBackend) -> _Period:
        period = _Period(self._periods, backend, self._receive)
        self._periods += 1
        return period

    def _adopt(self, period: _Period) -> _Period:
        """Makes a session the current one: the caller's audio and our commands are for it from now on."""
        self._dropped_before_ms += self._period.session.dropped_input_ms
        self._cost += self._time_cost()
        self._period = period
        self._append = period.session.append_audio
        return period

    async def _open_period(self, period: _Period, history: Sequence[ConversationTurn], seconds: float | None) -> None:
        """Opens one session within a time. Raises ModelError, and leaves nothing behind then."""
        try:
            async with asyncio.timeout(seconds):
                await period.session.open(self._settings, history)
        except TimeoutError:
            await period.aclose()
            raise ModelTimeoutError(f"the backend did not answer within {seconds} s") from None
        except BaseException:
            await period.aclose()
            raise
        period.opened = self._around.clock()

    def _begin(self) -> None:
        """The current session is open: what waited for it is done."""
        self._is_open, self._caller_speaks = True, False
        if self._append_ms is not None:
            self._period.session.append_ms = self._append_ms
        while self._pending:
            self._pending.popleft()(self._period.session)
        limit = self.capabilities.session_limit_s
        if limit is not None:
            margin = min(LONGEST_RENEWAL_SECONDS, limit * RENEWAL_SHARE)
            self._arm_renewal(limit - margin, margin)

    def _lost(self, failure: SessionFailed) -> None:
        """The current session is over, and nobody of ours ended it."""
        self._around.logger.warning(
            "model lost",
            extra={"backend": self.backend_name, "reason": failure.reason.value, "detail": failure.detail},
        )
        self._is_open = False
        self._disarm_renewal()
        due = self.reply_is_due and not self._caller_speaks
        self._end_response("session lost")
        if not self._caller_speaks:
            while len(self._recent) > SILENT_PACKETS:
                self._recent.popleft()
        opened, now = self._period.opened, self._around.clock()
        lived = 0.0 if opened is None else now - opened
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE_SECONDS else 0
        self._spawn(self._recover(failure, due))

    async def _recover(self, failure: SessionFailed, due: bool) -> None:
        """Seeks a session that goes on with the conversation, and gives up in the end."""
        began, lost = self._around.clock(), self._period
        comfort = self._spawn(self._comfort()) if due else None
        try:
            found = await self._seek(lost, failure)
        finally:
            if comfort is not None:
                comfort.cancel()
            await lost.aclose()
        if not found:
            self._give_up(failure)
            return
        self._note_change(began, lost, failure.reason.value)
        self._begin()
        if due:
            self.create_response(GO_ON)

    async def _seek(self, lost: _Period, failure: SessionFailed) -> bool:
        """Goes through the backends, round by round, until one answers or the time is up."""
        deadline = self._around.clock() + self._around.give_up_after_seconds
        candidates = self._candidates(lost, failure)
        while candidates and self._short_lives < SHORT_LIVES_LIMIT:
            remaining = []
            for backend in candidates:
                seconds = min(ATTEMPT_SECONDS, deadline - self._around.clock())
                if seconds <= 0:
                    return False
                period = self._adopt(self._next_period(backend))
                for payload in self._recent:
                    period.session.append_audio(payload)
                try:
                    await self._open_period(period, self._around.history(), seconds)
                except ModelError as error:
                    self._around.logger.warning("model refused", extra={"backend": backend.name, "reason": error.label})
                    if error.retryable:
                        remaining.append(backend)
                    continue
                return True
            candidates = remaining
            await asyncio.sleep(ROUND_PAUSE_SECONDS)
        return False

    def _candidates(self, lost: _Period, failure: SessionFailed) -> list[RealtimeBackend]:
        """The same backend first where that may help, then the others in their order."""
        others = [backend for backend in self._backends if backend is not lost.backend]
        if not failure.retryable and others:
            return others
        return [*others, lost.backend] if self._short_lives > 1 else [lost.backend, *others]

    def _give_up(self, failure: SessionFailed) -> None:
        self._closed = True
        if self._around.prompts.apology is not None:
            self._say(self._around.prompts.apology)
        self.sink(failure)

    async def _comfort(self) -> None:
        """A stored word or two, once the caller has heard nothing for a while."""
        filler = self._around.prompts.filler
        silent_since: float | None = None
        while filler is not None:
            now = self._around.clock()
            if self._around.is_speaking():
                silent_since = None
            elif silent_since is None:
                silent_since = now
            if silent_since is not None and now - silent_since >= self._around.filler_after_seconds:
                self._say(filler)
                return
            await asyncio.sleep(WATCH_SECONDS)

    def _say(self, prompt: Prompt) -> None:
        """Stored words, as if the model had said them."""
        self._said += 1
        item_id = f"prompt-{self._said}"
        self.sink(AudioDelta(item_id, item_id, prompt.audio[self._settings.output_format]))
        self.sink(AudioDone(item_id, item_id))
        self.sink(ResponseDone(item_id, ResponseStatus.COMPLETED, "", None))
        if prompt.words:
            self.sink(AgentTranscript(item_id, prompt.words, final=True))

    def _note_change(self, began: float, former: _Period, reason: str) -> None:
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

    # Make before break.

    def _arm_renewal(self, in_seconds: float, margin: float) -> None:
        self._disarm_renewal()
        deadline = self._around.clock() + in_seconds + max(0.0, margin - RENEWAL_RESERVE_SECONDS)
        self._renewal = asyncio.get_running_loop().call_later(
            max(0.0, in_seconds), lambda: self._spawn(self._renew(self._period, deadline))
        )

    def _disarm_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    async def _renew(self, former: _Period, deadline: float) -> None:
        """Opens a session beside the one that will end, and lets it take over when nobody speaks."""
        while former is self._period and self._is_open:
            if self._is_quiet or self._around.clock() >= deadline:
                revision, began = self._revision, self._around.clock()
                fresh = self._next_period(former.backend)
                try:
                    await self._open_period(fresh, self._around.history(), ATTEMPT_SECONDS)
                except ModelError as error:
                    self._around.logger.warning("model not renewed", extra={"reason": error.label})
                    await asyncio.sleep(ATTEMPT_SECONDS)
                    continue
                settled = (self._is_quiet and revision == self._revision) or self._around.clock() >= deadline
                if settled and former is self._period and self._is_open:
                    await self._switch(former, fresh, began)
                    return
                await fresh.aclose()
            await asyncio.sleep(WATCH_SECONDS)

    async def _switch(self, former: _Period, fresh: _Period, began: float) -> None:
        due = self.reply_is_due and not self._caller_speaks
        self._adopt(fresh)
        for payload in list(self._recent)[-SILENT_PACKETS:]:
            fresh.session.append_audio(payload)
        self._end_response("session renewed")
        self._note_change(began, former, "renewed")
        self._begin()
        if due:
            self.create_response(GO_ON)
        await former.aclose()

    @property
    def _is_quiet(self) -> bool:
        return not (self.reply_is_due or self._caller_speaks or self._around.is_speaking())

    # What sessions say.

    def _receive(self, period: _Period, event: RealtimeEvent) -> None:
        if period is not self._period or self._closed:
            return
        if isinstance(event, SessionFailed):
            self._lost(event)
            return
        if period.number:
            event = _renamed(event, period.number)
        if not isinstance(event, AudioDelta):
            self._revision += 1
            self._follow(event)
        elif event.item_id not in self._open_items:
            self._open_items[event.item_id] = event.response_id
        self.sink(event)

    def _follow(self, event: RealtimeEvent) -> None:
        """Keeps in mind where the conversation stands."""
        match event:
            case SpeechStarted():
                self._caller_speaks = True
            case SpeechStopped():
                self._caller_speaks, self._reply_due = False, True
            case ResponseStarted(response_id):
                self._response_id, self._reply_due = response_id, False
            case AudioDone(_, item_id):
                self._open_items.pop(item_id, None)
            case ResponseDone(response_id, _, _, usage):
                if usage is not None and (prices := self._around.prices.get(self.backend_name)) is not None:
                    self._cost += prices.cost_of(usage)
                self._open_items = {item: owner for item, owner in self._open_items.items() if owner != response_id}
                if response_id == self._response_id:
                    self._response_id = None
            case ToolCall(call_id=call_id):
                self._unanswered.add(call_id)
            case SessionExpiring(time_left_s):
                self._arm_renewal(0.0, time_left_s)
            case _:
                pass  # what changes nothing

    def _end_response(self, reason: str) -> None:
        """Ends what a session that is gone had begun, so that what was received is played to its end."""
        for item_id, response_id in self._open_items.items():
            self.sink(AudioDone(response_id, item_id))
        self._open_items.clear()
        if self._response_id is not None:
            response_id, self._response_id = self._response_id, None
            self.sink(ResponseDone(response_id, ResponseStatus.FAILED, reason, None))
        self._reply_due = False


def _renamed(event: RealtimeEvent, number: int) -> RealtimeEvent:
    """The event of a later session with names of its own: servers exist that count their items from 1."""
    names: dict[str, str | None] = {
        name: f"{number}~{getattr(event, name)}" for name in ("item_id", "response_id") if hasattr(event, name)
    }
    if isinstance(event, SpeechStarted | SpeechStopped):
        names["audio_ms"] = None  # it counts from the beginning of this session, which nobody else knows
    renamed: RealtimeEvent = replace(cast("Any", event), **names) if names else event
    return renamed


def ignore(event: RealtimeEvent) -> None:
    """Where events go that nobody waits for."""
