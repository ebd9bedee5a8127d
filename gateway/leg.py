"""One side of a call that speaks RTP: a port, a stream and what was agreed about it.

A leg makes session descriptions (offer/answer by `sip.sdp`), and turns what was negotiated into a running `RtpStream`
that the media clock serves. It is the same for calls that come in and for calls that we place.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.call.record import MediaRecord
from gateway.config.trunk import MediaSource, TrunkSettings
from rtp.clock import MediaClock
from rtp.codec.format import PCMU as PCMU_FORMAT
from rtp.parameters import StreamParameters
from rtp.playout import PlayedItem
from rtp.sink import StreamSink
from rtp.socket import MediaPort, MediaSockets
from rtp.source_lock import Address, SourcePolicy
from rtp.stream import RtpStream
from sip.errors import SipError
from sip.sdp.agreement import NegotiatedAudio
from sip.sdp.capability import AudioCapabilities, LocalMedia
from sip.sdp.codec import PCMU
from sip.sdp.description import SessionDescription
from sip.sdp.negotiation import accept_answer, answer_offer, create_offer

# RFC 3550 §5.1: SSRC, first sequence number and first timestamp are random.
SSRC_BITS: Final = 32
SEQUENCE_NUMBER_BITS: Final = 16
TIMESTAMP_BITS: Final = 32
# RFC 8866 §5.2 wants a session id that is unique; 62 bits leave room for the 64-bit signed integers of other stacks.
SESSION_ID_BITS: Final = 62


@dataclass(frozen=True, slots=True)
class SourceRule:
    """Whose packets a leg hears, as rtp.source_lock takes it."""

    policy: SourcePolicy = SourcePolicy.SAME_HOST
    allowed: Callable[[str], bool] | None = None

    @classmethod
    def of(cls, trunk: TrunkSettings) -> "SourceRule":
        """The rule of a trunk."""
        match trunk.media_source:
            case MediaSource.NEGOTIATED:
                return cls(SourcePolicy.NEGOTIATED)
            case MediaSource.SAME_HOST:
                return cls(SourcePolicy.SAME_HOST)
            case MediaSource.CARRIER:
                return cls(SourcePolicy.LATCH, trunk.admits_media)
            case MediaSource.ANY:
                return cls(SourcePolicy.LATCH)


@dataclass(frozen=True, slots=True)
class MediaPlane:
    """The process's media: one clock, all sockets, and the address that far ends are told."""

    clock: MediaClock
    sockets: MediaSockets
    advertised_host: str
    now: Callable[[], float]
    capabilities: AudioCapabilities = field(default_factory=lambda: AudioCapabilities(codecs=(PCMU,)))


