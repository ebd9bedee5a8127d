"""What a call gives to its model, and what the model tells of itself afterwards."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.call.dead_air import DeadAirPolicy
from gateway.call.prompt import Prompts
from gateway.config.price import PriceSettings
from gateway.log import ContextLogger
from gateway.realtime.conversation import ConversationTurn

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
    dead_air: DeadAirPolicy = field(default_factory=DeadAirPolicy)


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A session that took over from another: when (monotonic), from which backend to which, and why."""

    at: float
    from_backend: str
    to_backend: str
    reason: str
    seconds: float
