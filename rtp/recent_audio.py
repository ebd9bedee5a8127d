"""What was heard last, kept for whoever must go on from there: concealment, and a model session that takes over.

`rtp._fast` holds the same class, compiled; `rtp.fast` chooses.
"""

from collections import deque
from collections.abc import Iterator


class RecentAudio:
    """The last pieces of a sound, in their order: `limit` of them at most."""

    def __init__(self, limit: int) -> None:
        if limit <= 0:
            raise ValueError(f"a memory of {limit} pieces")
        self._pieces: deque[bytes] = deque(maxlen=limit)

    def __len__(self) -> int:
        return len(self._pieces)

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._pieces))

    def append(self, audio: bytes) -> None:
        """The next piece; beyond the limit the oldest is forgotten."""
        self._pieces.append(audio)

    def clear(self) -> None:
        """Forgets all."""
        self._pieces.clear()

    def keep(self, pieces: int) -> None:
        """Forgets all but the last so many."""
        while len(self._pieces) > max(0, pieces):
            self._pieces.popleft()
