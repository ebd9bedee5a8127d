"""Recordings encrypted at rest: AES-256-GCM in chunks, readable up to the last whole chunk whatever happened.

    file    = header chunk* final
    header  = "TRNKREC1"  key-id (8 octets)  salt (32 octets)
    chunk   = length (4 octets, big-endian, of what follows)  ciphertext  tag (16 octets)
    final   = a chunk whose nonce says so; it may be empty

The key of a file is HKDF-SHA256 of the configured key, with the file's salt and "trunkline recording" as its info, so
one key serves any number of files. The nonce of a chunk is its number (11 octets, big-endian, from 0) and one octet
that is 1 for the final chunk and else 0; the header is additional data of every chunk. So chunks can be neither swapped
nor left out nor taken from another file, and a file that ends before its final chunk says so. The key-id, the first
octets of HKDF with the info "trunkline recording key id", tells which key a file wants and nothing of the key.
"""

import base64
import binascii
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.errors import GatewayError

SUFFIX: Final = ".sealed"
MAGIC: Final = b"TRNKREC1"
KEY_OCTETS: Final = 32
KEY_ID_OCTETS: Final = 8
SALT_OCTETS: Final = 32
HEADER_OCTETS: Final = len(MAGIC) + KEY_ID_OCTETS + SALT_OCTETS
TAG_OCTETS: Final = 16
MAX_CHUNK_OCTETS: Final = 64 * 1024
"""Of sound in one chunk: what a reader must hold before it may trust any of it, and the most that a crash tears."""
_COUNTER_OCTETS: Final = 11
_LENGTH: Final = struct.Struct("!I")


class SealError(GatewayError):
    """A key or a sealed file that cannot be used. The message says which and why; it never holds a key."""

    label = "recording_seal"


class Output(Protocol):
    """Where octets go: a file that is written without a buffer."""

    def write(self, octets: bytes, /) -> int | None:
        """Writes all of them, or raises OSError."""

    def close(self) -> None:
        """Ends."""


