"""GPT-Live, acted out: what our own client makes of it, and that each event is one of the official client's."""

import json

import pytest

from gateway.backends.openai_live.protocol import OpenAiLiveProtocol
from gateway.embedded.agent import Pace
from gateway.embedded.live import SPEED, LiveSession
from gateway.embedded.session import Closure, Session
from gateway.realtime.conversation import AgentTurn, CallerTurn, SystemNote
from gateway.realtime.event import (
    AudioDelta,
    BackendError,
    CallerTranscript,
    FailureReason,
    ResponseDone,
    SessionFailed,
    ToolCall,
)
from gateway.realtime.session import TextRole
from tests.gateway.embedded.foreign_peer import ForeignPeer, check_live_client, check_live_server
from tests.gateway.embedded.realtime_peer import agent_session, counting_token
from tests.gateway.embedded.scripts import script


def connect(*, limit_s: float = 3600, rate_hz: int = 24_000, model: str = "embedded-agent") -> ForeignPeer:
    def make(model: str) -> Session | None:
        return agent_session(script(), pace=Pace(speed=SPEED), limit_s=limit_s) if model == "embedded-agent" else None

    session = LiveSession(make, counting_token(), limit_s, 1_800_000_000)
    return ForeignPeer(session, OpenAiLiveProtocol(model, "gpt-x"), check_live_server, rate_hz)


@pytest.fixture
def peer() -> ForeignPeer:
    peer = connect()
    peer.configure()
    return peer


def test_settings_come_back_with_an_id_and_an_end(peer: ForeignPeer) -> None:
    [started] = peer.received
    assert started["session"]["expires_at"] == 1_800_003_600
    assert peer.protocol.configured


def test_commentary_is_said_at_about_the_pace_of_speech(peer: ForeignPeer) -> None:
    peer.protocol.create_response('Say exactly these words: "One two three four five six seven eight nine ten."')
    peer.exchange()
    peer.run(0.45)
    assert 400 <= sum(len(delta.audio) for delta in peer.of(AudioDelta)) / 48 <= 700
    peer.run(1)
    assert sum(len(delta.audio) for delta in peer.of(AudioDelta)) == 1000 * 48
    peer.run(2)
    peer.run(2)
    assert peer.said() == ["One two three four five six seven eight nine ten."]


def test_caller_is_understood_and_answered(peer: ForeignPeer) -> None:
    peer.speak("When are you open?")
    peer.run(5)
    peer.run(2)
    assert [event.text for event in peer.of(CallerTranscript) if event.final] == ["When are you open?"]
    assert peer.said() == ["We are open every day from noon until ten in the evening."]


def test_sixteen_kilohertz_go_both_ways() -> None:
    peer = connect(rate_hz=16_000)
    peer.configure()
    peer.speak("When are you open?")
    peer.run(5)
    spoken_ms = sum(len(delta.audio) for delta in peer.of(AudioDelta)) / 32
    assert spoken_ms == pytest.approx(1200, abs=30)


def test_agent_falls_silent_when_the_caller_speaks_up_and_no_event_says_so(peer: ForeignPeer) -> None:
    peer.speak("When are you open?")
    peer.run(0.2)
    before = len(peer.received)
    peer.append(300, loud=True)
    peer.run(1)
    after = [event["type"] for event in peer.received[before:]]
    assert after.count("session.output_audio.delta") < 8
    assert set(after) <= {"session.output_audio.delta", "session.output_transcript.delta"}


def test_tool_is_called_by_the_model_behind(peer: ForeignPeer) -> None:
    peer.speak("A table for two please")
    peer.run(3)
    [call] = peer.of(ToolCall)
    assert (call.name, json.loads(call.arguments)) == ("book_table", {"guests": "two"})
    assert "session.delegation.created" in [event["type"] for event in peer.received]
    peer.protocol.send_tool_result(call.call_id, '{"ok":true}')
    peer.exchange()
    peer.run(5)
    peer.run(2)
    assert "".join(peer.said()).endswith("Your table for two is booked.")


def test_notes_are_acknowledged_and_not_answered(peer: ForeignPeer) -> None:
    peer.protocol.send_text("The caller pressed 5.", TextRole.SYSTEM)
    peer.protocol.send_text("It is late.", TextRole.USER)
    peer.exchange()
    peer.run(2)
    kinds = [event["type"] for event in peer.received[1:]]
    assert kinds == ["session.instructions.appended", "session.thinking.appended"]


def test_history_is_taken(peer: ForeignPeer) -> None:
    peer = connect()
    peer.configure(history=(CallerTurn("Hello"), AgentTurn("Good morning."), SystemNote("The caller pressed 5.")))
    assert peer.protocol.configured
    peer.run(2)
    assert peer.of(AudioDelta) == []


def test_use_is_told_now_and_then(peer: ForeignPeer) -> None:
    peer.run(25)
    told = [event["usage"]["seconds"] for event in peer.received if event["type"] == "session.usage.updated"]
    assert told == [10, 20]


def test_session_that_is_over_says_so() -> None:
    peer = connect(limit_s=5)
    peer.configure()
    peer.run(6)
    [failure] = peer.of(SessionFailed)
    assert failure.reason is FailureReason.EXPIRED
    assert peer.session.closure == Closure(1000, "")


def test_close_is_answered_with_what_was_used(peer: ForeignPeer) -> None:
    peer.run(3)
    message = b'{"type":"session.close","event_id":"e1"}'
    check_live_client(message)
    peer.session.receive_message(message, peer.now)
    peer.exchange()
    closed = peer.received[-1]
    assert (closed["type"], closed["reason"], closed["usage"]) == (
        "session.closed",
        "close_requested",
        {"seconds": 3.0},
    )


def test_muted_caller_is_not_heard(peer: ForeignPeer) -> None:
    peer.session.receive_message(b'{"type":"session.input_audio.mute"}', peer.now)
    peer.append(800, loud=True)
    peer.append(700, loud=False)
    peer.run(2)
    assert peer.of(AudioDelta) == []
    peer.session.receive_message(b'{"type":"session.input_audio.unmute"}', peer.now)
    peer.speak("When are you open?")
    peer.run(3)
    assert peer.of(AudioDelta) != []


@pytest.mark.parametrize(
    "message", ["{", "[]", '{"type":"session.mood"}', '{"type":"session.start","session":{"model":"m"}}', "{}"]
)
def test_event_that_the_service_would_refuse_is_an_error_that_changes_nothing(peer: ForeignPeer, message: str) -> None:
    peer.session.receive_message(message.encode(), peer.now)
    peer.exchange()
    assert len(peer.of(BackendError)) == 1
    peer.speak("When are you open?")
    peer.run(3)
    assert peer.of(ResponseDone) or peer.of(AudioDelta)


def test_model_that_is_not_there_is_refused() -> None:
    peer = connect(model="embedded-parrot")
    peer.configure()
    assert peer.protocol.rejection is not None
    assert peer.session.closure is not None
