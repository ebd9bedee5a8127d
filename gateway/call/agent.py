"""The agent's side of a call: the model, the tools that it calls, and what it is told of keys and silences.

It lasts as long as the call, whoever is at the other side.
"""

from typing import Final, Protocol

from gateway.admission import Route
from gateway.bridge import Recorder, Voice
from gateway.call.account import Account
from gateway.call.conversation import Utterance
from gateway.call.entry import DIGIT_PAUSE_SECONDS, KeypadEntry
from gateway.call.environment import CallEnvironment
from gateway.call.history import history_of
from gateway.call.model import CallModel
from gateway.call.opening import ModelOpening, OpenModel
from gateway.call.settings import dead_air_policy, say_exactly
from gateway.call.silence import Silence, SilenceAct
from gateway.call.surroundings import ModelSurroundings, Spawn
from gateway.call.text import filled, values_of
from gateway.call.timer import Timers
from gateway.call.transition import CallInput
from gateway.log import ContextLogger
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.event import SessionFailed, ToolCall
from gateway.realtime.session import TextRole
from gateway.tools.catalog import Toolbox
from gateway.tools.desk import ToolDesk, ToolWork
from gateway.tools.tool import Line, ToolContext
from sip.message import Request

# How often a call looks after its silence and its cost.
WATCH_SECONDS: Final = 1.0


class AgentHost(Protocol):
    """The call, as its agent sees it."""

    call_id: str
    route: Route

    @property
    def line(self) -> Line:
        """What tools may do with the call."""

    @property
    def is_speaking(self) -> bool:
        """Whether speech of the agent waits to be sent."""

    @property
    def is_being_transferred(self) -> bool:
        """Whether the far end is about to hand the caller over."""

    def post(self, news: CallInput) -> None:
        """Puts an input into the call's inbox."""

    def on_spoken(self) -> None:
        """All that the agent had to say has left the socket."""

    def on_model_lost(self, detail: str) -> None:
        """No backend goes on with the conversation. An apology may wait to be heard."""


