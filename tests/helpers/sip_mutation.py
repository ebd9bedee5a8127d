"""Mutations of SIP messages: seeded, fast, and aimed at what parsers trip over."""

import random
from collections.abc import Callable, Sequence
from typing import Final

MORSELS: Final = (
    b"\r\n", b"\n", b"\r", b"\r\n ", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x7f", b"\xff", b"\xc3\xa9",
    b"\xe2\x82", b'"', b"\\", b'\\"', b"<", b">", b"<>", b",", b";", b";;", b"=", b":", b"::", b"@", b"?", b"&",
    b"%", b"%00", b"%zz", b"[", b"]", b"[::1]", b"0", b"-1", b"65536", b"2147483648", b"99999999999999999999",
    b"SIP/2.0", b"SIP/3.0", b"sip:", b"tel:+1", b";tag=x", b";branch=z9hG4bK", b";lr", b"*", b"ACK ",
    b"\r\nVia: ", b"\r\nl: 5", b"\r\nContent-Length: 5", b"\r\nf: ", b"\r\nTo: <sip:a>", b"\r\nCSeq: 1 INVITE",
    b"\r\nContact: *", b"\r\nRequire: a",
)  # fmt: skip


def mutate(source: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """`data` with one to six things wrong with it."""
    for _ in range(source.choice((1, 1, 1, 2, 3, 6))):
        data = source.choice(_MUTATIONS)(source, data, others)
    return data


def _spot(source: random.Random, data: bytes) -> int:
    return source.randrange(len(data) + 1)


def _insert(source: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _spot(source, data)
    return data[:at] + source.choice(MORSELS) + data[at:]


def _overwrite(source: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at, morsel = _spot(source, data), source.choice(MORSELS)
    return data[:at] + morsel + data[at + len(morsel) :]


def _flip(source: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _spot(source, data)
    return data[:at] + bytes([source.randrange(256)]) + data[at + 1 :]


def _cut_out(source: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _spot(source, data)
    return data[:at] + data[at + source.choice((1, 1, 2, 5, 40)) :]


def _truncate(source: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: _spot(source, data)]


def _repeat(source: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _spot(source, data)
    piece = data[at : at + source.choice((1, 4, 30))]
    return data[:at] + piece * source.choice((2, 3, 70, 300)) + data[at:]


def _splice(source: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = source.choice(others)
    return data[: _spot(source, data)] + other[_spot(source, other) :]


def _change_lines(source: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    lines = data.split(b"\r\n")
    one, other = source.randrange(len(lines)), source.randrange(len(lines))
    change = source.randrange(4)
    if change == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif change == 1:
        lines.insert(one, lines[other])
    elif change == 2:
        del lines[one]
    else:
        lines.insert(one, source.choice(source.choice(others).split(b"\r\n")))
    return b"\r\n".join(lines)


_MUTATIONS: Final[tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...]] = (
    _insert, _overwrite, _flip, _cut_out, _truncate, _repeat, _splice, _change_lines, _change_lines,
)  # fmt: skip
