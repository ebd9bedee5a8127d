"""RtcpSession: the reports of one stream, both ways, sans-I/O.

It reports every five seconds (RFC 3550 section 6.2, with the random factor of section 6.3), learns from the far end's
reports what it hears, and measures the round-trip time. A BYE of the far end is noted and ends nothing: signalling
does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rtp.errors import RtpParseError
from rtp.rtcp import Bye, Report, ReportBlock, SenderInfo, SourceDescription, parse_compound
from rtp.source_lock import Address
from rtp.statistics import ReceiverStatistics
from rtp.stream import RtpStream

INTERVAL_S: Final = 5.0
_NTP_UNIX_OFFSET_S: Final = 2_208_988_800
"""From 1900 to 1970."""
_MAX_ROUND_TRIP_S: Final = 10.0
"""Beyond this the far end's echo of our timestamp is not to be believed."""


@dataclass(frozen=True, slots=True)
class QualityReport:
    """What RTCP told. None where nothing has been learnt."""

    round_trip_ms: float | None
    """Of the last report."""
    mean_round_trip_ms: float | None
    remote_loss_ratio: float | None
    """Share that the far end lost of what we sent, in its last interval."""
    remote_cumulative_lost: int | None
    remote_jitter_ms: float | None
    reports_sent: int
    reports_received: int
    malformed: int
    strangers: int
    bye_received: bool


