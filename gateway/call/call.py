"""One inbound call as an actor: one inbox, one owner of its state, every slow thing a task of its own.

SIP, the model, the media leg and timers put inputs into the inbox; `run` takes them out one by one and steps through
`gateway.call.transition.CALL_TABLE`. Audio never passes through here: see `gateway.bridge`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from jinja2 import TemplateError

from gateway.admission import Route
from gateway.bridge import Bridge
from gateway.call.audio_format import with_formats
from gateway.call.backend_group import BackendGroup, group_backends
from gateway.call.conversation import Conversation, Speaker
from gateway.call.history import history_of
from gateway.call.keypad import key_press
from gateway.call.model import CallModel, ModelSurroundings, ignore
from gateway.call.prompt import Prompts
from gateway.call.record import (
    CallRecord,
    DigitRecord,
    EndRecord,
    IdentityRecord,
    MediaRecord,
    ModelChangeRecord,
    ModelRecord,
    RecordingRecord,
    ToolCallRecord,
    keep,
    transcript_of,
    turns_of,
)
from gateway.call.settings import guard_policy, say_exactly, settings_of
from gateway.call.silence import Silence, SilenceAct
from gateway.call.transfer import Transfers
from gateway.call.transition import CALL_TABLE, CallAct, CallInput, CallState, EndReason
from gateway.call.turn_guard import TurnGuard
from gateway.config.price import PriceSettings
from gateway.config.template import CallValues, fill, header_values
from gateway.identity.check import IdentityCheck
from gateway.leg import AudioLeg
from gateway.log import ContextLogger
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.errors import ModelError
from gateway.realtime.event import SessionFailed, ToolCall
from gateway.realtime.session import EventSink, RealtimeBackend, TextRole
from gateway.realtime.settings import ServerVad, SessionSettings
from gateway.recording import StereoRecording
from gateway.tools.catalog import Toolbox
from gateway.tools.desk import ToolDesk, ToolWork
from gateway.tools.tool import ToolContext, TransferOutcome
from sip.errors import SipError
from sip.event import (
    Acknowledged,
    ByeReceived,
    Cancelled,
    Ended,
    InfoReceived,
    NotAcknowledged,
    ReferAccepted,
    ReferEnded,
    ReferProgress,
    ReferReceived,
    ReinviteReceived,
    SessionEvent,
)
from sip.header import NameAddr
from sip.session.uas import ServerSession

# Inputs that may wait. A call meets a few a second; a full inbox means an actor that has stopped taking them out, and
# the input is counted as lost rather than kept without bound.
INBOX_LIMIT: Final = 64
# How long an agent that wants to end the call may go on speaking: a goodbye, not a story.
FAREWELL_SECONDS: Final = 15.0
# A BYE is answered within a round trip; 64*T1 of retransmissions (RFC 3261 timer F) is the session's own limit.
RELEASE_SECONDS: Final = 33.0
# How often a call looks after its silence and its cost.
WATCH_SECONDS: Final = 1.0
# Keys pressed one after another are one entry; this pause, or "#", ends it.
DIGIT_PAUSE_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)

Perform = Callable[..., None]


def _no_tools(agent_name: str) -> Toolbox:
    """What an agent has that nobody equipped."""
    return {}


@dataclass(frozen=True, slots=True)
class CallEnvironment:
    """What the process gives to its calls.

    `perform` runs a method of a SIP session at the endpoint's `now` and sends what comes of it.
    """

    perform: Perform
    backends: Mapping[str, RealtimeBackend]
    records: Path
    recordings: Path | None
    recording_format: str
    recording_executor: Executor
    setup_timeout_seconds: float
    clock: Callable[[], float]
    tools_of: Callable[[str], Toolbox] = _no_tools
    prompts: Mapping[str, Prompts] = field(default_factory=dict)
    prices: Mapping[str, PriceSettings] = field(default_factory=dict)


class Call:
    """One inbound call.

    Args:
        call_id: ours, unique; the header's is the session's.
        session: the INVITE session, not yet answered.
        leg: the media leg; it has already agreed to the caller's offer.
        answer: the session description that goes into the 200.
        route: trunk, number and agent.
        environment: what the process gives.
        identity: the check of the caller's number, where the trunk asks for one.
    """

    def __init__(
        self,
        call_id: str,
        session: ServerSession,
        leg: AudioLeg,
        answer: bytes,
        route: Route,
        environment: CallEnvironment,
        identity: IdentityCheck | None = None,
    ) -> None:
        self.call_id = call_id
        self.route = route
        self.state = CallState.OPENING
        self.lost_inputs = 0
        self._session = session
        self._leg = leg
        self._answer = answer
        self._environment = environment
        self._identity = identity
        self._inbox: asyncio.Queue[CallInput] = asyncio.Queue(INBOX_LIMIT)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._model: CallModel | None = None
        self._bridge: Bridge | None = None
        self._recording: StereoRecording | None = None
        self._reason: EndReason | None = None
        self._detail: str | None = None
        self._sip_status: int | None = None
        self._leaving: CallInput | None = None
        self._notes: list[tuple[float, str]] = []
        self._entry: list[str] = []
        self._digits: list[DigitRecord] = []
        self._hears_events = False
        self._settings = SessionSettings()
        self._tool_calls: list[ToolCallRecord] = []
        self._invited = environment.clock()
        self._started_at = datetime.now(UTC)
        self._answered: float | None = None
        self._answered_at: datetime | None = None
        self._model_opened: float | None = None
        self._guard: TurnGuard | None = None
        self._tasks: asyncio.TaskGroup
        self._silence: Silence
        self._desk: ToolDesk | None = None
        self._conversation = Conversation(started=self._invited)
        self._logger = ContextLogger(_log, {"call_id": call_id, "trunk": route.trunk_name})
        self._transfers = Transfers(session, environment.perform, self._logger)
        self._spoken = asyncio.Event()

    async def run(self) -> None:
        """Lives the call to its end. Whatever happens, everything is released and one record is written."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._live()
        finally:
            await self._release()

    async def _live(self) -> None:
        """Takes the inputs one by one until the call has ended, and then stops what still runs for it."""
        self._log_start()
        self._arm("setup", self._environment.setup_timeout_seconds, CallInput.SETUP_EXPIRED)
        checking = self._spawn(self._check_identity())
        opening = self._spawn(self._open_model(checking))
        try:
            self._environment.perform(self._session.ring)
            while self.state is not CallState.ENDED:
                self._step(await self._inbox.get())
        finally:
            checking.cancel()
            opening.cancel()
            self._transfers.close()
            if self._desk is not None:
                self._desk.close()
            if self._model is not None:
                self._model.stop()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Starts a task that ends with the call at the latest."""
        return self._tasks.create_task(work, name=f"call-{self.call_id}-work")

    def stop(self) -> None:
        """Asks the call to end because the gateway does."""
        self.post(CallInput.STOPPED)

    def post(self, news: CallInput) -> None:
        """Puts an input into the inbox; never blocks."""
        try:
            self._inbox.put_nowait(news)
        except asyncio.QueueFull:
            self.lost_inputs += 1
            self._logger.error("call inbox is full", extra={"input": news.value})

    def pause_recording(self) -> bool:
        """Records silence from now on, while a card's number is said for example. False where nothing is recorded."""
        if self._recording is None:
            return False
        self._recording.pause()
        self._logger.info("recording paused", extra={"event": "recording_paused"})
        return True

    def resume_recording(self) -> bool:
        """Records again. False where nothing is recorded."""
        if self._recording is None:
            return False
        self._recording.resume()
        self._logger.info("recording resumed", extra={"event": "recording_resumed"})
        return True

    def _tell_recording(self) -> None:
        """The recording learns what the channels are made of."""
        if self._recording is not None:
            self._recording.take_formats(self._settings.input_format, self._leg.playout_format)

    # What SIP says.

    def on_session_event(self, event: SessionEvent) -> None:
        """Takes an event of the SIP session."""
        match event:
            case Acknowledged(body=body):
                usable = self._leg.complete(body)  # of the INVITE, or of a re-INVITE that came without an offer
                self._tell_recording()
                if self.state is CallState.ANSWERING and not usable:
                    self._detail = "the ACK brought no session description that could be used"
                    self.post(CallInput.MEDIA_LOST)
                self.post(CallInput.ACKNOWLEDGED)
            case NotAcknowledged():
                self.post(CallInput.NOT_ACKNOWLEDGED)
            case Cancelled(reason=reason):
                self._detail = reason
                self.post(CallInput.CANCELLED)
            case ByeReceived(reason=reason):
                self._detail = reason
                self.post(CallInput.CALLER_HUNG_UP)
            case ReinviteReceived(offer=offer):
                self._answer_reinvite(offer)
            case InfoReceived(content_type=content_type, body=body):
                self._take_info(content_type, body)
            case ReferReceived(refer_to=refer_to):
                self._decline_refer(refer_to)
            case ReferAccepted() | ReferProgress() | ReferEnded():
                if self._transfers.on_event(event):
                    self.post(CallInput.TRANSFERRED)
            case Ended():
                self.post(CallInput.DIALOG_ENDED)
            case _:
                pass  # what only informs, such as the end of a re-INVITE

    def _take_info(self, content_type: str | None, body: bytes) -> None:
        """Keys that a PBX reports in signalling; one that sends telephone-events too would say each twice."""
        press = key_press(content_type, body)
        if press is not None and not self._hears_events:
            self._take_digit(press.digit, press.duration_ms)

    def _decline_refer(self, refer_to: NameAddr) -> None:
        """Nobody but the agent moves a call: what a far end names here we would have to dial, at our cost.

        603 says so to the far end for good (RFC 3515 §2.4.2); 405 would deny what we answer in other dialogs.
        """
        self._logger.warning(
            "REFER refused",
            extra={"event": "refer_refused", "rule": "far ends do not transfer calls", "dialled": str(refer_to.uri)},
        )
        self._environment.perform(self._session.reject_refer, 603)

    def _answer_reinvite(self, offer: bytes | None) -> None:
        """A failed re-INVITE leaves the running call as it was (RFC 3261 §14.2)."""
        try:
            body = self._leg.answer(offer)
        except SipError as error:
            self._logger.info("re-INVITE refused", extra={"reason": error.label, "status": error.status})
            self._environment.perform(self._session.reject_reinvite, error.status)
            return
        self._tell_recording()
        self._environment.perform(self._session.answer_reinvite, body)

    # What the bridge says (gateway.bridge.BridgeListener).

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """A key that came as a telephone-event."""
        self._hears_events = True
        self._take_digit(digit, duration_ms)

    def _take_digit(self, digit: str, duration_ms: int) -> None:
        """Collects keys into an entry, which the model is told as one."""
        self._digits.append(DigitRecord(digit=digit, at_ms=self._at_ms(), duration_ms=duration_ms))
        self._entry.append(digit)
        self._logger.info("digit", extra={"digit": digit})
        if digit == "#":
            self._tell_digits()
        else:
            self._call_later("digits", DIGIT_PAUSE_SECONDS, self._tell_digits)

    def on_tool_call(self, call: ToolCall) -> None:
        """Lets the agent's tools do it, each as a task of the call."""
        if self.state is CallState.ENDED:
            return
        if self._desk is None:
            self._desk = ToolDesk(
                self._environment.tools_of(self.route.agent_name),
                self._tool_context,
                self,
                self._spawn,
                self._environment.clock,
                self._logger,
                self.route.agent.max_tool_calls,
            )
        self._desk.take(call)

    def on_tool_cancelled(self, tool_call_id: str) -> None:
        """The model no longer wants a result."""
        if self._desk is not None:
            self._desk.cancel(tool_call_id)

    # What tools may do (gateway.tools.tool.Line) and what their desk needs (gateway.tools.desk.ToolFloor).

    def _tool_context(self, tool_call_id: str) -> ToolContext:
        return ToolContext(self.call_id, tool_call_id, self.route.caller, self.route.dialled, self)

    def end_call(self) -> None:
        """Hangs up when the agent's last word has been heard."""
        self._leave(CallInput.AGENT_HUNG_UP)

    def _leave(self, news: CallInput) -> None:
        """Posts an input that ends the call once all that waits has been heard."""
        self._leaving = news
        if self._leg.queued_ms:
            self._arm("farewell", FAREWELL_SECONDS, news)
        else:
            self.post(news)

    def send_digits(self, digits: str) -> bool:
        """Sends keys to the caller's side; False where the far end takes none."""
        return self._leg.send_digits(digits)

    async def transfer_call(self, uri: str) -> TransferOutcome:
        """Hands the caller over once the agent's last word has been heard: what the far end plays next is its own."""
        self._spoken.clear()
        if self._leg.queued_ms:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._spoken.wait()
        return await self._transfers.transfer(uri, self._at_ms())

    @property
    def caller_turns(self) -> int:
        """How often the caller has spoken so far."""
        return sum(utterance.speaker is Speaker.CALLER for utterance in self._conversation.utterances)

    def answer_tool(self, tool_call_id: str, output: str) -> None:
        """Gives the model the result of a tool."""
        if self._model is not None:
            self._model.send_tool_result(tool_call_id, output)

    def say_filler(self, words: str) -> None:
        """Lets the agent say something while a tool runs, unless it is speaking already."""
        if self._model is not None and not self._leg.queued_ms:
            self._model.create_response(say_exactly(words))

    def keep_tool_call(self, work: ToolWork) -> None:
        """A tool's work is settled."""
        ended = work.began if work.ended is None else work.ended
        self._tool_calls.append(
            ToolCallRecord(
                name=work.call.name,
                at_ms=round((work.began - self._conversation.started) * 1000),
                duration_ms=round((ended - work.began) * 1000),
                outcome=work.outcome,
            )
        )

    def on_playout_drained(self) -> None:
        """The goodbye has been heard: an agent that wants to leave leaves now."""
        if self._guard is not None:
            self._guard.on_playout_drained()
        self._spoken.set()
        if self._leaving is not None:
            self.post(self._leaving)

    def on_model_failed(self, failure: SessionFailed) -> None:
        """No backend goes on with the conversation. An apology may wait to be heard."""
        self._detail = f"{failure.reason.value}: {failure.detail}"
        self._leave(CallInput.MODEL_LOST)

    def on_said(self, speaker: str, text: str) -> None:
        """One side's words are complete."""
        self._logger.info("said", extra={"event": "said", "speaker": speaker, "text": text})

    def on_interrupted(self, heard_ms: int) -> None:
        """The caller spoke over the agent."""
        self._logger.info("interrupted", extra={"event": "interrupted", "heard_ms": heard_ms})

    def on_turn(self, latency_ms: int | None) -> None:
        """An answer begins to be heard."""
        self._logger.info("turn", extra={"event": "turn", "latency_ms": latency_ms})

    # Steps and acts.

    def _step(self, news: CallInput) -> None:
        step = CALL_TABLE[self.state].get(news)
        if step is None:
            self._logger.debug("late input", extra={"state": self.state.value, "input": news.value})
            return
        self._logger.debug("step", extra={"from": self.state.value, "input": news.value, "to": step.state.value})
        self.state = step.state
        if step.reason is not None and self._reason is None:
            self._reason = step.reason
        for act in step.acts:
            _ACTS[act](self)
        if self.state is CallState.ENDING:
            self._arm("release", RELEASE_SECONDS, CallInput.RELEASE_EXPIRED)

    def _act_answer(self) -> None:
        self._cancel_timer("setup")
        self._environment.perform(self._session.answer, self._answer)
        self._answered = self._environment.clock()
        self._answered_at = datetime.now(UTC)
        self._conversation.started = self._answered
        if self._bridge is not None:  # always: only a model that is ready leads here
            self._tell_recording()
            self._leg.start(
                self._bridge,
                input_format=self._settings.input_format,
                output_format=self._settings.output_format,
                on_flushed=self._bridge.on_playout_flushed,
                on_load=self._bridge.on_load,
                on_lost=self._on_media_lost,
            )
        self._arm("duration", self.route.agent.max_duration_seconds, CallInput.LIMIT_REACHED)
        self._logger.info("answered", extra={"event": "answered", "set_up_ms": self._set_up_ms()})

    def _on_media_lost(self) -> None:
        self._detail = "no media came from the far end"
        self.post(CallInput.MEDIA_LOST)

    def _act_refuse(self) -> None:
        headers: tuple[tuple[str, str], ...] = ()
        self._sip_status = 503
        if self._reason is EndReason.IDENTITY_REFUSED and self._identity is not None:
            self._sip_status, headers = self._identity.refusal
        self._environment.perform(self._session.reject, self._sip_status, headers=headers)

    def _act_greet(self) -> None:
        self._leg.resume()
        self._silence = Silence(self.route.agent.silence, self._environment.clock())
        self._call_later("watch", WATCH_SECONDS, self._watch)
        if self.route.agent.greeting and self._model is not None:
            greeting = self._fill(self.route.agent.greeting).replace('"', "'")
            self._model.create_response(f'Greet the caller with exactly these words: "{greeting}"')

    def _watch(self) -> None:
        """Once a second: has everybody fallen silent, has the call cost too much?"""
        model, agent = self._model, self.route.agent
        if model is None or self.state is not CallState.TALKING:
            return
        self._call_later("watch", WATCH_SECONDS, self._watch)
        if agent.max_cost is not None and (cost := model.cost) is not None and cost >= agent.max_cost:
            self.post(CallInput.COST_REACHED)
        talks = bool(self._leg.queued_ms) or model.reply_is_due or model.caller_speaks or self._transfers.is_under_way
        match self._silence.check(self._environment.clock(), agent_talks=talks, caller_turns=self.caller_turns):
            case SilenceAct.PROMPT if agent.silence.prompt is not None:
                model.create_response(say_exactly(agent.silence.prompt))
            case SilenceAct.HANG_UP:
                self.post(CallInput.SILENCE_REACHED)

    def _act_hang_up(self) -> None:
        self._environment.perform(self._session.hang_up)

    # The model.

    async def _check_identity(self) -> None:
        """Gets the verdict about the caller's number, and refuses or routes the call by it."""
        if self._identity is None:
            return
        verdict = await self._identity.settle()
        self._logger.info(
            "identity",
            extra={
                "event": "identity",
                "status": verdict.status.value,
                "attestation": verdict.attestation,
                "source": verdict.source.value,
                "detail": verdict.detail,
            },
        )
        if self._identity.is_refused:
            self._detail = self._identity.detail
            self.post(CallInput.IDENTITY_REFUSED)
        elif (agent := self._identity.agent) is not None:
            self.route = replace(self.route, agent_name=agent[0], agent=agent[1])

    async def _open_model(self, checking: asyncio.Task[None]) -> None:
        """Opens a session with the first backend of the agent's list that can be had.

        The verdict about the caller's number comes first where it chooses the agent, otherwise meanwhile. It is there
        before the call is answered, and the agent is told with its instructions or, if it came late, right after them.
        """
        identity = self._identity
        if identity is not None and (identity.chooses_agent or identity.verdict is not None):
            await checking
            if identity.is_refused:
                return
        context = None if identity is None else identity.sentence
        refusals = []
        for group in group_backends(self._backends()):
            settings = with_formats(self._session_settings(context), group.capabilities, self._leg.payload_format)
            model = self._create_model(group)
            bridge = self._create_bridge(model, settings)
            model.sink = self._guarded(model, bridge, settings)
            try:
                await model.open(settings)
            except ModelError as error:
                refusals.append(str(error))
                continue
            except asyncio.CancelledError:
                await model.aclose()
                raise
            self._model, self._bridge, self._settings = model, bridge, settings
            self._model_opened = self._environment.clock()
            await checking
            if identity is not None and context is None and identity.sentence is not None:
                self._tell(identity.sentence, TextRole.SYSTEM)
            self.post(CallInput.MODEL_READY)
            return
        self._detail = "; ".join(refusals) or "no backend of the agent can be used"
        self.post(CallInput.MODEL_REFUSED)

    def _guarded(self, model: CallModel, bridge: Bridge, settings: SessionSettings) -> EventSink:
        """Where the model's events go: to the bridge, or first to a guard where the agent wants one."""
        policy = guard_policy(self.route.agent)
        if not policy.is_needed:
            return bridge.on_model_event
        guard = self._guard = TurnGuard(
            policy, model, bridge.on_model_event, lambda: self._leg.queued_ms > 0, settings.input_format
        )
        model.tap = guard.on_caller_audio
        return guard.on_model_event

    def _backends(self) -> list[RealtimeBackend]:
        usable = self._environment.backends
        return [usable[name] for name in self.route.agent.backends if name in usable]

    def _create_model(self, group: BackendGroup) -> CallModel:
        loss = self.route.agent.model_loss
        return CallModel(
            group.backends,
            ModelSurroundings(
                history=self._history,
                is_speaking=lambda: self._leg.queued_ms > 0,
                spawn=self._spawn,
                clock=self._environment.clock,
                logger=self._logger,
                prompts=self._environment.prompts.get(self.route.agent_name, Prompts()),
                filler_after_seconds=loss.filler_after_ms / 1000,
                give_up_after_seconds=loss.give_up_after_seconds,
                prices=self._environment.prices,
            ),
        )

    def _history(self) -> tuple[ConversationTurn, ...]:
        """What a session is told that takes over."""
        return history_of(self._conversation, () if self._desk is None else self._desk.works, self._notes)

    def _tell(self, words: str, role: TextRole) -> None:
        """Tells the model what nobody said, and remembers it for a session that takes over."""
        if self._model is not None:
            self._notes.append((self._environment.clock(), words))
            self._model.send_text(words, role=role)

    def _session_settings(self, context: str | None = None) -> SessionSettings:
        tools = self._environment.tools_of(self.route.agent_name).values()
        agent = self.route.agent.model_copy(update={"instructions": self._fill(self.route.agent.instructions)})
        return settings_of(agent, context, tuple(tool.definition for tool in tools))

    def _fill(self, text: str) -> str:
        """A text of the agent with what this call has; as it stands where that fails."""
        route = self.route
        values = CallValues(
            caller=route.caller,
            dialled=route.dialled,
            trunk=route.trunk_name,
            agent=route.agent_name,
            headers=header_values(self._session.request.headers.items()),
            variables=route.agent.variables,
        )
        try:
            return fill(text, values)
        except TemplateError as error:
            self._logger.error("text cannot be filled in", extra={"agent": route.agent_name, "detail": str(error)})
            return text

    def _create_bridge(self, model: CallModel, settings: SessionSettings) -> Bridge:
        turn_detection = settings.turn_detection
        pause_ms = turn_detection.silence_duration_ms if isinstance(turn_detection, ServerVad) else 0
        bridge = Bridge(
            model,
            self._conversation,
            self,
            self._environment.clock,
            octets_per_ms=settings.output_format.bytes_per_ms,
            recorder=self._recording or self._create_recording(),
            pause_ms=pause_ms,
        )
        bridge.attach(self._leg)
        return bridge

    def _create_recording(self) -> StereoRecording | None:
        if self._environment.recordings is None:
            return None
        path = self._environment.recordings / f"{self.call_id}.{self._environment.recording_format}"
        self._recording = StereoRecording(path, self._environment.recording_executor)
        return self._recording

    def _tell_digits(self) -> None:
        self._cancel_timer("digits")
        if not self._entry or self._model is None:
            return
        entry = "".join(self._entry)
        self._entry.clear()
        self._tell(f"The caller pressed {entry} on the telephone keypad.", TextRole.USER)
        self._model.create_response()

    # Timers.

    def _arm(self, name: str, seconds: float, news: CallInput) -> None:
        self._call_later(name, seconds, lambda: self.post(news))

    def _call_later(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        self._cancel_timer(name)
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, callback)

    def _cancel_timer(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    # The end.

    async def _release(self) -> None:
        """Lets go of everything, in reverse order of its taking. Idempotent."""
        for name in list(self._timers):
            self._cancel_timer(name)
        ended_at = datetime.now(UTC)
        duration_ms = 0 if self._answered is None else round((self._environment.clock() - self._answered) * 1000)
        if not self._session.is_ended:
            # The actor ends before its session: a fault, or a process that stops. The caller is told.
            self._environment.perform(self._session.hang_up)
        self._account_for_unheard_speech()
        media = self._leg.statistics()
        self._leg.close()
        if self._model is not None:
            await self._model.aclose()
        if self._recording is not None:
            await self._recording.aclose()
        record = self._record(ended_at, duration_ms, media)
        self._break_cycles()
        await asyncio.to_thread(keep, record, self._environment.records)
        self._logger.info(
            "call ended", extra={"event": "ended", "reason": record.end.reason, "duration_ms": record.duration_ms}
        )

    def _break_cycles(self) -> None:
        """Lets the call's parts go by reference count.

        What is left to the garbage collector makes its full runs long, and while one runs nobody is served: with 250
        objects a call in cycles, a run of 80 ms was a gap that every caller heard.
        """
        if self._model is not None:
            self._model.sink = ignore
            self._model.tap = None
        self._bridge = None
        self._desk = self._guard = None
        del self._tasks

    def _account_for_unheard_speech(self) -> None:
        for played in self._leg.flush():
            self._conversation.agent_interrupted(played.item_id, played.sent_ms)

    def _record(self, ended_at: datetime, duration_ms: int, media: MediaRecord) -> CallRecord:
        reason = self._reason or EndReason.GATEWAY_STOPPED
        return CallRecord(
            call_id=self.call_id,
            sip_call_id=self._session.sip_call_id,
            carrier_call_id=self._session.request.headers.get("X-Twilio-CallSid"),
            trunk=self.route.trunk_name,
            agent=self.route.agent_name,
            caller=self.route.caller,
            dialled=self.route.dialled,
            started_at=self._started_at,
            answered_at=self._answered_at,
            ended_at=ended_at,
            set_up_ms=self._set_up_ms(),
            duration_ms=duration_ms,
            end=EndRecord(reason=reason.value, by=_ENDED_BY[reason], sip_status=self._sip_status, detail=self._detail),
            identity=self._identity_record(),
            transcript=transcript_of(self._conversation),
            turns=turns_of(self._conversation),
            digits=tuple(self._digits),
            tool_calls=tuple(self._tool_calls),
            transfers=self._transfers.records(),
            model=self._model_record(),
            media=media,
            recording=self._recording_record(),
        )

    def _identity_record(self) -> IdentityRecord | None:
        verdict = None if self._identity is None else self._identity.verdict
        return None if verdict is None else IdentityRecord.of(verdict)

    def _model_record(self) -> ModelRecord | None:
        if self._model is None or self._model_opened is None:
            return None
        return ModelRecord(
            backend=self._model.backend_name,
            opened_ms=round((self._model_opened - self._invited) * 1000),
            dropped_input_ms=self._model.dropped_input_ms,
            usage={} if self._bridge is None else self._bridge.usage,
            cost=None if (cost := self._model.cost) is None else round(cost, 6),
            changes=tuple(
                ModelChangeRecord(
                    at_ms=round((change.at - self._conversation.started) * 1000),
                    from_backend=change.from_backend,
                    to_backend=change.to_backend,
                    reason=change.reason,
                    took_ms=round(change.seconds * 1000),
                )
                for change in self._model.changes
            ),
        )

    def _recording_record(self) -> RecordingRecord | None:
        recording = self._recording
        if recording is None or not (recording.duration_ms or recording.fault):
            return None
        return RecordingRecord(
            path=str(recording.path),
            duration_ms=recording.duration_ms,
            paused_ms=recording.paused_ms,
            fault=recording.fault,
        )

    def _set_up_ms(self) -> int | None:
        return None if self._answered is None else round((self._answered - self._invited) * 1000)

    def _at_ms(self) -> int:
        return round((self._environment.clock() - self._conversation.started) * 1000)

    def _log_start(self) -> None:
        self._logger.info(
            "call",
            extra={
                "event": "call",
                "sip_call_id": self._session.sip_call_id,
                "agent": self.route.agent_name,
                "caller": self.route.caller,
                "dialled": self.route.dialled,
            },
        )


_ACTS: Final[Mapping[CallAct, Callable[[Call], None]]] = {
    CallAct.ANSWER: Call._act_answer,
    CallAct.REFUSE: Call._act_refuse,
    CallAct.GREET: Call._act_greet,
    CallAct.HANG_UP: Call._act_hang_up,
}

_ENDED_BY: Final[Mapping[EndReason, str]] = {
    EndReason.CALLER_HUNG_UP: "caller",
    EndReason.CANCELLED: "caller",
    EndReason.AGENT_HUNG_UP: "agent",
    EndReason.TRANSFERRED: "agent",
    EndReason.NOT_ACKNOWLEDGED: "carrier",
    EndReason.DIALOG_LOST: "carrier",
    EndReason.MODEL_UNAVAILABLE: "gateway",
    EndReason.MODEL_LOST: "gateway",
    EndReason.MEDIA_LOST: "gateway",
    EndReason.SETUP_EXPIRED: "gateway",
    EndReason.IDENTITY_REFUSED: "gateway",
    EndReason.DURATION_LIMIT: "gateway",
    EndReason.SILENCE_LIMIT: "gateway",
    EndReason.COST_LIMIT: "gateway",
    EndReason.GATEWAY_STOPPED: "gateway",
}
