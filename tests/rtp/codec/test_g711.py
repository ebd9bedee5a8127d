"""G.711 against another implementation (FFmpeg's) and against itself."""

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext

from rtp.codec import g711
from rtp.codec.format import PCMA, PCMU, PayloadFormat

EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768, dtype=np.int16)


def ffmpeg_decode(codec: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout = 8000, "mono"
    return np.asarray(context.decode(av.Packet(EVERY_CODE))[0].to_ndarray().reshape(-1), dtype=np.int16)


@pytest.mark.parametrize(("codec", "decode"), [("pcm_mulaw", g711.decode_ulaw), ("pcm_alaw", g711.decode_alaw)])
def test_every_code_decodes_as_ffmpeg_says(codec: str, decode: object) -> None:
    assert callable(decode)
    assert np.array_equal(decode(EVERY_CODE), ffmpeg_decode(codec))


def test_every_code_survives_decoding_and_encoding() -> None:
    assert g711.encode_alaw(g711.decode_alaw(EVERY_CODE)) == EVERY_CODE
    # Mu-law has two zeroes; the negative one comes back as the positive.
    assert g711.encode_ulaw(g711.decode_ulaw(EVERY_CODE)) == EVERY_CODE.replace(b"\x7f", b"\xff")


@pytest.mark.parametrize(
    ("decode", "encode"), [(g711.decode_ulaw, g711.encode_ulaw), (g711.decode_alaw, g711.encode_alaw)]
)
def test_every_sample_falls_into_its_interval(decode: object, encode: object) -> None:
    assert callable(decode)
    assert callable(encode)
    samples = EVERY_SAMPLE.astype(np.int64)
    error = np.abs(decode(encode(EVERY_SAMPLE)).astype(np.int64) - samples)
    # 16 intervals in each segment: half of one is at most a 32nd of the magnitude
    # (mu-law adds its bias of 132), and 8 at the origin.
    assert np.all(error <= (np.abs(samples) + 132) / 32 + 8)
    assert np.all(np.diff(decode(encode(EVERY_SAMPLE)).astype(np.int64)) >= 0)


def test_silence_is_ff_and_d5() -> None:
    silence = np.zeros(3, dtype=np.int16)
    assert g711.encode_ulaw(silence) == b"\xff" * 3
    assert g711.encode_alaw(silence) == b"\xd5" * 3


def test_translation_tables_go_through_samples() -> None:
    assert EVERY_CODE.translate(g711.ALAW_TO_ULAW) == g711.encode_ulaw(g711.decode_alaw(EVERY_CODE))
    assert EVERY_CODE.translate(g711.ULAW_TO_ALAW) == g711.encode_alaw(g711.decode_ulaw(EVERY_CODE))
    tables = {(PCMA, PCMU): g711.ALAW_TO_ULAW, (PCMU, PCMA): g711.ULAW_TO_ALAW}
    assert tables == g711.LAW_TABLES


@pytest.mark.parametrize(("before", "after"), [(PCMA, PCMU), (PCMU, PCMA)], ids=lambda one: one.name)
def test_a_law_that_comes_back_changes_no_more_on_its_next_way(before: PayloadFormat, after: PayloadFormat) -> None:
    there, back = g711.LAW_TABLES[before, after], g711.LAW_TABLES[after, before]
    once = EVERY_CODE.translate(there).translate(back)
    assert once.translate(there).translate(back) == once
