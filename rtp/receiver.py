"""RtpReceiver: the inbound half of a stream, from a datagram to ordered audio at the sink.

What is as it should be (the locked source, the next packet, nothing special) passes in `rtp.path.InboundPath`, whose
state this class shares. Everything else takes the long way below, and is counted.
"""

from collections.abc import Callable, Mapping
from math import inf
from operator import attrgetter
from typing import Final

from rtp.changeover import MAX_PACKET_MS, Changeover
from rtp.codec.format import PayloadFormat
from rtp.comfort_noise import noise_level
from rtp.errors import RtpParseError
from rtp.fast import InboundPath, RecentAudio
from rtp.gap import HISTORY_PACKETS, GapFiller
from rtp.ordering import Arrival, InboundOrder
from rtp.packet import HEADER, HEADER_OCTETS, payload_bounds
from rtp.parameters import StreamParameters
from rtp.path import NO_SSRC
from rtp.probation import Probation
from rtp.rtcp import RTCP_TYPES
from rtp.sequence import sequence_add
from rtp.sink import StreamSink
from rtp.source_account import SourceAccount
from rtp.source_lock import Address
from rtp.source_search import SourceSearch
from rtp.srtp import SrtpError, SrtpUnprotector
from rtp.statistics import DISCARD_OF, DISCARD_OF_ARRIVAL, Discard, ReceiverStatistics
from rtp.telephone_event import TelephoneEventReceiver

STARVED_AFTER_S: Final = 0.200
"""No audio for so long is no jitter: silence is made up, so that whoever listens for the end of speech hears it."""

_unpack_from = HEADER.unpack_from
_is_active = attrgetter("is_active")
# timestamp, payload (None: holds a place in the sequence and carries no audio), and what it is spoken in
_Placed = tuple[int, bytes | None, PayloadFormat]


