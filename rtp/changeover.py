"""Changeover: a far end that goes over to another of the agreed codecs in mid-call, and back (RFC 3264 section 6.1).

The stream's own codec passes as it is. Any other is made into the stream's, so whoever hears the stream hears one
format. Where RTP clocks differ (RFC 7160), the timestamps before and after the change say nothing of each other: gaps
and jitter are read only out of those of one clock.
"""

from collections.abc import Iterable
from math import inf
from typing import Final

from rtp.codec.format import PayloadFormat
from rtp.codec.transcoder import Transcoder
from rtp.packet import HEADER_OCTETS
from rtp.parameters import StreamParameters
from rtp.path import InboundPath
from rtp.sequence import timestamp_add, timestamp_difference

MAX_PACKET_MS: Final = 200
"""RFC 3551 section 4.2: "a receiver SHOULD accept packets representing between 0 and 200 ms of audio data"."""
_JITTER_GAIN: Final = 1 / 16


class Changeover:
    """Knows the codecs that one stream may be spoken in, and which one was spoken last.

    `path` is always the stream's. What it takes by itself is in the stream's own codec and is not told here: that
    `path.played` and `path.transit` have moved shows it. All that is returned counts on the stream's own clock.
    """

    __slots__ = (
        "_changes",
        "_formats",
        "_heard",
        "_limits",
        "_longest",
        "_own",
        "_played",
        "_ptime_ms",
        "_rate_hz",
        "_transcoders",
        "_transit",
    )

    def __init__(self, parameters: StreamParameters) -> None:
        self._transcoders: dict[PayloadFormat, Transcoder] = {}
        self._transit = (0, 0.0)
        """The clock that was measured last beside the stream's own, in Hz, and the transit, in seconds."""
        self._played, self._rate_hz = -1, 0
        """`path.played` when another codec than the stream's had been spoken last, and the clock of that."""
        self._changes = 0
        self._heard: PayloadFormat | None = None
        """What `play` was given last under this agreement."""
        self._adopt(parameters)

    def adopt(self, path: InboundPath, parameters: StreamParameters) -> None:
        """Other codecs are agreed on from now on."""
        if parameters.payload_format != self._own:
            self._changes, self._heard = self.changes(path), None
            # Both are of a clock that counts no more.
            self._played, self._transit = -1, (0, 0.0)
        if (parameters.payload_format, parameters.ptime_ms) != (self._own, self._ptime_ms):
            self._transcoders.clear()
        self._adopt(parameters)

    def _adopt(self, parameters: StreamParameters) -> None:
        self._own, self._ptime_ms = parameters.payload_format, parameters.ptime_ms
        self._formats = {**parameters.further_formats, parameters.payload_type_rx: parameters.payload_format}
        self._limits = {
            number: HEADER_OCTETS + spoken.largest_octets(MAX_PACKET_MS) for number, spoken in self._formats.items()
        }
        self._longest = max(self._limits.values())

    def is_oversized(self, payload_type: int, octets: int) -> bool:
        """Whether a packet is longer than audio of its type can be; one of no audio, than any audio."""
        return octets > self._limits.get(payload_type, self._longest)

    def format_of(self, payload_type: int) -> PayloadFormat | None:
        """What a packet of this type is spoken in; None where it is no audio that was agreed on."""
        return self._formats.get(payload_type)

    def changes(self, path: InboundPath) -> int:
        """How often the far end went over from one codec to another so far, without a new agreement."""
        return self._changes + self._has_returned(path)

    def _has_returned(self, path: InboundPath) -> bool:
        """Whether another codec was told here last, and the stream's own has passed by itself since."""
        return self._heard not in (None, self._own) and path.played != self._played

    def _count_change(self, path: InboundPath, spoken: PayloadFormat) -> None:
        if self._has_returned(path):
            self._changes, self._heard = self._changes + 1, self._own
        if self._heard is not None and spoken != self._heard:
            self._changes += 1
        self._heard = spoken

    def measure_jitter(self, path: InboundPath, spoken: PayloadFormat, timestamp: int, now: float) -> None:
        """As RFC 3550 section 6.4.1 has it, from one packet to the next of the same clock."""
        rate_hz = spoken.clock_rate_hz
        if rate_hz == path.clock_rate_hz:
            path.measure_jitter(timestamp, now)
            return
        before_hz, before_s = self._transit
        transit_s = now - timestamp / rate_hz
        deviation = abs(transit_s - before_s) * path.clock_rate_hz
        if path.transit == inf and before_hz == rate_hz and deviation < path.clock_rate_hz:
            path.jitter += (deviation - path.jitter) * _JITTER_GAIN
        self._transit = (rate_hz, transit_s)
        path.transit = inf  # from here to a packet of the stream's own clock nothing can be measured

    def ahead(self, path: InboundPath, spoken: PayloadFormat, timestamp: int) -> int | None:
        """How far beyond what was heard last a packet begins; None where clocks differ and nobody can tell."""
        rate_hz = spoken.clock_rate_hz
        if rate_hz != (self._rate_hz if path.played == self._played else path.clock_rate_hz):
            return None
        return timestamp_difference(timestamp, path.next_timestamp) * path.clock_rate_hz // rate_hz

    def play(self, path: InboundPath, spoken: PayloadFormat, timestamp: int, payload: bytes) -> Iterable[bytes]:
        """Moves media time on by this payload, and returns it in the stream's own codec: in one piece, or in others
        where the packet times differ.
        """
        samples = spoken.samples(payload) or spoken.frame_samples(self._ptime_ms)
        path.next_timestamp = timestamp_add(timestamp, samples)
        if spoken is not self._heard or spoken is not self._own:
            self._count_change(path, spoken)
        if spoken is self._own or spoken == self._own:
            path.played += samples
            return (payload,)
        path.played += samples * path.clock_rate_hz // spoken.clock_rate_hz
        self._played, self._rate_hz = path.played, spoken.clock_rate_hz
        transcoder = self._transcoders.get(spoken)
        if transcoder is None:
            transcoder = self._transcoders[spoken] = Transcoder(spoken, self._own, self._ptime_ms)
        return transcoder.convert(payload)
