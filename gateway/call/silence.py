"""How long nobody has said anything, and what to do about it. Pure: `check` is told the time and who talks."""

from enum import Enum, unique

from gateway.config.agent import SilenceSettings


@unique
class SilenceAct(Enum):
    """What a silence leads to."""

    NOTHING = "nothing"
    PROMPT = "prompt"
    HANG_UP = "hang_up"


class Silence:
    """The silence of one call.

    Args:
        settings: what is said, when, how often.
        now: the moment from which silence counts (monotonic seconds).
    """

    def __init__(self, settings: SilenceSettings, now: float) -> None:
        self._settings = settings
        self._quiet_since = self._caller_quiet_since = now
        self._caller_turns = 0
        self._prompts = 0

    @property
    def watches(self) -> bool:
        """Whether a silence would ever lead to anything."""
        return self._settings.prompt is not None or self._settings.hang_up_after_seconds is not None

    def check(self, now: float, *, agent_talks: bool, caller_turns: int) -> SilenceAct:
        """What is due. `agent_talks`: somebody speaks or is about to; `caller_turns`: how often the caller has spoken.

        A prompt breaks the silence of the line, and not that of the caller.
        """
        if caller_turns != self._caller_turns:
            self._caller_turns, self._prompts = caller_turns, 0
            self._caller_quiet_since = now
        if agent_talks:
            self._quiet_since = now
            if not self._prompts:
                self._caller_quiet_since = now  # listening is not falling silent
            return SilenceAct.NOTHING
        limit = self._settings.hang_up_after_seconds
        if limit is not None and now - self._caller_quiet_since >= limit:
            return SilenceAct.HANG_UP
        due = now - self._quiet_since >= self._settings.prompt_after_seconds
        if self._settings.prompt is None or not due or self._prompts >= self._settings.prompts:
            return SilenceAct.NOTHING
        self._prompts += 1
        self._quiet_since = now
        return SilenceAct.PROMPT
