"""What the caller heard of a model's speech, from the capture of its packets: μ-law leaves the gateway as it came."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from benchmarks.model_tap import Speech
from tests.helpers.rtp_capture import FRAME_BYTES, ReceivedPacket

FRAME_MS: Final = 20


@dataclass(frozen=True, slots=True)
class Heard:
    """An item of speech as the caller's capture holds it: its first and last packet with sound, and how much came.

    A pause in the speech looks like the silence after its end, so how much came lies between `sounding_ms` and `ms`.
    """

    first: ReceivedPacket
    last: ReceivedPacket
    sounding_ms: int
    ms: int
    pauses: int

    def difference_ms(self, end_ms: int) -> int:
        """By how much a claim of what was heard is beside it."""
        return max(end_ms - self.ms, self.sounding_ms - end_ms, 0)


def heard_of(speech: Speech, packets: Sequence[ReceivedPacket]) -> Heard | None:
    """Finds an item in the capture by its very bytes: the model's μ-law leaves the gateway as it is.

    Silence between two of its frames is a pause, in which the rest of it waited. Equal words are equal bytes, so only
    what came after the item's first delta is looked at.
    """
    frames = [bytes(speech.audio[at : at + FRAME_BYTES]) for at in range(0, len(speech.audio), FRAME_BYTES)]
    start = next(
        (
            index
            for index, packet in enumerate(packets)
            if packet.arrived_s > speech.first_at and packet.payload == frames[0]
        ),
        None,
    )
    if start is None:
        return None
    matched, sounding, pauses, last, last_sounding = 0, 0, 0, start, start
    for index in range(start, len(packets)):
        payload = packets[index].payload
        if matched < len(frames) and payload[: len(frames[matched])] == frames[matched]:
            pauses += index - last > 1
            last, matched = index, matched + 1
            if payload.strip(b"\xff"):
                last_sounding, sounding = index, matched
        elif matched == len(frames) or payload.strip(b"\xff"):
            break
    return Heard(packets[start], packets[last_sounding], sounding * FRAME_MS, matched * FRAME_MS, pauses)


def first_sound_after(at: float, packets: Sequence[ReceivedPacket]) -> float | None:
    """When the first packet with sound came after a moment."""
    return next(
        (packet.arrived_s for packet in packets if packet.arrived_s > at and packet.payload.strip(b"\xff")), None
    )


def longest_silence_ms(packets: Sequence[ReceivedPacket]) -> float:
    """The longest silence after the first sound."""
    longest, since = 0.0, None
    for packet in packets:
        if packet.payload.strip(b"\xff"):
            if since is not None:
                longest = max(longest, packet.arrived_s - since)
            since = packet.arrived_s
    return longest * 1000


def silence_after(at: float, packets: Sequence[ReceivedPacket]) -> float:
    """From a moment to the last packet with sound before the next silence of two packets or more, in milliseconds."""
    later = [packet for packet in packets if packet.arrived_s > at]
    sounding = list(takewhile(lambda packet: bool(packet.payload.strip(b"\xff")), later))
    return (sounding[-1].arrived_s - at) * 1000 if sounding else 0.0
