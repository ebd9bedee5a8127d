"""Opening the model of a call: from the agent's configuration to a session that listens.

The texts are filled in for this call, the audio is what suits the leg of what the first backend speaks, and between the
model and the leg stand the bridge and, where the agent wants one, a guard over interruptions.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.admission import Route
from gateway.bridge import Bridge, BridgeListener, Recorder, Voice
from gateway.call.audio_format import with_formats
from gateway.call.conversation import Conversation
from gateway.call.model import CallModel
from gateway.call.period import ignore
from gateway.call.settings import guard_policy, pause_ms, settings_of, voice_policy
from gateway.call.surroundings import ModelSurroundings
from gateway.call.text import filled
from gateway.call.turn_detector import OwnTurns, TurnDetector
from gateway.call.turn_guard import TurnGuard
from gateway.realtime.errors import ModelError, ModelRefusedError
from gateway.realtime.session import EventSink, RealtimeBackend
from gateway.realtime.settings import SessionSettings
from gateway.tools.catalog import Toolbox
from sip.message import Request


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model in conversation: its session, the bridge to the leg, the guard, and since when (monotonic seconds)."""

    model: CallModel
    bridge: Bridge
    settings: SessionSettings
    guard: TurnGuard | None
    at: float

    def attach(self, leg: Voice) -> None:
        """Speaks on another leg from now on."""
        self.bridge.attach(leg)
        if self.guard is not None:
            self.guard.attach(leg)

    def let_go(self) -> None:
        """Nothing that the model says is heard from now on, and it holds nothing of the call."""
        let_go(self.model)


@dataclass(frozen=True, slots=True)
class ModelOpening:
    """Opens the model of one call.

    Args:
        route: the call's, with the agent that is to answer.
        invite: the caller's INVITE; its header fields can be told to the agent.
        tools: what the agent may use.
        surroundings: what the model is given.
        listener: is told by the bridge what the call must act upon.
        conversation: takes what is said.
        recorder: takes both channels, or None.
    """

    route: Route
    invite: Request
    tools: Toolbox
    surroundings: ModelSurroundings
    listener: BridgeListener
    conversation: Conversation
    recorder: Recorder | None

    async def open(self, leg: Voice, backends: Mapping[str, RealtimeBackend], context: str | None) -> OpenModel:
        """Opens a session with the first backend of the agent's list that can be had.

        Args:
            leg: speaks and hears.
            backends: those that can be used, by name.
            context: what this call adds to the agent's instructions.

        Raises:
            ModelError: none can be had.
        """
        wanted = [backends[name] for name in self.route.agent.backends if name in backends]
        if not wanted:
            raise ModelRefusedError("no backend of the agent can be used")
        settings = with_formats(self._settings(context), wanted[0].capabilities, leg.payload_format)
        model = CallModel(wanted, self.surroundings)
        bridge = self._create_bridge(model, settings)
        bridge.attach(leg)
        guard, model.sink = self._guarded(model, bridge, leg, settings)
        try:
            await model.open(settings)
        except asyncio.CancelledError:
            await model.aclose()
            let_go(model)
            raise
        except ModelError:
            let_go(model)
            raise
        return OpenModel(model, bridge, settings, guard, self.surroundings.clock())

    def _guarded(
        self, model: CallModel, bridge: Bridge, leg: Voice, settings: SessionSettings
    ) -> tuple[TurnGuard | None, EventSink]:
        """Where the model's events go: to the bridge, or first to a guard where the agent wants one."""
        policy = guard_policy(self.route.agent)
        if not policy.is_needed:
            return None, bridge.on_model_event
        voice = voice_policy(self.route.agent)
        if voice is None:
            guard = TurnGuard(policy, model, bridge.on_model_event, leg, settings.input_format)
            model.tap = guard.on_caller_audio
            return guard, guard.on_model_event
        guard = TurnGuard(policy, OwnTurns(model), bridge.on_model_event, leg, settings.input_format)
        model.tap = _in_turn(TurnDetector(voice, settings.input_format, model).on_caller_audio, guard.on_caller_audio)
        return guard, guard.on_model_event

    def _create_bridge(self, model: CallModel, settings: SessionSettings) -> Bridge:
        return Bridge(
            model,
            self.conversation,
            self.listener,
            self.surroundings.clock,
            octets_per_ms=settings.output_format.bytes_per_ms,
            recorder=self.recorder,
            pause_ms=pause_ms(self.route.agent),
        )

    def _settings(self, context: str | None) -> SessionSettings:
        agent = self.route.agent
        instructions = filled(agent.instructions, self.route, self.invite, self.surroundings.logger)
        if context is not None:
            instructions = f"{instructions.rstrip()}\n\n{context}"
        return settings_of(agent, instructions, tuple(tool.definition for tool in self.tools.values()))


def _in_turn(*hearers: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Each hears the caller's audio, one after another."""

    def hear(payload: bytes) -> None:
        for hearer in hearers:
            hearer(payload)

    return hear


def let_go(model: CallModel) -> None:
    """The model holds nothing of the call any more: what it tells, nobody hears."""
    model.sink = ignore
    model.tap = None