class RtcpSession:
    """One per stream. `choose(a, b)` draws a number between a and b; `wall_offset_s` is wall clock minus `now`."""

    def __init__(
        self,
        stream: RtpStream,
        *,
        cname: str,
        choose: Callable[[float, float], float],
        wall_offset_s: float,
        now: float,
    ) -> None:
        self._stream = stream
        self._cname = cname
        self._description: tuple[int, bytes] | None = None
        self._choose = choose
        self._wall_offset_s = wall_offset_s
        # RFC 3550 section 6.2: the first report after half the interval.
        self.due_at = now + choose(0.25, 0.75) * INTERVAL_S
        """When the next report is."""
        self._expected_before = self._lost_before = 0
        self._account_of: tuple[int, int] | None = None
        self._last_sender_report = 0
        self._last_sender_report_at = 0.0
        self._last_sender: int | None = None
        self._packets_before = (0, 0)
        self._round_trips: list[float] = [0.0, 0.0, 0.0]  # last, sum, count
        self._remote: ReportBlock | None = None
        self._sent = self._received = self._malformed = self._strangers = 0
        self._bye_received = False
        self._return: tuple[Address, Address] | None = None

    @property
    def came_from(self) -> Address | None:
        """Where the far end's reports came from while its media came from where it comes from now; else None."""
        if self._return is None or self._return[0] != self._stream.remote:
            return None
        return self._return[1]

    def poll(self, now: float) -> bytes | None:
        """Once a turn, or less often: the compound report when one is due."""
        if now < self.due_at:
            return None
        self.due_at = now + self._choose(0.5, 1.5) * INTERVAL_S
        self._sent += 1
        return self._stream.protect_rtcp(self._compound(now))

    def goodbye(self, now: float) -> bytes | None:
        """The last report, with BYE; None where nothing was ever sent: "MUST NOT send a BYE" (section 6.3.7)."""
        if not self._sent and not self._stream.statistics().tx.packets:
            return None
        return self._stream.protect_rtcp(self._compound(now) + bytes(Bye((self._stream.ssrc,))))

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        """Takes a datagram of the RTCP port (or one that was multiplexed). Nothing is raised, whatever it holds."""
        remote = self._stream.remote
        if remote is None or source[0] != remote[0]:
            self._strangers += 1
            return
        plain = self._stream.unprotect_rtcp(data)
        if plain is None:
            return
        try:
            packets = parse_compound(plain)
        except RtpParseError:
            self._malformed += 1
            return
        for packet in packets:
            if isinstance(packet, Report):
                self._handle_report(packet, now)
                self._learn_return(packet, source)
            elif isinstance(packet, Bye):
                self._bye_received = True

    def quality(self) -> QualityReport:
        """What has been learnt so far."""
        last, total, count = self._round_trips
        block = self._remote
        rate = self._stream.parameters.payload_format.clock_rate_hz
        return QualityReport(
            round_trip_ms=last * 1000 if count else None,
            mean_round_trip_ms=total / count * 1000 if count else None,
            remote_loss_ratio=block.fraction_lost / 256 if block is not None else None,
            remote_cumulative_lost=block.cumulative_lost if block is not None else None,
            remote_jitter_ms=block.jitter * 1000 / rate if block is not None else None,
            reports_sent=self._sent,
            reports_received=self._received,
            malformed=self._malformed,
            strangers=self._strangers,
            bye_received=self._bye_received,
        )

    def _handle_report(self, report: Report, now: float) -> None:
        self._received += 1
        if report.sender is not None:
            self._last_sender_report = report.sender.ntp >> 16 & 0xFFFFFFFF
            self._last_sender_report_at = now
            self._last_sender = report.ssrc
        for block in report.blocks:
            if block.ssrc != self._stream.ssrc:
                continue
            self._remote = block
            if block.last_sender_report:
                # Section 6.4.1: round trip = arrival - LSR - DLSR, in 1/65536 seconds, modulo 2**32.
                units = (self._ntp(now) >> 16) - block.last_sender_report - block.delay_since_last & 0xFFFFFFFF
                round_trip_s = units / 65536
                if round_trip_s <= _MAX_ROUND_TRIP_S:
                    _, total, count = self._round_trips
                    self._round_trips = [round_trip_s, total + round_trip_s, count + 1]

    def _learn_return(self, report: Report, source: Address) -> None:
        """Remembers where a report came from, if it speaks of what only an end of this stream has seen: the SSRC that
        is heard, or ours. Without a latched source nobody is answered elsewhere than at the described address.
        """
        inbound, ours = self._stream.inbound, self._stream.ssrc
        if inbound.source is None or inbound.source != inbound.remote:
            return
        if report.ssrc == inbound.ssrc or any(block.ssrc == ours for block in report.blocks):
            self._return = inbound.source, source

    def _compound(self, now: float) -> bytes:
        statistics = self._stream.statistics()
        tx = statistics.tx
        # Section 6.4: a sender report from who has sent since the report before the last one, else a receiver report.
        earlier, last = self._packets_before
        self._packets_before = (last, tx.packets)
        sender = SenderInfo(self._ntp(now), tx.timestamp, tx.packets, tx.octets) if tx.packets > earlier else None
        blocks = () if statistics.rx.ssrc is None else (self._block(statistics.rx.ssrc, statistics.rx, now),)
        ssrc = self._stream.ssrc
        if self._description is None or self._description[0] != ssrc:
            self._description = ssrc, bytes(SourceDescription(ssrc, self._cname))
        return bytes(Report(ssrc, sender, blocks)) + self._description[1]

    def _block(self, ssrc: int, rx: ReceiverStatistics, now: float) -> ReportBlock:
        expected, lost = rx.expected, rx.cumulative_lost
        if self._account_of != (ssrc, rx.restarts) or expected < self._expected_before:
            # Another source, or the same one anew: its account began when it was first heard.
            self._account_of = ssrc, rx.restarts
            self._expected_before = self._lost_before = 0
        expected_interval, lost_interval = expected - self._expected_before, lost - self._lost_before
        self._expected_before, self._lost_before = expected, lost
        fraction = 0
        if expected_interval > 0 and lost_interval > 0:
            fraction = min(255, 256 * lost_interval // expected_interval)
        rate = self._stream.parameters.payload_format.clock_rate_hz
        last, delay = 0, 0
        if ssrc == self._last_sender:
            last, delay = self._last_sender_report, int((now - self._last_sender_report_at) * 65536)
        return ReportBlock(
            ssrc, fraction, lost, rx.extended_highest_sequence, int(rx.jitter_ms * rate / 1000), last, delay
        )

    def _ntp(self, now: float) -> int:
        return int((now + self._wall_offset_s + _NTP_UNIX_OFFSET_S) * (1 << 32))
