"""Gemini Live, acted out: what our own client makes of it, and that each message is one of the official client's."""

import json

import pytest

from gateway.backends.gemini.protocol import GeminiProtocol
from gateway.embedded.foreign import MakeSession
from gateway.embedded.gemini import DEADLINE, INVALID, GeminiSession, Handles
from gateway.embedded.session import Session
from gateway.realtime.conversation import AgentTurn, CallerTurn, ToolExchange
from gateway.realtime.event import (
    AudioDelta,
    AudioDone,
    CallerTranscript,
    ResponseDone,
    ResponseStatus,
    SessionExpiring,
    SpeechStarted,
    ToolCall,
    ToolCallCancelled,
)
from gateway.realtime.session import TextRole
from gateway.realtime.settings import SessionSettings
from tests.gateway.embedded.foreign_peer import SETTINGS, ForeignPeer, check_gemini_server
from tests.gateway.embedded.realtime_peer import agent_session, counting_token
from tests.gateway.embedded.scripts import script


def make(model: str) -> Session | None:
    return agent_session(script()) if model == "embedded-agent" else None


class Service:
    """A service that outlives its connections."""

    def __init__(self, make_session: MakeSession = make) -> None:
        self.handles = Handles()
        self.token = counting_token()
        self.make = make_session

    def connect(self, handle: str | None = None, *, limit_s: float = 600, model: str = "embedded-agent") -> ForeignPeer:
        session = GeminiSession(self.make, self.token, self.handles, limit_s)
        return ForeignPeer(session, GeminiProtocol(model, handle), check_gemini_server)


@pytest.fixture
def peer() -> ForeignPeer:
    peer = Service().connect()
    peer.configure()
    return peer


def test_greeting_is_said_when_it_is_asked_for(peer: ForeignPeer) -> None:
    peer.protocol.create_response('Say exactly these words: "Good evening."')
    peer.exchange()
    peer.run(5)
    assert peer.said() == ["Good evening."]
    assert sum(len(delta.audio) for delta in peer.of(AudioDelta)) == 200 * 48
    [done] = peer.of(ResponseDone)
    assert (done.status, done.usage.output_audio_tokens) == (ResponseStatus.COMPLETED, 4)


def test_turn_is_complete_when_its_playback_ends(peer: ForeignPeer) -> None:
    peer.protocol.create_response(None)
    peer.exchange()
    peer.run(0.15)
    assert len(peer.of(AudioDone)) == 1
    assert peer.of(ResponseDone) == []
    peer.run(0.1)
    assert len(peer.of(ResponseDone)) == 1


def test_caller_is_understood_and_answered(peer: ForeignPeer) -> None:
    peer.speak("When are you open?")
    peer.run(5)
    assert [event.text for event in peer.of(CallerTranscript) if event.final] == ["When are you open?"]
    assert peer.said() == ["We are open every day from noon until ten in the evening."]


def test_caller_who_speaks_up_interrupts_what_is_still_being_played(peer: ForeignPeer) -> None:
    peer.speak("When are you open?")
    peer.run(0.4)  # all generated, a third played
    assert peer.of(ResponseDone) == []
    peer.append(300, loud=True)
    [started] = peer.of(SpeechStarted)
    [done] = peer.of(ResponseDone)
    assert (done.status, done.reason) == (ResponseStatus.CANCELLED, "turn_detected")
    assert peer.events.index(started) < peer.events.index(done)
    kinds = [next(iter(message["serverContent"])) for message in peer.received if "serverContent" in message]
    assert kinds[-2:] == ["interrupted", "turnComplete"]


def test_caller_who_speaks_while_nobody_does_interrupts_nothing(peer: ForeignPeer) -> None:
    peer.append(300, loud=True)
    assert peer.of(SpeechStarted) == []


def test_tool_is_called_and_its_result_is_answered_without_being_asked(peer: ForeignPeer) -> None:
    peer.speak("A table for two please")
    peer.run(2)
    [call] = peer.of(ToolCall)
    assert (call.name, json.loads(call.arguments)) == ("book_table", {"guests": "two"})
    assert peer.of(ResponseDone) == []
    peer.protocol.send_tool_result(call.call_id, '{"ok":true}')
    peer.exchange()
    peer.run(5)
    assert peer.said() == ["One moment.Your table for two is booked."]
    assert len(peer.of(ResponseDone)) == 1


