"""Recordings: the caller on the left, the agent on the right, or both in one channel, in step with what was heard.

The agent's channel is the clock: a frame of it is handed over for every frame that leaves the socket, speech and
silence alike, so a barge-in is recorded exactly where the caller heard it. Where none leaves (the line is held, keys
are sent, the process stood still) silence takes its place, so that the recording is as long as the call. The caller's
audio is laid beside it by its own media time: what comes late, within a third of a second, still goes to its place and
shifts nothing that follows. The two clocks differ by some parts in a million; the difference is measured over seconds
and taken back sample by sample, so the channels are in step after an hour.

Decoding and writing happen in a worker thread, less than a second at a time, and a file whose process died is playable
up to its last second.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from gateway.realtime.capability import AudioFormat
from gateway.recording_channel import TELEPHONE_RATE_HZ, ChannelFormat, ChannelReader, Samples
from gateway.recording_file import RecordingFile, create_recording_file
from gateway.recording_seal import RecordingKey
from rtp.codec.format import PCMU, PayloadFormat
from rtp.limiter import bent

# How long a chunk waits for audio of the caller that comes late.
PATIENCE_MS: Final = 300
# Chunk and patience together are what a crash can cost: a second.
CHUNK_MS: Final = 700
# A caller further ahead or behind is no jitter but a stall, a hold or another clock: its audio is placed anew.
LEAP_MS: Final = 200
# A turn of the media clock may come so much before its time.
EARLY_MS: Final = 1.0
# The least lag of so many frames, and of as many before, is that of the phase in which the clock serves the line. It
# may move the line to another phase, which costs no frame.
LAG_TURNS: Final = 25
# Silence of a line that neither hears nor sends; it is not worth a file's last second, only not to be kept in memory.
LONGEST_GAP_MS: Final = 10_000
# So far ahead is a burst behind a gap, while the gap can still be filled with it; and so much of it is left.
BURST_MS: Final = 60
USUAL_MS: Final = 20
# Without a frame of the agent for so long there is a gap: no packet time is half of it.
GAP_MS: Final = 150
# The mean distance of the clocks is taken over about five seconds of packets; jitter is gone from it then.
DRIFT_GAIN: Final = 1 / 256
# Nobody hears a hundredth of a second; below it nothing is corrected.
DRIFT_TOLERANCE_MS: Final = 5.0
# Chunks that may wait for a slow disk: twenty seconds of sound. Past it the recording ends and the fault is said.
PENDING_CHUNKS: Final = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A stretch of both channels, of the same length in time."""

    length_ms: int
    caller: bytes
    agent: bytes
    caller_format: ChannelFormat
    agent_format: ChannelFormat


