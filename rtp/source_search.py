"""The search for a stream's source: while none is locked, what comes from anywhere is examined.

A packet counts for its sender only if the stream could play it: RTCP, noise and foreign payload types lock nobody.
"""

from rtp.errors import RtpParseError
from rtp.packet import HEADER, payload_bounds
from rtp.parameters import StreamParameters
from rtp.rtcp import RTCP_TYPES
from rtp.source_lock import Address, SourceLock, Verdict
from rtp.statistics import DISCARD_OF, Discard

_unpack_from = HEADER.unpack_from


class SourceSearch:
    """Finds the source of a stream, as its parameters allow, and again after each negotiation that asks for it.

    What is not taken is counted in `discards`, by cause.
    """

    __slots__ = ("_discards", "_lock", "_parameters")

    def __init__(self, parameters: StreamParameters, now: float, discards: list[int]) -> None:
        self._parameters = parameters
        self._discards = discards
        self._lock = SourceLock(parameters.source_policy, parameters.remote, now, parameters.source_allowed)

    @property
    def is_over(self) -> bool:
        """Nobody can be found: the source is locked, or there is no description of it."""
        return self._lock.source is not None or self._lock.negotiated is None

    @property
    def source(self) -> Address | None:
        """Who was found."""
        return self._lock.source

    @property
    def remote(self) -> Address | None:
        """Where to send to: who was found, else the description's address."""
        return self._lock.remote

    def begin_anew(self, parameters: StreamParameters, now: float, *, has_moved: bool) -> None:
        """Forgets who was found, and searches with what is known of it."""
        self._lock = SourceLock(
            parameters.source_policy,
            parameters.remote,
            now,
            parameters.source_allowed,
            former=self._lock.source or self._lock.former,
            has_moved=has_moved,
        )

    def adopt(self, parameters: StreamParameters) -> None:
        """Other payload types may come from now on."""
        self._parameters = parameters

    def examine(self, data: bytes, source: Address, now: float) -> list[bytes]:
        """Judges a plain packet; returns those that are to be played, which may have come before it."""
        try:
            payload_bounds(data)
        except RtpParseError as error:
            self._discards[DISCARD_OF[error.malformation]] += 1
            return []
        _, second, sequence_number, _, ssrc = _unpack_from(data)
        if not self._parameters.knows(second & 0x7F):
            self._discards[Discard.RTCP if second in RTCP_TYPES else Discard.PAYLOAD_TYPE] += 1
            return []
        verdict = self._lock.consider(source, data, sequence_number, ssrc, now)
        if verdict is Verdict.STRANGER:
            self._discards[Discard.STRANGER] += 1
        elif verdict is Verdict.LOCKED:
            return self._lock.take_held()
        elif verdict is Verdict.FORMER:
            return [data]
        return []
