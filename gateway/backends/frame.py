"""Client frames (RFC 6455 §5.2), masked and in one piece: fifty a second for each call, and the last one."""

import binascii
import os
import struct
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled extension
    from websockets.utils import apply_mask

# Enough masks for five seconds of 20 ms frames from one read of the system's random source.
MASK_POOL_BYTES: Final = 1024

_FIN_AND_TEXT: Final = 0x81
# FIN with opcode text or binary (RFC 6455 §5.2); Gemini sends its JSON in the latter.
WHOLE_FRAMES: Final = frozenset((_FIN_AND_TEXT, 0x82))
_FIN_AND_CLOSE: Final = 0x88
_MASKED: Final = 0x80
_SHORT_HEADER: Final = struct.Struct("!BB").pack
_MEDIUM_HEADER: Final = struct.Struct("!BBH").pack
_LONG_HEADER: Final = struct.Struct("!BBQ").pack


def whole_frame(data: bytes, position: int) -> tuple[int, int] | None:
    """Where the message stands of a whole text or binary frame, unmasked and of up to 64 kB, that begins at `position`.

    That is what a socket reads nearly always; None says that it may be anything else.
    """
    size = len(data) - position
    if size < 2 or data[position] not in WHOLE_FRAMES:
        return None
    start, length = position + 2, data[position + 1]
    if length > 126 or (length == 126 and size < 4):
        return None
    if length == 126:
        start, length = position + 4, int.from_bytes(data[position + 2 : position + 4])
    return (start, start + length) if start + length <= len(data) else None


def closing_frame(code: int, mask: bytes) -> bytes:
    """A close frame with a status code and no words (RFC 6455 §5.5.1)."""
    return _SHORT_HEADER(_FIN_AND_CLOSE, _MASKED | 2) + mask + apply_mask(code.to_bytes(2), mask)


class ClientFrames:
    """Makes frames, each with a mask of its own."""

    def __init__(self) -> None:
        self._masks = b""
        self._offset = 0

    def close(self, code: int) -> bytes:
        """A close frame with a status code and no words."""
        return closing_frame(code, os.urandom(4))

    def audio(self, head: bytes, audio: bytes, tail: bytes) -> bytes:
        """A text frame whose message is audio as base64 between two other parts."""
        return self.text(head + binascii.b2a_base64(audio, newline=False) + tail)

    def text(self, message: bytes) -> bytes:
        """One unfragmented text frame."""
        offset = self._offset
        mask = self._masks[offset : offset + 4]
        if not mask:
            # RFC 6455 §5.3: the masking key MUST be derived from a strong source of entropy.
            self._masks = os.urandom(MASK_POOL_BYTES)
            mask, offset = self._masks[:4], 0
        self._offset = offset + 4
        length = len(message)
        if length < 126:
            header = _SHORT_HEADER(_FIN_AND_TEXT, _MASKED | length)
        elif length < 65536:
            header = _MEDIUM_HEADER(_FIN_AND_TEXT, _MASKED | 126, length)
        else:
            header = _LONG_HEADER(_FIN_AND_TEXT, _MASKED | 127, length)
        return header + mask + apply_mask(message, mask)