class RecordingKey:
    """The key under which recordings are sealed. It has no representation that shows it."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_OCTETS:
            raise SealError(f"A recording key has {KEY_OCTETS} octets, not {len(key)}")
        self._key = key
        self.key_id = self._derive(b"", b"trunkline recording key id")[:KEY_ID_OCTETS]

    @classmethod
    def parse(cls, text: str) -> "RecordingKey":
        """Reads a key that is written as 64 hexadecimal digits or in base64.

        Raises:
            SealError: it is neither, or of another length.
        """
        text = text.strip()
        try:
            return cls(bytes.fromhex(text) if len(text) == 2 * KEY_OCTETS else base64.b64decode(text, validate=True))
        except (ValueError, binascii.Error):
            raise SealError("A recording key is 32 random octets, as 64 hexadecimal digits or in base64") from None

    @classmethod
    def load(cls, path: Path) -> "RecordingKey":
        """Reads a key from a file.

        Raises:
            SealError: there is no such file, or no key in it.
        """
        try:
            return cls.parse(path.read_text(encoding="ascii", errors="replace"))
        except OSError as error:
            raise SealError(f"The recording key {str(path)!r} cannot be read: {error.strerror or error}") from error

    @staticmethod
    def generate() -> str:
        """A new key, as it is written into a file or a variable."""
        return base64.b64encode(os.urandom(KEY_OCTETS)).decode()

    def __repr__(self) -> str:
        return f"RecordingKey({self.key_id.hex()})"

    def cipher(self, salt: bytes) -> AESGCM:
        """The cipher of the file with this salt."""
        return AESGCM(self._derive(salt, b"trunkline recording"))

    def _derive(self, salt: bytes, info: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=KEY_OCTETS, salt=salt, info=info).derive(self._key)


class Seal:
    """Encrypts what is written to it. Nothing of it stays in the clear but what the last `flush` has not yet sealed.

    Args:
        out: takes the container.
        key: that of the installation.
        salt: 32 random octets, never those of another file.
    """

    def __init__(self, out: Output, key: RecordingKey, salt: bytes) -> None:
        self._out = out
        self._header = MAGIC + key.key_id + salt
        self._cipher = key.cipher(salt)
        self._waiting = bytearray()
        self._number = 0
        self._is_torn = False
        out.write(self._header)

    def write(self, octets: bytes) -> int:
        """Takes octets of the recording; whole chunks are sealed at once."""
        self._waiting += octets
        while len(self._waiting) >= MAX_CHUNK_OCTETS:
            self._seal(MAX_CHUNK_OCTETS)
        return len(octets)

    def flush(self) -> None:
        """Seals what waits."""
        if self._waiting:
            self._seal(len(self._waiting))

    def close(self) -> None:
        """Seals the end, and closes what is written to.

        Where a chunk was not written whole there is no end: behind a torn chunk nothing could be read, and the file is
        left as a crash would have left it.
        """
        try:
            if not self._is_torn:
                self._seal(len(self._waiting), is_final=True)
        finally:
            self._out.close()

    def _seal(self, octets: int, *, is_final: bool = False) -> None:
        if self._is_torn:
            raise OSError(errno.EIO, "a chunk before this was not written whole")
        plain = bytes(self._waiting[:octets])
        del self._waiting[:octets]
        sealed = self._cipher.encrypt(_nonce(self._number, is_final=is_final), plain, self._header)
        self._number += 1
        # In one piece: a process that dies between two writes would leave a length without its chunk.
        self._is_torn = True
        self._out.write(_LENGTH.pack(len(sealed)) + sealed)
        self._is_torn = False


class SealedFile:
    """Reads a container. `is_complete` is known once all of it was read.

    Raises:
        SealError: it is no sealed recording, or sealed under another key.
    """

    def __init__(self, octets: bytes, key: RecordingKey) -> None:
        if len(octets) < HEADER_OCTETS or not octets.startswith(MAGIC):
            raise SealError("This is not a sealed recording")
        self._header = octets[:HEADER_OCTETS]
        key_id = self._header[len(MAGIC) : len(MAGIC) + KEY_ID_OCTETS]
        if key_id != key.key_id:
            raise SealError(f"The recording is sealed under the key {key_id.hex()}, not {key.key_id.hex()}")
        self._octets = octets
        self._cipher = key.cipher(self._header[-SALT_OCTETS:])
        self.is_complete = False

    def chunks(self) -> Iterator[bytes]:
        """What was sealed, chunk by chunk, up to the end or the last whole chunk.

        Raises:
            SealError: a chunk was changed, swapped, or taken from another file.
        """
        position, number = HEADER_OCTETS, 0
        while position + _LENGTH.size <= len(self._octets):
            (length,) = _LENGTH.unpack_from(self._octets, position)
            start, end = position + _LENGTH.size, position + _LENGTH.size + length
            if not TAG_OCTETS <= length <= MAX_CHUNK_OCTETS + TAG_OCTETS:
                raise SealError(f"Chunk {number} says that it has {length} octets: the file is damaged")
            if end > len(self._octets):
                return
            is_final = end == len(self._octets)
            plain = self._open(number, self._octets[start:end], may_be_final=is_final)
            yield plain
            position, number = end, number + 1

    def _open(self, number: int, sealed: bytes, *, may_be_final: bool) -> bytes:
        """A file that a crash ended has no final chunk, and its last one is as all others."""
        for is_final in (True, False) if may_be_final else (False,):
            try:
                plain = self._cipher.decrypt(_nonce(number, is_final=is_final), sealed, self._header)
            except InvalidTag:
                continue
            self.is_complete = is_final
            return plain
        raise SealError(f"Chunk {number} is not what was sealed: the file is damaged or was changed")


def _nonce(number: int, *, is_final: bool) -> bytes:
    return number.to_bytes(_COUNTER_OCTETS) + bytes([is_final])
