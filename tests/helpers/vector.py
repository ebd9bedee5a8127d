"""Reads the tables of messages in tests/vectors/sip (the notation is described in its README)."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parents[1] / "vectors" / "sip"
_REPEAT: Final = re.compile(rb"<repeat (\d+) ([^>]+)>")
_HEX: Final = re.compile(rb"<hex ([0-9A-F]+)>")


@dataclass(frozen=True)
class Vector:
    """One message and the treatment that it must get."""

    name: str
    section: str
    treatment: str
    message: bytes
    status: int = 0
    label: str = ""
    ua: int = 0
    expect: dict[str, Any] = field(default_factory=dict)


def to_wire(text: str) -> bytes:
    """The bytes that a message of the tables stands for."""
    data = text.encode().replace(b"\n", b"\r\n").replace(b"<lf>", b"\n").replace(b"<cr>", b"\r")
    data = _REPEAT.sub(lambda match: match[2] * int(match[1]), data)
    data = _HEX.sub(lambda match: bytes.fromhex(match[1].decode()), data)
    _, _, body = data.partition(b"\r\n\r\n")
    return data.replace(b"<length>", str(len(body)).encode())


def load_vectors(*names: str) -> list[Vector]:
    """Every vector of these tables."""
    return list(_load(names))


def _load(names: tuple[str, ...]) -> Iterator[Vector]:
    for name in names:
        table = tomllib.loads((FOLDER / f"{name}.toml").read_text())
        for entry in table["vector"]:
            yield Vector(**{**entry, "message": to_wire(entry["message"])})


def sip_samples() -> list[bytes]:
    """Every message of every table, valid or not: what mutations begin from."""
    return [vector.message for path in sorted(FOLDER.glob("*.toml")) for vector in load_vectors(path.stem)]
