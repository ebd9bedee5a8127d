"""The media peer that SIPp cannot be: it sends audio and digits, and keeps every RTP packet with its time of arrival.

Times are the kernel's (SO_TIMESTAMPNS), in seconds since the epoch, so that a busy test process does not show as a gap.
The parsing is its own, written apart from `rtp.packet`, so that a fault there is not hidden here.
"""

import asyncio
import math
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

Address = tuple[str, int]

PCMU: Final = 0
TELEPHONE_EVENT: Final = 101
FRAME_BYTES: Final = 160
FRAME_S: Final = 0.020
SILENT_FRAME: Final = b"\xff" * FRAME_BYTES
SAMPLES_A_MS: Final = 8
LOUD_EXPONENT: Final = 0x50  # of a PCMU byte, inverted: a sample above about 4,000 of 32,767
SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the socket module has no name for it
TIMESPEC: Final = struct.Struct("@qq")
HEADER: Final = struct.Struct("!BBHII")
EVENT_CODES: Final = {**{str(n): n for n in range(10)}, "*": 10, "#": 11}

KEYPAD: Final = ("123A", "456B", "789C", "*0#D")
LOW_TONES_HZ: Final = (697, 770, 852, 941)
HIGH_TONES_HZ: Final = (1209, 1336, 1477, 1633)


@dataclass(frozen=True, slots=True)
class ReceivedPacket:
    """One RTP packet from the gateway."""

    arrived_s: float
    source: Address
    payload_type: int
    has_marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes

    @property
    def first_loud_sample(self) -> int | None:
        """The index of the first sample that is no silence."""
        return next((index for index, byte in enumerate(self.payload) if ~byte & 0x70 >= LOUD_EXPONENT), None)


def tone_frame(frequency_hz: float = 1000.0) -> bytes:
    """20 ms of a loud tone, PCMU. 1,000 Hz repeats after 8 samples, so frames join without a click."""
    return bytes(
        encode_mu_law(round(20_000 * math.sin(2 * math.pi * frequency_hz * n / 8000 + math.pi / 4)))
        for n in range(FRAME_BYTES)
    )


def dtmf_frames(key: str, frames: int) -> list[bytes]:
    """So many frames of the two tones of a key (ITU-T Q.23), at -10 dBm0 each."""
    row = next(row for row in range(4) if key in KEYPAD[row])
    low, high = LOW_TONES_HZ[row], HIGH_TONES_HZ[KEYPAD[row].index(key)]
    samples = [
        round(6000 * (math.sin(2 * math.pi * low * n / 8000) + math.sin(2 * math.pi * high * n / 8000)))
        for n in range(frames * FRAME_BYTES)
    ]
    octets = bytes(encode_mu_law(sample) for sample in samples)
    return [octets[start : start + FRAME_BYTES] for start in range(0, len(octets), FRAME_BYTES)]


