"""Words as recognition and the script compare them: lower case, without punctuation."""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

_APOSTROPHE: Final = re.compile("[\u2018\u2019\u02bc]")
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9']+")


def split_words(text: str) -> tuple[str, ...]:
    """The words of a text: lower case, apostrophes kept inside words, everything else a gap."""
    plain = _APOSTROPHE.sub("'", text.lower())
    return tuple(word for part in _NOT_A_WORD.split(plain) if (word := part.strip("'")))


def edit_distance(heard: Sequence[str], meant: Sequence[str]) -> int:
    """Least number of words to insert, delete or replace (Levenshtein)."""
    row = np.arange(len(meant) + 1)
    for index, word in enumerate(heard, start=1):
        previous, row = row, np.empty_like(row)
        row[0] = index
        for column, other in enumerate(meant, start=1):
            row[column] = min(previous[column] + 1, row[column - 1] + 1, previous[column - 1] + (word != other))
    return int(row[-1])


def word_error_rate(heard: Sequence[str], meant: Sequence[str]) -> float:
    """Edit distance per word that was meant; 0 is a perfect match, and it may pass 1."""
    return edit_distance(heard, meant) / max(len(meant), 1)
