"""Dead air: a model that is connected and owes an answer, and does not speak. Pure: `check` is told the time.

First the model is asked once more, then stored words bridge the silence, and at last the session is replaced by
another. The silence counts from the moment when the caller could expect words: their own last word, a tool's result, or
the last sound of an answer that stopped in its midst.
"""

import math
from dataclasses import dataclass
from enum import Enum, unique


@unique
class DeadAirAct(Enum):
    """What a silence of the model leads to."""

    NOTHING = "nothing"
    NUDGE = "nudge"
    FILL = "fill"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class DeadAirPolicy:
    """After how many seconds of silence what is done; None: never. The order of the three is the order of the acts."""

    nudge_after_seconds: float | None = None
    fill_after_seconds: float | None = None
    replace_after_seconds: float | None = None

    @property
    def steps(self) -> tuple[tuple[DeadAirAct, float | None], ...]:
        """The acts with their times."""
        return (
            (DeadAirAct.NUDGE, self.nudge_after_seconds),
            (DeadAirAct.FILL, self.fill_after_seconds),
            (DeadAirAct.REPLACE, self.replace_after_seconds),
        )


@dataclass(slots=True)
class DeadAirCount:
    """What was done in one call, for its record."""

    nudges: int = 0
    fillers: int = 0
    replacements: int = 0


class DeadAir:
    """The silence of one call's model.

    Args:
        policy: what is done when.
    """

    def __init__(self, policy: DeadAirPolicy) -> None:
        self._steps = tuple((act, after) for act, after in policy.steps if after is not None)
        self._done = 0
        self._since: float | None = None

    @property
    def watches(self) -> bool:
        """Whether anything would ever be done."""
        return bool(self._steps)

    def begin(self, now: float) -> None:
        """The model owes an answer: from now on, if it did not before."""
        if self._since is None:
            self._since = now

    def forget(self) -> None:
        """Nobody waits for the model."""
        self._since, self._done = None, 0

    def seconds_left(self, now: float) -> float:
        """Until something is due, should the model stay silent; endless where nothing is left to do."""
        if self._since is None or self._done >= len(self._steps):
            return math.inf
        return max(0.0, self._since + self._steps[self._done][1] - now)

    def check(self, now: float, *, waits: bool, speaks: bool, sounded: bool) -> DeadAirAct:
        """What is due. `waits`: the model owes an answer; `speaks`: speech of ours is still being sent; `sounded`: some
        of the model's has come since the last check.

        Stored words that bridge the silence do not end it.
        """
        if not waits:
            self.forget()
            return DeadAirAct.NOTHING
        if sounded:
            self.forget()
        if self._since is None or (speaks and not self._done):
            self._since = now
        if self._done < len(self._steps):
            act, after = self._steps[self._done]
            if now - self._since >= after:
                self._done += 1
                return act
        return DeadAirAct.NOTHING
