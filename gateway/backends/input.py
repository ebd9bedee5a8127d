"""The caller's audio on its way to a model: batched, and bounded by its age when the model takes none."""

from collections import deque
from typing import Final

# Audio older than this is of no use to a conversation: the caller has long gone on.
INPUT_LIMIT_MS: Final = 2000
# What was held back goes out in pieces of at most this length, so that no message is large.
RELEASE_MS: Final = 200


class InputAudio:
    """Audio that could not be sent yet. Overflow drops the oldest, and counts it in milliseconds."""

    def __init__(self, bytes_per_ms: int = 8) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._held: deque[bytes] = deque()
        self.held_bytes = 0
        """What waits: asked before every packet."""
        self._dropped_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._held)

    @property
    def held_ms(self) -> int:
        """Milliseconds that wait."""
        return self.held_bytes // self._bytes_per_ms

    @property
    def dropped_ms(self) -> int:
        """Milliseconds that were dropped since the beginning."""
        return self._dropped_bytes // self._bytes_per_ms

    def hold(self, payload: bytes) -> None:
        """Keeps audio for later; drops the oldest beyond the limit."""
        self._held.append(payload)
        self.held_bytes += len(payload)
        self._drop_beyond_limit()

    def measure_by(self, bytes_per_ms: int) -> None:
        """Learns the format of what is held and of what will come."""
        self._bytes_per_ms = bytes_per_ms
        self._drop_beyond_limit()

    def _drop_beyond_limit(self) -> None:
        limit_bytes = INPUT_LIMIT_MS * self._bytes_per_ms
        while self.held_bytes > limit_bytes:
            oldest = self._held.popleft()
            self.held_bytes -= len(oldest)
            self._dropped_bytes += len(oldest)

    def take(self) -> bytes:
        """The oldest held audio, at most about `RELEASE_MS` of it; empty when nothing waits."""
        pieces: list[bytes] = []
        length, enough = 0, RELEASE_MS * self._bytes_per_ms
        while self._held and length < enough:
            piece = self._held.popleft()
            pieces.append(piece)
            length += len(piece)
        self.held_bytes -= length
        return b"".join(pieces)
