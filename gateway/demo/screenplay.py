"""What the caller of the demo says, line by line. The agent's side is the embedded server's default script."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that the caller says.

    `interrupts`: the caller does not wait for the agent to finish, but speaks over it after a second of its words.
    """

    text: str
    interrupts: bool = False


SCREENPLAY: Final = (
    Line("Hello, what are your opening hours?"),
    Line("Do you have vegetarian dishes?"),
    Line("I would like to book a table for four on saturday at seven.", interrupts=True),
    Line("No, thank you, goodbye."),
)
# Before a caller speaks they wait for this much silence: more than the voice's pause between two sentences.
PAUSE_MS: Final = 1100
# How much of the agent's words a caller hears before they speak over it.
PATIENCE_MS: Final = 1200
# The caller's voice is the agent's at a lower pitch, so that a listener tells them apart.
CALLER_PITCH: Final = 0.87
