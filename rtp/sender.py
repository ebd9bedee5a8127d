"""RtpSender: the outbound half of a stream. One packet a turn: speech, silence, or a telephone-event."""

from collections.abc import Callable
from typing import Final

from rtp.codec.format import PayloadFormat
from rtp.fast import OutboundPath
from rtp.parameters import StreamParameters
from rtp.playout import PlayedItem, Playout
from rtp.sequence import SEQUENCE_MASK, TIMESTAMP_MASK, timestamp_add
from rtp.sink import StreamSink, ignore_frame
from rtp.srtp import SrtpKey, SrtpProtector
from rtp.statistics import SenderStatistics
from rtp.telephone_event import TelephoneEventSender

DEFAULT_DIGIT_MS: Final = 100
DEFAULT_DIGIT_GAP_MS: Final = 80
"""ITU-T Q.24 asks for 40 ms and 40 ms at least; old menus want more."""

_MARKER: Final = 0x80


class RtpSender(OutboundPath):
    """Keeps one SSRC, sequence numbers without a gap and a timestamp that is media time, speech or not."""

    playout: Playout

    __slots__ = (
        "_digits",
        "_event_packets",
        "_held_back",
        "_parameters",
        "_protector",
        "_sink",
        "_skipped_frames",
    )

    def __init__(
        self, parameters: StreamParameters, sink: StreamSink, *, ssrc: int, sequence_number: int, timestamp: int
    ) -> None:
        self.ssrc = ssrc
        self._sink = sink
        self.sequence_number = sequence_number & SEQUENCE_MASK
        self.timestamp = timestamp & TIMESTAMP_MASK
        self._held_back = self.events_wait = False
        self._digits: TelephoneEventSender | None = None
        self.marker_due = True
        self.speech_packets = self.silence_packets = self._event_packets = 0
        self.octets = self._skipped_frames = 0
        self._secure(parameters)
        self.encode = _frame_encoder(parameters)
        self._adopt(parameters, Playout(parameters.playout_format, parameters.ptime_ms, sink))

    def skip(self, turns: int) -> None:
        """The clock missed `turns` turns: media time goes on without packets, playout keeps its audio."""
        self.timestamp = timestamp_add(self.timestamp, turns * self.frame_samples)
        self._skipped_frames += turns
        self.playout.owe(turns)
        self.marker_due = True

    def pause(self) -> None:
        """Stops sending, whatever was negotiated (before ACK)."""
        self._held_back = self.is_paused = True

    def resume(self) -> None:
        """Sends again, as far as the negotiated direction and a known address allow it."""
        self._held_back = False
        self.is_paused = not self._may_send

    def update(self, parameters: StreamParameters) -> list[PlayedItem]:
        """Goes on with newly negotiated parameters: same SSRC, next sequence number, same media time.

        Audio that waits is turned into a new format. Where there is no codec for that it is flushed, and its account
        returned.
        """
        played: list[PlayedItem] = []
        old = self._parameters
        if _encoding_of(parameters) != _encoding_of(old):
            if parameters.payload_format != old.payload_format or not parameters.payload_format.is_constant_rate:
                # The encoder of a codec that has a state goes on, as the far end's decoder does; Opus has one a frame.
                self.encode = _frame_encoder(parameters)
            if parameters.payload_format == old.payload_format:
                self.playout.reframe(parameters.ptime_ms)
            else:
                played = self._recode(old, parameters)
        if _key_of(parameters) != _key_of(old):
            # A key that stays keeps its session: its packet index must neither start again nor be used twice.
            former = self._protector
            self._secure(
                parameters, 0 if former is None else former.continued_rollover(self.ssrc, self.sequence_number)
            )
        self._adopt(parameters, self.playout)
        return played

    def _recode(self, old: StreamParameters, parameters: StreamParameters) -> list[PlayedItem]:
        """Only a change of the codec loads what it needs."""
        from rtp.codec.recoding import recoding

        played: list[PlayedItem] = []
        try:
            convert = recoding(old.playout_format, parameters.playout_format)
        except KeyError:
            played = self.playout.flush()
            self.playout = Playout(parameters.playout_format, parameters.ptime_ms, self._sink)
        else:
            self.playout.recode(parameters.playout_format, parameters.ptime_ms, convert)
        return played

    def refresh_sink(self) -> None:
        """Looks up again what the sink wants to be told."""
        self._refresh_listener()

    def protect_rtcp(self, data: bytes) -> bytes:
        """The report as it may be sent: SRTCP on a secure stream."""
        return data if self._protector is None else self._protector.protect_rtcp(data)

    def continue_rollover(self) -> None:
        """The far end goes on counting with a new key: so do we (`SrtpProtector.continue_rollover`)."""
        if self._protector is not None:
            self._protector.continue_rollover(self.ssrc, self.sequence_number)

    def send_digits(self, digits: str, duration_ms: int, gap_ms: int) -> bool:
        """Queues digits; speech waits meanwhile. False where telephone-event was not negotiated."""
        if self._digits is None:
            return False
        self._digits.enqueue(digits, duration_ms, gap_ms)
        self.events_wait = True
        return True

    def statistics(self) -> SenderStatistics:
        """The counts at this moment."""
        packets = self.speech_packets + self.silence_packets + self._event_packets
        return SenderStatistics(
            packets=packets,
            octets=self.octets,
            speech_packets=self.speech_packets,
            silence_packets=self.silence_packets,
            event_packets=self._event_packets,
            skipped_frames=self._skipped_frames,
            ssrc=self.ssrc,
            timestamp=self.timestamp,
        )

    def _adopt(self, parameters: StreamParameters, playout: Playout) -> None:
        self._parameters = parameters
        self._refresh_listener()
        self.playout = playout
        self.silence = playout.silence_frame
        self.payload_type = parameters.payload_type_tx
        self.frame_samples = parameters.frame_samples
        if parameters.telephone_event_payload_type_tx is None:
            self._digits = None
        elif self._digits is None or self._digits.clock_rate_hz != parameters.event_clock_rate_hz:
            self._digits = TelephoneEventSender(parameters.event_clock_rate_hz, self._digits)
        self.events_wait = self._digits is not None and self._digits.is_active
        self.is_paused = self._held_back or not self._may_send

    @property
    def _may_send(self) -> bool:
        return self._parameters.sends and self._parameters.remote is not None

    def _refresh_listener(self) -> None:
        listener = self._sink.on_frame_sent
        self.on_frame_sent = None if listener is ignore_frame else listener

    def _secure(self, parameters: StreamParameters, rollover: int = 0) -> None:
        self._protector = SrtpProtector(parameters.secure.tx, rollover) if parameters.secure is not None else None
        self.protect = None if self._protector is None else self._protector.protect

    def _event_packet(self, timestamp: int) -> bytes | None:
        digits = self._digits
        event_samples = self._parameters.event_clock_rate_hz * self._parameters.ptime_ms // 1000
        event = digits.next_frame(timestamp, event_samples) if digits is not None else None
        self.events_wait = digits is not None and digits.is_active
        payload_type = self._parameters.telephone_event_payload_type_tx
        self.marker_due = True
        if event is None or payload_type is None:
            self.silence_packets += 1
            if self.on_frame_sent is not None:
                self.on_frame_sent(self.silence, None)
            payload = self.silence if self.encode is None else self.encode(self.silence)
            return self.packet(self.payload_type, timestamp, payload)
        self._event_packets += 1
        return self.packet(payload_type | (_MARKER if event.marker else 0), event.timestamp, event.payload)


def _key_of(parameters: StreamParameters) -> SrtpKey | None:
    return None if parameters.secure is None else parameters.secure.tx


def _encoding_of(parameters: StreamParameters) -> tuple[PayloadFormat, int, int | None]:
    """What an encoder is made of."""
    return parameters.payload_format, parameters.ptime_ms, parameters.max_bit_rate


def _frame_encoder(parameters: StreamParameters) -> Callable[[bytes], bytes] | None:
    """For formats that are encoded frame by frame, as each is sent. Only they load PyAV."""
    if parameters.playout_format == parameters.payload_format:
        return None
    import numpy as np

    from rtp.codec.audio import encoder_of

    encode = encoder_of(*_encoding_of(parameters)).encode
    return lambda frame: encode(np.frombuffer(frame, dtype=np.int16))
