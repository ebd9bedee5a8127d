"""A far end for RTP tests: packets on demand, a seeded network that loses and reorders, a sink that remembers."""

import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from rtp.sequence import sequence_add, timestamp_add
from rtp.sink import NullSink
from rtp.source_lock import Address
from rtp.statistics import Discard
from rtp.stream import RtpStream

FAR_END: Address = ("198.51.100.7", 12692)
STRANGER: Address = ("203.0.113.66", 4000)
TICK_S = 0.020


class RecordingSink(NullSink):
    """Keeps everything that a stream tells."""

    def __init__(self) -> None:
        self.audio: list[tuple[bytes, bool]] = []
        self.digits: list[tuple[str, int]] = []
        self.sent: list[tuple[bytes, str | None]] = []
        self.happenings: list[str] = []

    @property
    def heard(self) -> bytes:
        """Everything, made up or not."""
        return b"".join(payload for payload, _ in self.audio)

    @property
    def genuine(self) -> list[bytes]:
        """What the far end really sent."""
        return [payload for payload, concealed in self.audio if not concealed]

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        self.audio.append((payload, concealed))

    def on_digit(self, digit: str, duration_ms: int) -> None:
        self.digits.append((digit, duration_ms))

    def on_frame_sent(self, frame: bytes, item_id: str | None) -> None:
        self.sent.append((frame, item_id))

    def on_item_started(self, item_id: str) -> None:
        self.happenings.append(f"started {item_id}")

    def on_item_finished(self, item_id: str) -> None:
        self.happenings.append(f"finished {item_id}")

    def on_playout_drained(self) -> None:
        self.happenings.append("drained")


@dataclass(slots=True)
class FarEnd:
    """Numbers its packets as a well-behaved sender does."""

    sequence_number: int = 1000
    timestamp: int = 160_000
    ssrc: int = 0x1234ABCD
    payload_type: int = 0
    seed: int = 7
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def audio(self, payload: bytes | None = None, *, marker: bool = False, samples: int = 160) -> bytes:
        """The next packet; random octets unless a payload is given."""
        if payload is None:
            payload = self._random.randbytes(samples)
        packet = RtpPacket(self.payload_type, self.sequence_number, self.timestamp, self.ssrc, payload, marker)
        self.skip(1, samples)
        return bytes(packet)

    def packets(self, count: int) -> list[bytes]:
        """The next `count` packets."""
        return [self.audio() for _ in range(count)]

    def other(self, payload_type: int, payload: bytes, *, marker: bool = False, timestamp: int | None = None) -> bytes:
        """A packet that takes a sequence number and no media time."""
        stamp = self.timestamp if timestamp is None else timestamp
        packet = RtpPacket(payload_type, self.sequence_number, stamp, self.ssrc, payload, marker)
        self.skip(1, 0)
        return bytes(packet)

    def skip(self, packets: int, samples: int = 160) -> None:
        """Goes on without sending."""
        self.sequence_number = sequence_add(self.sequence_number, packets)
        self.timestamp = timestamp_add(self.timestamp, samples)


def payload_of(datagram: bytes) -> bytes:
    return RtpPacket.parse(datagram).payload


def make_stream(
    sink: RecordingSink,
    parameters: StreamParameters | None = None,
    *,
    sequence_number: int = 500,
    timestamp: int = 8000,
    now: float = 0.0,
) -> RtpStream:
    return RtpStream(
        parameters if parameters is not None else StreamParameters(remote=FAR_END),
        sink,
        ssrc=0xCAFE0001,
        sequence_number=sequence_number,
        timestamp=timestamp,
        now=now,
    )


def delivery(
    datagrams: Iterable[bytes], *, seed: int, loss: float = 0.0, jitter_ms: float = 0.0, duplicates: float = 0.0
) -> Iterator[tuple[float, bytes]]:
    """When each datagram, sent every 20 ms, arrives: in order of arrival, which need not be that of sending."""
    chance = random.Random(seed)
    arrivals: list[tuple[float, int, bytes]] = []
    for index, datagram in enumerate(datagrams):
        for _ in range(2 if chance.random() < duplicates else 1):
            if chance.random() >= loss:
                heapq.heappush(arrivals, (index * TICK_S + chance.random() * jitter_ms / 1000, index, datagram))
    while arrivals:
        arrived_at, _, datagram = heapq.heappop(arrivals)
        yield arrived_at, datagram


def run(stream: RtpStream, arrivals: Iterable[tuple[float, bytes]], *, until: float, start: float = 0.0) -> list[bytes]:
    """Plays arrivals and the clock's turns in virtual time. Returns what the stream sent."""
    sent = []
    turn = 0
    queue = iter(arrivals)
    arrival = next(queue, None)
    while (now := start + turn * TICK_S) <= until:
        while arrival is not None and start + arrival[0] <= now:
            stream.receive_datagram(arrival[1], FAR_END, start + arrival[0])
            arrival = next(queue, None)
        packet = stream.tick(now)
        if packet is not None:
            sent.append(packet)
        turn += 1
    return sent


def feed(stream: RtpStream, datagrams: list[bytes], start: float = 0.0) -> float:
    """Gives one datagram every 20 ms. Returns when the next would be due."""
    for index, datagram in enumerate(datagrams):
        stream.receive_datagram(datagram, FAR_END, start + index * TICK_S)
    return start + len(datagrams) * TICK_S


def discards(stream: RtpStream) -> dict[Discard, int]:
    return dict(stream.statistics().rx.discards)