def encode_mu_law(sample: int) -> int:
    """G.711 µ-law of one 16-bit sample."""
    magnitude = min(abs(sample), 32_635) + 132
    exponent = magnitude.bit_length() - 8
    mantissa = magnitude >> (exponent + 3) & 0x0F
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | mantissa) & 0xFF


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed (nearest rank)."""
    assert values, "There is nothing to take a percentile of"
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


class RtpPeer:
    """One UDP port that plays the caller's part in a media stream."""

    def __init__(self, sock: socket.socket, *, ssrc: int, sequence: int, timestamp: int) -> None:
        self._socket = sock
        self._ssrc = ssrc
        self._sequence = sequence
        self._timestamp = timestamp
        self._arrived = asyncio.Event()
        self.remote: Address | None = None  # where the first packet came from
        self.packets: list[ReceivedPacket] = []
        self.ignored = 0  # datagrams that are no RTP

    @classmethod
    @asynccontextmanager
    async def open(
        cls, host: str = "127.0.0.1", *, ssrc: int = 0x5EED, sequence: int = 65_500, timestamp: int = 2**32 - 8000
    ) -> AsyncIterator["RtpPeer"]:
        """A peer on a free even port. Its sequence number and timestamp wrap soon, as real ones do."""
        sock = _bind_even(host)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        peer = cls(sock, ssrc=ssrc, sequence=sequence, timestamp=timestamp)
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, peer._receive)
        try:
            yield peer
        finally:
            loop.remove_reader(sock)
            sock.close()

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    async def first_packet(self, within_s: float = 5.0) -> ReceivedPacket:
        """Waits until the gateway has sent something; from then on its media address is known."""
        async with asyncio.timeout(within_s):
            while not self.packets:
                await self._wait()
        return self.packets[0]

    async def packet_count(self, count: int, within_s: float = 5.0) -> None:
        """Waits until so many packets have come."""
        async with asyncio.timeout(within_s):
            while len(self.packets) < count:
                await self._wait()

    async def play(self, frames: Iterable[bytes]) -> list[float]:
        """Sends a frame every 20 ms; returns the time at which each was handed to the kernel."""
        sent: list[float] = []
        loop = asyncio.get_running_loop()
        due = loop.time()
        for frame in frames:
            sent.append(time.time())
            self._send(PCMU, frame, timestamp=self._timestamp)
            self._timestamp += len(frame)
            due += FRAME_S
            await asyncio.sleep(due - loop.time())
        return sent

    async def press(self, digits: str, *, payload_type: int = TELEPHONE_EVENT, pressed_ms: int = 100) -> None:
        """Presses keys as RFC 4733 has it: an update every 20 ms, the end three times, then 100 ms of silence."""
        updates = pressed_ms // 20
        for digit in digits:
            started = self._timestamp
            for update in range(1, updates + 1):
                event = struct.pack("!BBH", EVENT_CODES[digit], 10, update * FRAME_BYTES)
                self._send(payload_type, event, timestamp=started, marker=update == 1)
                self._timestamp += FRAME_BYTES
                await asyncio.sleep(FRAME_S)
            for _ in range(3):
                event = struct.pack("!BBH", EVENT_CODES[digit], 0x80 | 10, updates * FRAME_BYTES)
                self._send(payload_type, event, timestamp=started)
            await self.play([SILENT_FRAME] * 5)

    def skip(self, packets: int) -> None:
        """Leaves out packets, as a network would lose them."""
        self._sequence += packets
        self._timestamp += packets * FRAME_BYTES

    def send_raw(self, data: bytes) -> None:
        """Sends a datagram as it is."""
        assert self.remote is not None, "The gateway's media address is not known yet"
        self._socket.sendto(data, self.remote)

    def gaps_ms(self, *, skip: int = 0) -> list[float]:
        """The time between each two packets that follow each other, the first `skip` packets left out."""
        times = [packet.arrived_s for packet in self.packets[skip:]]
        return [(later - earlier) * 1000 for earlier, later in pairwise(times)]

    def sequence_faults(self) -> int:
        """How often a sequence number did not follow the one before it."""
        return sum((later.sequence - earlier.sequence) & 0xFFFF != 1 for earlier, later in pairwise(self.packets))

    def heard_after_ms(self, sent_s: float, within_s: float) -> float | None:
        """From the sending of a tone's first frame to the first loud sample that came back; None if none did."""
        for packet in self.packets:
            if sent_s <= packet.arrived_s <= sent_s + within_s and (index := packet.first_loud_sample) is not None:
                return (packet.arrived_s - sent_s) * 1000 + index / SAMPLES_A_MS
        return None

    def _send(self, payload_type: int, payload: bytes, *, timestamp: int, marker: bool = False) -> None:
        header = HEADER.pack(
            0x80, marker << 7 | payload_type, self._sequence & 0xFFFF, timestamp & 0xFFFF_FFFF, self._ssrc
        )
        self.send_raw(header + payload)
        self._sequence += 1

    async def _wait(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()

    def _receive(self) -> None:
        while True:
            try:
                data, ancillary, _, source = self._socket.recvmsg(2048, socket.CMSG_SPACE(TIMESPEC.size))
            except BlockingIOError:
                return
            except ConnectionRefusedError:  # ICMP for a packet of ours: the gateway has closed its port
                continue
            if len(data) < HEADER.size or data[0] >> 6 != 2:
                self.ignored += 1
                continue
            seconds, nanoseconds = TIMESPEC.unpack(ancillary[0][2])
            first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
            payload = data[HEADER.size + 4 * (first & 0x0F) :]
            self.packets.append(
                ReceivedPacket(
                    seconds + nanoseconds / 1e9, source, second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc,
                    payload,
                )
            )  # fmt: skip
            self.remote = self.remote or source
            self._arrived.set()


def _bind_even(host: str) -> socket.socket:
    while True:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        if sock.getsockname()[1] % 2 == 0:
            return sock
        sock.close()