class RtpReceiver(InboundPath):
    """Hears one source, in order, and fills what is missing so that the sink's clock stays true."""

    __slots__ = (
        "_account",
        "_arrived_at",
        "_changeover",
        "_discards",
        "_events",
        "_filler",
        "_frame_samples",
        "_has_heard",
        "_lost_before",
        "_order",
        "_parameters",
        "_probation",
        "_released_at",
        "_search",
        "_sink",
        "on_rtcp",
    )

    def __init__(self, parameters: StreamParameters, sink: StreamSink, now: float) -> None:
        self._sink = sink
        self.ssrc = NO_SSRC
        self._order: InboundOrder[_Placed] = InboundOrder(0)
        self._probation = Probation()
        self.history = RecentAudio(HISTORY_PACKETS)
        self._account = SourceAccount()
        self._discards = self._account.discards
        self.packets = self.played = 0
        self.transit = self.jitter = self.peak_jitter = 0.0
        self.audio_at = self._arrived_at = now
        self._released_at: float | None = None
        self.next_timestamp = 0
        self._lost_before = 0
        """Packets that were lost since audio was played last."""
        self._has_heard = False
        self._filler = GapFiller(parameters.payload_format, parameters.ptime_ms, sink)
        self.starved_after = STARVED_AFTER_S
        self._events: dict[int, TelephoneEventReceiver] = {}
        """By payload type: one for each clock that events are agreed on."""
        self._changeover = Changeover(parameters)
        self._search = SourceSearch(parameters, now, self._discards)
        self._adopt(parameters)
        self.source = None
        self.unprotector = SrtpUnprotector(parameters.secure.rx) if parameters.secure is not None else None
        self.on_rtcp: Callable[[bytes, Address, float], None] | None = None
        """Takes RTCP that came to the RTP port, still encrypted on a secure stream."""
        self.remote = self._search.remote
        self._settle()

    @property
    def heard_at(self) -> float | None:
        """When audio came last, or None before the first."""
        return self.audio_at if self.played and self.ssrc != NO_SSRC else None

    @property
    def arrived_at(self) -> float | None:
        """When anything of the stream came last, digits and comfort noise included; None before the first."""
        return max(self.audio_at, self._arrived_at) if self._has_heard else None

    def _settle(self) -> None:
        """Tells the regular path how things stand, after anything that was not regular."""
        held = bool(self._order.held)
        self.expected = self._order.expected
        self.is_open = not held and not self._filler.is_disturbed
        self.is_restless = held or (bool(self._events) and any(map(_is_active, self._events.values())))

    def _poll_irregular(self, now: float) -> None:
        self._order.expected = self.expected
        if self._order.held:
            self._release(now)
        for events in self._events.values():
            events.poll(now)
        if now - self.audio_at >= self.starved_after and self.ssrc != NO_SSRC and self.receives:
            self._fill_starvation(now)
        self._settle()

    def update(self, parameters: StreamParameters, now: float) -> None:
        """Goes on with newly negotiated parameters.

        The source lock is taken anew when the address or the policy moved.
        """
        old, old_rate = self._parameters, self.clock_rate_hz
        self._order.expected = self.expected
        self._adopt(parameters)
        if (parameters.payload_format, parameters.ptime_ms) != (old.payload_format, old.ptime_ms):
            self._adopt_format(parameters, old_rate)
        if (parameters.remote, parameters.source_policy) != (old.remote, old.source_policy):
            self._search.begin_anew(parameters, now, has_moved=True)
            self.source = None
            self.remote = self._search.remote
        elif parameters.receives and not old.receives:
            # While a far end is on hold its NAT may forget the port: whoever speaks first is the source again.
            self._search.begin_anew(parameters, now, has_moved=False)
            self.source = None
        if parameters.secure is None:
            self.unprotector = None
        elif old.secure is None or parameters.secure.rx != old.secure.rx:
            self.unprotector = SrtpUnprotector(parameters.secure.rx, self.unprotector)
        if parameters.payload_format != old.payload_format or not parameters.receives:
            # What comes next begins anew; what was held belongs to the time before.
            self.ssrc = NO_SSRC
            self._order = InboundOrder(0)
            self.history.clear()
        self._settle()

    def refresh_sink(self) -> None:
        """Looks up again who hears."""
        self.on_audio = self._sink.on_audio
        self._filler.refresh_sink(self._sink)

    def statistics(self) -> ReceiverStatistics:
        """The counts at this moment."""
        return self._account.statistics(self, self._filler, self._probation.rejected, self._changeover.changes(self))

    def _adopt(self, parameters: StreamParameters) -> None:
        """What follows from the parameters alone. Gaps, digits and counts that are under way go on."""
        self._parameters = parameters
        self._search.adopt(parameters)
        self.on_audio = self._sink.on_audio  # a sink may have changed what it does with another format
        payload_format = parameters.payload_format
        self.payload_type = parameters.payload_type_rx
        self.receives = parameters.receives
        self.clock_rate_hz = payload_format.clock_rate_hz
        self._frame_samples = parameters.frame_samples
        self._changeover.adopt(self, parameters)
        self.octet_shift = payload_format.octet_shift
        # A format whose octets do not tell samples never takes the short way.
        is_short = payload_format.is_constant_rate and parameters.receives
        self.fast_limit = HEADER_OCTETS + payload_format.largest_octets(MAX_PACKET_MS) if is_short else 0
        self._adopt_events(parameters.telephone_event_clocks)

    def _adopt_events(self, clocks: Mapping[int, int]) -> None:
        """A digit that is held down goes on where its clock is still agreed on, whatever its payload type is now."""
        before = {events.clock_rate_hz: events for events in self._events.values()}
        for clock_rate_hz in before.keys() - set(clocks.values()):
            before[clock_rate_hz].reset()
        self._events = {
            number: before.get(clock_rate_hz) or TelephoneEventReceiver(clock_rate_hz, self._sink.on_digit)
            for number, clock_rate_hz in clocks.items()
        }

    def _adopt_format(self, parameters: StreamParameters, old_rate: int) -> None:
        """Another format or packet time: gaps are filled anew, the counts go on in the new clock."""
        filler = GapFiller(parameters.payload_format, parameters.ptime_ms, self._sink)
        filler.take_over(self._filler, old_rate)
        self.played = self.played * self.clock_rate_hz // old_rate
        self.jitter *= self.clock_rate_hz / old_rate
        self.peak_jitter *= self.clock_rate_hz / old_rate
        self._filler = filler
        self.starved_after = STARVED_AFTER_S
        self.transit = inf  # of the old clock: no jitter can be measured from there

    def _receive_foreign(self, data: bytes, source: Address, now: float) -> None:
        """A datagram from a source that is not the locked one: a stranger, or the far end's first."""
        search = self._search
        if search.is_over:
            self._discards[Discard.STRANGER] += 1
            return
        # On a secure stream only who has the key can become its source.
        plain = self._unprotected(data, now)
        if plain is None:
            return
        packets = search.examine(plain, source, now)
        if search.source is not None:
            self.source = self.remote = search.source
            self.ssrc = NO_SSRC
        for packet in packets:
            self._receive_irregular(packet, now)

    def _unprotected(self, data: bytes, now: float) -> bytes | None:
        unprotector = self.unprotector
        if unprotector is None:
            return data
        if len(data) > 1 and self._is_rtcp(data[1]):
            # SRTCP has its own keys and index: it must not be tried as SRTP.
            self._receive_rtcp(data, now)
            return None
        try:
            return unprotector.unprotect(data)
        except SrtpError as error:
            self._discards[error.discard] += 1
            return None

    def _receive_rtcp(self, data: bytes, now: float) -> None:
        """RTCP on the RTP port: expected where multiplexing was negotiated, and only from the locked source."""
        if self.on_rtcp is None or self.source is None:
            self._discards[Discard.RTCP] += 1
        else:
            self.on_rtcp(data, self.source, now)

    def unprotect_rtcp(self, data: bytes) -> bytes | None:
        """The report that an SRTCP packet holds; None, and counted, when it is not authentic."""
        if self.unprotector is None:
            return data
        try:
            return self.unprotector.unprotect_rtcp(data)
        except SrtpError as error:
            self._discards[error.discard] += 1
            return None

    def _receive_irregular(self, data: bytes, now: float) -> None:
        """Everything that the regular path does not take, from the locked source."""
        self._order.expected = self.expected
        self._judge(data, now)
        self._settle()

    def _judge(self, data: bytes, now: float) -> None:
        discards = self._discards
        try:
            start, end = payload_bounds(data)
        except RtpParseError as error:
            discards[DISCARD_OF[error.malformation]] += 1
            return
        _, second, sequence_number, timestamp, ssrc = _unpack_from(data)
        if self._changeover.is_oversized(second & 0x7F, len(data)):
            discards[Discard.OVERSIZED] += 1
        elif self._is_rtcp(second):
            self._receive_rtcp(data, now)
        elif not self._parameters.receives:
            discards[Discard.ON_HOLD] += 1
        elif ssrc == self.ssrc:
            self._take(data[start:end], second, sequence_number, timestamp, now)
        elif self.ssrc == NO_SSRC:
            if self._parameters.knows(second & 0x7F):
                self._synchronise(ssrc, sequence_number)
                self._take(data[start:end], second, sequence_number, timestamp, now)
            else:
                discards[Discard.PAYLOAD_TYPE] += 1
        else:
            self._consider_ssrc(data, second & 0x7F, ssrc, sequence_number, now)

    def _take(self, payload: bytes, second: int, sequence_number: int, timestamp: int, now: float) -> None:
        """Puts a packet of the stream's SSRC into its place."""
        payload_type = second & 0x7F
        audio: bytes | None = None
        spoken = self._changeover.format_of(payload_type)
        if spoken is not None:
            self._changeover.measure_jitter(self, spoken, timestamp, now)
            if payload:
                audio = payload
            else:
                self._discards[Discard.EMPTY] += 1
        elif (events := self._events.get(payload_type)) is not None:
            try:
                events.receive(timestamp, bool(second & 0x80), payload, now)
            except RtpParseError:
                self._discards[Discard.EVENT] += 1
        elif payload_type == self._parameters.comfort_noise_payload_type:
            self._begin_comfort_noise(payload)
        else:
            # It still holds its place in the sequence: what is not understood is not lost.
            self._discards[Discard.PAYLOAD_TYPE] += 1
        self._arrived_at = now
        order = self._order
        placed = (timestamp, audio, spoken or self._parameters.payload_format)
        arrival = order.place(sequence_number, placed, now)
        if arrival is Arrival.NEXT:
            self._play(0, placed, now)
        elif arrival is Arrival.HELD:
            order.adapt(self.jitter / self.clock_rate_hz)
            self._release(now)
        elif arrival is Arrival.RESTART or (
            audio is not None and order.is_renumbered(sequence_number, self._is_unheard(placed))
        ):
            order.restart(sequence_number)
            self._account.restarts += 1
            self._mark_start(sequence_number)
            self._play(0, placed, now)
        else:
            self._discards[DISCARD_OF_ARRIVAL[arrival]] += 1

    def _is_unheard(self, placed: _Placed) -> bool:
        """Whether a packet with an old number is new all the same, by its timestamp. Of another clock that cannot be
        told from copies that the network brings late, in order and in a row. Whoever goes back in the numbers with
        such a change is heard again once they are through: after 2 s at most.
        """
        ahead = self._changeover.ahead(self, placed[2], placed[0])
        return bool(self.history) and ahead is not None and ahead >= 0

    def _begin_comfort_noise(self, payload: bytes) -> None:
        """RFC 3389: the far end falls silent on purpose. Noise is made up at once and not only after a wait."""
        level = noise_level(payload)
        if level is None:
            self._discards[Discard.EMPTY] += 1
            return
        self._filler.begin_noise(level)
        self.starved_after = 0.0

    @property
    def audio_arrived_at(self) -> float:
        """Within `on_audio`: when the packet came that is handed on. It may have waited since, behind a gap."""
        return self.audio_at if self._released_at is None else self._released_at

    def hurry(self, now: float) -> None:
        """Somebody needs audio at once: what waits behind a gap is handed on, and what is missing is concealed."""
        self._order.expected = self.expected
        if self._order.held:
            self._order.skip_gap()
            self._release(now)
        self._settle()

    def _release(self, now: float) -> None:
        for lost, arrived_at, placed in self._order.release(now):
            self._released_at = arrived_at
            self._play(lost, placed, now)
        self._released_at = None

    def _play(self, lost: int, placed: _Placed, now: float) -> None:
        """Hands the next packet in order to the sink, after what is missing before it."""
        timestamp, audio, spoken = placed
        self.packets += 1
        self._account.lost += lost
        self._lost_before += lost
        if audio is None:
            return
        filler = self._filler
        if self.history:
            # RTP timestamps say how much is missing, whatever the packets were; else their number tells what was lost.
            missing = self._changeover.ahead(self, spoken, timestamp)
            if missing is None:
                missing = self._lost_before * self._frame_samples
            if missing > 0:
                filler.bridge(missing, self.history, is_lost=self._lost_before > 0)
        if filler.is_disturbed:
            filler.settle()
            self.starved_after = STARVED_AFTER_S
        self._lost_before = 0
        self.audio_at = now
        for piece in self._changeover.play(self, spoken, timestamp, audio):
            heard = filler.recover(piece)
            self.history.append(heard)
            self.on_audio(heard, False)

    def _fill_starvation(self, now: float) -> None:
        """Nothing has come for long: silence until now."""
        if self.history:
            silent = int((now - self.audio_at) * self.clock_rate_hz) - self._frame_samples
            self._filler.sustain(silent, self.history)

    def _is_rtcp(self, second: int) -> bool:
        """By the second octet (RFC 5761 section 4). Marked packets of the payload types 64 to 95, which may be
        negotiated where nothing is multiplexed, look the same.
        """
        return second in RTCP_TYPES and (self.on_rtcp is not None or not self._parameters.knows(second & 0x7F))

    def _synchronise(self, ssrc: int, sequence_number: int) -> None:
        """Follows this SSRC from this packet on."""
        if self.history:
            self._account.restarts += 1
        self.ssrc, self._has_heard = ssrc, True
        self._order = InboundOrder(sequence_number)
        self._mark_start(sequence_number)

    def _mark_start(self, sequence_number: int) -> None:
        """A new timeline begins: no gap can be told from the old one's timestamps."""
        self._account.begin(sequence_number, self.packets)
        self._probation.clear()
        self.history.clear()
        for events in self._events.values():
            events.reset()

    def _consider_ssrc(self, data: bytes, payload_type: int, ssrc: int, sequence_number: int, now: float) -> None:
        """Another SSRC from the locked source: followed after two packets in sequence, when the old one is silent."""
        if not self._parameters.knows(payload_type):
            self._discards[Discard.PAYLOAD_TYPE] += 1
            return
        quiet_s = now - max(self.audio_at, self._arrived_at)
        followed = self._probation.offer(data, ssrc, sequence_number, quiet_s)
        if followed:
            self._synchronise(ssrc, sequence_add(sequence_number, 1 - len(followed)))
            for packet in followed:
                self._judge(packet, now)
