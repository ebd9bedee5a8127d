"""A stream under seeded chance, both ways, written down in full: for holding two implementations to each other.

`python -m tests.helpers.stream_fuzz 0 1 2` prints one digest for each seed. Whatever a far end may send, whatever a
call may do to its stream, in any order: only the seed decides.
"""

import hashlib
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from pylibsrtp import Error as SrtpRefusalError

from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU
from rtp.packet import HeaderExtension, RtpPacket
from rtp.parameters import StreamParameters
from rtp.srtp import SrtpKey, SrtpKeys, SrtpProtector, SrtpSuite
from rtp.stream import RtpStream
from rtp.telephone_event import TelephoneEvent

FAR_END: Final = ("198.51.100.7", 12692)
STRANGER: Final = ("203.0.113.66", 4000)
STEPS: Final = 1500
_FURTHER: Final = {8: PCMA, 9: G722, 97: L16_8K, 111: OPUS}
_KEY: Final = SrtpKey(SrtpSuite.AES_CM_128_HMAC_SHA1_80, bytes(range(30)))


class _Diary:
    """A sink that writes everything down."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        self.lines.append(f"audio {payload.hex()} {concealed}")

    def on_digit(self, digit: str, duration_ms: int) -> None:
        self.lines.append(f"digit {digit} {duration_ms}")

    def on_frame_sent(self, frame: bytes, item_id: str | None) -> None:
        self.lines.append(f"sent {frame.hex()} {item_id}")

    def on_item_started(self, item_id: str) -> None:
        self.lines.append(f"started {item_id}")

    def on_item_finished(self, item_id: str) -> None:
        self.lines.append(f"finished {item_id}")

    def on_playout_drained(self) -> None:
        self.lines.append("drained")


class _World:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.diary = _Diary()
        self.is_secure = seed % 3 == 2
        self.parameters = StreamParameters(
            remote=FAR_END,
            telephone_event_payload_type_rx=101,
            telephone_event_payload_type_tx=101,
            comfort_noise_payload_type=13,
            further_formats=_FURTHER,
            further_telephone_events={102: 48_000},
            secure=SrtpKeys(_KEY, _KEY) if self.is_secure else None,
        )
        self.protect = SrtpProtector(_KEY).protect if self.is_secure else bytes
        self.now = self.chance.random() * 1000
        self.stream = RtpStream(
            self.parameters,
            self.diary,
            ssrc=self.chance.getrandbits(32),
            sequence_number=self.chance.getrandbits(16),
            timestamp=self.chance.getrandbits(32),
            now=self.now,
        )
        self.sequence = self.chance.choice((0, 65_000, 65_500))
        self.timestamp = self.chance.choice((0, 2**32 - 40_000))
        self.ssrc = 7
        self.held: list[bytes] = []
        self.item = 0

    def packet(self, payload_type: int | None = None, payload: bytes | None = None, **fields: object) -> bytes:
        audio = self.chance.randbytes(self.parameters.frame_octets or 60) if payload is None else payload
        number = self.parameters.payload_type_rx if payload_type is None else payload_type
        packet = RtpPacket(number, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, self.ssrc, audio)
        packet = replace(packet, **fields)  # type: ignore[arg-type]  # whatever a test packet may carry
        self.sequence += 1
        self.timestamp += self.parameters.frame_samples
        return bytes(packet)

    def hear(self, data: bytes, source: tuple[str, int] = FAR_END) -> None:
        with suppress(SrtpRefusalError):  # libsrtp does not let a sender go back far
            self.stream.receive_datagram(self.protect(data), source, self.now)

    # What may happen, in the order of _WEIGHTED.

    def regular(self) -> None:
        self.hear(self.packet())

    def late_pair(self) -> None:
        first = self.packet()
        self.hear(self.packet())
        self.hear(first)

    def lost(self) -> None:
        for _ in range(self.chance.choice((1, 1, 2, 5))):
            self.packet()

    def repeated(self) -> None:
        data = self.packet()
        self.hear(data)
        if not self.is_secure:
            self.hear(data)

    def other_type(self) -> None:
        payload = self.chance.randbytes(self.chance.choice((0, 1, 160)))
        self.hear(self.packet(self.chance.choice((8, 9, 13, 18, 72, 97, 102, 111)), payload))

    def changeover(self) -> None:
        number, samples = self.chance.choice(((0, 160), (8, 160), (9, 160), (97, 160), (111, 960)))
        for _ in range(self.chance.choice((1, 2, 10))):
            self.hear(self.packet(number, self.chance.randbytes(self.chance.choice((40, 160, 320)))))
            self.timestamp += samples - self.parameters.frame_samples
            self.turn()

    def event(self) -> None:
        event = TelephoneEvent(self.chance.randrange(12), self.chance.random() < 0.5, 10, self.chance.randrange(2000))
        self.timestamp -= self.parameters.frame_samples
        self.hear(self.packet(101, bytes(event), marker=self.chance.random() < 0.3))

    def odd_header(self) -> None:
        self.hear(self.packet(marker=True))
        self.hear(self.packet(extension=HeaderExtension(0xBEDE, bytes(8))))
        self.hear(self.packet(csrcs=(1, 2)))
        self.hear(self.packet(padding_octets=4))

    def other_length(self) -> None:
        octets = self.chance.choice((0, 1, 80, 240, 1600, 1601, 3000))
        self.hear(self.packet(payload=self.chance.randbytes(octets if not self.is_secure else min(octets, 240))))

    def nonsense(self) -> None:
        data = self.chance.randbytes(self.chance.randrange(40))
        self.stream.receive_datagram(data, FAR_END, self.now)

    def stranger(self) -> None:
        self.stream.receive_datagram(self.packet(), STRANGER, self.now)

    def new_source(self) -> None:
        self.ssrc += 1
        self.sequence = self.chance.randrange(65_536)

    def leap(self) -> None:
        self.sequence += self.chance.choice((-50, 2000, 10_000))
        self.timestamp += self.chance.choice((0, 800, 1_000_000))

    def silence(self) -> None:
        for _ in range(self.chance.choice((1, 5, 30))):
            self.turn()

    def speak(self) -> None:
        octets = self.chance.choice((0, 1, 100, 160, 320, 321, 1600))
        if self.parameters.playout_format != self.parameters.payload_format:
            octets -= octets % 2  # what waits as samples comes in whole ones
        audio = self.chance.choice((self.chance.randbytes(octets), b"\xff" * octets))
        self.stream.playout.enqueue(f"item-{self.item - self.chance.choice((0, 0, 0, 1))}", audio)

    def finish(self) -> None:
        self.stream.playout.finish(f"item-{self.item}")
        self.item += 1

    def flush(self) -> None:
        self.diary.lines.append(repr(self.stream.playout.flush()))
        self.item += self.chance.choice((0, 1))

    def digits(self) -> None:
        self.stream.send_digits("5#", duration_ms=60, gap_ms=40)

    def breaks(self) -> None:
        self.stream.pause()
        self.silence()
        self.stream.skip(3)
        self.stream.resume()

    def negotiate(self) -> None:
        change = self.chance.choice(_CHANGES)
        self.parameters = replace(self.parameters, **change)  # type: ignore[arg-type]  # pairs that fit
        if self.parameters.payload_format == OPUS:
            self.parameters = replace(self.parameters, ptime_ms=20)  # it knows no frames of 30 ms
        self.diary.lines.append(repr(self.stream.update(self.parameters, self.now)))

    def turn(self) -> None:
        self.now += 0.020 + self.chance.random() * self.chance.choice((0.0, 0.004))
        datagram = self.stream.tick(self.now)
        playout = self.stream.playout
        debt = f"{playout.underruns} {playout.owed_frames} {playout.taken_back}"
        self.diary.lines.append(
            f"turn {datagram.hex() if datagram else None} {playout.queued_ms} {debt} "
            f"{playout.current_item_id} {playout.sent_ms(f'item-{self.item}')} {self.stream.arrived_at}"
        )


_CHANGES: Final[tuple[dict[str, object], ...]] = (
    {"receives": False},
    {"receives": True},
    {"payload_format": PCMA, "payload_type_rx": 8, "payload_type_tx": 8, "further_formats": {0: PCMU, 111: OPUS}},
    {"payload_format": L16_16K, "payload_type_rx": 96, "payload_type_tx": 96, "further_formats": {111: OPUS}},
    {"payload_format": PCMU, "payload_type_rx": 0, "payload_type_tx": 0, "further_formats": _FURTHER},
    {"payload_format": OPUS, "payload_type_rx": 111, "payload_type_tx": 111, "further_formats": {0: PCMU, 9: G722}},
    {"payload_format": G722, "payload_type_rx": 9, "payload_type_tx": 9, "further_formats": {}},
    {"ptime_ms": 30},
    {"ptime_ms": 20},
    {"remote": ("198.51.100.9", 4000)},
    {"remote": FAR_END},
)
_WEIGHTED: Final[tuple[tuple[Callable[[_World], None], int], ...]] = (
    (_World.regular, 120),
    (_World.turn, 130),
    (_World.speak, 60),
    (_World.finish, 8),
    (_World.flush, 3),
    (_World.late_pair, 4),
    (_World.lost, 4),
    (_World.repeated, 3),
    (_World.other_type, 3),
    (_World.changeover, 2),
    (_World.event, 3),
    (_World.odd_header, 2),
    (_World.other_length, 3),
    (_World.nonsense, 2),
    (_World.stranger, 1),
    (_World.new_source, 1),
    (_World.leap, 1),
    (_World.silence, 1),
    (_World.digits, 1),
    (_World.breaks, 1),
    (_World.negotiate, 2),
)


def diary(seed: int) -> list[str]:
    """What happened, line by line."""
    world = _World(seed)
    happenings, weights = zip(*_WEIGHTED, strict=True)
    for happening in world.chance.choices(happenings, weights, k=STEPS):
        happening(world)
    world.diary.lines.append(repr(world.stream.statistics()))
    return world.diary.lines


def digest(seed: int) -> str:
    """The diary's fingerprint."""
    return hashlib.sha256("\n".join(diary(seed)).encode()).hexdigest()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(digest(int(argument)))