def test_interrupted_tool_call_is_cancelled_and_its_result_is_not_wanted(peer: ForeignPeer) -> None:
    peer.speak("A table for two please")
    peer.run(2)
    [call] = peer.of(ToolCall)
    peer.append(300, loud=True)
    assert peer.of(ToolCallCancelled) == [ToolCallCancelled(call.call_id)]
    before = len(peer.received)
    peer.protocol.send_tool_result(call.call_id, "{}")
    peer.exchange()
    assert len(peer.received) == before


def test_connection_is_announced_to_end_before_it_ends() -> None:
    peer = Service().connect(limit_s=40)
    peer.configure()
    peer.run(29.9)
    assert peer.of(SessionExpiring) == []
    peer.run(0.2)
    assert peer.of(SessionExpiring) == [SessionExpiring(10.0)]


def test_connection_ends_in_its_time() -> None:
    service = Service(lambda _model: agent_session(script(), limit_s=40))
    peer = service.connect(limit_s=40)
    peer.configure()
    peer.run(41)
    assert peer.session.closure == DEADLINE


def test_lost_session_is_taken_up_again_by_its_handle() -> None:
    service = Service()
    first = service.connect()
    first.configure()
    first.speak("A table for two please")
    first.run(2)
    [call] = first.of(ToolCall)
    handle = first.protocol.resumption_handle
    second = service.connect(handle)
    second.configure()
    assert second.protocol.configured
    first.append(300, loud=True)  # nobody listens there any more
    assert first.of(ToolCallCancelled) == []
    tool_response = {"functionResponses": [{"id": call.call_id, "name": call.name, "response": {"output": "ok"}}]}
    second.session.receive_message(json.dumps({"toolResponse": tool_response}).encode(), second.now)
    second.exchange()
    second.run(5)
    assert second.said() == ["Your table for two is booked."]


def test_words_that_were_being_heard_when_the_connection_broke_are_answered_on_the_next() -> None:
    service = Service()
    first = service.connect()
    first.configure()
    first.holds_work = True
    first.speak("When are you open?")
    second = service.connect(first.protocol.resumption_handle)
    second.hears = first.hears
    second.configure()
    second.protocol.create_response(None)
    second.exchange()
    second.run(5)
    assert second.said() == ["We are open every day from noon until ten in the evening."]


def test_handle_that_is_not_known_is_refused() -> None:
    peer = Service().connect("handle-nobody")
    peer.configure()
    assert peer.session.closure is not None
    assert peer.session.closure.code == INVALID


def test_model_that_is_not_there_is_refused() -> None:
    peer = Service().connect(model="embedded-parrot")
    peer.configure()
    assert peer.session.closure is not None
    assert (peer.session.closure.code, "embedded-parrot is not found" in peer.session.closure.reason) == (1008, True)


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        "{}",
        '{"setup":{"model":"m"},"realtimeInput":{}}',
        '{"realtimeInput":{"text":"hello"}}',
        '{"setup":{"model":"embedded-agent","mood":1}}',
    ],
)
def test_message_that_the_service_would_refuse_closes_the_connection(message: str) -> None:
    peer = Service().connect()
    peer.session.receive_message(message.encode(), peer.now)
    assert peer.session.closure is not None
    assert peer.session.closure.code == INVALID


def test_words_of_the_official_client_are_taken_too(peer: ForeignPeer) -> None:
    # google-genai itself sends some keys in snake case.
    peer.session.receive_message(b'{"realtime_input":{"text":"When are you open?"}}', peer.now)
    peer.exchange()
    peer.run(5)
    assert peer.said() == ["We are open every day from noon until ten in the evening."]


def test_history_is_taken_without_an_answer() -> None:
    peer = Service().connect()
    peer.configure(
        history=(CallerTurn("Hello"), AgentTurn("Good morning."), ToolExchange("c1", "book_table", "{}", "ok"))
    )
    assert peer.session.closure is None
    peer.run(2)
    assert peer.said() == []


def test_turns_by_hand_are_answered_when_they_end() -> None:
    peer = Service().connect()
    peer.configure(SessionSettings(turn_detection=None, tools=SETTINGS.tools))
    peer.hears = ["When are you open?"]
    peer.append(800, loud=True)
    peer.protocol.end_turn()
    peer.exchange()
    peer.run(5)
    assert peer.said() == ["We are open every day from noon until ten in the evening."]


def test_text_alone_asks_for_nothing(peer: ForeignPeer) -> None:
    peer.protocol.send_text("The caller pressed 5.", TextRole.SYSTEM)
    peer.exchange()
    peer.run(2)
    assert peer.said() == []
