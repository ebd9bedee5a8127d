"""How speech sounds after a bad network: PESQ (ITU-T P.862, P.862.2) through the receive path, in virtual time.

    python -m benchmarks.sound_quality [--seeds 3] [-o docs/sound-quality-table.md]

The embedded voice speaks; each sentence is encoded, sent through a network with random loss and jitter, received by the
gateway's own stream, and compared with what was spoken: as a model hears it (in order, concealed), without concealment
(silence in place of what was lost), and as a person hears it (through the adaptive playout buffer as well). Needs the
packages `pesq` and those of the `embedded` extra.
"""

import argparse
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from gateway.embedded.voice import VOICE_RATE_HZ, Voice
from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722, OPUS, PCMU, PayloadFormat
from rtp.coding import LINEAR
from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from rtp.playout_buffer import PlayoutBuffer
from rtp.sink import NullSink
from rtp.stream import RtpStream

Samples = NDArray[np.int16]

TEXTS = (
    "Good morning, this is the clinic on Harbour Street. The doctor can see you on Thursday at half past nine.",
    "I would like to change my booking, please. We are five people now, and two of us do not eat meat.",
    "The parcel left our warehouse yesterday. It should reach you tomorrow between noon and three o'clock.",
)
LOSSES = (0.0, 0.01, 0.03, 0.05)
JITTERS_MS = (0, 30)
FAR_END = ("192.0.2.1", 4000)
FRAME_S = 0.020
TICK_PHASE_S = 0.003
PAYLOAD_TYPE = 96
LEAD_S = 0.5
"""Silence before and after the words: what P.862 expects, and time for the buffer to find its delay."""


@dataclass(frozen=True)
class Kind:
    """A codec and how it is judged: the rates of what is encoded and of the comparison, and the mode of PESQ."""

    name: str
    payload_format: PayloadFormat
    encode_hz: int
    judge_hz: int
    mode: str


KINDS = (
    Kind("PCMU", PCMU, 8000, 8000, "nb"),
    Kind("G.722", G722, 16000, 16000, "wb"),
    Kind("Opus", OPUS, 24000, 16000, "wb"),
)


@dataclass(frozen=True)
class Heard:
    """One sentence after the network, as samples at the rate of the comparison."""

    concealed: Samples
    plain: Samples
    buffered: Samples
    lost_ratio: float
    delay_ms: int


class Ear(NullSink):
    """Decodes what a stream hands on, three ways."""

    def __init__(self, kind: Kind, sent: list[bytes]) -> None:
        self._with, self._without = decoder_of(kind.payload_format), decoder_of(kind.payload_format)
        self._sent = sent
        self._frame = self._with.sample_rate_hz // 50
        self.rate_hz = self._with.sample_rate_hz
        self.now = 0.0
        self.stream: RtpStream | None = None
        self.concealed: list[Samples] = []
        self.plain: list[Samples] = []
        self.buffer = PlayoutBuffer(LINEAR, self.rate_hz, hurry=self._hurry)

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """One frame of the caller's time."""
        samples = self._with.decode(payload) if payload else self._with.conceal(self._frame)
        number = len(self.plain)
        self.concealed.append(samples)
        arrived_at = self.now if self.stream is None else self.stream.audio_arrived_at
        self.buffer.put(LINEAR.encode(samples), arrived_at, concealed)
        # Concealment blends the head of the packet after a loss; without it the packet is as it was sent.
        self.plain.append(silence(self._frame) if concealed else self._without.decode(self._sent[number]))

    def _hurry(self) -> None:
        """As a seat in a conference does it."""
        if self.stream is not None:
            self.stream.hurry(self.now)


def silence(count: int) -> Samples:
    """Nothing."""
    return np.zeros(count, dtype=np.int16)


def network(kind: Kind, frames: list[bytes], loss: float, jitter_ms: int, seed: int) -> list[tuple[float, bytes]]:
    """Packets by arrival: each is lost with `loss`, and late by 0 to twice `jitter_ms`, uniformly."""
    chance = random.Random(seed)
    units = kind.payload_format.clock_rate_hz // 50
    arriving = []
    for number, payload in enumerate(frames):
        delay_s, is_lost = chance.uniform(0, 2 * jitter_ms) / 1000, chance.random() < loss
        # The first packets settle whom the stream hears; the last shows how long the sentence was.
        if not is_lost or number <= 5 or number == len(frames) - 1:
            arriving.append(
                (number * FRAME_S + delay_s, bytes(RtpPacket(PAYLOAD_TYPE, number, number * units, 7, payload)))
            )
    return sorted(arriving)


