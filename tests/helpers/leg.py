"""A media plane whose time is told, and a far end for its legs: real sockets on loopback, virtual time."""

import math
import socket
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from gateway.config.trunk import Codec, InbandDigits, Srtp, TrunkSettings
from gateway.leg import AudioLeg, MediaPlane
from gateway.media_policy import MediaPolicy
from gateway.silence_watch import MediaTimeouts
from rtp.clock import MediaClock
from rtp.packet import RtpPacket
from rtp.sink import NullSink
from rtp.socket import MediaSockets, random_port_pool
from sip.sdp.description import SessionDescription

HOST: Final = "127.0.0.1"
SSRC: Final = 0x1234


def fault(*culprits: object) -> None:
    raise AssertionError(culprits)


class Sink(NullSink):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.digits: list[str] = []

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        self.heard += payload

    def on_digit(self, digit: str, duration_ms: int) -> None:
        self.digits.append(digit)


@dataclass
class Plane:
    """A media plane whose time is told."""

    timeouts: MediaTimeouts = field(default_factory=MediaTimeouts)
    now: float = 100.0

    def __enter__(self) -> Self:
        self.clock = MediaClock(fault)
        self.sockets = MediaSockets(HOST, random_port_pool(33_000, 36_000), self.clock, fault)
        return self

    def __exit__(self, *_: object) -> None:
        self.sockets.close()

    def leg(self, policy: MediaPolicy | None = None) -> AudioLeg:
        return AudioLeg(MediaPlane(self.clock, self.sockets, HOST, lambda: self.now, self.timeouts), policy)


class Peer:
    """The far end: two sockets and a sequence number."""

    def __init__(self) -> None:
        self.rtp, self.rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for half in (self.rtp, self.rtcp):
            half.bind((HOST, 0))
            half.settimeout(2)
        self.number = 0

    @property
    def port(self) -> int:
        return int(self.rtp.getsockname()[1])

    def offer(self, formats: str = "0", *lines: str, profile: str = "RTP/AVP", version: int = 1) -> bytes:
        head = f"v=0\r\no=- 1 {version} IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        rtcp = f"a=rtcp:{self.rtcp.getsockname()[1]}\r\n"
        body = f"m=audio {self.port} {profile} {formats}\r\n" + rtcp + "".join(f"{line}\r\n" for line in lines)
        return (head + body).encode()

    def speak(self, payload: bytes, to: int, payload_type: int = 0, step: int = 160) -> bytes:
        packet = bytes(
            RtpPacket(
                payload_type=payload_type,
                sequence_number=self.number,
                timestamp=self.number * step,
                ssrc=SSRC,
                payload=payload,
            )
        )
        self.number += 1
        self.rtp.sendto(packet, (HOST, to))
        return packet

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


def policy(*codecs: Codec, srtp: Srtp = Srtp.ALLOWED, inband_digits: InbandDigits = InbandDigits.AUTO) -> MediaPolicy:
    settings = TrunkSettings(numbers={"*": "agent"}, anyone=True, srtp=srtp, inband_digits=inband_digits)
    return MediaPolicy.of(settings.model_copy(update={"codecs": codecs} if codecs else {}))


def port_of(answer: bytes) -> int:
    return SessionDescription.parse(answer).media[0].port


def tone(milliseconds: int, rate_hz: int, hertz: float = 440.0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    time_s = np.arange(milliseconds * rate_hz // 1000) / rate_hz
    return np.asarray(8000 * np.sin(2 * math.pi * hertz * time_s), dtype=np.int16)


def loudest_hertz(samples: np.ndarray[tuple[int], np.dtype[np.int16]], rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples))


def run(plane: Plane, leg: AudioLeg, seconds: float) -> None:
    """Lets the clock's turns pass, without the far end."""
    for _ in range(round(seconds * 50)):
        plane.now += 0.02
        leg.tick(plane.now)
