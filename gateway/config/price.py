"""What a model service charges, and what a conversation has cost by it."""

from typing import Annotated, Final

from pydantic import Field

from gateway.config.value import Settings
from gateway.realtime.event import Usage

Price = Annotated[float, Field(ge=0)]
# Services quote their prices for so many tokens.
_TOKENS: Final = 1_000_000
_SECONDS: Final = 60


class PriceSettings(Settings):
    """What a service charges, in a currency of your choice: for a million tokens of each kind, and for time."""

    input_text: Price = 0
    """A million tokens of text that the model reads."""
    input_audio: Price = 0
    """A million tokens of the caller's speech."""
    cached_text: Price | None = None
    """A million tokens of text that the model has read before. When absent the price of `input_text`."""
    cached_audio: Price | None = None
    """A million tokens of speech that the model has heard before. When absent the price of `input_audio`."""
    output_text: Price = 0
    """A million tokens of text that the model writes: transcripts, tool calls, thoughts."""
    output_audio: Price = 0
    """A million tokens of the agent's speech."""
    session_minute: Price = 0
    """A minute in which a session is open, for services that charge by time."""

    def cost_of(self, usage: Usage) -> float:
        """What one response cost. Cached tokens are part of the input, and counted once."""
        cached_text = self.input_text if self.cached_text is None else self.cached_text
        cached_audio = self.input_audio if self.cached_audio is None else self.cached_audio
        fresh_text = max(usage.input_text_tokens - usage.cached_text_tokens, 0)
        fresh_audio = max(usage.input_audio_tokens - usage.cached_audio_tokens, 0)
        charged = (
            fresh_text * self.input_text
            + fresh_audio * self.input_audio
            + usage.cached_text_tokens * cached_text
            + usage.cached_audio_tokens * cached_audio
            + usage.output_text_tokens * self.output_text
            + usage.output_audio_tokens * self.output_audio
        )
        return charged / _TOKENS

    def cost_of_time(self, seconds: float) -> float:
        """What it cost that a session was open for so long."""
        return seconds / _SECONDS * self.session_minute
