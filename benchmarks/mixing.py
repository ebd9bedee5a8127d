"""What a conference costs: microseconds of CPU per leg and packet time, receiving, mixing and delivering.

    python -m benchmarks.mixing [--turns 2000]

One thread, no network: every turn hands the mixer one frame of each leg and asks it for the next. 20 ms are 20,000 µs:
the last column says how many such legs one core could mix if it did nothing else.
"""

import argparse
import sys
import time

import numpy as np

from rtp.codec.audio import encoder_of
from rtp.codec.format import G722, OPUS, PCMA, PCMU, PayloadFormat
from rtp.mixer import FRAME_MS, Mixer

RATES_HZ = {PCMU: 8000, PCMA: 8000, G722: 16000, OPUS: 24000}
KINDS: dict[str, tuple[PayloadFormat, ...]] = {
    "PCMU": (PCMU,),
    "PCMU and PCMA": (PCMU, PCMA),
    "PCMU and G.722": (PCMU, G722),
    "PCMU, G.722 and Opus": (PCMU, G722, OPUS),
}
SIZES = (2, 3, 8, 32, 100)
FRAMES = 25


def speech_like(payload_format: PayloadFormat, seed: int) -> list[bytes]:
    """Half a second of noise, as the format carries it."""
    rate_hz = RATES_HZ[payload_format]
    encoder = encoder_of(payload_format)
    noise = np.random.default_rng(seed).normal(0, 2000, rate_hz // 2).astype(np.int16)
    size = rate_hz * FRAME_MS // 1000
    return [encoder.encode(noise[start : start + size]) for start in range(0, len(noise), size)]


def discard(frame: bytes) -> None:
    """Nobody hears it."""


def cost_us(formats: tuple[PayloadFormat, ...], legs: int, turns: int) -> float:
    """CPU time per leg and turn; the start is not counted."""
    mixer = Mixer()
    spoken = []
    for number in range(legs):
        payload_format = formats[number % len(formats)]
        mixer.join(str(number), payload_format, discard)
        spoken.append(speech_like(payload_format, number))
    turns = max(turns // legs, 20)
    started = 0.0
    for turn in range(-20, turns):
        if turn == 0:
            started = time.process_time()
        now = turn * FRAME_MS / 1000
        for number, frames in enumerate(spoken):
            mixer.receive(str(number), frames[turn % len(frames)], False, now)
        mixer.tick(now)
    return (time.process_time() - started) * 1e6 / turns / legs


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2000, help="packet times, shared by the legs of a conference")
    arguments = parser.parse_args()
    write = sys.stdout.write
    write("| legs | codecs | µs per leg and 20 ms | ms of CPU per leg and second | legs on one core |\n")
    write("| ---: | --- | ---: | ---: | ---: |\n")
    for name, formats in KINDS.items():
        for legs in SIZES:
            if legs < len(formats):
                continue
            us = min(cost_us(formats, legs, arguments.turns) for _ in range(3))
            write(f"| {legs} | {name} | {us:.1f} | {us * 50 / 1000:.2f} | {20_000 / us:.0f} |\n")


if __name__ == "__main__":
    main()
