"""The keys that a caller presses: kept one by one for the record, told to the model as one entry."""

from typing import Final

from gateway.call.keypad import key_press
from gateway.call.record import DigitRecord

# Keys pressed one after another are one entry; this pause, or "#", ends it.
DIGIT_PAUSE_SECONDS: Final = 2.0
ENTRY_END: Final = "#"


class KeypadEntry:
    """The keys of one call, and those of them that the model has not been told yet.

    Keys come as telephone-events or in SIP INFO; a PBX that sends both says each twice, and is heard once.
    """

    def __init__(self) -> None:
        self.digits: list[DigitRecord] = []
        self._open: list[str] = []
        self._hears_events = False

    def press(self, digit: str, duration_ms: int, at_ms: int, *, withheld: bool = False) -> None:
        """A key that came as a telephone-event; `at_ms` counts from the answer.

        What is `withheld` the model is told like all others, and the record has only that there was a key.
        """
        self._hears_events = True
        self._add(digit, duration_ms, at_ms, withheld)

    def read(self, content_type: str | None, body: bytes, at_ms: int, *, withheld: bool = False) -> str | None:
        """The key that an INFO brings; None where it brings none, or one that came as a telephone-event too."""
        key = key_press(content_type, body)
        if key is None or self._hears_events:
            return None
        self._add(key.digit, key.duration_ms, at_ms, withheld)
        return key.digit

    @property
    def is_complete(self) -> bool:
        """Whether the caller has ended the entry."""
        return bool(self._open) and self._open[-1] == ENTRY_END

    def take(self) -> str:
        """The entry as it stands; the next key begins another."""
        entry = "".join(self._open)
        self._open.clear()
        return entry

    def _add(self, digit: str, duration_ms: int, at_ms: int, withheld: bool) -> None:
        kept = "" if withheld else digit
        self.digits.append(DigitRecord(digit=kept, at_ms=at_ms, duration_ms=duration_ms, withheld=withheld))
        self._open.append(digit)
