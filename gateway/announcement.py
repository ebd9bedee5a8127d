"""Announcements and music on hold: any file that FFmpeg reads, ready in the codec of a leg.

Reading a file blocks and belongs into a thread, before the call needs it. What was read is kept as the octets that a
leg sends, so that playing it costs a call nothing but the copying.
"""

import stat
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from gateway.errors import GatewayError
from rtp.codec.audio import encoder_of
from rtp.codec.format import OPUS, OPUS_PLAYOUT, PayloadFormat

Samples = NDArray[np.int16]

MAX_DURATION_S: Final = 1800
"""Half an hour of music is 14 MB in G.711; a film that somebody configured by mistake would be gigabytes."""
MAX_CACHED_OCTETS: Final = 64 * 1024 * 1024
"""Two hours of G.711. Beyond it what was wanted longest ago is read again when it is wanted again."""
MAX_GAIN_DB: Final = 20.0
FRAME_MS: Final = 20
LEAD_MS: Final = 1000
"""A feed keeps so much waiting in the leg: far more than the interval between two top-ups, little to drop."""
_PCM: Final = "PCM"


class AnnouncementError(GatewayError):
    """A file that cannot be played. The message names it and says why."""

    label = "announcement_unreadable"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"The announcement {str(path)!r} cannot be played: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Key:
    path: Path
    changed_ns: int
    size: int
    payload_format: str
    rate_hz: int
    gain_db: float


class AnnouncementLibrary:
    """What was read so far. Threads may share it; a file that has changed is read anew."""

    def __init__(self, max_cached_octets: int = MAX_CACHED_OCTETS) -> None:
        self._limit = max_cached_octets
        self._cached: OrderedDict[_Key, bytes] = OrderedDict()
        self._octets = 0
        self._lock = Lock()

    def payload(self, path: Path, payload_format: PayloadFormat, gain_db: float = 0.0) -> bytes:
        """The whole file as whole 20 ms frames of the format. Blocks when it has to be read.

        Args:
            path: the file.
            payload_format: of the leg, or rtp.mixing_port.PCM_16K and its like for samples. For Opus these are the
                samples that a playout takes (rtp.codec.format.OPUS_PLAYOUT).
            gain_db: how much louder than in the file, at most 20 dB either way; what becomes too loud is clipped.

        Raises:
            AnnouncementError: there is no such file, or no sound in it that can be read.
            KeyError: there is no codec for the format.
        """
        if not abs(gain_db) <= MAX_GAIN_DB:
            raise AnnouncementError(path, f"a gain is at most {MAX_GAIN_DB:g} dB either way, not {gain_db:g}")
        if payload_format == OPUS:
            payload_format = OPUS_PLAYOUT
        try:
            state = path.stat()
        except OSError as error:
            raise AnnouncementError(path, error.strerror or str(error)) from error
        if stat.S_ISFIFO(state.st_mode):
            raise AnnouncementError(path, "it is a pipe, which has no end")
        name, rate_hz = payload_format.name, payload_format.clock_rate_hz
        key = _Key(path, state.st_mtime_ns, state.st_size, name, rate_hz, gain_db)
        with self._lock:
            if (cached := self._cached.get(key)) is not None:
                self._cached.move_to_end(key)
                return cached
        octets = _encoded(path, payload_format, gain_db)
        with self._lock:
            self._keep(key, octets)
        return octets

    @property
    def cached_octets(self) -> int:
        """How much memory the cache holds."""
        return self._octets

    def _keep(self, key: _Key, octets: bytes) -> None:
        if key not in self._cached:
            self._cached[key] = octets
            self._octets += len(octets)
        while self._octets > self._limit and len(self._cached) > 1:
            _, dropped = self._cached.popitem(last=False)
            self._octets -= len(dropped)


class SampleLoop:
    """Samples for a mixer (rtp.mixer.FrameSource): once, or again and again.

    Args:
        octets: from `AnnouncementLibrary.payload` with rtp.mixing_port.PCM_8K or PCM_16K.
        sample_rate_hz: of these.
        is_endless: begins anew after the end.
    """

    def __init__(self, octets: bytes, sample_rate_hz: int, *, is_endless: bool = False) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._samples: Samples = np.frombuffer(octets, dtype=np.int16)
        self._position = 0
        self._is_endless = is_endless and len(self._samples) > 0

    def take(self, count: int) -> Samples | None:
        """The next samples; silence fills up the last frame. None after the end."""
        pieces, missing = [], count
        while missing:
            piece = self._samples[self._position : self._position + missing]
            self._position += len(piece)
            missing -= len(piece)
            pieces.append(piece)
            if missing and not self._is_endless:
                if missing == count:
                    return None
                pieces.append(np.zeros(missing, dtype=np.int16))
                break
            if missing:
                self._position = 0
        return np.concatenate(pieces)


