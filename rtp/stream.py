"""RtpStream: one negotiated audio stream, both ways, sans-I/O.

Its driver gives it datagrams (`receive_datagram`), calls `tick` once a packet time and sends what that returns to
`remote`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rtp.fast import StreamPath
from rtp.parameters import StreamParameters
from rtp.playout import PlayedItem, Playout
from rtp.receiver import RtpReceiver
from rtp.sender import DEFAULT_DIGIT_GAP_MS, DEFAULT_DIGIT_MS, RtpSender
from rtp.sink import StreamSink
from rtp.source_lock import Address
from rtp.statistics import StreamStatistics


class RtpStream(StreamPath):
    """The two halves of a stream under one name.

    `ssrc`, `sequence_number` and `timestamp` are where the outbound half starts: random in production (RFC 3550 section
    5.1), seeded in tests. `now` is monotonic seconds. The sink is called from within `receive_datagram` and `tick`.
    """

    def __init__(
        self,
        parameters: StreamParameters,
        sink: StreamSink,
        *,
        ssrc: int,
        sequence_number: int,
        timestamp: int,
        now: float,
    ) -> None:
        self._receiver = RtpReceiver(parameters, sink, now)
        self._sender = RtpSender(parameters, sink, ssrc=ssrc, sequence_number=sequence_number, timestamp=timestamp)
        self.inbound, self.outbound = self._receiver, self._sender
        self.parameters = parameters
        self.receive_datagram: Callable[[bytes, Address, float], None] = self._receiver.receive_datagram
        """Takes one datagram and its source address at `now`. Whatever it holds, nothing is raised."""

    if TYPE_CHECKING:

        @property
        def playout(self) -> Playout:
            """Where audio to be sent is put, in the format of the moment."""

    @property
    def ssrc(self) -> int:
        """Of what is sent."""
        return self._sender.ssrc

    @property
    def heard_at(self) -> float | None:
        """When audio of the far end came last; None before the first."""
        return self._receiver.heard_at

    @property
    def arrived_at(self) -> float | None:
        """When any packet of the far end's stream came last, digits and comfort noise included."""
        return self._receiver.arrived_at

    @property
    def audio_arrived_at(self) -> float:
        """Within the sink's `on_audio`: when the packet came; it may have waited since, behind a gap."""
        return self._receiver.audio_arrived_at

    def hurry(self, now: float) -> None:
        """Somebody's ear needs audio at once: the wait for a missing packet ends, which is concealed."""
        self._receiver.hurry(now)

    @property
    def remote(self) -> Address | None:
        """Where to send: the latched source, else the negotiated address."""
        return self._receiver.remote

    def skip(self, turns: int) -> None:
        """The clock missed `turns` packet times: media time moves on without packets."""
        self._sender.skip(turns)

    def pause(self) -> None:
        """Sends nothing from now on (before ACK). Playout waits."""
        self._sender.pause()

    def resume(self) -> None:
        """Sends again, as far as the negotiated direction allows it."""
        self._sender.resume()

    def send_digits(self, digits: str, duration_ms: int = DEFAULT_DIGIT_MS, gap_ms: int = DEFAULT_DIGIT_GAP_MS) -> bool:
        """Queues digits as telephone-events; speech waits meanwhile. False where these were not negotiated."""
        return self._sender.send_digits(digits, duration_ms, gap_ms)

    def protect_rtcp(self, data: bytes) -> bytes:
        """The report as it may be sent: SRTCP on a secure stream, itself on a plain one."""
        return self._sender.protect_rtcp(data)

    def unprotect_rtcp(self, data: bytes) -> bytes | None:
        """The report in a datagram; None, and counted, where a secure stream's is not authentic."""
        return self._receiver.unprotect_rtcp(data)

    def refresh_sink(self) -> None:
        """The sink has other methods now: they are looked up again. The stream itself goes on as it is."""
        self._receiver.refresh_sink()
        self._sender.refresh_sink()

    def accept_multiplexed_rtcp(self, receive: Callable[[bytes, Address, float], None]) -> None:
        """`a=rtcp-mux` was negotiated (RFC 5761): RTCP of the stream's source on the RTP port goes to `receive`."""
        self._receiver.on_rtcp = receive

    def update(self, parameters: StreamParameters, now: float) -> list[PlayedItem]:
        """Takes the result of a new offer/answer. SSRC, sequence and media time go on, and the sink's methods are
        looked up again: it may have changed its `on_audio` and `on_frame_sent` for another format.

        What waits to be sent is turned into a new format. Returns the account of what had to be flushed instead.
        """
        self.parameters = parameters
        self._receiver.update(parameters, now)
        flushed = self._sender.update(parameters)
        unprotector = self._receiver.unprotector
        if unprotector is not None:
            unprotector.on_rollover_continued = self._sender.continue_rollover
        return flushed

    def statistics(self) -> StreamStatistics:
        """Both halves at this moment."""
        return StreamStatistics(self._receiver.statistics(), self._sender.statistics())
