"""One side of a call that speaks RTP: a port, a stream and what was agreed about it.

A leg makes session descriptions (offer/answer by `sip.sdp`), and turns what was negotiated into a running `RtpStream`
that the media clock serves. It is the same for calls that come in and for calls that we place. Towards the model's side
it speaks the format that `start` names, whatever the codec is; where both are the same, bytes pass as they are.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.call.record import MediaRecord
from gateway.media_policy import MediaPolicy
from gateway.quality import media_record
from gateway.realtime.capability import AudioFormat
from gateway.reporting import Reporting
from gateway.silence_watch import MediaTimeouts, SilenceWatch
from gateway.stream_parameters import stream_parameters
from gateway.tap import Tap
from gateway.transcoding import Mouth, ear_for, mouth_for
from rtp.clock import MediaClock
from rtp.codec.format import PayloadFormat
from rtp.errors import RtpError
from rtp.fast import TurnPath
from rtp.parameters import StreamParameters
from rtp.playout import PlayedItem
from rtp.report import QualityReport
from rtp.sink import StreamSink
from rtp.socket import MediaPort, MediaSockets
from rtp.source_lock import Address
from rtp.stream import RtpStream
from sip.errors import SipError
from sip.header import NameAddr
from sip.sdp.agreement import NegotiatedAudio
from sip.sdp.capability import LocalMedia
from sip.sdp.description import SessionDescription
from sip.sdp.negotiation import accept_answer, answer_offer, create_offer
from sip.session.uas import ServerSession

# RFC 3550 §5.1: SSRC, first sequence number and first timestamp are random. The sequence number begins in the lower
# half: it must not wrap among first packets that the far end never got, for SRTP counts wraps (RFC 3711 §3.3.1).
SSRC_BITS: Final = 32
SEQUENCE_NUMBER_BITS: Final = 15
TIMESTAMP_BITS: Final = 32
# RFC 8866 §5.2 wants a session id that is unique; 62 bits leave room for the 64-bit signed integers of other stacks.
SESSION_ID_BITS: Final = 62
# How often a leg looks after what is not due at every packet, where nothing of it is due before.
CARE_INTERVAL_S: Final = 4.0
# The same while the far end has not been heard: then the call takes its place in the clock's round.
FIRST_CARE_INTERVAL_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class MediaPlane:
    """The process's media: one clock, all sockets, and the address that far ends are told.

    `listener_hosts` are those of listeners with an address of their own: their peers are told it for media too.
    """

    clock: MediaClock
    sockets: MediaSockets
    advertised_host: str
    now: Callable[[], float]
    timeouts: MediaTimeouts = field(default_factory=MediaTimeouts)
    listener_hosts: frozenset[str] = frozenset()

    def host_for(self, session: ServerSession) -> str:
        """The address for the media of a call that came in."""
        if not self.listener_hosts:
            return self.advertised_host
        told = NameAddr.parse(session.contact()).uri.host.strip("[]")
        return told if told in self.listener_hosts else self.advertised_host


class MediaDescriptionError(SipError):
    """What was agreed cannot be carried: an address that nothing may be sent to, or a key that does not fit."""

    status = 488
    label = "media_refused"


class AudioLeg(TurnPath):
    """One leg. Its port is taken when it is made, so that whoever answers knows that there is one.

    Args:
        plane: the process's media.
        policy: what the trunk says of its media.
        host: the address that the far end is told; that of the plane when absent.

    Raises:
        PortsExhaustedError: no port is free.
    """

    mouth: Mouth | None

    def __init__(self, plane: MediaPlane, policy: MediaPolicy | None = None, host: str | None = None) -> None:
        self._plane = plane
        self._policy = policy or MediaPolicy()
        self._port: MediaPort | None = plane.sockets.open(_ignore, self._receive_rtcp)
        self._local = LocalMedia(
            host or plane.advertised_host, self._port.port, secrets.randbits(SESSION_ID_BITS), key_source=os.urandom
        )
        self.turning = None
        self.sender = self._port.rtp.sender
        self.care_interval_s = FIRST_CARE_INTERVAL_S
        self._offer: SessionDescription | None = None
        self._audio: NegotiatedAudio | None = None
        self._parameters = StreamParameters(remote=None)
        self._stream: RtpStream | None = None
        self._reporting: Reporting | None = None
        self._tap: Tap | None = None
        self.mouth = None
        self._formats = (AudioFormat.PCMU, AudioFormat.PCMU)
        self._watch: SilenceWatch | None = None
        self._flushed: Callable[[list[PlayedItem]], object] | None = None
        self._load: Callable[[int], None] | None = None
        self._told_load = 0
        self._is_sending = self._is_aligned = False
        self.care_due = 0.0

    # Offer and answer.

    def answer(self, offer: bytes | None) -> bytes:
        """The session description that answers `offer`; where there is none, ours is the offer and `complete` follows.

        Raises:
            SipError: no agreement (`status` 488), or a description that cannot be read (400). What ran before runs on.
        """
        if offer is None:
            return self.offer()
        description, audio = answer_offer(
            SessionDescription.parse(offer), self._policy.capabilities, self._local, previous=self._audio
        )
        self._adopt(audio)
        return bytes(description)

    def offer(self) -> bytes:
        """Our offer: for a call that we place, or for an INVITE that came without one."""
        self._offer = create_offer(self._policy.capabilities, self._local, previous=self._audio)
        return bytes(self._offer)

    def complete(self, answer: bytes | None) -> bool:
        """Takes the answer to our offer. False where one was due and none came that could be used."""
        if self._offer is None:
            return True
        try:
            description = SessionDescription.parse(answer or b"")
            self._adopt(accept_answer(self._offer, description, self._policy.capabilities))
        except SipError:
            return False
        self._offer = None
        return True

    def _adopt(self, audio: NegotiatedAudio) -> None:
        """What was agreed becomes what runs. An exception leaves both as they were."""
        try:
            parameters = stream_parameters(audio, self._policy)
            tuned = self._stream is None or self._tune(parameters)
        except RtpError as error:
            raise MediaDescriptionError(str(error)) from error
        before, self._audio, self._parameters = self._parameters, audio, parameters
        stream = self._stream
        if stream is None:
            return
        now = self._plane.now()
        flushed = stream.update(parameters, now)
        if flushed and self._flushed is not None:
            self._flushed(flushed)
        if tuned and parameters.ptime_ms != before.ptime_ms:
            self._plane.clock.register(self, parameters.ptime_ms)
            self._is_aligned = False
        if not before.receives and self._watch is not None:
            self._watch.begin_anew(now)
        self._agree_on_reports(stream, audio)

    # The stream.

    @property
    def codec(self) -> str:
        """The name of the codec that was agreed, or "none"."""
        return "none" if self._audio is None else self._audio.codec.name

    @property
    def is_held(self) -> bool:
        """Whether the far end wants none of our audio for the time being (RFC 3264 §8.4)."""
        return self._audio is not None and self._audio.on_hold

    @property
    def payload_format(self) -> PayloadFormat:
        """What the stream carries; before an agreement, G.711."""
        return self._parameters.payload_format

    @property
    def playout_format(self) -> PayloadFormat:
        """The format of the frames that `StreamSink.on_frame_sent` is told of."""
        return self._parameters.playout_format

    def start(
        self,
        sink: StreamSink,
        *,
        input_format: AudioFormat = AudioFormat.PCMU,
        output_format: AudioFormat = AudioFormat.PCMU,
        on_flushed: Callable[[list[PlayedItem]], object] | None = None,
        on_load: Callable[[int], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        """Hears from now on. Nothing is sent before `resume`, but what the far end sends is taken.

        Args:
            sink: is told what the stream tells.
            input_format: of the audio that it is told.
            output_format: what `enqueue` takes.
            on_flushed: is told what was dropped because a new agreement changed the codec while speech waited.
            on_load: is told now and then how many legs the process serves.
            on_lost: is called once where the far end's media stays away for longer than the plane's time-outs.
        """
        now = self._plane.now()
        self._formats = (input_format, output_format)
        self._flushed, self._load, self._told_load = on_flushed, on_load, 0
        self._watch = None if on_lost is None else SilenceWatch(self._plane.timeouts, on_lost, now)
        self.care_due = now + FIRST_CARE_INTERVAL_S
        self._is_aligned = False
        self._tap = Tap(sink, self._plane.now)
        self._tune(self._parameters)
        stream = self.turning = self._stream = RtpStream(
            self._parameters,
            self._tap,
            ssrc=secrets.randbits(SSRC_BITS),
            sequence_number=secrets.randbits(SEQUENCE_NUMBER_BITS),
            timestamp=secrets.randbits(TIMESTAMP_BITS),
            now=now,
        )
        stream.pause()
        if self._port is not None:
            self._reporting = Reporting(stream, self._port, now)
            self._port.receive_with(stream.receive_datagram)
        if self._audio is not None:
            self._agree_on_reports(stream, self._audio)
        self._plane.clock.register(self, self._parameters.ptime_ms)

    def redirect(
        self,
        sink: StreamSink,
        *,
        input_format: AudioFormat = AudioFormat.PCMU,
        output_format: AudioFormat = AudioFormat.PCMU,
        on_flushed: Callable[[list[PlayedItem]], object] | None = None,
        on_load: Callable[[int], None] | None = None,
    ) -> list[PlayedItem]:
        """Lets another sink hear and speak from now on; the arguments are those of `start`, which came before.

        What goes out stays one stream: the same SSRC, the next sequence number, silence until the new sink speaks. What
        the old one had left to say is dropped, and its account returned.
        """
        dropped = self.flush()
        stream, tap = self._stream, self._tap
        if stream is not None and tap is not None:
            self._formats = (input_format, output_format)
            self._flushed, self._load, self._told_load = on_flushed, on_load, 0
            tap.redirect(sink)
            self._tune(self._parameters)
            stream.refresh_sink()
        return dropped

    def _tune(self, parameters: StreamParameters) -> bool:
        """Makes the converters for these parameters, where they are not those that stand. False: nothing to do."""
        tap = self._tap
        codec = (parameters.payload_format, parameters.ptime_ms)
        wanted = (*codec, self._policy.listens_for_digits(parameters.telephone_event_payload_type_rx is not None))
        if tap is None or tap.tuned_to == wanted:
            return False
        if tap.tuned_to is None or tap.tuned_to[:2] != codec:
            self.mouth = mouth_for(*codec, self._formats[1])
        tap.tune(ear_for(*codec, self._formats[0]), wanted, self._formats[0])
        return True

    def _agree_on_reports(self, stream: RtpStream, audio: NegotiatedAudio) -> None:
        if self._reporting is not None:
            self._reporting.agree(audio)
        if audio.rtcp_mux:
            stream.accept_multiplexed_rtcp(self._receive_rtcp)

    def resume(self) -> None:
        """Sends from now on, without a gap: speech where there is some, else silence."""
        if self._stream is not None:
            self._is_sending = True
            self._stream.resume()

    def enqueue_payload(self, item_id: str, payload: bytes) -> None:
        """Appends what is in `playout_format` already: a file, read for this codec."""
        if self._stream is not None:
            self._stream.playout.enqueue(item_id, payload)

    def finish(self, item_id: str) -> None:
        """No more speech of this item will come."""
        if self._stream is not None:
            if self.mouth is not None:
                self.mouth.reset()
            self._stream.playout.finish(item_id)

    def flush(self) -> list[PlayedItem]:
        """Drops the speech that waits; says how much of each item was sent."""
        if self.mouth is not None:
            self.mouth.reset()
        return [] if self._stream is None else self._stream.playout.flush()

    def hold(self) -> None:
        """Sends silence from the next packet on; speech that waits, and that still comes, goes on waiting."""
        if self._stream is not None:
            self._stream.playout.hold()

    def release(self) -> None:
        """Speaks on where `hold` stopped it."""
        if self._stream is not None:
            self._stream.playout.release()

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

    @property
    def audio_arrived_at(self) -> float:
        """Within the sink's `on_audio`: when the packet came, in monotonic seconds."""
        return self._plane.now() if self._stream is None else self._stream.audio_arrived_at

    def hurry(self) -> None:
        """The sink needs audio at once, for somebody's ear: a missing packet is waited for no longer."""
        if self._stream is not None:
            self._stream.hurry(self._plane.now())

    def send_digits(self, digits: str) -> bool:
        """Sends keys as telephone-events; False where these were not negotiated."""
        return self._stream is not None and self._stream.send_digits(digits)

    def quality(self) -> QualityReport | None:
        """What RTCP has told so far; None before the start."""
        return None if self._reporting is None else self._reporting.quality()

    def statistics(self) -> MediaRecord:
        """What was received and sent so far."""
        if self._stream is None:
            return MediaRecord(codec=self.codec)
        return media_record(self.codec, self._parameters, self._stream.statistics(), self.quality())

    def close(self) -> None:
        """Says goodbye over RTCP and frees the port. Idempotent."""
        self._plane.clock.unregister(self)
        if self._port is not None:
            if self._reporting is not None and self._is_sending:
                self._reporting.say_goodbye(self._plane.now())
            self._port.close()
            self._port = None
        if self._tap is not None:
            self._tap.release()
        self.turning = self._stream = self._reporting = self._tap = self.mouth = None
        self._watch = self._flushed = self._load = None

    # The clock's and the sockets' side.

    def skip(self, turns: int) -> None:
        """The clock missed `turns` packet times (rtp.clock.Media)."""
        if self._stream is not None:
            self._stream.skip(turns)

    def _take_care(self, now: float) -> None:
        """What is not due at every packet."""
        stream = self._stream
        if stream is None:
            return
        if not self._is_aligned and (heard_at := stream.heard_at) is not None:
            self._is_aligned = True
            self.care_interval_s = CARE_INTERVAL_S
            self._plane.clock.align(self, heard_at)
        if self._is_sending and self._reporting is not None:
            self.care_due = min(self.care_due, self._reporting.poll(now))
        if self._load is not None and (calls := self._plane.clock.media_count) != self._told_load:
            self._told_load = calls
            self._load(calls)
        if self._watch is not None and self._parameters.receives and self._parameters.remote is not None:
            self.care_due = min(self.care_due, self._watch.check(stream.arrived_at, now))

    def _receive_rtcp(self, data: bytes, source: Address, now: float) -> None:
        if self._reporting is not None:
            self._reporting.receive(data, source, now)


def _ignore(data: bytes, source: Address, now: float) -> None:
    """What comes before there is a stream is not heard."""
