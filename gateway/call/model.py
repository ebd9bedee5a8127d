"""The model of a call: one session that lasts as long as the call, whatever becomes of those behind it.

To the bridge it is a `RealtimeSession` like any other. Behind it stand the backends of the agent, in order, and their
sessions follow one another (`gateway.call.succession`). Only when no backend answers, the caller hears a stored apology
and the call learns that its model has failed.
"""

from collections.abc import Callable, Sequence

from gateway.call.dead_air import DeadAirCount
from gateway.call.period import ignore
from gateway.call.succession import Succession
from gateway.call.surroundings import ModelChange, ModelSurroundings
from gateway.realtime.capability import RealtimeCapabilities
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.event import SpeechStarted, SpeechStopped
from gateway.realtime.session import EventSink, RealtimeBackend, TextRole
from gateway.realtime.settings import SessionSettings


class CallModel:
    """A `RealtimeSession` over several.

    Args:
        backends: in order of preference, at least one.
        surroundings: what the call gives.
        sink: where events go.
    """

    def __init__(
        self, backends: Sequence[RealtimeBackend], surroundings: ModelSurroundings, sink: EventSink = ignore
    ) -> None:
        self._succession = Succession(backends, surroundings, sink)
        self._own_turns = 0

    @property
    def sink(self) -> EventSink:
        """See `RealtimeSession`."""
        return self._succession.sink

    @sink.setter
    def sink(self, sink: EventSink) -> None:
        self._succession.sink = sink

    @property
    def tap(self) -> Callable[[bytes], None] | None:
        """Hears the caller's audio too."""
        return self._succession.tap

    @tap.setter
    def tap(self, tap: Callable[[bytes], None] | None) -> None:
        self._succession.tap = tap

    @property
    def resumption_handle(self) -> str | None:
        """See `RealtimeSession`. A call's model is resumed by itself."""
        return self._succession.period.session.resumption_handle

    @property
    def capabilities(self) -> RealtimeCapabilities:
        """Of the session that is there now."""
        return self._succession.period.session.capabilities

    @property
    def backend_name(self) -> str:
        """The backend that speaks now."""
        return self._succession.backend_name

    @property
    def changes(self) -> Sequence[ModelChange]:
        """The sessions that took over from another, in their order."""
        return self._succession.changes

    @property
    def dead_air(self) -> DeadAirCount:
        """What was done about a model that did not answer."""
        return self._succession.dead_air_count

    @property
    def dropped_input_ms(self) -> int:
        """See `RealtimeSession`; of all sessions together."""
        return self._succession.dropped_input_ms

    @property
    def cost(self) -> float | None:
        """What all sessions have cost so far; None where no backend has prices."""
        return self._succession.cost

    @property
    def append_ms(self) -> int:
        """See `RealtimeSession`."""
        return self._succession.period.session.append_ms

    @append_ms.setter
    def append_ms(self, append_ms: int) -> None:
        self._succession.append_ms = append_ms
        self._succession.period.session.append_ms = append_ms

    @property
    def reply_is_due(self) -> bool:
        """Whether the caller waits for words: a response runs or should, or a tool is at work."""
        return self._succession.progress.reply_is_due

    @property
    def caller_speaks(self) -> bool:
        """Whether the model hears the caller speak."""
        return self._succession.progress.caller_speaks

    async def open(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None:
        """Opens a session with the first backend that can be had. Raises ModelError when none can."""
        await self._succession.open(settings, history)

    @property
    def append_audio(self) -> Callable[[bytes], None]:
        """See `RealtimeSession`."""
        return self._succession.append_audio

    def create_response(self, instructions: str | None = None) -> None:
        """See `RealtimeSession`."""
        self._succession.ask(instructions)

    def ask_aside(self, request_id: str, instructions: str) -> None:
        """See `RealtimeSession`. Calls use `answer_aside`, which waits for the words."""
        self._succession.command(lambda session: session.ask_aside(request_id, instructions))

    async def answer_aside(self, instructions: str, seconds: float) -> str | None:
        """Words of the model about the conversation that nobody hears; None where none come within so many seconds."""
        return await self._succession.ask_aside(instructions, seconds)

    def dismiss_turn(self) -> None:
        """What the caller has just said was no turn: no answer is owed."""
        self._succession.progress.dismiss_turn()

    def cancel_response(self) -> None:
        """See `RealtimeSession`."""
        self._succession.command(lambda session: session.cancel_response())

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """See `RealtimeSession`. Items of former sessions are nothing that the present one knows."""
        own_name = self._succession.period.own_name(item_id)
        if self._succession.is_open and own_name is not None:
            self._succession.period.session.truncate(own_name, audio_end_ms)

    def begin_turn(self) -> None:
        """The gateway itself hears the caller begin: it is told as if the model had heard it."""
        self._own_turns += 1
        self._succession.tell(SpeechStarted(f"own-turn-{self._own_turns}", None))

    def finish_turn(self) -> None:
        """The gateway itself hears the caller stop."""
        self._succession.tell(SpeechStopped(f"own-turn-{self._own_turns}", None))

    def start_turn(self) -> None:
        """See `RealtimeSession`."""
        self._succession.command(lambda session: session.start_turn())

    def end_turn(self) -> None:
        """See `RealtimeSession`."""
        self._succession.command(lambda session: session.end_turn())

    def send_tool_result(self, call_id: str, output: str) -> None:
        """See `RealtimeSession`."""
        self._succession.progress.answer_tool(call_id)
        self._succession.command_period(
            lambda period: period.session.send_tool_result(period.own_tool_call(call_id), output)
        )
        self._succession.watch_dead_air()

    def settle_tool(self, call_id: str) -> None:
        """A tool's work is over. An answer, where the model gets one, follows."""
        self._succession.progress.settle_tool(call_id)

    def send_text(self, text: str, *, role: TextRole = TextRole.USER) -> None:
        """See `RealtimeSession`."""
        self._succession.command(lambda session: session.send_text(text, role=role))

    async def aclose(self) -> None:
        """See `RealtimeSession`."""
        await self._succession.aclose()

    def stop(self) -> None:
        """Stops what is under way for the model, without waiting; `aclose` follows."""
        self._succession.stop()
