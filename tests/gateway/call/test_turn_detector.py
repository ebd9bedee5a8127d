"""Turns by loudness: what begins one, what ends it, and what a noisy line changes."""

import numpy as np
import pytest

from gateway.call.turn_detector import OwnTurns, TurnDetector, TurnEdge, VoicePolicy, level_dbfs
from gateway.call.turn_guard import GuardPolicy, TurnGuard
from gateway.realtime.capability import AudioFormat
from gateway.realtime.event import RealtimeEvent, SpeechStarted, SpeechStopped
from rtp.codec.g711 import encode_ulaw

QUIET = b"\xff" * 160


def tone(dbfs: float) -> bytes:
    """20 ms of sound whose level is this."""
    peak = 32768 * 10 ** (dbfs / 20) * np.sqrt(2)
    return encode_ulaw((peak * np.sin(np.arange(160) * 2 * np.pi * 400 / 8000)).astype(np.int16))


class Model:
    """Notes what it is told; its own detection tells a guard, as CallModel does."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.heard: list[RealtimeEvent] = []
        self.guard: TurnGuard | None = None
        self.queued_ms = 0

    def begin_turn(self) -> None:
        self._tell(SpeechStarted("t", None))

    def finish_turn(self) -> None:
        self._tell(SpeechStopped("t", None))

    def _tell(self, event: RealtimeEvent) -> None:
        if self.guard is not None:
            self.guard.on_model_event(event)

    def start_turn(self) -> None:
        self.told.append("start")

    def end_turn(self) -> None:
        self.told.append("end")

    def dismiss_turn(self) -> None:
        self.told.append("dismiss")

    def hold(self) -> None:
        self.told.append("hold")

    def release(self) -> None:
        self.told.append("release")


def edges(detector: TurnDetector, *runs: tuple[bytes, int]) -> list[tuple[TurnEdge, int]]:
    """What changes, and at which millisecond, while so many milliseconds of each sound are heard."""
    found, at_ms = [], 0
    for payload, milliseconds in runs:
        for _ in range(milliseconds // 20):
            at_ms += 20
            edge = detector.hear(payload)
            if edge is not None:
                found.append((edge, at_ms))
    return found


@pytest.fixture
def detector() -> TurnDetector:
    return TurnDetector(VoicePolicy(), AudioFormat.PCMU, Model())


def test_a_turn_begins_with_speech_and_ends_after_silence(detector: TurnDetector) -> None:
    found = edges(detector, (QUIET, 1000), (tone(-25), 1000), (QUIET, 1000))
    assert found == [(TurnEdge.STARTED, 1060), (TurnEdge.STOPPED, 2500)]


def test_a_crack_is_no_turn_and_a_gap_between_words_is_no_end(detector: TurnDetector) -> None:
    word = (tone(-25), 200)
    assert edges(detector, (tone(-10), 40), (QUIET, 500)) == []
    assert edges(detector, word, (QUIET, 300), word, (QUIET, 300), word) == [(TurnEdge.STARTED, 60)]


def test_what_is_quieter_than_speech_is_none(detector: TurnDetector) -> None:
    assert edges(detector, (tone(-50), 3000)) == []


def test_speech_must_stand_out_from_a_noisy_line() -> None:
    """A street at -38 dBFS is above the threshold: it is taken for speech at first, and not any more once it lasts."""
    detector = TurnDetector(VoicePolicy(), AudioFormat.PCMU, Model())
    noise, speech = tone(-38), tone(-20)
    found = edges(detector, (QUIET, 200), (noise, 30_000), (speech, 400), (noise, 1000))
    assert [edge for edge, _ in found[-2:]] == [TurnEdge.STARTED, TurnEdge.STOPPED]
    assert 30_200 < found[-2][1] <= 30_300
    assert found[-3][0] is TurnEdge.STOPPED  # of the street


def test_levels_are_the_same_in_every_format() -> None:
    samples = (32767 * 10 ** (-20 / 20) * np.sqrt(2) * np.sin(np.arange(1600) / 4)).astype(np.int16)
    assert level_dbfs(samples.tobytes(), AudioFormat.PCM16_16K) == pytest.approx(-20, abs=0.1)
    assert level_dbfs(encode_ulaw(samples), AudioFormat.PCMU) == pytest.approx(-20, abs=0.2)
    assert level_dbfs(b"", AudioFormat.PCMU) == level_dbfs(bytes(320), AudioFormat.PCM16_16K) == -96.0


class Stage:
    """A detector, a guard and a model, as a call puts them together."""

    def __init__(self, policy: GuardPolicy) -> None:
        self.model = Model()
        self.events: list[RealtimeEvent] = []
        self.guard = TurnGuard(policy, OwnTurns(self.model), self.events.append, self.model, AudioFormat.PCMU)
        self.model.guard = self.guard
        self.detector = TurnDetector(VoicePolicy(), AudioFormat.PCMU, self.model)

    def hear(self, payload: bytes, milliseconds: int) -> None:
        for _ in range(milliseconds // 20):
            self.detector.on_caller_audio(payload)
            self.guard.on_caller_audio(payload)


def test_the_model_is_told_where_a_turn_begins_and_ends() -> None:
    call = Stage(GuardPolicy(detects=True))
    call.hear(tone(-20), 400)
    assert call.model.told == ["start"]
    call.hear(QUIET, 600)
    assert call.model.told == ["start", "end"]
    assert [type(event) for event in call.events] == [SpeechStarted, SpeechStopped]


def test_who_speaks_over_the_agent_interrupts_it() -> None:
    call = Stage(GuardPolicy(detects=True))
    call.model.queued_ms = 1000
    call.hear(tone(-20), 80)
    assert call.model.told == ["start"]
    assert [type(event) for event in call.events] == [SpeechStarted]


def test_a_cough_is_not_told_to_the_model() -> None:
    call = Stage(GuardPolicy(detects=True, minimum_speech_ms=400))
    call.model.queued_ms = 1000
    call.hear(tone(-20), 160)
    call.hear(QUIET, 600)
    assert call.model.told == ["hold", "release", "dismiss"]
    assert call.events == []


def test_who_speaks_over_a_protected_greeting_has_the_floor_after_it() -> None:
    call = Stage(GuardPolicy(detects=True, protects_greeting=True))
    call.model.queued_ms = 1000
    call.hear(tone(-20), 400)
    assert call.model.told == []
    call.model.queued_ms = 0
    call.guard.on_playout_drained()
    call.hear(QUIET, 600)
    assert call.model.told == ["start", "end"]