class CallRecording:
    """One call's recording.

    Args:
        path: the file to make; its directory must exist. Its suffix says what it is: `.wav` or `.ogg` (Opus), with
            `.sealed` behind it where there is a key.
        executor: runs the decoding and writing; one worker keeps the chunks in order.
        is_mixed: both sides in one channel, instead of two.
        key: encrypts the file.
        clock: monotonic seconds.

    A disk that refuses ends the recording, never the call: `fault` says why, and what was written stays.
    """

    def __init__(
        self,
        path: Path,
        executor: Executor,
        *,
        is_mixed: bool = False,
        key: RecordingKey | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.is_mixed = is_mixed
        self._key = key
        self.fault: str | None = None
        self.paused_ms = 0
        self._executor = executor
        self._clock = clock
        self._began_s: float | None = None
        self._frame_ms = 0
        self._sent_ms = 0
        self._usual_lag_ms = 0.0
        self._least_lags_ms = (math.inf, math.inf)
        self._turns = 0
        self._gap = (0, 0)
        self._caller_format = self._agent_format = ChannelFormat.of_model(AudioFormat.PCMU)
        self._caller = bytearray()
        self._agent = bytearray()
        self._drift_ms = 0.0
        self._is_placed = False
        self._is_paused = False
        self._pending: list[Future[None]] = []
        # The worker's own.
        self._written_ms = 0
        self._file: RecordingFile | None = None
        self._rate_hz = TELEPHONE_RATE_HZ
        self._readers: dict[str, tuple[ChannelFormat, ChannelReader]] = {}
        self._left: Samples = np.empty(0, dtype=np.int16)
        self._right: Samples = np.empty(0, dtype=np.int16)

    @property
    def is_encrypted(self) -> bool:
        """Whether the file is sealed."""
        return self._key is not None

    @property
    def duration_ms(self) -> int:
        """The length of what was written."""
        return self._written_ms

    def take_formats(self, caller: AudioFormat = AudioFormat.PCMU, agent: PayloadFormat = PCMU) -> None:
        """Says what the channels' octets are from now on. Until then both are μ-law."""
        caller_format, agent_format = ChannelFormat.of_model(caller), ChannelFormat.of_playout(agent)
        if (caller_format, agent_format) == (self._caller_format, self._agent_format):
            return
        self._flush_all()
        self._caller.clear()
        self._gap = (0, 0)
        self._caller_format, self._agent_format = caller_format, agent_format
        self._is_placed = False

    def pause(self) -> None:
        """Records silence from now on, in both channels: what is said is not kept, and time goes on."""
        self._is_paused = True

    def resume(self) -> None:
        """Records again."""
        self._is_paused = False

    @property
    def is_paused(self) -> bool:
        """Whether silence is recorded."""
        return self._is_paused

    def add_caller(self, payload: bytes) -> None:
        """Takes audio of the caller in the order of its speaking, in media time without gaps."""
        overdue_ms = self._overdue_ms()
        if overdue_ms >= GAP_MS:
            overdue_ms -= self._fill(overdue_ms)
        channel, caller = self._caller_format, self._caller
        now_ms = self._agent_ms + max(0.0, overdue_ms)
        distance_ms = len(caller) / channel.octets_per_ms - now_ms
        if not self._is_placed or distance_ms < -LEAP_MS:
            self._place(distance_ms)
        else:
            self._drift_ms += (distance_ms - self._drift_ms) * DRIFT_GAIN
            if abs(self._drift_ms) > DRIFT_TOLERANCE_MS:
                payload = self._pulled(payload)
        caller += channel.silence_of(len(payload)) if self._is_paused else payload
        ahead_ms = len(caller) / channel.octets_per_ms - now_ms
        if ahead_ms > BURST_MS and self._gap[1] > self._gap[0]:
            ahead_ms -= self._narrow_gap(ahead_ms - USUAL_MS)
        if ahead_ms > LEAP_MS:
            self._drop_ahead(ahead_ms - LEAP_MS)

    def add_agent(self, frame: bytes) -> None:
        """Takes a frame as it left the socket."""
        self._frame_ms = len(frame) // self._agent_format.octets_per_ms
        if self._began_s is None:
            self._began_s = self._clock()
        overdue_ms = self._overdue_ms()
        overdue_ms -= self._fill(overdue_ms)
        self._learn_lag(overdue_ms + self._usual_lag_ms)
        self._append(frame)
        self._flush_ready()

    def advance(self) -> None:
        """Lets time go on where nothing is heard or sent; to be called about once a second."""
        if (overdue_ms := self._overdue_ms()) >= LONGEST_GAP_MS:
            self._fill(overdue_ms)
            self._flush_ready()

    async def aclose(self) -> None:
        """Writes what is left and closes the file. Idempotent."""
        self._flush_all()
        await asyncio.wrap_future(self._executor.submit(self._close))

    # The agent's channel, which is the clock.

    def _overdue_ms(self) -> float:
        """How long the agent's next frame has been due, the line's usual lateness left aside."""
        if self._began_s is None:
            return 0.0
        return (self._clock() - self._began_s) * 1000 - self._sent_ms - self._usual_lag_ms

    def _fill(self, overdue_ms: float) -> int:
        """Silence for the frames that did not leave. Returns its length in milliseconds."""
        if overdue_ms < self._frame_ms - EARLY_MS or not self._frame_ms:
            return 0
        missing_ms = int(overdue_ms + EARLY_MS) // self._frame_ms * self._frame_ms
        self._append(self._agent_format.silence_of(missing_ms * self._agent_format.octets_per_ms))
        return missing_ms

    def _learn_lag(self, lag_ms: float) -> None:
        before_ms, least_ms = self._least_lags_ms
        least_ms = min(least_ms, lag_ms)
        self._usual_lag_ms = min(before_ms, least_ms)
        self._turns += 1
        self._least_lags_ms = (before_ms, least_ms) if self._turns % LAG_TURNS else (least_ms, math.inf)

    def _append(self, audio: bytes) -> None:
        channel = self._agent_format
        length_ms = len(audio) // channel.octets_per_ms
        self._sent_ms += length_ms
        if self._is_paused:
            self.paused_ms += length_ms
            audio = channel.silence_of(len(audio))
        self._agent += audio

    # Where the caller's audio goes.

    @property
    def _agent_ms(self) -> float:
        return len(self._agent) / self._agent_format.octets_per_ms

    def _place(self, distance_ms: float) -> None:
        """The caller's next audio goes beside the frame that is sent next."""
        channel = self._caller_format
        missing = round(-distance_ms * channel.rate_hz / 1000) * channel.sample_octets
        if missing > 0:
            if self._is_placed:
                self._gap = (len(self._caller), len(self._caller) + missing)
            self._caller += channel.silence_of(missing)
        self._drift_ms = 0.0
        self._is_placed = True

    def _pulled(self, payload: bytes) -> bytes:
        """A sample less where the caller's clock runs ahead, one said twice where it lags."""
        size = self._caller_format.sample_octets
        if self._drift_ms > 0:
            return payload[:-size]
        return payload + payload[-size:]

    def _narrow_gap(self, excess_ms: float) -> float:
        """What comes in a burst behind a gap was said in it: it moves up. Returns by how much, in milliseconds."""
        channel, (start, end) = self._caller_format, self._gap
        excess = min(round(excess_ms * channel.rate_hz / 1000) * channel.sample_octets, end - start)
        del self._caller[start : start + excess]
        self._gap = (start, end - excess)
        return excess / channel.octets_per_ms

    def _drop_ahead(self, excess_ms: float) -> None:
        """A burst after a stall: its oldest goes, for its place in time is taken."""
        channel = self._caller_format
        first = round(self._agent_ms * channel.rate_hz / 1000) * channel.sample_octets
        excess = round(excess_ms * channel.rate_hz / 1000) * channel.sample_octets
        del self._caller[first : first + excess]

    # From here to the file.

    def _flush_ready(self) -> None:
        if (waiting_ms := len(self._agent) // self._agent_format.octets_per_ms) >= CHUNK_MS + PATIENCE_MS:
            self._flush(waiting_ms - PATIENCE_MS)

    def _flush_all(self) -> None:
        self._flush(len(self._agent) // self._agent_format.octets_per_ms)

    def _flush(self, length_ms: int) -> None:
        caller, agent = self._caller_format, self._agent_format
        if not length_ms:
            return
        agent_octets, caller_octets = length_ms * agent.octets_per_ms, length_ms * caller.octets_per_ms
        right, left = bytes(self._agent[:agent_octets]), bytes(self._caller[:caller_octets])
        del self._agent[:agent_octets]
        del self._caller[:caller_octets]
        start, end = self._gap
        self._gap = (max(0, start - caller_octets), max(0, end - caller_octets))
        if self.fault is not None:
            return
        self._pending = [future for future in self._pending if not future.done()]
        if len(self._pending) >= PENDING_CHUNKS:
            self._fail("the disk is slower than the call")
            return
        left += caller.silence_of(caller_octets - len(left))
        self._pending.append(self._executor.submit(self._write, _Chunk(length_ms, left, right, caller, agent)))

    def _write(self, chunk: _Chunk) -> None:
        """Runs in the worker."""
        if self.fault is not None:
            return
        try:
            if self._file is None:
                self._rate_hz = max(chunk.caller_format.rate_hz, chunk.agent_format.rate_hz)
                self._file = create_recording_file(self.path, self._rate_hz, 1 if self.is_mixed else 2, self._key)
            left = np.concatenate((self._left, self._reader("left", chunk.caller_format).read(chunk.caller)))
            right = np.concatenate((self._right, self._reader("right", chunk.agent_format).read(chunk.agent)))
            # Resamplers hold back a little, and not the same of both channels.
            length = min(len(left), len(right))
            self._left, self._right = left[length:], right[length:]
            both = left[:length], right[:length]
            self._file.write(_mixed(*both) if self.is_mixed else np.column_stack(both))
            self._written_ms += chunk.length_ms
        except OSError as error:
            self._fail(f"{self.path}: {error.strerror or error}")

    def _reader(self, side: str, channel: ChannelFormat) -> ChannelReader:
        known = self._readers.get(side)
        if known is not None and known[0] is channel:
            return known[1]
        reader = ChannelReader(channel, self._rate_hz)
        self._readers[side] = (channel, reader)
        return reader

    def _close(self) -> None:
        """Runs in the worker, after every chunk."""
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as error:
            self._fail(f"{self.path}: {error.strerror or error}")
        self._file = None

    def _fail(self, reason: str) -> None:
        if self.fault is None:
            self.fault = reason
            _log.error("recording stopped", extra={"fault": reason, "path": str(self.path)})


def _mixed(left: Samples, right: Samples) -> Samples:
    """Both in one channel, of shape (length, 1). Where they speak at once the loudest is bent and not cut."""
    return np.rint(bent(left.astype(np.float32) + right)).astype(np.int16)[:, np.newaxis]