class AudioLeg:
    """One leg. Its port is taken when it is made, so that whoever answers knows that there is one.

    Args:
        plane: the process's media.
        rule: whose packets are heard.

    Raises:
        PortsExhaustedError: no port is free.
    """

    def __init__(self, plane: MediaPlane, rule: SourceRule | None = None) -> None:
        self._plane = plane
        self._rule = rule or SourceRule()
        self._port: MediaPort | None = plane.sockets.open(self._receive_rtp, self._receive_rtcp)
        self._local = LocalMedia(
            plane.advertised_host, self._port.port, secrets.randbits(SESSION_ID_BITS), key_source=os.urandom
        )
        self._send = self._port.rtp.send
        self._offer: SessionDescription | None = None
        self._audio: NegotiatedAudio | None = None
        self._stream: RtpStream | None = None

    # Offer and answer.

    def answer(self, offer: bytes | None) -> bytes:
        """The session description that answers `offer`; where there is none, ours is the offer and `complete` follows.

        Raises:
            SipError: no agreement (`status` 488), or a description that cannot be read (400). What ran before runs on.
        """
        if offer is None:
            return self.offer()
        description, audio = answer_offer(
            SessionDescription.parse(offer), self._plane.capabilities, self._local, previous=self._audio
        )
        self._adopt(audio)
        return bytes(description)

    def offer(self) -> bytes:
        """Our offer: for a call that we place, or for an INVITE that came without one."""
        self._offer = create_offer(self._plane.capabilities, self._local, previous=self._audio)
        return bytes(self._offer)

    def complete(self, answer: bytes | None) -> bool:
        """Takes the answer to our offer. False where one was due and none came that could be used."""
        if self._offer is None:
            return True
        try:
            audio = accept_answer(self._offer, SessionDescription.parse(answer or b""), self._plane.capabilities)
        except SipError:
            return False
        self._offer = None
        self._adopt(audio)
        return True

    def _adopt(self, audio: NegotiatedAudio) -> None:
        self._audio = audio
        if self._stream is not None:
            self._stream.update(self._parameters(audio), self._plane.now())

    # The stream.

    @property
    def codec(self) -> str:
        """The name of the codec that was agreed, or "none"."""
        return "none" if self._audio is None else self._audio.codec.name

    def start(self, sink: StreamSink) -> None:
        """Hears from now on. Nothing is sent before `resume`, but what the far end sends is taken."""
        parameters = StreamParameters(remote=None) if self._audio is None else self._parameters(self._audio)
        self._stream = RtpStream(
            parameters,
            sink,
            ssrc=secrets.randbits(SSRC_BITS),
            sequence_number=secrets.randbits(SEQUENCE_NUMBER_BITS),
            timestamp=secrets.randbits(TIMESTAMP_BITS),
            now=self._plane.now(),
        )
        self._stream.pause()
        self._plane.clock.register(self, parameters.ptime_ms)

    def resume(self) -> None:
        """Sends from now on, without a gap: speech where there is some, else silence."""
        if self._stream is not None:
            self._stream.resume()

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends speech in the leg's codec."""
        if self._stream is not None:
            self._stream.playout.enqueue(item_id, audio)

    def finish(self, item_id: str) -> None:
        """No more speech of this item will come."""
        if self._stream is not None:
            self._stream.playout.finish(item_id)

    def flush(self) -> list[PlayedItem]:
        """Drops the speech that waits; says how much of each item was sent."""
        return [] if self._stream is None else self._stream.playout.flush()

    def sent_ms(self, item_id: str) -> int:
        """Milliseconds of an item that were sent."""
        return 0 if self._stream is None else self._stream.playout.sent_ms(item_id)

    @property
    def queued_ms(self) -> int:
        """Speech that waits."""
        return 0 if self._stream is None else self._stream.playout.queued_ms

    @property
    def heard_at(self) -> float | None:
        """When the far end's audio came last, in monotonic seconds."""
        return None if self._stream is None else self._stream.heard_at

    def send_digits(self, digits: str) -> bool:
        """Sends keys as telephone-events; False where these were not negotiated."""
        return self._stream is not None and self._stream.send_digits(digits)

    def statistics(self) -> MediaRecord:
        """What was received and sent so far."""
        if self._stream is None:
            return MediaRecord(codec=self.codec)
        counts = self._stream.statistics()
        return MediaRecord(
            codec=self.codec,
            packets_rx=counts.rx.packets,
            packets_tx=counts.tx.packets,
            lost=counts.rx.lost,
            concealed_ms=counts.rx.concealed_ms,
            jitter_ms=round(counts.rx.jitter_ms, 2),
            discarded={cause.label: count for cause, count in counts.rx.discards.items()},
        )

    def close(self) -> None:
        """Frees the port. Idempotent."""
        self._plane.clock.unregister(self)
        self._stream = None
        if self._port is not None:
            self._port.close()
            self._port = None

    # The clock's and the sockets' side.

    def tick(self, now: float) -> None:
        """One packet time (rtp.clock.Media)."""
        stream = self._stream
        if stream is None:
            return
        datagram = stream.tick(now)
        if datagram is not None and (remote := stream.remote) is not None:
            self._send(datagram, remote)

    def skip(self, turns: int) -> None:
        """The clock missed `turns` packet times (rtp.clock.Media)."""
        if self._stream is not None:
            self._stream.skip(turns)

    def _receive_rtp(self, data: bytes, source: Address, now: float) -> None:
        if self._stream is not None:
            self._stream.receive_datagram(data, source, now)

    def _receive_rtcp(self, data: bytes, source: Address, now: float) -> None:
        """RTCP is read from the port so that it does not fill up; reports are not kept."""

    def _parameters(self, audio: NegotiatedAudio) -> StreamParameters:
        return StreamParameters(
            payload_format=PCMU_FORMAT,
            payload_type_tx=audio.payload_type_tx,
            payload_type_rx=audio.payload_type_rx,
            telephone_event_payload_type_tx=audio.telephone_event_payload_type_tx,
            telephone_event_payload_type_rx=audio.telephone_event_payload_type_rx,
            ptime_ms=audio.ptime_ms,
            remote=audio.remote_address,
            sends=audio.direction.sends,
            receives=audio.direction.receives,
            source_policy=self._rule.policy,
            source_allowed=self._rule.allowed,
        )
