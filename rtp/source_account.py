"""The account of a stream that comes in: what was lost, begun anew or not played, over all the sources it has had.

Reports to the far end speak of one source alone, the one that is followed: what they say counts from where it began.
"""

from rtp.gap import GapFiller
from rtp.path import NO_SSRC, InboundPath
from rtp.statistics import DISCARDS, Discard, ReceiverStatistics


class SourceAccount:
    """Kept by a receiver, which counts here whatever is not regular."""

    __slots__ = ("_base_missing", "_base_sequence", "_base_taken", "discards", "lost", "restarts")

    def __init__(self) -> None:
        self.discards = [0] * len(Discard)
        """By cause."""
        self.lost = 0
        """Packets whose place was given up, whether they came afterwards or not."""
        self.restarts = 0
        """Sources that were followed after the first, or numbers that began anew."""
        self._base_sequence = self._base_taken = self._base_missing = 0

    def begin(self, sequence_number: int, packets: int) -> None:
        """A source is followed from this number on, after so many packets of others."""
        self._base_sequence = sequence_number
        self._base_taken = packets + self.lost
        self._base_missing = self._missing

    def statistics(self, path: InboundPath, filler: GapFiller, rejected: int, codec_changes: int) -> ReceiverStatistics:
        """The counts at this moment.

        Args:
            path: has counted what is regular.
            filler: has counted what was made up.
            rejected: packets of an SSRC that was not followed.
            codec_changes: see ReceiverStatistics.
        """
        rate = path.clock_rate_hz
        taken = path.packets + self.lost - self._base_taken
        return ReceiverStatistics(
            packets=path.packets,
            lost=self.lost,
            late=self.discards[Discard.LATE],
            jitter_ms=path.jitter * 1000 / rate,
            peak_jitter_ms=max(path.jitter, path.peak_jitter) * 1000 / rate,
            concealed_ms=filler.concealed_samples * 1000 // rate,
            filled_ms=filler.filled_samples * 1000 // rate,
            played_ms=(path.played + filler.concealed_samples + filler.filled_samples) * 1000 // rate,
            restarts=self.restarts,
            codec_changes=codec_changes,
            extended_highest_sequence=self._base_sequence + max(0, taken - 1),
            expected=taken,
            cumulative_lost=self._missing - self._base_missing,
            ssrc=None if path.ssrc == NO_SSRC else path.ssrc,
            discards=self._counted_discards(rejected),
        )

    @property
    def _missing(self) -> int:
        """Packets expected less packets received, duplicates included (RFC 3550 section 6.4.1)."""
        return self.lost - self.discards[Discard.LATE] - self.discards[Discard.DUPLICATE]

    def _counted_discards(self, rejected: int) -> dict[Discard, int]:
        counts = {cause: count for cause in DISCARDS if (count := self.discards[cause])}
        if rejected:
            counts[Discard.FOREIGN_SSRC] = rejected
        return counts
