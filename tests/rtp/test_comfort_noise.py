"""Comfort noise, RFC 3389."""

import math

import numpy as np
import pytest

from rtp.codec import g711
from rtp.comfort_noise import ComfortNoise, noise_level
from rtp.parameters import StreamParameters
from rtp.statistics import Discard
from tests.helpers.rtp_peer import FAR_END, TICK_S, FarEnd, RecordingSink, make_stream, payload_of, run

WITH_NOISE = StreamParameters(remote=FAR_END, comfort_noise_payload_type=13)


def level_dbov(payload: bytes) -> float:
    samples = g711.decode_ulaw(payload).astype(np.float64)
    return -20 * math.log10(math.sqrt(float(np.mean(samples**2))) / 32768)


@pytest.mark.parametrize("level", [30, 40, 50, 60])
def test_noise_has_the_level_that_was_asked_for(level: int) -> None:
    noise = ComfortNoise(g711.encode_ulaw)
    heard = b"".join(noise.frame(160, level) for _ in range(100))
    assert level_dbov(heard) == pytest.approx(level, abs=1.0)


def test_inaudible_noise_is_silence_and_full_scale_does_not_overflow() -> None:
    noise = ComfortNoise(g711.encode_ulaw)
    assert noise.frame(160, 127) == b"\xff" * 160
    assert len(noise.frame(160, 0)) == 160


def test_level_is_the_first_octet_whatever_the_spectrum() -> None:
    assert noise_level(b"\xc0\x01\x02") == 64
    assert noise_level(b"") is None


def test_noise_is_heard_at_once_and_until_speech_returns() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, WITH_NOISE)
    before = far_end.packets(10)
    announcement = far_end.other(13, b"\x28")
    far_end.skip(0, 50 * 160)
    after = far_end.packets(10)
    arrivals = [(index * TICK_S, datagram) for index, datagram in enumerate([*before, announcement])]
    arrivals += [((60 + index) * TICK_S, datagram) for index, datagram in enumerate(after)]
    run(stream, arrivals, until=0.3)
    # No 200 ms of waiting: the sink's clock is true to within two packets.
    assert len(sink.audio) >= 13
    sink.audio.clear()
    run(stream, arrivals[11:], start=0.0, until=69 * TICK_S + 0.001)
    noise = b"".join(payload for payload, concealed in sink.audio if concealed)
    assert level_dbov(noise) == pytest.approx(40, abs=1.5)
    assert sink.genuine == [payload_of(datagram) for datagram in after]
    statistics = stream.statistics().rx
    assert (statistics.filled_ms, statistics.concealed_ms, statistics.lost) == (1000, 0, 0)
    assert statistics.played_ms == 70 * 20


def test_an_empty_announcement_is_counted() -> None:
    stream, far_end = make_stream(RecordingSink(), WITH_NOISE), FarEnd()
    stream.receive_datagram(far_end.audio(), FAR_END, 0.0)
    stream.receive_datagram(far_end.other(13, b""), FAR_END, 0.02)
    assert dict(stream.statistics().rx.discards) == {Discard.EMPTY: 1}


@pytest.mark.parametrize("claimed_dbov", [0, 10, 25])
def test_a_silence_louder_than_speech_is_not_believed(claimed_dbov: int) -> None:
    assert level_dbov(ComfortNoise(g711.encode_ulaw).frame(8000, claimed_dbov)) == pytest.approx(26, abs=0.5)
