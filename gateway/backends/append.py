"""The way of the caller's audio into a session's messages: fifty packets a second for each call.

Compiled where it could be, as `rtp.fast` says; what is here is what the compiled class means.
"""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol


class Pausable(Protocol):
    """A wire, as far as it is asked before each packet."""

    paused: bool
    """It takes no more for the moment."""


class AppendPath:
    """Gathers packets until they are worth a message. What cannot be sent goes to the subclass's `_hold`."""

    outlet: Pausable | None
    """The wire, once there is one."""
    is_flowing: bool
    """The session takes audio, and none waits from before."""
    batch: bytes
    """What has been gathered."""
    batch_bytes: int
    """How much is worth a message."""

    def append_audio(self, payload: bytes) -> None:
        """See `RealtimeSession`. Before the session is open, and while the wire is paused, the audio is held."""
        if not self.is_flowing or self.outlet is None or self.outlet.paused:
            self._hold(payload)
            return
        if self.batch or len(payload) < self.batch_bytes:
            self.batch += payload
            if len(self.batch) < self.batch_bytes:
                return
            payload, self.batch = self.batch, b""
        self._send_audio(payload)

    def _hold(self, payload: bytes) -> None:
        raise NotImplementedError

    def _send_audio(self, payload: bytes) -> None:
        raise NotImplementedError


if not TYPE_CHECKING and os.environ.get("TRUNKLINE_FAST", "on") != "off":
    with suppress(ImportError):
        from gateway.backends._fast import AppendPath  # noqa: F401  # the name above