class CallAgent:
    """The agent of one call. It is the bridge's listener and the floor of the tools' desk.

    Args:
        host: the call; `let_go` forgets it. Its route names the agent, and is settled before `open`.
        invite: the caller's; texts and tools are told of it.
        environment: what the process gives.
        account: takes what happens.
        timers: the call's.
        spawn: starts a task that the call owns.
        logger: the call's.
    """

    def __init__(
        self,
        host: AgentHost,
        invite: Request,
        environment: CallEnvironment,
        account: Account,
        timers: Timers,
        spawn: Spawn,
        logger: ContextLogger,
    ) -> None:
        self.opened: OpenModel | None = None
        self.entry = KeypadEntry()
        self._host = host
        self._invite = invite
        self._environment = environment
        self._account = account
        self._timers = timers
        self._spawn = spawn
        self._logger = logger
        self._notes: list[tuple[float, str]] = []
        self._silence: Silence | None = None
        self._tools: Toolbox = {}
        self._desk: ToolDesk | None = None
        self._is_stopped = False

    # The model.

    async def open(self, leg: Voice, recorder: Recorder | None, context: str | None) -> None:
        """Opens a session with the first backend of the agent's list that can be had.

        Args:
            leg: speaks and hears.
            recorder: takes both channels, or None.
            context: what this call adds to the agent's instructions.

        Raises:
            ModelError: none can be had.
        """
        route, environment = self._host.route, self._environment
        loss = route.agent.model_loss
        surroundings = ModelSurroundings(
            history=self._history,
            is_speaking=lambda: self._host.is_speaking,
            spawn=self._spawn,
            clock=environment.clock,
            logger=self._logger,
            prompts=route.edition.prompts,
            filler_after_seconds=loss.filler_after_ms / 1000,
            give_up_after_seconds=loss.give_up_after_seconds,
            prices=environment.prices,
            dead_air=dead_air_policy(route.agent),
        )
        self._tools = route.edition.equipment.toolbox()
        opening = ModelOpening(
            route, self._invite, self._tools, surroundings, self, self._account.conversation, recorder
        )
        self.opened = await opening.open(leg, environment.backends, context)

    def _history(self) -> tuple[ConversationTurn, ...]:
        """What a session is told that takes over."""
        works = () if self._desk is None else self._desk.works
        return history_of(self._account.conversation, works, self._notes)

    def tell(self, words: str, role: TextRole) -> None:
        """Tells the model what nobody said, and remembers it for a session that takes over."""
        if self.opened is not None:
            self._notes.append((self._environment.clock(), words))
            self.opened.model.send_text(words, role=role)

    def greet(self) -> None:
        """The far end hears: the agent says its greeting, where it has one, and silences count from now on."""
        agent = self._host.route.agent
        self._silence = Silence(agent.silence, self._environment.clock())
        if self._silence.watches or agent.max_cost is not None:
            self._timers.arm("watch", WATCH_SECONDS, self._watch)
        if agent.greeting and self.opened is not None:
            greeting = filled(agent.greeting, self._host.route, self._invite, self._logger).replace('"', "'")
            self.opened.model.create_response(f'Greet the caller with exactly these words: "{greeting}"')

    def _watch(self) -> None:
        """Has everybody fallen silent, has the call cost too much?"""
        if self.opened is None or self._silence is None or self._is_stopped:
            return
        host, model, agent = self._host, self.opened.model, self._host.route.agent
        self._timers.arm("watch", WATCH_SECONDS, self._watch)
        if agent.max_cost is not None and (cost := model.cost) is not None and cost >= agent.max_cost:
            host.post(CallInput.COST_REACHED)
        talks = model.reply_is_due or model.caller_speaks or host.is_speaking or host.is_being_transferred
        match self._silence.check(self._environment.clock(), agent_talks=talks, caller_turns=self.caller_turns):
            case SilenceAct.PROMPT if agent.silence.prompt is not None:
                model.create_response(say_exactly(agent.silence.prompt))
            case SilenceAct.HANG_UP:
                host.post(CallInput.SILENCE_REACHED)

    # What the bridge says (gateway.bridge.BridgeListener).

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """A key that came as a telephone-event."""
        withheld = self._account.withholds_key(duration_ms)
        self.entry.press(digit, duration_ms, self._account.at_ms, withheld=withheld)
        self._take_key(digit, withheld)

    def on_info(self, content_type: str | None, body: bytes) -> None:
        """A SIP INFO, which may bring a key."""
        withheld = self._account.withholds_key(0)
        digit = self.entry.read(content_type, body, self._account.at_ms, withheld=withheld)
        if digit is not None:
            self._take_key(digit, withheld)

    def _take_key(self, digit: str, withheld: bool) -> None:
        """Keys are collected into an entry, which the model is told as one."""
        self._logger.info("digit", extra={"withheld": True} if withheld else {"digit": digit})
        if self.entry.is_complete:
            self._tell_entry()
        else:
            self._timers.arm("digits", DIGIT_PAUSE_SECONDS, self._tell_entry)

    def _tell_entry(self) -> None:
        self._timers.cancel("digits")
        if self.opened is None or not (entry := self.entry.take()):
            return
        self.tell(f"The caller pressed {entry} on the telephone keypad.", TextRole.USER)
        self.opened.model.create_response()

    def on_tool_call(self, call: ToolCall) -> None:
        """Lets the agent's tools do it, each as a task of the call."""
        if self._is_stopped:
            return
        if self._desk is None:
            self._desk = ToolDesk(
                self._tools,
                self._tool_context,
                self,
                self._spawn,
                self._environment.clock,
                self._logger,
                self._host.route.agent.max_tool_calls,
            )
        self._desk.take(call)

    def on_tool_cancelled(self, tool_call_id: str) -> None:
        """The model no longer wants a result."""
        if self._desk is not None:
            self._desk.cancel(tool_call_id)

    def on_playout_drained(self) -> None:
        """All that the agent had to say has been heard."""
        if self.opened is not None and self.opened.guard is not None:
            self.opened.guard.on_playout_drained()
        self._host.on_spoken()

    def on_model_failed(self, failure: SessionFailed) -> None:
        """No backend goes on with the conversation."""
        self._host.on_model_lost(f"{failure.reason.value}: {failure.detail}")

    def on_said(self, utterance: Utterance) -> None:
        """One side's words are complete."""
        words: dict[str, object] = {"withheld": True} if utterance.withheld else {"text": utterance.text}
        self._logger.info("said", extra={"event": "said", "speaker": utterance.speaker.value, **words})

    def on_interrupted(self, heard_ms: int) -> None:
        """The caller spoke over the agent."""
        self._logger.info("interrupted", extra={"event": "interrupted", "heard_ms": heard_ms})

    def on_turn(self, latency_ms: int | None) -> None:
        """An answer begins to be heard."""
        self._logger.info("turn", extra={"event": "turn", "latency_ms": latency_ms})

    # What the tools' desk needs (gateway.tools.desk.ToolFloor).

    def _tool_context(self, tool_call_id: str) -> ToolContext:
        values = values_of(self._host.route, self._invite)
        return ToolContext(
            self._host.call_id,
            tool_call_id,
            values.caller,
            values.dialled,
            self._host.line,
            trunk=values.trunk,
            agent=values.agent,
            verdict=values.verdict,
            headers=values.headers,
            variables=values.variables,
        )

    @property
    def caller_turns(self) -> int:
        """How often the caller has spoken so far."""
        return self._account.caller_turns

    @property
    def has_secrets(self) -> bool:
        """Whether a tool may be given what must not be kept: the model remembers it after a pause too."""
        return self._account.has_secrets

    def answer_tool(self, tool_call_id: str, output: str) -> None:
        """Gives the model the result of a tool."""
        if self.opened is not None:
            self.opened.model.send_tool_result(tool_call_id, output)

    def say_filler(self, words: str) -> None:
        """Says something while a tool runs, unless the agent is speaking already."""
        if self.opened is not None and not self._host.is_speaking:
            self.opened.model.create_response(say_exactly(words))

    def keep_tool_call(self, work: ToolWork) -> None:
        """A tool's work is settled: nobody waits for it any more, also where the model gets no answer."""
        self._account.keep_tool_call(work)
        if self.opened is not None:
            self.opened.model.settle_tool(work.call.call_id)

    # The end.

    def stop(self) -> None:
        """The call has ended: whatever runs for the agent is stopped, without waiting; `aclose` follows."""
        self._is_stopped = True
        if self._desk is not None:
            self._desk.close()
        if self.opened is not None:
            self.opened.model.stop()

    async def aclose(self) -> None:
        """Ends the model's session, after its last words about the call where the agent wants some."""
        if self.opened is not None:
            await self._summarise(self.opened.model)
            await self.opened.model.aclose()

    async def _summarise(self, model: CallModel) -> None:
        """Asks for a summary of a call in which the caller has said something. Nobody hears it, and nobody waits.

        Nobody checks it either: a model that knows what must not be kept is not asked for words that are.
        """
        settings = self._host.route.agent.summary
        if settings is not None and self._account.has_secrets:
            self._logger.info("no summary, for the recording was paused", extra={"event": "summary_withheld"})
        elif settings is not None and self.caller_turns:
            self._account.summary = await model.answer_aside(settings.instructions, settings.timeout_seconds)

    def let_go(self) -> None:
        """Forgets the call and the model, so that neither waits for the garbage collector (`Call.run` says why)."""
        if self.opened is not None:
            self.opened.let_go()
        self.opened = self._desk = None
        del self._host, self._spawn
