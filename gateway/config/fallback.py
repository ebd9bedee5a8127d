"""What becomes of a caller whom no model can serve any more: the last resort, after the apology."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from gateway.config.value import Settings


class HangUpSettings(Settings):
    """The gateway hangs up."""

    type: Literal["hang_up"]
    """The gateway hangs up."""


class TransferFallbackSettings(Settings):
    """The caller is handed over to somebody."""

    type: Literal["transfer"]
    """The caller is handed over to somebody."""
    destination: Annotated[str, Field(min_length=1)]
    """To whom: a name, number or URI that the agent's `transfer` lists. When the transfer fails the gateway hangs
    up."""


class VoicemailSettings(Settings):
    """The caller can leave a message after a tone. Many countries ask for nothing more than that the caller knows."""

    type: Literal["voicemail"]
    """The caller can leave a message after a tone."""
    max_seconds: Annotated[float, Field(ge=1, le=600)] = 120.0
    """Longest message."""
    silence_seconds: Annotated[float, Field(ge=1, le=60)] = 5.0
    """Silence that ends the message, also when nothing was said at all. The key # ends it at once."""


FallbackValue: TypeAlias = HangUpSettings | TransferFallbackSettings | VoicemailSettings
FallbackSettings = Annotated[FallbackValue, Field(discriminator="type")]
