"""Makes the sound that the scenarios play; run it again only to change that sound.

`caller.pcmu` is three seconds of speech as bare PCMU bytes: SIPp's rtp_stream sends a file's bytes as they are, so a
WAV header would be heard as a click. `digits.pcap` is an RTP stream of PCMU silence with the keys 1 2 3 # pressed in it
as telephone-events (RFC 4733, payload type 101), for SIPp's play_pcap_audio.

Needs the `embedded` extra. Usage, from the project's root: PYTHONPATH=. .venv/bin/python sipp-scenarios/media/make.py
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from gateway.embedded.audio import resample
from gateway.embedded.voice import Voice
from rtp.codec.g711 import encode_ulaw

FOLDER = Path(__file__).parent
WORDS = "Hello, good morning. I should like to hear my own voice."
CLOCK_RATE_HZ = 8000
FRAME_BYTES = 160
SILENCE = b"\xff" * FRAME_BYTES
DIGITS = "123#"
EVENT_CODES = {**{str(n): n for n in range(10)}, "*": 10, "#": 11}
TELEPHONE_EVENT = 101
PRESSED_FRAMES = 5  # 100 ms, an update every 20 ms
PAUSE_FRAMES = 10
END_REPEATS = 3  # RFC 4733 §2.5.1.4: the end packet is sent three times
SSRC = 0x7472756E


def spoken() -> bytes:
    """The words as bare PCMU."""
    voice = Voice()
    return encode_ulaw(resample(voice.speak(WORDS), voice.rate_hz, CLOCK_RATE_HZ))


def rtp_packets() -> Iterator[tuple[float, bytes]]:
    """(seconds from the start, RTP packet) of the stream with the digits."""
    sequence = 1000
    timestamp = 160_000
    at = 0.0

    def packet(payload_type: int, payload: bytes, *, marker: bool = False, stamp: int) -> bytes:
        nonlocal sequence
        header = struct.pack("!BBHII", 0x80, marker << 7 | payload_type, sequence & 0xFFFF, stamp, SSRC)
        sequence += 1
        return header + payload

    for digit in DIGITS:
        for _ in range(PAUSE_FRAMES):
            yield at, packet(0, SILENCE, stamp=timestamp)
            at, timestamp = at + 0.02, timestamp + FRAME_BYTES
        started = timestamp
        for frame in range(PRESSED_FRAMES):
            event = struct.pack("!BBH", EVENT_CODES[digit], 10, (frame + 1) * FRAME_BYTES)
            yield at, packet(TELEPHONE_EVENT, event, marker=frame == 0, stamp=started)
            at, timestamp = at + 0.02, timestamp + FRAME_BYTES
        for _ in range(END_REPEATS):
            event = struct.pack("!BBH", EVENT_CODES[digit], 0x80 | 10, PRESSED_FRAMES * FRAME_BYTES)
            yield at, packet(TELEPHONE_EVENT, event, stamp=started)
        at, timestamp = at + 0.02, timestamp + FRAME_BYTES
    for _ in range(PAUSE_FRAMES):
        yield at, packet(0, SILENCE, stamp=timestamp)
        at, timestamp = at + 0.02, timestamp + FRAME_BYTES


def pcap(packets: Iterator[tuple[float, bytes]]) -> bytes:
    """A pcap file (Ethernet, IPv4, UDP) of the packets; SIPp puts its own addresses in."""
    out = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for at, payload in packets:
        udp = struct.pack("!HHHH", 20000, 20002, 8 + len(payload), 0) + payload
        loopback = bytes((127, 0, 0, 1))
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, loopback, loopback) + udp
        frame = bytes(12) + b"\x08\x00" + ip
        out += struct.pack("<IIII", int(at), round(at % 1 * 1e6), len(frame), len(frame)) + frame
    return bytes(out)


if __name__ == "__main__":
    (FOLDER / "caller.pcmu").write_bytes(spoken())
    (FOLDER / "digits.pcap").write_bytes(pcap(rtp_packets()))
