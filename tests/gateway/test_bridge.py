"""The bridge: bytes as they are, a flush and a truncation at the caller's first word, and the marks of each turn."""

from collections.abc import Sequence

import pytest

from gateway.bridge import LONGEST_HESITATION_SECONDS, Bridge
from gateway.call.conversation import Conversation, Utterance
from gateway.call.discretion import TOLD_LATE_SECONDS
from gateway.realtime.capability import AudioFormat, RealtimeCapabilities
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    BackendError,
    CallerTranscript,
    FailureReason,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    SessionFailed,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    Usage,
)
from gateway.realtime.session import EventSink, TextRole
from gateway.realtime.settings import SessionSettings
from rtp.codec.format import PCMU
from rtp.playout import PlayedItem, Playout


class FakeModel:
    """A model session that remembers what it is told."""

    def __init__(self) -> None:
        self.appended: list[bytes] = []
        self.truncated: list[tuple[str, int]] = []
        self.sink: EventSink = lambda event: None
        self.dropped_input_ms = 0
        self.resumption_handle = None
        self.append_ms = 20
        self.capabilities = RealtimeCapabilities((AudioFormat.PCMU,), (AudioFormat.PCMU,))

    async def open(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None: ...
    def append_audio(self, payload: bytes) -> None:
        self.appended.append(payload)

    def create_response(self, instructions: str | None = None) -> None: ...
    def cancel_response(self) -> None: ...
    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        self.truncated.append((item_id, audio_end_ms))

    def ask_aside(self, request_id: str, instructions: str) -> None: ...
    def start_turn(self) -> None: ...
    def end_turn(self) -> None: ...
    def send_tool_result(self, call_id: str, output: str) -> None: ...
    def send_text(self, text: str, *, role: TextRole = TextRole.USER) -> None: ...
    async def aclose(self) -> None: ...


class Listener:
    """A call that remembers what the bridge tells it."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def on_digit(self, digit: str, duration_ms: int) -> None:
        self.told.append(("digit", digit, duration_ms))

    def on_tool_call(self, call: ToolCall) -> None:
        self.told.append(("tool", call.name))

    def on_tool_cancelled(self, tool_call_id: str) -> None:
        self.told.append(("tool_cancelled", tool_call_id))

    def on_model_failed(self, failure: SessionFailed) -> None:
        self.told.append(("failed", failure.reason))

    def on_playout_drained(self) -> None:
        self.told.append(("drained",))

    def on_said(self, utterance: Utterance) -> None:
        self.told.append(("said", utterance.speaker.value, utterance.text))

    def on_interrupted(self, heard_ms: int) -> None:
        self.told.append(("interrupted", heard_ms))

    def on_turn(self, latency_ms: int | None) -> None:
        self.told.append(("turn", latency_ms))


class Stage:
    """A bridge between a fake model and a real playout, in virtual time."""

    def __init__(self, pause_ms: int = 500) -> None:
        self.now = 100.0
        self.model = FakeModel()
        self.listener = Listener()
        self.conversation = Conversation(started=self.now)
        self.bridge = Bridge(self.model, self.conversation, self.listener, lambda: self.now, pause_ms=pause_ms)
        self.playout = Playout(PCMU, 20, self.bridge)
        self.bridge.attach(self)

    def enqueue(self, item_id: str, audio: bytes) -> None:
        self.playout.enqueue(item_id, audio)

    def finish(self, item_id: str) -> None:
        self.playout.finish(item_id)

    def flush(self) -> list[PlayedItem]:
        return self.playout.flush()

    def sent_ms(self, item_id: str) -> int:
        return self.playout.sent_ms(item_id)

    def play(self, frames: int) -> None:
        for _ in range(frames):
            self.now += 0.02
            self.playout.next_frame()

    def respond(self, response_id: str, item_id: str, milliseconds: int) -> None:
        self.bridge.on_model_event(ResponseStarted(response_id))
        self.bridge.on_model_event(AudioDelta(response_id, item_id, b"\x55" * 8 * milliseconds))


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_callers_bytes_reach_the_model_untouched(stage: Stage) -> None:
    frames = [bytes([number]) * 160 for number in range(5)]
    for frame in frames:
        stage.bridge.on_audio(frame, concealed=False)
    assert stage.model.appended == frames


def test_speech_of_the_caller_flushes_and_truncates_by_what_was_sent(stage: Stage) -> None:
    stage.respond("r1", "a1", 2000)
    stage.play(30)
    stage.bridge.on_model_event(SpeechStarted("c1", 700))
    assert stage.model.truncated == [("a1", 600)]
    assert stage.playout.queued_ms == 0
    assert stage.conversation.utterances[0].interrupted
    assert ("interrupted", 600) in stage.listener.told


def test_items_that_nobody_heard_are_truncated_to_nothing(stage: Stage) -> None:
    stage.respond("r1", "a1", 400)
    stage.bridge.on_model_event(AudioDelta("r1", "a2", b"\x55" * 8 * 400))
    stage.play(5)
    stage.bridge.on_model_event(SpeechStarted("c1", None))
    assert stage.model.truncated == [("a1", 100), ("a2", 0)]


def test_speech_over_silence_truncates_nothing(stage: Stage) -> None:
    stage.respond("r1", "a1", 100)
    stage.bridge.on_model_event(AudioDone("r1", "a1"))
    stage.play(6)
    stage.bridge.on_model_event(SpeechStarted("c1", None))
    assert stage.model.truncated == []
    assert stage.conversation.utterances[0].heard_ms == 100


def test_late_audio_of_an_interrupted_item_is_not_played(stage: Stage) -> None:
    stage.respond("r1", "a1", 400)
    stage.play(3)
    stage.bridge.on_model_event(SpeechStarted("c1", None))
    stage.bridge.on_model_event(AudioDelta("r1", "a1", b"\x55" * 800))
    assert stage.playout.queued_ms == 0


@pytest.mark.parametrize(
    ("audio_ms", "withheld"),
    [(1900, True), (3900, False), (None, False)],
    ids=["in the pause", "behind it", "not told"],
)
def test_speech_that_is_told_late_was_said_where_the_model_heard_it(
    stage: Stage, audio_ms: int | None, withheld: bool
) -> None:
    """The pause ends 2 s behind the first audio, and the model tells of speech 3 s later."""
    stage.conversation.withhold()
    stage.bridge.on_audio(b"\xff" * 160, concealed=False)
    stage.now = 102.0
    stage.conversation.discretion.end(stage.now)
    stage.now = 105.0
    stage.bridge.on_model_event(SpeechStarted("c1", audio_ms))
    assert stage.conversation.utterances[0].withheld is withheld


def test_a_service_that_counts_otherwise_withholds_nothing_for_ever(stage: Stage) -> None:
    stage.conversation.withhold()
    stage.bridge.on_audio(b"\xff" * 160, concealed=False)
    stage.conversation.discretion.end(stage.now)
    stage.now += LONGEST_HESITATION_SECONDS + TOLD_LATE_SECONDS + 0.1
    stage.bridge.on_model_event(SpeechStarted("c1", 0))
    stage.bridge.on_model_event(SpeechStopped("c1", 100))
    stage.conversation.withhold()
    stage.bridge.on_model_event(CallerTranscript("c1", "Thank you.", final=True))
    (said,) = stage.conversation.utterances
    assert (said.text, said.withheld) == ("Thank you.", False)


def test_a_turn_is_told_with_its_first_packet(stage: Stage) -> None:
    stage.bridge.on_audio(b"\xff" * 160, concealed=False)  # appended audio counts from now = 100.0
    stage.now = 103.0
    # audio_end_ms includes the 500 ms of silence that the model waited for: the last word ended at 2000 ms.
    stage.bridge.on_model_event(SpeechStopped("c1", 2500))
    stage.respond("r1", "a1", 200)
    stage.play(1)
    assert ("turn", 1020) in stage.listener.told
    (turn,) = stage.conversation.turns
    assert turn.caller_stopped == pytest.approx(102.0)


def test_without_an_offset_the_pause_is_counted_back_from_the_event(stage: Stage) -> None:
    stage.now = 103.0
    stage.bridge.on_model_event(SpeechStopped("c1", None))
    stage.respond("r1", "a1", 200)
    assert stage.conversation.turns[0].caller_stopped == pytest.approx(102.5)


def test_a_response_that_ends_without_audio_done_is_played_to_its_end(stage: Stage) -> None:
    stage.respond("r1", "a1", 30)
    stage.bridge.on_model_event(
        ResponseDone("r1", ResponseStatus.COMPLETED, "", Usage(output_audio_tokens=7, total_tokens=9))
    )
    stage.play(2)
    assert ("drained",) in stage.listener.told
    assert stage.conversation.utterances[0].heard_ms == 30
    assert stage.bridge.usage == {"output_audio_tokens": 7, "total_tokens": 9}


def test_words_of_both_sides_are_told_when_they_are_final(stage: Stage) -> None:
    stage.bridge.on_model_event(CallerTranscript("c1", "What ", final=False))
    stage.bridge.on_model_event(CallerTranscript("c1", "What time is it?", final=True))
    stage.bridge.on_model_event(AgentTranscript("a1", "It is", final=False))
    stage.bridge.on_model_event(AgentTranscript("a1", "It is noon.", final=True))
    assert stage.listener.told == [("said", "caller", "What time is it?"), ("said", "agent", "It is noon.")]


def test_what_the_call_must_decide_is_told_to_it(stage: Stage) -> None:
    stage.bridge.on_digit("5", 100)
    stage.bridge.on_model_event(ToolCall("r1", "t1", "end_call", "{}"))
    stage.bridge.on_model_event(SessionFailed(FailureReason.EXPIRED, "60 minutes", retryable=True))
    assert stage.listener.told == [("digit", "5", 100), ("tool", "end_call"), ("failed", FailureReason.EXPIRED)]


def test_an_error_that_leaves_the_session_usable_changes_nothing(stage: Stage) -> None:
    stage.bridge.on_model_event(BackendError("item_truncate_invalid_item_id", "no such item"))
    assert stage.listener.told == []
