"""What becomes of a caller whose model is gone for good: handed over, asked for a message, or hung up on."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.audio_file import Samples, read_audio
from gateway.call.voicemail import TONE_HZ, TONE_SECONDS, Message, MessageEnd, tone
from gateway.caller import PlacedCall
from gateway.config.fallback import VoicemailSettings
from gateway.config.load import inspect
from gateway.embedded.process import EmbeddedServer
from gateway.realtime.capability import AudioFormat
from gateway.transcoding import samples_of
from rtp.codec.g711 import encode_ulaw
from tests.helpers.house import House, called, embedded_backend

RATE_HZ = 8000


@asynccontextmanager
async def abandoned(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fallback: Mapping[str, object], **agent: object
) -> AsyncIterator[tuple[House, PlacedCall]]:
    """A call whose model is lost after a moment, with an apology that takes a fifth of a second."""
    monkeypatch.chdir(folder)
    apology = folder / "apology.wav"
    write_tone(apology, 300, 0.2)
    async with EmbeddedServer(arguments=("--mode", "silent", "--fault", "reset,after_ms=300")) as server:
        backends = {"main": embedded_backend(server, "embedded-silent")}
        loss = {"apology": {"file": str(apology)}, "give_up_after_seconds": 1, "fallback": fallback}
        async with called(folder, backends, model_loss=loss, **agent) as (house, call):
            yield house, call


def sine(hz: float, seconds: float) -> Samples:
    moments = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (8000 * np.sin(2 * np.pi * hz * moments)).astype(np.int16)


def write_tone(path: Path, hz: float, seconds: float) -> None:
    from gateway.audio_file import write_wav

    write_wav(path, sine(hz, seconds), RATE_HZ)


def share_of(samples: Samples, hz: float) -> float:
    """How much of the loudness lies at a frequency."""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    return float(spectrum[np.abs(frequencies - hz) < 20].sum() / max(spectrum.sum(), 1e-9))


async def tone_heard(call: PlacedCall) -> None:
    """Waits for the tone after the apology."""
    wanted = round(TONE_SECONDS * RATE_HZ * 0.8)
    async with asyncio.timeout(15):
        while not (len(call.captured) > wanted and share_of(call.heard()[-wanted:], TONE_HZ) > 0.9):
            await asyncio.sleep(0.02)
    await asyncio.sleep(TONE_SECONDS)


async def test_a_caller_leaves_a_message_and_silence_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fallback = {"type": "voicemail", "max_seconds": 30, "silence_seconds": 1}
    async with abandoned(tmp_path, monkeypatch, fallback) as (house, call):
        await tone_heard(call)
        await call.say(sine(440, 1.5))
        async with asyncio.timeout(15):
            await call.ended()
        assert call.ended_by_peer
    record: dict[str, Any] = await house.record()
    assert record["end"]["reason"] == "voicemail"
    message = record["voicemail"]
    assert (message["ended_by"], message["fault"]) == ("silence", None)
    assert message["path"].endswith("-voicemail.wav")
    samples = read_audio(tmp_path / message["path"], RATE_HZ)
    assert 2_000 < message["duration_ms"] < 4_000
    assert abs(len(samples) * 1000 / RATE_HZ - message["duration_ms"]) < 50
    assert share_of(samples, 440) > 0.8
    assert share_of(samples, TONE_HZ) < 0.05  # the tone is no part of the message


async def test_the_key_ends_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with abandoned(tmp_path, monkeypatch, {"type": "voicemail"}) as (house, call):
        await tone_heard(call)
        await call.say(sine(440, 0.5))
        call.press("#")
        async with asyncio.timeout(10):
            await call.ended()
    assert (await house.record())["voicemail"]["ended_by"] == "key"


async def test_a_message_is_kept_where_the_caller_hangs_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with abandoned(tmp_path, monkeypatch, {"type": "voicemail"}) as (house, call):
        await tone_heard(call)
        await call.say(sine(440, 1))
        call.hang_up()
        await call.ended()
    record = await house.record()
    assert record["end"]["reason"] == "caller_hung_up"
    assert record["voicemail"]["ended_by"] == "call_ended"
    assert share_of(read_audio(tmp_path / record["voicemail"]["path"], RATE_HZ), 440) > 0.8


async def test_a_caller_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = {"destinations": {"desk": "sip:desk@pbx.example.net"}}
    fallback = {"type": "transfer", "destination": "desk"}
    async with abandoned(tmp_path, monkeypatch, fallback, transfer=transfer) as (house, call):
        call.transfer_status = 200
        async with asyncio.timeout(15):
            await call.ended()
        assert call.referred_to == ["sip:desk@pbx.example.net"]
    record = await house.record()
    assert record["end"]["reason"] == "transferred"
    assert record["transfers"][0]["status"] == 200


async def test_a_transfer_that_fails_ends_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = {"destinations": {"desk": "sip:desk@pbx.example.net"}}
    fallback = {"type": "transfer", "destination": "desk"}
    async with abandoned(tmp_path, monkeypatch, fallback, transfer=transfer) as (house, call):
        async with asyncio.timeout(15):
            await call.ended()
        assert call.ended_by_peer
    assert (await house.record())["end"]["reason"] == "model_lost"


class Tape:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.caller = bytearray()

    def add_caller(self, payload: bytes) -> None:
        self.caller += payload

    def add_agent(self, frame: bytes) -> None: ...


SPEECH = encode_ulaw(sine(440, 0.02))
QUIET = b"\xff" * 160


def message(**settings: object) -> tuple[Message, Tape]:
    tape = Tape()
    taken = Message(
        VoicemailSettings.model_validate({"type": "voicemail", **settings}),
        [],
        tape,
        AudioFormat.PCMU,
        AudioFormat.PCMU,
    )
    return taken, tape


def test_what_is_said_before_the_end_of_the_tone_is_no_message() -> None:
    taken, tape = message()
    taken.on_audio(SPEECH, concealed=False)
    taken.on_playout_drained()
    taken.on_audio(QUIET, concealed=False)
    assert tape.caller == QUIET


@pytest.mark.parametrize(
    ("packets", "end"),
    [
        ([QUIET] * 100, MessageEnd.SILENCE),
        ([SPEECH] * 200 + [QUIET] * 99, MessageEnd.CALL),
        ([SPEECH] * 200 + [QUIET] * 99 + [SPEECH] + [QUIET] * 99, MessageEnd.CALL),
        ([SPEECH] * 500, MessageEnd.LIMIT),
    ],
)
def test_silence_or_length_ends_a_message(packets: list[bytes], end: MessageEnd) -> None:
    taken, _ = message(max_seconds=10, silence_seconds=2)
    taken.on_playout_drained()
    for packet in packets:
        taken.on_audio(packet, concealed=False)
    assert taken.end is end


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_the_tone_is_one_in_every_format(audio_format: AudioFormat) -> None:
    samples = samples_of(tone(audio_format), audio_format)
    assert len(samples) == audio_format.sample_rate_hz * TONE_SECONDS
    crossings = np.count_nonzero(np.diff(np.signbit(samples)))
    assert abs(crossings - 2 * TONE_HZ * TONE_SECONDS) <= 2


def test_a_fallback_dials_only_what_is_listed(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        """\
trunks: {pbx: {allow: [192.0.2.0/24], numbers: {"*": one, "1": two}}}
agents:
  one:
    backends: [model]
    instructions: Be brief.
    transfer: {destinations: {sales: "+15557778888"}}
    model_loss: {fallback: {type: transfer, destination: sale}}
  two:
    backends: [model]
    instructions: Be brief.
    model_loss: {fallback: {type: transfer, destination: sales}}
backends: {model: {type: embedded}}
"""
    )
    reasons = {fault.key: fault.reason for fault in inspect(file, {}).errors}
    assert "did you mean 'sales'?" in reasons["agents.one.model_loss.fallback.destination"]
    assert "needs a list" in reasons["agents.two.model_loss.fallback.destination"]
