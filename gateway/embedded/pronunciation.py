"""How a word is said that the recogniser's dictionary lacks, such as a name or a British spelling."""

import re
from functools import lru_cache
from typing import Final

from hibari.g2p import G2P

from gateway.embedded.errors import SpeechError

# The voice's phonemes (the alphabet of "misaki") in the ARPAbet of the recogniser's acoustic model.
_ARPABET: Final = {
    "A": "EY", "I": "AY", "W": "AW", "Y": "OY", "O": "OW", "Q": "OW", "æ": "AE", "ɑ": "AA", "ɒ": "AA", "a": "AE",
    "ʌ": "AH", "ə": "AH", "ᵊ": "AH", "ɛ": "EH", "e": "EH", "ɜ": "ER", "ɚ": "ER", "ɪ": "IH", "ᵻ": "IH", "i": "IY",
    "ɔ": "AO", "ʊ": "UH", "u": "UW", "b": "B", "ʧ": "CH", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "g": "G", "h": "HH",
    "ʤ": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R", "s": "S", "ʃ": "SH",
    "t": "T", "ɾ": "T", "T": "T", "ʔ": "T", "θ": "TH", "v": "V", "w": "W", "j": "Y", "z": "Z", "ʒ": "ZH",
}  # fmt: skip
# "ɜɹ", and "əɹ" before a consonant or at the end, are one phone in ARPAbet.
_R_COLOURED: Final = re.compile(r"ER R|AH R(?= [^AEIOU]|$)")


@lru_cache(maxsize=1)
def _letters_to_sounds() -> G2P:
    return G2P(british=False)


def pronounce(word: str) -> str:
    """ARPAbet phones, separated by spaces."""
    spoken = _letters_to_sounds()(word)
    phones = [_ARPABET[sound] for sound in spoken if sound in _ARPABET]
    if not phones:
        raise SpeechError(f"The word {word!r} cannot be pronounced")
    return _R_COLOURED.sub("ER", " ".join(phones))
