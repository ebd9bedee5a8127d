"""RtpSender: the outbound half of a stream. One packet a turn: speech, silence, or a telephone-event."""

from collections.abc import Callable
from typing import Final

from rtp.packet import HEADER, PLAIN_FIRST_OCTET
from rtp.parameters import StreamParameters
from rtp.playout import PlayedItem, Playout
from rtp.sequence import SEQUENCE_MASK, TIMESTAMP_MASK, timestamp_add
from rtp.sink import StreamSink
from rtp.srtp import SrtpProtector
from rtp.statistics import SenderStatistics
from rtp.telephone_event import TelephoneEventSender

DEFAULT_DIGIT_MS: Final = 100
DEFAULT_DIGIT_GAP_MS: Final = 80
"""ITU-T Q.24 asks for 40 ms and 40 ms at least; old menus want more."""

_MARKER: Final = 0x80
_pack = HEADER.pack


class RtpSender:
    """Keeps one SSRC, sequence numbers without a gap and a timestamp that is media time, speech or not."""

    __slots__ = (
        "_digits",
        "_encode",
        "_event_packets",
        "_frame_samples",
        "_held_back",
        "_marker_due",
        "_next_frame",
        "_octets",
        "_on_frame_sent",
        "_parameters",
        "_paused",
        "_payload_type",
        "_protector",
        "_sequence_number",
        "_silence",
        "_silence_packets",
        "_sink",
        "_skipped_frames",
        "_speech_packets",
        "_timestamp",
        "playout",
        "ssrc",
    )

    def __init__(
        self, parameters: StreamParameters, sink: StreamSink, *, ssrc: int, sequence_number: int, timestamp: int
    ) -> None:
        self.ssrc = ssrc
        self._sink = sink
        self._sequence_number = sequence_number & SEQUENCE_MASK
        self._timestamp = timestamp & TIMESTAMP_MASK
        self._paused = self._held_back = False
        self._digits: TelephoneEventSender | None = None
        self._protector = SrtpProtector(parameters.secure.tx) if parameters.secure is not None else None
        self._marker_due = True
        self._speech_packets = self._silence_packets = self._event_packets = 0
        self._octets = self._skipped_frames = 0
        self._encode = _frame_encoder(parameters)
        self._adopt(parameters, Playout(parameters.playout_format, parameters.ptime_ms, sink))

    def tick(self) -> bytes | None:
        """The datagram of this turn; None while paused or not negotiated to send. Media time moves on either way."""
        timestamp = self._timestamp
        self._timestamp = (timestamp + self._frame_samples) & TIMESTAMP_MASK
        if self._paused:
            # Whoever is silent starts a new talkspurt afterwards (RFC 3551 section 4.1: marker on its first packet).
            self._marker_due = True
            return None
        if self._digits is not None and self._digits.is_active:
            return self._event_packet(self._digits, timestamp)
        frame = self._next_frame()
        second = self._payload_type
        if frame is None:
            frame = self._silence
            if not self._octets:
                second |= _MARKER
            self._marker_due = True
            self._silence_packets += 1
            self._on_frame_sent(frame, None)
        else:
            if self._marker_due:
                self._marker_due = False
                second |= _MARKER
            self._speech_packets += 1
            self._on_frame_sent(frame, self.playout.current_item_id)
        if self._encode is not None:
            frame = self._encode(frame)
        self._octets += len(frame)
        sequence_number = self._sequence_number
        self._sequence_number = (sequence_number + 1) & SEQUENCE_MASK
        packet = _pack(PLAIN_FIRST_OCTET, second, sequence_number, timestamp, self.ssrc) + frame
        return packet if self._protector is None else self._protector.protect(packet)

    def skip(self, turns: int) -> None:
        """The clock missed `turns` turns: media time goes on without packets, playout keeps its audio."""
        self._timestamp = timestamp_add(self._timestamp, turns * self._frame_samples)
        self._skipped_frames += turns
        self._marker_due = True

    def pause(self) -> None:
        """Stops sending, whatever was negotiated (before ACK)."""
        self._held_back = self._paused = True

    def resume(self) -> None:
        """Sends again, as far as the negotiated direction and a known address allow it."""
        self._held_back = False
        self._paused = not self._may_send

    def update(self, parameters: StreamParameters) -> list[PlayedItem]:
        """Goes on with newly negotiated parameters: same SSRC, next sequence number, same media time.

        Audio of another format cannot be sent any more: it is flushed, and its account returned.
        """
        played: list[PlayedItem] = []
        playout = self.playout
        old = self._parameters
        if parameters.payload_format != old.payload_format or parameters.ptime_ms != old.ptime_ms:
            self._encode = _frame_encoder(parameters)
            if parameters.payload_format == old.payload_format:
                playout.reframe(parameters.ptime_ms)
            else:
                played = playout.flush()
                playout = Playout(parameters.playout_format, parameters.ptime_ms, self._sink)
        if parameters.secure != old.secure:
            self._protector = SrtpProtector(parameters.secure.tx) if parameters.secure is not None else None
        self._adopt(parameters, playout)
        return played

    def refresh_sink(self) -> None:
        """Looks up again what the sink wants to be told."""
        self._on_frame_sent = self._sink.on_frame_sent

    def protect_rtcp(self, data: bytes) -> bytes:
        """The report as it may be sent: SRTCP on a secure stream."""
        return data if self._protector is None else self._protector.protect_rtcp(data)

    def send_digits(self, digits: str, duration_ms: int, gap_ms: int) -> bool:
        """Queues digits; speech waits meanwhile. False where telephone-event was not negotiated."""
        if self._digits is None:
            return False
        self._digits.enqueue(digits, duration_ms, gap_ms)
        return True

    def statistics(self) -> SenderStatistics:
        """The counts at this moment."""
        packets = self._speech_packets + self._silence_packets + self._event_packets
        return SenderStatistics(
            packets=packets,
            octets=self._octets,
            speech_packets=self._speech_packets,
            silence_packets=self._silence_packets,
            event_packets=self._event_packets,
            skipped_frames=self._skipped_frames,
            ssrc=self.ssrc,
            timestamp=self._timestamp,
        )

    def _adopt(self, parameters: StreamParameters, playout: Playout) -> None:
        self._parameters = parameters
        self._on_frame_sent = self._sink.on_frame_sent
        self.playout = playout
        self._next_frame = playout.next_frame
        self._silence = playout.silence_frame
        self._payload_type = parameters.payload_type_tx
        self._frame_samples = parameters.frame_samples
        if parameters.telephone_event_payload_type_tx is None:
            self._digits = None
        elif self._digits is None or self._digits.clock_rate_hz != parameters.payload_format.clock_rate_hz:
            self._digits = TelephoneEventSender(parameters.payload_format.clock_rate_hz)
        self._paused = self._held_back or not self._may_send

    @property
    def _may_send(self) -> bool:
        return self._parameters.sends and self._parameters.remote is not None

    def _event_packet(self, digits: TelephoneEventSender, timestamp: int) -> bytes:
        event = digits.next_frame(timestamp, self._frame_samples)
        payload_type = self._parameters.telephone_event_payload_type_tx
        self._marker_due = True
        if event is None or payload_type is None:
            second, payload = self._payload_type, self._silence
            self._silence_packets += 1
            self._on_frame_sent(payload, None)
            if self._encode is not None:
                payload = self._encode(payload)
        else:
            second = payload_type | (_MARKER if event.marker else 0)
            timestamp, payload = event.timestamp, event.payload
            self._event_packets += 1
        self._octets += len(payload)
        sequence_number = self._sequence_number
        self._sequence_number = (sequence_number + 1) & SEQUENCE_MASK
        packet = _pack(PLAIN_FIRST_OCTET, second, sequence_number, timestamp, self.ssrc) + payload
        return packet if self._protector is None else self._protector.protect(packet)


def _frame_encoder(parameters: StreamParameters) -> Callable[[bytes], bytes] | None:
    """For formats that are encoded frame by frame, as each is sent. Only they load PyAV."""
    if parameters.payload_format.is_constant_rate:
        return None
    import numpy as np

    from rtp.codec.audio import encoder_of

    encode = encoder_of(parameters.payload_format, parameters.ptime_ms).encode
    return lambda frame: encode(np.frombuffer(frame, dtype=np.int16))
