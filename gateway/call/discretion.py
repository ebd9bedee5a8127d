"""What of a call must not be kept: what was said and keyed while its recording was paused.

A recording is paused for a card's number, a password and their like (PCI DSS forbids to keep some of them at all). What
the recording does not hold must not stand in the call record or the log either. The model and its tools get it all the
same, from memory: without it no payment could be made.
"""

import math
from typing import Final

# A service tells of the caller's first sound when it is sure of it, and that is later than the sound; words that are
# told to begin so soon behind a pause may have begun in it.
TOLD_LATE_SECONDS: Final = 1.0


class Discretion:
    """The pauses of one call; every moment is in monotonic seconds."""

    def __init__(self) -> None:
        self.is_on = False
        """Whether nothing is kept now."""
        self.has_been_on = False
        """Whether somebody may know by now what must not be kept."""
        self._ended = -math.inf

    def begin(self) -> None:
        """Nothing is kept from now on."""
        self.is_on = self.has_been_on = True

    def end(self, now: float) -> None:
        """Everything is kept again. Idempotent."""
        if self.is_on:
            self.is_on, self._ended = False, now

    def touches(self, began: float) -> bool:
        """Whether what the model has made since this moment falls into a pause, whole or in part."""
        return self.is_on or began < self._ended

    def covers(self, began: float) -> bool:
        """The same for what the caller does, of which the gateway hears late."""
        return self.touches(began - TOLD_LATE_SECONDS)
