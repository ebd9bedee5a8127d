"""The seam to whoever uses a stream: synchronous calls, no queues."""

from typing import Protocol

from rtp.playout import PlayoutListener


class StreamSink(PlayoutListener, Protocol):
    """What a stream tells. Every call must return at once: it stands on the media path."""

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """The next audio of the caller, in order, in the negotiated format.

        `concealed`: the stream made it up, in place of what was lost or not sent. An empty payload that is concealed
        stands for one lost frame of a format whose decoder does its own concealment.
        """

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """A telephone-event has ended."""

    def on_frame_sent(self, frame: bytes, item_id: str | None) -> None:
        """A frame goes out in this turn: speech of an item, or silence (None). Not called for telephone-events."""


def ignore_frame(frame: bytes, item_id: str | None) -> None:
    """A sink's `on_frame_sent` that is this very function is never called: it costs nothing then."""


class NullSink:
    """Hears everything and does nothing. A base for sinks that want only some of it."""

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """Ignored."""

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """Ignored."""

    def on_frame_sent(self, frame: bytes, item_id: str | None) -> None:
        """Ignored."""

    def on_item_started(self, item_id: str) -> None:
        """Ignored."""

    def on_item_finished(self, item_id: str) -> None:
        """Ignored."""

    def on_playout_drained(self) -> None:
        """Ignored."""