class Listener(Protocol):
    """A leg, as far as it hears announcements: gateway.leg.AudioLeg is one."""

    @property
    def queued_ms(self) -> int:
        """Speech that waits."""

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends audio to an item."""

    def finish(self, item_id: str) -> None:
        """No more audio of this item will come."""


class AnnouncementFeed:
    """Plays one announcement to one leg, or music until it is told to stop.

    The leg is given a second of it at a time, so that `stop` and the leg's `flush` end it at once whatever its length.

    Args:
        octets: in what the leg's `enqueue` takes.
        octets_per_ms: of that format.
        is_endless: begins anew after the end.
    """

    def __init__(
        self, listener: Listener, item_id: str, octets: bytes, octets_per_ms: int, *, is_endless: bool = False
    ) -> None:
        self._listener = listener
        self._item_id = item_id
        self._octets = octets
        self._frame = octets_per_ms * FRAME_MS
        self._position = 0
        self._is_endless = is_endless and len(octets) > 0
        self._is_over = False

    def top_up(self) -> bool:
        """Gives the leg what it lacks; to be called a few times a second. False when there is no more to come."""
        listener = self._listener
        lacking = (LEAD_MS - listener.queued_ms) // FRAME_MS
        while not self._is_over and lacking > 0:
            piece = self._octets[self._position : self._position + lacking * self._frame]
            if piece:
                listener.enqueue(self._item_id, piece)
                self._position += len(piece)
                lacking -= -(-len(piece) // self._frame)
            if self._position >= len(self._octets):
                self._position = 0
                if not self._is_endless:
                    self.stop()
        return not self._is_over

    def stop(self) -> None:
        """No more is given. What waits in the leg plays out, unless the leg is flushed. Idempotent."""
        if not self._is_over:
            self._is_over = True
            self._listener.finish(self._item_id)


def read_samples(path: Path, sample_rate_hz: int) -> Samples:
    """The sound of a file, mono, whatever its format, channels and rate.

    Raises:
        AnnouncementError: it cannot be read, holds no sound, or too much of it.
    """
    try:
        sound, rate_hz = _decoded(path)
    except av.FFmpegError as error:
        raise AnnouncementError(path, error.strerror or str(error)) from error
    except OSError as error:
        raise AnnouncementError(path, error.strerror or str(error)) from error
    if rate_hz != sample_rate_hz and len(sound):
        sound = soxr.resample(sound, rate_hz, sample_rate_hz, quality="HQ")
    if not len(sound):
        raise AnnouncementError(path, "its sound is empty")
    return np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)


def _decoded(path: Path) -> tuple[NDArray[np.float32], int]:
    """Mono samples within ±1 and their rate."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise AnnouncementError(path, "there is no sound in it")
        stream = container.streams.audio[0]
        rate_hz = stream.rate
        # FFmpeg's own way to one channel is 3 dB louder for floating point; here it is the mean of the channels.
        # Samples in one plane: PyAV counts the planes of a frame up to the first that is not there, and of eight
        # channels and more there is no such one.
        resampler = av.AudioResampler(format="flt", rate=rate_hz)
        pieces, count = [], 0
        for frame in container.decode(stream):
            for packed in resampler.resample(frame):
                pieces.append(_mono(packed))
                count += len(pieces[-1])
            if count > MAX_DURATION_S * rate_hz:
                raise AnnouncementError(path, f"it is longer than {MAX_DURATION_S // 60} minutes")
        pieces += [_mono(packed) for packed in resampler.resample(None)]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.float32), rate_hz


def _mono(packed: av.AudioFrame) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = packed.to_ndarray().reshape(-1, packed.layout.nb_channels).mean(axis=1)
    return samples


def _encoded(path: Path, payload_format: PayloadFormat, gain_db: float) -> bytes:
    """Frame by frame, as a leg would encode it; the last frame is filled up with silence."""
    if payload_format.name == _PCM:
        rate_hz, encoder = payload_format.clock_rate_hz, None
    else:
        encoder = encoder_of(payload_format)
        rate_hz = encoder.sample_rate_hz
    samples = read_samples(path, rate_hz)
    if gain_db:
        samples = np.clip(samples * 10 ** (gain_db / 20), -32768, 32767).astype(np.int16)
    size = rate_hz * FRAME_MS // 1000
    samples = np.concatenate((samples, np.zeros(-len(samples) % size, dtype=np.int16)))
    if encoder is None:
        return samples.tobytes()
    return b"".join(encoder.encode(samples[start : start + size]) for start in range(0, len(samples), size))
