"""Stereo recordings: the caller on the left, the agent on the right, in step with what was heard and sent.

The agent's channel is the clock: a frame of it is handed over for every frame that leaves the socket, speech and
silence alike, so a barge-in is recorded exactly where the caller heard it. The caller's channel is laid beside it from
what has arrived. Decoding and writing happen in a worker thread, a second at a time; the header is true after every
chunk, so a file whose process died is playable up to its last second.
"""

import asyncio
import io
import logging
import wave
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Final

import numpy as np

from rtp.codec.format import PCMU
from rtp.codec.g711 import decode_ulaw

SAMPLE_RATE_HZ: Final = 8000
CHUNK_BYTES: Final = SAMPLE_RATE_HZ  # one second of G.711: what a crash can cost
# The caller's audio that may wait for its place beside the agent's: more is a clock that runs away or a burst after a
# stall, and the oldest goes, so that the two channels stay within a fifth of a second of each other.
CALLER_AHEAD_BYTES: Final = SAMPLE_RATE_HZ // 5
# Chunks that may wait for a slow disk: half a minute of sound. Past it chunks are left out and the fault is said.
PENDING_CHUNKS: Final = 30

_log = logging.getLogger(__name__)


class StereoRecording:
    """One call's recording as a two-channel, 16-bit, 8 kHz WAV file.

    Args:
        path: the file to make; its directory must exist.
        executor: runs the decoding and writing; one worker keeps the chunks in order.

    A disk that refuses ends the recording, never the call: `fault` says why, and what was written stays.
    """

    def __init__(self, path: Path, executor: Executor) -> None:
        self.path = path
        self.fault: str | None = None
        self._executor = executor
        self._caller = bytearray()
        self._left = bytearray()
        self._right = bytearray()
        self._written_bytes = 0
        self._file: io.FileIO | None = None
        self._wave: wave.Wave_write | None = None
        self._pending: list[Future[None]] = []

    @property
    def duration_ms(self) -> int:
        """The length of what was handed to the writer."""
        return self._written_bytes * 1000 // SAMPLE_RATE_HZ

    def add_caller(self, payload: bytes) -> None:
        """Takes μ-law audio of the caller in the order of its speaking."""
        self._caller += payload
        if len(self._caller) > CALLER_AHEAD_BYTES:
            del self._caller[: len(self._caller) - CALLER_AHEAD_BYTES]

    def add_agent(self, frame: bytes) -> None:
        """Takes a μ-law frame as it left the socket, and lays the caller's audio of the same span beside it."""
        size = len(frame)
        heard = self._caller[:size]
        del self._caller[:size]
        self._left += heard
        self._left += PCMU.silence_of(size - len(heard))
        self._right += frame
        if len(self._right) >= CHUNK_BYTES:
            self._flush()

    async def aclose(self) -> None:
        """Writes what is left and closes the file. Idempotent."""
        self._flush()
        await asyncio.wrap_future(self._executor.submit(self._close))

    def _flush(self) -> None:
        if not self._right or self.fault is not None:
            self._left.clear()
            self._right.clear()
            return
        left, right = bytes(self._left), bytes(self._right)
        self._left.clear()
        self._right.clear()
        self._pending = [future for future in self._pending if not future.done()]
        if len(self._pending) >= PENDING_CHUNKS:
            self._fail("the disk is slower than the call: chunks were left out")
            return
        self._written_bytes += len(right)
        self._pending.append(self._executor.submit(self._write, left, right))

    def _write(self, left: bytes, right: bytes) -> None:
        """Runs in the worker."""
        if self.fault is not None:
            return
        frames = np.column_stack((decode_ulaw(left), decode_ulaw(right))).astype("<i2")
        try:
            if self._wave is None:
                self._wave = self._open()
            self._wave.writeframes(frames.tobytes())
        except OSError as error:
            self._fail(f"{self.path}: {error.strerror or error}")

    def _open(self) -> wave.Wave_write:
        # Unbuffered: what was written, and the header that says how much it is, must survive the process.
        self._file = self.path.open("wb", buffering=0)  # noqa: SIM115 - open for the length of the call
        out = wave.open(self._file, "wb")
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE_HZ)
        return out

    def _close(self) -> None:
        """Runs in the worker, after every chunk."""
        if self._wave is None or self._file is None:
            return
        try:
            self._wave.close()
        except OSError as error:
            self._fail(f"{self.path}: {error.strerror or error}")
        finally:
            self._file.close()
        self._wave = self._file = None

    def _fail(self, reason: str) -> None:
        if self.fault is None:
            self.fault = reason
            _log.error("recording stopped", extra={"fault": reason, "path": str(self.path)})
