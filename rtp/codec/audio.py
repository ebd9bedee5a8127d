"""Between payloads and samples: the codecs, for where something wants samples or the two sides differ.

G.711 and L16 are tables and byte order; G.722 and Opus are FFmpeg's, through PyAV. Samples are mono int16 numpy arrays.
A decoder holds a little of what it decoded and conceals what is lost; the stream marks such frames by an empty payload.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Literal, Protocol

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from rtp.codec import g711
from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, OPUS_PLAYOUT, PCMA, PCMU, PayloadFormat
from rtp.concealment import Concealer

Samples = NDArray[np.int16]

_OPUS_BITRATE: Final = 32_000
"""Fullband mono speech (RFC 7587 section 3.1.1 recommends 28 to 40 kbit/s)."""
_OPUS_DECODE_HZ: Final = 48_000
_G722_HZ: Final = 16_000
_G722_BLOCK: Final = 160
"""Samples that FFmpeg encodes at once: every packet time is a multiple of these 10 ms, and nothing is held back."""
_HISTORY_FRAMES: Final = 4


class AudioDecoder(Protocol):
    """One direction of one stream, payload by payload, in order."""

    sample_rate_hz: int

    def decode(self, payload: bytes) -> Samples:
        """The samples of a payload. Nonsense is concealed as if it had been lost; nothing is raised."""

    def conceal(self, count: int) -> Samples:
        """`count` samples in place of lost ones."""


class AudioEncoder(Protocol):
    """One direction of one stream, frame by frame."""

    sample_rate_hz: int

    def encode(self, samples: Samples) -> bytes:
        """The payload of one frame of samples."""


class _Decoder:
    """Concealment around any way of decoding."""

    def __init__(self, sample_rate_hz: int, decode: Callable[[bytes], Samples | None], frame_samples: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._decode = decode
        self._concealer = Concealer(sample_rate_hz)
        self._history: deque[Samples] = deque(maxlen=_HISTORY_FRAMES)
        self._frame_samples = frame_samples

    def decode(self, payload: bytes) -> Samples:
        samples = self._decode(payload)
        if samples is None:
            return self.conceal(self._frame_samples)
        if self._concealer.is_concealing:
            head = self._concealer.recover(samples)
            samples = np.concatenate((head, samples[len(head) :]))
        self._history.append(samples)
        return samples

    def conceal(self, count: int) -> Samples:
        past = np.empty(0, dtype=np.int16)
        if not self._concealer.is_concealing and self._history:
            past = np.concatenate(self._history)
        return self._concealer.conceal(past, count)


class _Encoder:
    def __init__(self, sample_rate_hz: int, encode: Callable[[Samples], bytes]) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.encode = encode


def _decode_l16(payload: bytes) -> Samples:
    """RFC 3551 section 4.5.11: network byte order. A trailing half sample is dropped."""
    return np.frombuffer(payload, dtype=">i2", count=len(payload) // 2).astype(np.int16)


def _encode_l16(samples: Samples) -> bytes:
    return samples.astype(">i2").tobytes()


def _context(codec: str, mode: Literal["r", "w"], sample_rate_hz: int) -> AudioCodecContext:
    context = av.CodecContext.create(codec, mode)
    if not isinstance(context, AudioCodecContext):
        raise TypeError(f"{codec} is no audio codec")
    context.sample_rate = sample_rate_hz
    context.layout = "mono"
    return context


def _av_decode(codec: str, sample_rate_hz: int) -> Callable[[bytes], Samples | None]:
    context = _context(codec, "r", sample_rate_hz)

    def decode(payload: bytes) -> Samples | None:
        try:
            frames = context.decode(av.Packet(payload))
        except av.FFmpegError:
            return None
        pieces = [frame.to_ndarray().reshape(-1).astype(np.int16, copy=False) for frame in frames]
        return np.concatenate(pieces) if pieces else None

    return decode


def _av_encode(codec: str, sample_rate_hz: int, options: dict[str, str], bit_rate: int) -> Callable[[Samples], bytes]:
    context = _context(codec, "w", sample_rate_hz)
    context.format = "s16"
    context.bit_rate = bit_rate
    context.options = options
    pts = 0

    def encode(samples: Samples) -> bytes:
        nonlocal pts
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = sample_rate_hz
        frame.pts = pts
        pts += len(samples)
        return b"".join(bytes(packet) for packet in context.encode(frame))

    return encode


def decoder_of(payload_format: PayloadFormat, ptime_ms: int = 20) -> AudioDecoder:
    """A fresh decoder. Raises `KeyError` for a format that this house has no codec for."""
    make, rate = _DECODERS[payload_format]
    return _Decoder(rate, make(), rate * ptime_ms // 1000)


def encoder_of(payload_format: PayloadFormat, ptime_ms: int = 20, max_bit_rate: int | None = None) -> AudioEncoder:
    """A fresh encoder. Raises `KeyError` for a format that this house has no codec for.

    `max_bit_rate` is the far end's wish, which only Opus can follow.
    """
    if payload_format == OPUS:
        # The frame is the packet: Opus knows 10, 20, 40 and 60 ms.
        options = {"application": "voip", "frame_duration": str(ptime_ms), "fec": "1", "packet_loss": "5"}
        rate = OPUS_PLAYOUT.clock_rate_hz
        return _Encoder(rate, _av_encode("libopus", rate, options, min(_OPUS_BITRATE, max_bit_rate or _OPUS_BITRATE)))
    make, rate = _ENCODERS[payload_format]
    return _Encoder(rate, make())


_DECODERS: Final[dict[PayloadFormat, tuple[Callable[[], Callable[[bytes], Samples | None]], int]]] = {
    PCMU: (lambda: g711.decode_ulaw, 8000),
    PCMA: (lambda: g711.decode_alaw, 8000),
    L16_8K: (lambda: _decode_l16, 8000),
    L16_16K: (lambda: _decode_l16, 16000),
    G722: (lambda: _av_decode("g722", _G722_HZ), _G722_HZ),
    OPUS: (lambda: _av_decode("libopus", _OPUS_DECODE_HZ), _OPUS_DECODE_HZ),
}
_ENCODERS: Final[dict[PayloadFormat, tuple[Callable[[], Callable[[Samples], bytes]], int]]] = {
    PCMU: (lambda: g711.encode_ulaw, 8000),
    PCMA: (lambda: g711.encode_alaw, 8000),
    L16_8K: (lambda: _encode_l16, 8000),
    L16_16K: (lambda: _encode_l16, 16000),
    G722: (lambda: _av_encode("g722", _G722_HZ, {"frame_size": str(_G722_BLOCK)}, 64_000), _G722_HZ),
}
