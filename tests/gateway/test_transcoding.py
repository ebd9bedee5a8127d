"""Between a leg's codec and a model's audio: what the first call of a codec must find ready, and where items part."""

import subprocess
import sys

import numpy as np
import pytest

from gateway.realtime.capability import AudioFormat
from gateway.transcoding import ear_for, mouth_for, prepare
from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, PayloadFormat
from rtp.codec.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw
from rtp.codec.polyphase import _phases

FORMATS = [PCMU, PCMA, G722, OPUS, L16_8K, L16_16K]
EVERY_CODE = bytes(range(256))
EVERY_CODE_IN_ULAW = encode_ulaw(decode_alaw(EVERY_CODE))
EVERY_CODE_IN_ALAW = encode_alaw(decode_ulaw(EVERY_CODE))

# In a process of its own: here everything has been loaded by somebody already.
FIRST_CALLS = """
import sys
import gateway.service
from gateway.realtime.capability import AudioFormat
from gateway.transcoding import ear_for, mouth_for
from rtp.codec.audio import encoder_of
from rtp.codec.format import G722, OPUS
import numpy as np

loaded = set(sys.modules)
for one in (G722, OPUS):
    encoder = encoder_of(one, 20)
    payload = encoder.encode(np.zeros(encoder.sample_rate_hz // 50, dtype=np.int16))
    for spoken in AudioFormat:
        mouth_for(one, 20, spoken).speak(bytes(1920))
        ear_for(one, 20, spoken)(payload)
print(sorted(set(sys.modules) - loaded))
"""


def test_the_first_call_in_g722_or_opus_loads_no_module() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_CALLS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("payload_format", FORMATS, ids=lambda one: f"{one.name}-{one.clock_rate_hz}")
def test_what_was_prepared_makes_no_filter_any_more(payload_format: PayloadFormat) -> None:
    _phases.cache_clear()
    prepare(payload_format)
    made = _phases.cache_info().misses
    assert made > 0
    for audio_format in AudioFormat:
        ear_for(payload_format, 20, audio_format)
        mouth_for(payload_format, 20, audio_format)
    assert _phases.cache_info().misses == made


@pytest.mark.parametrize("audio_format", AudioFormat)
@pytest.mark.parametrize("payload_format", FORMATS, ids=lambda one: f"{one.name}-{one.clock_rate_hz}")
def test_an_item_begins_as_if_none_had_been_before(payload_format: PayloadFormat, audio_format: AudioFormat) -> None:
    mouth, fresh = (mouth_for(payload_format, 20, audio_format) for _ in range(2))
    if mouth is None or fresh is None:
        assert payload_format.name.lower() == audio_format.value
        return
    speech = np.random.default_rng(7).bytes(audio_format.bytes_per_ms * 40)
    mouth.speak(speech[:-1])  # of 16-bit samples, the last one is half
    mouth.reset()
    assert mouth.speak(speech) == fresh.speak(speech) != b""


@pytest.mark.parametrize(("law", "same"), [(PCMU, AudioFormat.PCMU), (PCMA, AudioFormat.PCMA)])
def test_a_law_passes_as_it_is_to_a_model_of_the_same(law: PayloadFormat, same: AudioFormat) -> None:
    assert (ear_for(law, 20, same), mouth_for(law, 20, same)) == (None, None)


@pytest.mark.parametrize(
    ("law", "other", "heard", "said"),
    [
        (PCMA, AudioFormat.PCMU, EVERY_CODE_IN_ULAW, EVERY_CODE_IN_ALAW),
        (PCMU, AudioFormat.PCMA, EVERY_CODE_IN_ALAW, EVERY_CODE_IN_ULAW),
    ],
    ids=["PCMA", "PCMU"],
)
def test_every_octet_of_a_law_becomes_that_of_the_model(
    law: PayloadFormat, other: AudioFormat, heard: bytes, said: bytes
) -> None:
    ear, mouth = ear_for(law, 20, other), mouth_for(law, 20, other)
    assert ear is not None
    assert mouth is not None
    assert [ear(bytes([code])) for code in EVERY_CODE] == [bytes([code]) for code in heard]
    assert [mouth.speak(bytes([code])) for code in EVERY_CODE] == [bytes([code]) for code in said]
