"""An estimate of how a call sounds: the E-model, ITU-T G.107, reduced to what a gateway can measure.

Loss, delay and the codec are taken from the call; everything about rooms and telephones keeps its default, for which
the model's base value is 93.2. What comes out compares calls with each other; it is no opinion of a listener.
"""

from dataclasses import dataclass
from typing import Final

_BASE: Final = 93.2
_DELAY_BEND_MS: Final = 177.3
"""Delay is felt little before it, and much beyond (G.107 simplified by Cole and Rosenbluth, 2001)."""


@dataclass(frozen=True, slots=True)
class CodecImpairment:
    """What a codec costs without loss (`base`), and how well it bears loss (`robustness`), ITU-T G.113 appendix I."""

    base: float
    robustness: float


G711_CONCEALED: Final = CodecImpairment(0.0, 25.1)
"""G.711 with the concealment of its appendix I."""
G711_PLAIN: Final = CodecImpairment(0.0, 4.3)
G722: Final = CodecImpairment(13.0, 4.3)
"""At 64 kbit/s on the narrowband scale."""
OPUS: Final = CodecImpairment(0.0, 20.0)
"""No value in G.113; that of codecs with comparable concealment."""


def rating(impairment: CodecImpairment, loss_ratio: float, one_way_delay_ms: float, burst_ratio: float = 1.0) -> float:
    """The transmission rating R: 0 … 93.2. `burst_ratio` is 1 for random loss and more for loss in bursts."""
    loss_percent = max(0.0, min(loss_ratio, 1.0)) * 100
    loss_cost = impairment.base
    if loss_percent:
        spread = loss_percent / max(burst_ratio, 1.0) + impairment.robustness
        loss_cost += (95 - impairment.base) * loss_percent / spread
    delay = max(0.0, one_way_delay_ms)
    delay_cost = 0.024 * delay + 0.11 * max(0.0, delay - _DELAY_BEND_MS)
    return max(0.0, _BASE - loss_cost - delay_cost)


def mean_opinion_score(
    impairment: CodecImpairment, loss_ratio: float, one_way_delay_ms: float, burst_ratio: float = 1.0
) -> float:
    """The estimated mean opinion score: 1 (bad) … 4.41 (as good as a telephone gets), G.107 annex B."""
    r = rating(impairment, loss_ratio, one_way_delay_ms, burst_ratio)
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
