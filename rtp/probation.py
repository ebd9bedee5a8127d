"""Probation: a new SSRC from the locked source is followed only when it has proved itself and the old one is silent.

Far ends change their SSRC when a carrier moves a call to another media server. Two voices at once are not that, so
nobody who merely forges the source's address is heard beside it.
"""

from typing import Final

from rtp.sequence import sequence_add

QUIET_S: Final = 0.050
"""The old SSRC must have missed two packets."""
_NEEDED: Final = 2
"""RFC 3550 appendix A.1, MIN_SEQUENTIAL."""
_MAX_HELD: Final = 8


class Probation:
    """The one SSRC that waits to be followed, with its packets, so that none of them is lost."""

    __slots__ = ("_held", "_ssrc", "_successor", "rejected")

    def __init__(self) -> None:
        self._ssrc = -1
        self._successor = -1
        self._held: list[bytes] = []
        self.rejected = 0
        """Packets that were dropped because their SSRC was never followed, or for too long not."""

    def clear(self) -> None:
        """The stream's own SSRC is settled."""
        self.rejected += len(self._held)
        self._ssrc, self._held = -1, []

    def offer(self, data: bytes, ssrc: int, sequence_number: int, quiet_s: float) -> list[bytes]:
        """Takes a packet of another SSRC; returns all that are to be played once it is followed, else nothing.

        `quiet_s`: for how long the stream's own SSRC has been silent.
        """
        if (ssrc, sequence_number) != (self._ssrc, self._successor):
            self.clear()
            self._ssrc = ssrc
        self._successor = sequence_add(sequence_number, 1)
        self._held.append(data)
        if len(self._held) > _MAX_HELD:
            del self._held[0]
            self.rejected += 1
        if len(self._held) < _NEEDED or quiet_s < QUIET_S:
            return []
        followed, self._held = self._held, []
        return followed
