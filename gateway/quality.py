"""What a call's media was like, as its record keeps it."""

from typing import Final

from gateway.call.record import MediaRecord
from rtp.mos import G711_CONCEALED, G722, OPUS, CodecImpairment, mean_opinion_score
from rtp.parameters import StreamParameters
from rtp.report import QualityReport
from rtp.statistics import StreamStatistics

# What the gateway itself adds to the caller's way: a packet's length is added to it.
PROCESSING_MS: Final = 5.0
# L16 is not rated by G.113; without loss it is no worse than G.711.
_IMPAIRMENTS: Final[dict[str, CodecImpairment]] = {"G722": G722, "opus": OPUS}


def media_record(
    codec: str, parameters: StreamParameters, counts: StreamStatistics, quality: QualityReport | None
) -> MediaRecord:
    """The record of a stream at this moment. There is no opinion of a stream that was never heard."""
    rx = counts.rx
    round_trip_ms = None if quality is None else quality.mean_round_trip_ms
    mos = None
    if rx.packets:
        delay_ms = (round_trip_ms or 0.0) / 2 + parameters.ptime_ms + PROCESSING_MS + rx.jitter_ms
        mos = round(mean_opinion_score(_IMPAIRMENTS.get(codec, G711_CONCEALED), rx.loss_ratio, delay_ms), 2)
    return MediaRecord(
        codec=codec,
        codec_changes=rx.codec_changes,
        ptime_ms=parameters.ptime_ms,
        encrypted=None if parameters.secure is None else parameters.secure.tx.suite.value,
        packets_rx=rx.packets,
        packets_tx=counts.tx.packets,
        lost=rx.lost,
        concealed_ms=rx.concealed_ms,
        concealed_share=round(rx.concealed_ms / rx.played_ms, 4) if rx.played_ms else 0.0,
        jitter_ms=round(rx.jitter_ms, 2),
        peak_jitter_ms=round(rx.peak_jitter_ms, 2),
        round_trip_ms=None if round_trip_ms is None else round(round_trip_ms, 1),
        remote_lost=None if quality is None else quality.remote_cumulative_lost,
        remote_jitter_ms=_rounded(None if quality is None else quality.remote_jitter_ms),
        reports_rx=0 if quality is None else quality.reports_received,
        reports_tx=0 if quality is None else quality.reports_sent,
        mos=mos,
        discarded={cause.label: count for cause, count in rx.discards.items()},
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
