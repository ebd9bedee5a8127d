"""Interruptions: a cough cuts nobody off, a protected greeting is heard whole, and real speech counts at once."""

import numpy as np
import pytest

from gateway.call.turn_guard import GuardPolicy, TurnGuard, is_voiced
from gateway.realtime.capability import AudioFormat
from gateway.realtime.event import BackendError, RealtimeEvent, SpeechStarted, SpeechStopped
from rtp.codec.g711 import encode_alaw, encode_ulaw

STARTED, STOPPED = SpeechStarted("c1", None), SpeechStopped("c1", None)
TONE = (3000 * np.sin(np.arange(160) / 4)).astype(np.int16)
SPEECH, HUSH = encode_ulaw(TONE), b"\xff" * 160


class Stage:
    """A guarded call."""

    def __init__(self, policy: GuardPolicy) -> None:
        self.told: list[RealtimeEvent] = []
        self.commands: list[str] = []
        self.is_speaking = True
        self.guard = TurnGuard(policy, self, self.told.append, self, AudioFormat.PCMU)

    @property
    def queued_ms(self) -> int:
        return 1000 if self.is_speaking else 0

    def hold(self) -> None:
        self.commands.append("hold")

    def release(self) -> None:
        self.commands.append("release")

    def dismiss_turn(self) -> None:
        self.commands.append("dismiss")

    def create_response(self, instructions: str | None = None) -> None:
        self.commands.append("respond")

    def cancel_response(self) -> None:
        self.commands.append("cancel")

    def hear(self, payload: bytes, milliseconds: int) -> None:
        for _ in range(milliseconds // 20):
            self.guard.on_caller_audio(payload)

    def drain(self) -> None:
        self.is_speaking = False
        self.guard.on_playout_drained()


@pytest.fixture
def patient() -> Stage:
    return Stage(GuardPolicy(minimum_speech_ms=300))


def test_a_cough_makes_the_agent_pause_and_changes_nothing_else(patient: Stage) -> None:
    patient.guard.on_model_event(STARTED)
    assert patient.commands == ["hold"]
    patient.hear(SPEECH, 200)
    patient.hear(HUSH, 280)
    assert patient.commands == ["hold"]
    patient.hear(HUSH, 20)
    assert patient.commands == ["hold", "release"]  # it goes on before the service has made up its mind
    patient.hear(HUSH, 1000)
    patient.guard.on_model_event(STOPPED)
    assert (patient.told, patient.commands) == ([], ["hold", "release", "dismiss"])
    assert patient.guard.coughs == 1


def test_the_service_may_find_the_end_of_a_cough_first(patient: Stage) -> None:
    patient.guard.on_model_event(STARTED)
    patient.hear(SPEECH, 100)
    patient.hear(HUSH, 100)
    patient.guard.on_model_event(STOPPED)
    assert (patient.told, patient.commands) == ([], ["hold", "release", "dismiss"])


def test_speech_after_a_gap_makes_the_agent_pause_again_and_counts_on(patient: Stage) -> None:
    patient.guard.on_model_event(STARTED)
    patient.hear(SPEECH, 200)
    patient.hear(HUSH, 400)
    patient.hear(SPEECH, 100)
    assert patient.commands == ["hold", "release", "hold", "release", "cancel"]
    assert patient.told == [STARTED]


def test_an_agent_may_speak_on_while_undecided() -> None:
    call = Stage(GuardPolicy(minimum_speech_ms=300, pauses=False))
    call.guard.on_model_event(STARTED)
    call.hear(SPEECH, 200)
    call.guard.on_model_event(STOPPED)
    assert (call.told, call.commands) == ([], ["dismiss"])


def test_enough_speech_interrupts_and_is_answered(patient: Stage) -> None:
    patient.guard.on_model_event(STARTED)
    patient.hear(SPEECH, 280)
    assert patient.told == []
    patient.hear(SPEECH, 20)
    assert (patient.told, patient.commands) == ([STARTED], ["hold", "release", "cancel"])
    patient.guard.on_model_event(STOPPED)
    assert patient.told == [STARTED, STOPPED]
    assert patient.commands == ["hold", "release", "cancel", "respond"]


def test_a_caller_who_interrupts_nobody_is_answered_as_ever(patient: Stage) -> None:
    patient.is_speaking = False
    patient.guard.on_model_event(STARTED)
    patient.guard.on_model_event(STOPPED)
    assert (patient.told, patient.commands) == ([STARTED, STOPPED], ["respond"])


def test_who_still_speaks_when_the_agent_has_ended_has_the_turn(patient: Stage) -> None:
    patient.guard.on_model_event(STARTED)
    patient.drain()
    patient.guard.on_model_event(STOPPED)
    assert (patient.told, patient.commands) == ([STARTED, STOPPED], ["hold", "release", "respond"])


def test_a_protected_greeting_is_heard_whole_and_the_caller_answered_after_it() -> None:
    call = Stage(GuardPolicy(protects_greeting=True))
    call.guard.on_model_event(STARTED)
    call.hear(SPEECH, 2000)
    call.guard.on_model_event(STOPPED)
    assert (call.told, call.commands) == ([STOPPED], ["respond"])
    call.drain()
    call.is_speaking = True
    call.guard.on_model_event(STARTED)
    call.hear(SPEECH, 20)
    assert call.commands == ["respond", "cancel"]


def test_an_agent_that_cannot_be_interrupted_is_not_and_the_service_answers() -> None:
    call = Stage(GuardPolicy(interruptible=False))
    call.guard.on_model_event(STARTED)
    call.hear(SPEECH, 2000)
    call.guard.on_model_event(STOPPED)
    assert (call.told, call.commands) == ([STOPPED], [])


def test_other_events_pass(patient: Stage) -> None:
    event = BackendError("code", "message")
    patient.guard.on_model_event(event)
    assert patient.told == [event]


def test_loudness_is_measured_in_every_format() -> None:
    wide = TONE.astype("<i2").tobytes()
    formats = {
        AudioFormat.PCMU: SPEECH,
        AudioFormat.PCMA: encode_alaw(TONE),
        AudioFormat.PCM16_16K: wide,
        AudioFormat.PCM16_24K: wide,
    }
    assert all(is_voiced(payload, audio) for audio, payload in formats.items())
    assert not is_voiced(HUSH, AudioFormat.PCMU)
    assert not is_voiced(b"", AudioFormat.PCM16_24K)


@pytest.mark.parametrize(
    ("policy", "needed", "decides"),
    [
        (GuardPolicy(), False, False),
        (GuardPolicy(interruptible=False, minimum_speech_ms=300), True, False),
        (GuardPolicy(minimum_speech_ms=300), True, True),
        (GuardPolicy(protects_greeting=True), True, True),
    ],
)
def test_a_guard_is_there_only_where_it_decides_something(policy: GuardPolicy, needed: bool, decides: bool) -> None:
    assert (policy.is_needed, policy.decides) == (needed, decides)
