"""Speech through a bad network, as docs/sound-quality.md tells of it."""

import numpy as np
import pytest

from benchmarks.sound_quality import KINDS, TEXTS, frames_of, heard, measure, spoken
from gateway.embedded.voice import Voice
from rtp.codec import g711

PCMU = KINDS[0]
JITTER_MS = 30


@pytest.fixture(scope="module")
def voice() -> Voice:
    return Voice()


@pytest.mark.parametrize("seed", range(3))
def test_jitter_alone_changes_no_bit_of_the_speech_that_a_model_hears(voice: Voice, seed: int) -> None:
    frames = frames_of(PCMU, spoken(voice, TEXTS[0], PCMU.encode_hz))
    sound = heard(PCMU, frames, 0.0, JITTER_MS, seed)
    clean = g711.decode_ulaw(b"".join(frames))
    assert sound.lost_ratio == 0.0
    # A packet that overtakes the very first one begins the stream, within the silence before the words.
    assert np.array_equal(np.trim_zeros(sound.concealed), np.trim_zeros(clean))


@pytest.mark.parametrize("loss", [0.03, 0.05])
def test_concealment_is_heard__itu_t_p862(voice: Voice, loss: float) -> None:
    pytest.importorskip("pesq", reason="the dependency group `bench` is not installed")
    row = measure(PCMU, voice, loss, JITTER_MS, seeds=2)
    assert row.concealed > row.plain + 0.15
    assert row.buffered > row.concealed - 0.1
