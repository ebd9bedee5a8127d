"""Arithmetic that survives the wrap of sequence numbers (16 bits) and RTP timestamps (32 bits), RFC 3550 section 5.1.

Differences are signed and correct while the true distance is under half of the range: 32,767 packets (10.9 minutes at
20 ms) and 2,147,483,647 samples (3.1 days at 8 kHz).
"""

from typing import Final

SEQUENCE_MASK: Final = 0xFFFF
TIMESTAMP_MASK: Final = 0xFFFFFFFF


def sequence_add(sequence_number: int, count: int) -> int:
    """The sequence number `count` packets on (or back, when negative)."""
    return (sequence_number + count) & SEQUENCE_MASK


def sequence_difference(later: int, earlier: int) -> int:
    """How many packets `later` lies after `earlier`: -32768 … 32767."""
    return ((later - earlier + 0x8000) & SEQUENCE_MASK) - 0x8000


def timestamp_add(timestamp: int, samples: int) -> int:
    """The RTP timestamp `samples` on (or back, when negative)."""
    return (timestamp + samples) & TIMESTAMP_MASK


def timestamp_difference(later: int, earlier: int) -> int:
    """How many samples `later` lies after `earlier`: -2**31 … 2**31 - 1."""
    return ((later - earlier + 0x80000000) & TIMESTAMP_MASK) - 0x80000000