def heard(kind: Kind, frames: list[bytes], loss: float, jitter_ms: int, seed: int) -> Heard:
    """Sends one sentence through the network and hears it."""
    ear = Ear(kind, frames)
    parameters = StreamParameters(
        payload_format=kind.payload_format,
        payload_type_tx=PAYLOAD_TYPE,
        payload_type_rx=PAYLOAD_TYPE,
        remote=FAR_END,
    )
    stream = ear.stream = RtpStream(parameters, ear, ssrc=1, sequence_number=0, timestamp=0, now=0.0)
    arriving = network(kind, frames, loss, jitter_ms, seed)
    buffered, delays = [], []
    now, next_packet = TICK_PHASE_S, 0
    while now < (len(frames) + 15) * FRAME_S:
        while next_packet < len(arriving) and arriving[next_packet][0] <= now:
            ear.now = arriving[next_packet][0]
            stream.receive_datagram(arriving[next_packet][1], FAR_END, ear.now)
            next_packet += 1
        ear.now = now
        stream.tick(now)
        buffered.append(LINEAR.decode(ear.buffer.take(now)))
        delays.append(ear.buffer.statistics().delay_ms)
        now += FRAME_S

    def judged(pieces: list[Samples]) -> Samples:
        sound = np.concatenate(pieces)
        if ear.rate_hz == kind.judge_hz:
            return sound
        return np.asarray(soxr.resample(sound, ear.rate_hz, kind.judge_hz), dtype=np.int16)

    count = len(frames)
    return Heard(
        judged(ear.concealed[:count]),
        judged(ear.plain[:count]),
        judged(buffered),
        stream.statistics().rx.loss_ratio,
        round(float(np.mean(delays[len(delays) // 4 : -15]))),
    )


def spoken(voice: Voice, text: str, rate_hz: int) -> Samples:
    """A sentence with silence around it, as whole frames."""
    speech = np.asarray(soxr.resample(voice.speak(text), VOICE_RATE_HZ, rate_hz, quality="VHQ"), dtype=np.int16)
    margin = silence(int(LEAD_S * rate_hz))
    sound = np.concatenate((margin, speech, margin))
    return np.concatenate((sound, silence(-len(sound) % (rate_hz // 50))))


def frames_of(kind: Kind, sound: Samples) -> list[bytes]:
    """The payloads of a sentence."""
    encoder, size = encoder_of(kind.payload_format), kind.encode_hz // 50
    return [encoder.encode(sound[start : start + size]) for start in range(0, len(sound), size)]


@dataclass(frozen=True)
class Row:
    """Mean scores of one condition."""

    kind: str
    loss: float
    jitter_ms: int
    lost_ratio: float
    plain: float
    concealed: float
    buffered: float
    delay_ms: float


def measure(kind: Kind, voice: Voice, loss: float, jitter_ms: int, seeds: int) -> Row:
    """All sentences, all seeds of one condition."""
    # Here, so that what is heard can be looked at without it.
    from pesq import pesq  # type: ignore[import-untyped, import-not-found, unused-ignore]

    figures = []
    for text in TEXTS:
        reference = spoken(voice, text, kind.judge_hz)
        frames = frames_of(kind, spoken(voice, text, kind.encode_hz))
        for seed in range(seeds if loss or jitter_ms else 1):
            sound = heard(kind, frames, loss, jitter_ms, seed)
            scores = [
                float(pesq(kind.judge_hz, reference, degraded, kind.mode))
                for degraded in (sound.plain, sound.concealed, sound.buffered)
            ]
            figures.append((sound.lost_ratio, *scores, float(sound.delay_ms)))
    lost_ratio, plain, concealed, buffered, delay_ms = (float(value) for value in np.mean(figures, axis=0))
    return Row(kind.name, loss, jitter_ms, lost_ratio, plain, concealed, buffered, delay_ms)


def is_bit_exact(voice: Voice) -> bool:
    """Whether G.711 passes the receive path to the last bit when nothing is lost."""
    kind = KINDS[0]
    frames = frames_of(kind, spoken(voice, TEXTS[0], kind.encode_hz))
    octets: list[bytes] = []

    class Octets(NullSink):
        def on_audio(self, payload: bytes, concealed: bool) -> None:
            octets.append(payload)

    parameters = StreamParameters(payload_type_rx=PAYLOAD_TYPE, remote=FAR_END)
    stream = RtpStream(parameters, Octets(), ssrc=1, sequence_number=0, timestamp=0, now=0.0)
    for at, packet in network(kind, frames, 0.0, 0, 0):
        stream.receive_datagram(packet, FAR_END, at)
    return b"".join(octets) == b"".join(frames)


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| codec | loss | jitter | not in time | unconcealed | concealed | with playout buffer | delay |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.kind} | {row.loss:.0%} | {row.jitter_ms} ms | {row.lost_ratio:.1%} | {row.plain:.2f} "
        f"| {row.concealed:.2f} | {row.buffered:.2f} | {row.delay_ms:.0f} ms |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="networks for each sentence and condition")
    parser.add_argument("-o", "--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    voice = Voice()
    rows = [
        measure(kind, voice, loss, jitter_ms, arguments.seeds)
        for kind in KINDS
        for jitter_ms in JITTERS_MS
        for loss in LOSSES
    ]
    text = table(rows)
    sys.stdout.write(text)
    sys.stdout.write(f"\nG.711 without loss is bit-exact: {'yes' if is_bit_exact(voice) else 'NO'}\n")
    if arguments.output is not None:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
