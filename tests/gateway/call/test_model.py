"""The model of a call: whatever becomes of its sessions, the conversation goes on, or the caller is told why not."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from gateway.call.conversion import conversion_between
from gateway.call.dead_air import DeadAirPolicy
from gateway.call.model import CallModel
from gateway.call.prompt import Prompt, Prompts
from gateway.call.succession import GO_ON
from gateway.call.surroundings import ModelSurroundings
from gateway.config.price import PriceSettings
from gateway.log import ContextLogger
from gateway.realtime.capability import AudioFormat, RealtimeCapabilities
from gateway.realtime.conversation import CallerTurn, ConversationTurn, ToolExchange
from gateway.realtime.errors import ModelError, ModelForbiddenError, ModelRefusedError
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    FailureReason,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    SessionExpiring,
    SessionFailed,
    SessionUsage,
    SpeechStarted,
    SpeechStopped,
    TextAnswer,
    ToolCall,
    ToolCallCancelled,
    Usage,
)
from gateway.realtime.session import EventSink, TextRole
from gateway.realtime.settings import SessionSettings
from gateway.transcoding import audio_of, samples_of

LOST = SessionFailed(FailureReason.CONNECTION_LOST, "reset", retryable=True)
PROMPTS = Prompts(
    Prompt("One moment.", {AudioFormat.PCMU: b"filler"}),
    Prompt("We are sorry.", {AudioFormat.PCMU: b"apology"}),
    Prompt("Please wait.", {AudioFormat.PCMU: b"waiting"}),
)


class FakeSession:
    """A session that remembers what it is told."""

    def __init__(self, backend: "FakeBackend", sink: EventSink) -> None:
        self.capabilities = backend.capabilities
        self.sink = sink
        self.dropped_input_ms = 0
        self.append_ms = 20
        self.told: list[tuple[object, ...]] = []
        self.audio: list[bytes] = []
        self.history: Sequence[ConversationTurn] = ()
        self.resumption_handle: str | None = None
        self.resumed: str | None = None
        self.settings = SessionSettings()
        self.is_closed = False
        self._refusal = backend.refusals.pop(0) if backend.refusals else None

    async def open(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None:
        self.history, self.settings = history, settings
        await asyncio.sleep(0)
        if self._refusal == "mute":
            await asyncio.Event().wait()
        if isinstance(self._refusal, ModelError):
            raise self._refusal

    def append_audio(self, payload: bytes) -> None:
        self.audio.append(payload)

    def create_response(self, instructions: str | None = None) -> None:
        self.told.append(("respond", instructions))

    def ask_aside(self, request_id: str, instructions: str) -> None:
        self.told.append(("aside", request_id, instructions))

    def cancel_response(self) -> None:
        self.told.append(("cancel",))

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        self.told.append(("truncate", item_id, audio_end_ms))

    def start_turn(self) -> None:
        self.told.append(("start_turn",))

    def end_turn(self) -> None:
        self.told.append(("end_turn",))

    def send_tool_result(self, call_id: str, output: str) -> None:
        self.told.append(("tool", call_id, output))

    def send_text(self, text: str, *, role: TextRole = TextRole.USER) -> None:
        self.told.append(("text", text, role))

    async def aclose(self) -> None:
        self.is_closed = True


class FakeBackend:
    """A backend whose next sessions refuse as listed ("mute": never answer; None: open) and whose later ones open."""

    def __init__(
        self,
        name: str = "main",
        *refusals: ModelError | str | None,
        session_limit_s: float | None = None,
        formats: tuple[AudioFormat, AudioFormat] = (AudioFormat.PCMU, AudioFormat.PCMU),
        takes_turns: bool = False,
    ) -> None:
        self.name = name
        self.refusals = list(refusals)
        heard, spoken = formats
        self.capabilities = RealtimeCapabilities(
            (heard,), (spoken,), takes_turns=takes_turns, session_limit_s=session_limit_s
        )
        self.sessions: list[FakeSession] = []

    def create_session(self, sink: EventSink) -> FakeSession:
        self.sessions.append(FakeSession(self, sink))
        return self.sessions[-1]


class Stage:
    """A call around a model."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        backends: Sequence[FakeBackend],
        give_up_after: float,
        dead_air: DeadAirPolicy,
    ) -> None:
        self.backends = backends
        self.heard: list[RealtimeEvent] = []
        self.history: tuple[ConversationTurn, ...] = (CallerTurn("A table for four."),)
        self.is_speaking = False
        self.ahead_s = 0.0
        self.model = CallModel(
            backends,
            ModelSurroundings(
                history=lambda: self.history,
                is_speaking=lambda: self.is_speaking,
                spawn=tasks.create_task,
                clock=self.clock,
                logger=ContextLogger(logging.getLogger("test"), {}),
                prompts=PROMPTS,
                filler_after_seconds=0.0,
                give_up_after_seconds=give_up_after,
                prices={"main": PriceSettings(output_audio=10.0, session_minute=0.6)},
                dead_air=dead_air,
            ),
            self.heard.append,
        )

    def tell(self, *events: RealtimeEvent) -> None:
        """The youngest session of the first backend says something."""
        for event in events:
            self.backends[0].sessions[-1].sink(event)

    def clock(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead_s

    def grow_old(self) -> None:
        """Lets a minute pass: a session that breaks at once counts as a short life."""
        self.ahead_s += 60.0

    def of(self, kind: type[RealtimeEvent]) -> list[RealtimeEvent]:
        return [event for event in self.heard if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def stage(
    *backends: FakeBackend,
    give_up_after: float = 8.0,
    is_open: bool = True,
    dead_air: DeadAirPolicy | None = None,
) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        call = Stage(tasks, backends, give_up_after, dead_air or DeadAirPolicy())
        if is_open:
            await call.model.open(SessionSettings())
        try:
            yield call
        finally:
            call.model.stop()
    await call.model.aclose()
    assert all(session.is_closed for backend in backends for session in backend.sessions)


async def test_the_first_backend_that_answers_takes_the_call() -> None:
    first, second = FakeBackend("first", ModelForbiddenError("no")), FakeBackend("second")
    async with stage(first, second) as call:
        assert call.model.backend_name == "second"
        call.model.create_response("Hello.")
        assert second.sessions[0].told == [("respond", "Hello.")]


async def test_a_backend_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.call.succession.ATTEMPT_SECONDS", 0.01)
    first, second = FakeBackend("first", "mute"), FakeBackend("second")
    async with stage(first, second) as call:
        assert call.model.backend_name == "second"
        assert first.sessions[0].is_closed


async def test_when_nobody_answers_the_call_learns_why() -> None:
    first, second = FakeBackend("first", ModelForbiddenError("no")), FakeBackend("second", ModelRefusedError("gone"))
    async with stage(first, second, is_open=False) as call:
        with pytest.raises(ModelError, match="first: no; second: gone"):
            await call.model.open(SessionSettings())


async def test_a_session_lost_in_mid_sentence_is_replaced_and_goes_on() -> None:
    backend = FakeBackend()
    async with stage(backend) as call:
        lost = backend.sessions[0]
        call.grow_old()
        lost.sink(ResponseStarted("r1"))
        lost.sink(AudioDelta("r1", "i1", b"half a sen"))
        lost.sink(LOST)
        assert call.heard[-2:] == [
            AudioDone("r1", "i1"),  # what was received is played to its end
            ResponseDone("r1", ResponseStatus.FAILED, "session lost", None),
        ]
        await call.until(lambda: bool(call.model.changes))
        fresh = backend.sessions[1]
        assert fresh.history == call.history
        assert fresh.told == [("respond", GO_ON)]
        assert lost.is_closed
        assert not call.of(SessionFailed)


async def test_an_agent_that_listened_says_nothing_when_it_comes_back() -> None:
    backend = FakeBackend()
    async with stage(backend) as call:
        call.grow_old()
        backend.sessions[0].sink(LOST)
        await call.until(lambda: bool(call.model.changes))
        assert backend.sessions[1].told == []
        assert call.heard == []


async def test_what_the_caller_says_meanwhile_is_not_lost() -> None:
    backend = FakeBackend()
    async with stage(backend) as call:
        lost = backend.sessions[0]
        call.grow_old()
        lost.sink(SpeechStarted("c1", None))
        call.model.append_audio(b"a table")
        lost.sink(LOST)
        call.model.append_audio(b"for four")
        await call.until(lambda: bool(call.model.changes))
        call.model.append_audio(b"please")
        assert backend.sessions[1].audio == [b"a table", b"for four", b"please"]
        assert backend.sessions[1].told == []


async def test_commands_wait_for_the_next_session() -> None:
    backend = FakeBackend()
    async with stage(backend) as call:
        lost = backend.sessions[0]
        call.grow_old()
        lost.sink(ToolCall("r1", "t1", "look_up", "{}"))
        lost.sink(LOST)
        call.model.send_tool_result("t1", "seven")
        call.model.truncate("i1", 100)  # of the former session: nobody knows it any more
        await call.until(lambda: bool(call.model.changes))
        assert backend.sessions[1].told == [("tool", "s0_t1", "seven"), ("respond", GO_ON)]


async def test_calls_of_tools_that_each_session_counts_from_one_are_told_apart() -> None:
    """A tool desk, a web server's Idempotency-Key and the record know a request by its id within the call."""
    backend = FakeBackend()
    async with stage(backend) as call:
        call.grow_old()
        backend.sessions[0].sink(ToolCall("r1", "call_1", "look_up", "{}"))
        call.history = (ToolExchange("call_1", "look_up", "{}", None),)
        backend.sessions[0].sink(LOST)
        await call.until(lambda: bool(call.model.changes))
        fresh = backend.sessions[1]
        fresh.sink(ToolCall("r1", "call_1", "book", "{}"))
        fresh.sink(ToolCall("r1", "call_2", "book", "{}"))
        fresh.sink(ToolCallCancelled("call_2"))
        ids = [event.call_id for event in call.of(ToolCall) if isinstance(event, ToolCall)]
        assert ids == ["call_1", "1~call_1", "1~call_2"]
        assert call.of(ToolCallCancelled) == [ToolCallCancelled("1~call_2")]
        call.model.send_tool_result("1~call_1", "booked")
        call.model.send_tool_result("call_1", "found")
        assert fresh.history == (ToolExchange("s0_call_1", "look_up", "{}", None),)
        assert [told for told in fresh.told if told[0] == "tool"] == [
            ("tool", "call_1", "booked"), ("tool", "s0_call_1", "found"),
        ]  # fmt: skip


async def test_a_third_session_knows_the_calls_of_both_before_it() -> None:
    backend = FakeBackend()
    async with stage(backend) as call:
        for number in range(2):
            call.grow_old()
            backend.sessions[number].sink(ToolCall("r1", "call_1", "look_up", "{}"))
            backend.sessions[number].sink(LOST)
            await call.until(lambda: len(call.model.changes) == number + 1)  # noqa: B023 - awaited within the turn
        for name in ("1~call_1", "call_1"):
            call.model.send_tool_result(name, "found")
        told = [told for told in backend.sessions[2].told if told[0] == "tool"]
        assert told == [("tool", "s1_call_1", "found"), ("tool", "s0_call_1", "found")]


async def test_the_next_backend_takes_over_and_its_names_do_not_collide() -> None:
    first, second = FakeBackend("first", None, ModelForbiddenError("no")), FakeBackend("second")
    async with stage(first, second) as call:
        call.grow_old()
        first.sessions[0].sink(AudioDelta("r1", "i1", b"a"))
        first.sessions[0].sink(LOST)
        await call.until(lambda: bool(call.model.changes))
        (change,) = call.model.changes
        assert (change.from_backend, change.to_backend, change.reason) == ("first", "second", "connection_lost")
        second.sessions[0].sink(AudioDelta("r1", "i1", b"b"))
        one, other = (event.item_id for event in call.of(AudioDelta) if isinstance(event, AudioDelta))
        assert one != other
        call.model.truncate(other, 40)
        call.model.truncate(one, 20)
        assert second.sessions[0].told == [("truncate", "i1", 40)]
        first.sessions[0].sink(AudioDelta("r1", "i1", b"late"))
        assert len(call.of(AudioDelta)) == 2


async def test_a_caller_who_waits_hears_stored_words_once_it_is_silent() -> None:
    backend = FakeBackend("main", None, "mute")
    async with stage(backend) as call:
        call.grow_old()
        call.is_speaking = True
        backend.sessions[0].sink(SpeechStopped("c1", None))
        backend.sessions[0].sink(LOST)
        await asyncio.sleep(0.1)
        assert not call.of(AudioDelta)
        call.is_speaking = False
        await call.until(lambda: bool(call.of(AudioDelta)))
        (filler,) = call.of(AudioDelta)
        assert isinstance(filler, AudioDelta)
        assert filler.audio == b"filler"


async def test_when_no_backend_can_be_had_the_caller_hears_the_apology() -> None:
    refused = ModelForbiddenError("no")
    first, second = FakeBackend("first", None, refused), FakeBackend("second", refused)
    async with stage(first, second) as call:
        call.grow_old()
        first.sessions[0].sink(LOST)
        await call.until(lambda: bool(call.of(SessionFailed)))
        assert [event.audio for event in call.heard if isinstance(event, AudioDelta)] == [b"apology"]
        assert AgentTranscript("prompt-1", "We are sorry.", final=True) in call.heard
        assert call.heard[-1] == LOST


async def test_the_search_ends() -> None:
    backend = FakeBackend("main", None, *(ModelRefusedError("gone") for _ in range(500)))
    async with stage(backend, give_up_after=0.02) as call:
        call.grow_old()
        backend.sessions[0].sink(LOST)
        await call.until(lambda: bool(call.of(SessionFailed)))


async def test_a_conversation_that_breaks_every_session_is_given_up() -> None:
    backend = FakeBackend()
    async with stage(backend) as call:
        for number in range(10):
            if call.of(SessionFailed):
                break
            await call.until(lambda count=number: len(call.model.changes) == count)  # type: ignore[misc]
            backend.sessions[-1].sink(LOST)
            await asyncio.sleep(0.01)
        await call.until(lambda: bool(call.of(SessionFailed)))
        assert len(backend.sessions) <= 4


async def test_a_call_that_ends_stops_the_search() -> None:
    backend = FakeBackend("main", None, "mute")
    async with stage(backend) as call:
        call.grow_old()
        backend.sessions[0].sink(LOST)
        await call.until(lambda: len(backend.sessions) == 2)
    assert not call.of(SessionFailed)


async def test_a_session_is_replaced_before_the_service_ends_it() -> None:
    backend = FakeBackend(session_limit_s=0.2)
    async with stage(backend) as call:
        former = backend.sessions[0]
        call.model.append_audio(b"quiet")
        backend.capabilities = RealtimeCapabilities((AudioFormat.PCMU,), (AudioFormat.PCMU,))
        await call.until(lambda: bool(call.model.changes))
        assert call.model.changes[0].reason == "renewed"
        assert backend.sessions[-1].audio == [b"quiet"]
        await call.until(lambda: former.is_closed)
        assert backend.sessions[-1].told == []


async def test_a_renewal_waits_for_a_quiet_moment() -> None:
    backend = FakeBackend()
    async with stage(backend) as call:
        former = backend.sessions[0]
        former.sink(ResponseStarted("r1"))
        former.sink(SessionExpiring(60.0))
        await asyncio.sleep(0.1)
        assert len(backend.sessions) == 1
        former.sink(ResponseDone("r1", ResponseStatus.COMPLETED, "", None))
        await call.until(lambda: bool(call.model.changes))
        assert former.is_closed


async def test_a_renewal_without_a_quiet_moment_is_made_in_the_midst_of_speech() -> None:
    backend = FakeBackend()
    async with stage(backend) as call:
        former = backend.sessions[0]
        former.sink(ResponseStarted("r1"))
        former.sink(SessionExpiring(2.0))
        await call.until(lambda: bool(call.model.changes))
        assert backend.sessions[-1].told == [("respond", GO_ON)]


async def test_the_cost_of_all_sessions_adds_up() -> None:
    backend = FakeBackend()
    async with stage(backend) as call:
        done = ResponseDone("r1", ResponseStatus.COMPLETED, "", Usage(output_audio_tokens=100_000))
        backend.sessions[0].sink(done)
        call.grow_old()
        backend.sessions[0].sink(LOST)
        await call.until(lambda: bool(call.model.changes))
        backend.sessions[1].sink(done)
        assert call.model.cost == pytest.approx(2.6, abs=0.01)


async def test_what_costs_nothing_known_has_no_cost() -> None:
    async with stage(FakeBackend("other")) as call:
        assert call.model.cost is None


@pytest.fixture
def impatient() -> DeadAirPolicy:
    return DeadAirPolicy(nudge_after_seconds=4.0, fill_after_seconds=5.0, replace_after_seconds=9.0)


async def wait_in_silence(call: Stage, seconds: float) -> None:
    """Lets so much time pass, in steps that are long enough for the watchdog to look."""
    for _ in range(round(seconds)):
        call.ahead_s += 1.0
        await asyncio.sleep(0.01)


@pytest.fixture
def _frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.call.succession.DEAD_AIR_CHECK_SECONDS", 0.002)


@pytest.mark.usefixtures("_frequent_checks")
async def test_a_model_that_does_not_answer_is_asked_again_covered_up_and_replaced(impatient: DeadAirPolicy) -> None:
    main = FakeBackend("main")
    async with stage(main, dead_air=impatient) as call:
        call.tell(SpeechStarted("c1", 0), SpeechStopped("c1", 900))
        await wait_in_silence(call, 3)
        assert main.sessions[0].told == []
        await wait_in_silence(call, 2)
        assert main.sessions[0].told == [("respond", None)]
        await wait_in_silence(call, 2)
        assert [event.audio for event in call.of(AudioDelta) if isinstance(event, AudioDelta)] == [b"waiting"]
        await wait_in_silence(call, 4)
        await call.until(lambda: bool(call.model.changes))
        assert call.model.changes[0].reason == "unanswered"
        assert main.sessions[0].is_closed
        assert main.sessions[1].history == call.history
        assert main.sessions[1].told == [("respond", GO_ON)]
        count = call.model.dead_air
        assert (count.nudges, count.fillers, count.replacements) == (1, 1, 1)


@pytest.mark.usefixtures("_frequent_checks")
async def test_backends_that_stay_silent_follow_one_another_and_then_the_caller_is_told(
    impatient: DeadAirPolicy,
) -> None:
    main, second = FakeBackend("main"), FakeBackend("second")
    async with stage(main, second, dead_air=impatient) as call:
        call.model.create_response("Greet.")
        for _ in range(100):
            if call.of(SessionFailed):
                break
            await wait_in_silence(call, 1)
        (failure,) = call.of(SessionFailed)
        assert isinstance(failure, SessionFailed)
        assert failure.reason is FailureReason.UNANSWERED
        assert [change.to_backend for change in call.model.changes] == ["main", "second"]
        assert [event.text for event in call.of(AgentTranscript) if isinstance(event, AgentTranscript)][-1] == (
            "We are sorry."
        )


@pytest.mark.usefixtures("_frequent_checks")
async def test_an_answer_that_stops_in_its_midst_is_dead_air_as_soon_as_it_was_heard(impatient: DeadAirPolicy) -> None:
    main = FakeBackend("main")
    async with stage(main, dead_air=impatient) as call:
        call.tell(ResponseStarted("r1"), AudioDelta("r1", "i1", b"Your table"))
        call.is_speaking = True
        await wait_in_silence(call, 20)  # it is still being said
        assert not call.model.changes
        call.is_speaking = False
        await wait_in_silence(call, 12)
        await call.until(lambda: bool(call.model.changes))
        assert call.model.dead_air.nudges == 0  # a response runs: there is nothing to ask for


async def test_dead_air_is_noticed_when_it_is_due_and_not_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.call.succession.DEAD_AIR_CHECK_SECONDS", 1000.0)
    main = FakeBackend("main")
    async with stage(main, dead_air=DeadAirPolicy(nudge_after_seconds=0.05)) as call:
        call.tell(SpeechStarted("c1", 0), SpeechStopped("c1", 900))
        await call.until(lambda: main.sessions[0].told == [("respond", None)])


@pytest.mark.usefixtures("_frequent_checks")
@pytest.mark.parametrize("news", ["spoke", "tool", "caller", "dismissed"])
async def test_nobody_waits_for_a_model_that_has_spoken_or_whose_turn_it_is_not(
    impatient: DeadAirPolicy, news: str
) -> None:
    main = FakeBackend("main")
    async with stage(main, dead_air=impatient) as call:
        call.tell(SpeechStarted("c1", 0), SpeechStopped("c1", 900))
        match news:
            case "spoke":
                call.tell(ResponseStarted("r1"), AudioDelta("r1", "i1", b"Yes."))
                call.tell(ResponseDone("r1", ResponseStatus.COMPLETED, "", None))
            case "tool":
                call.tell(ResponseStarted("r1"), ToolCall("r1", "t1", "look_up", "{}"))
                call.tell(ResponseDone("r1", ResponseStatus.COMPLETED, "", None))
            case "caller":
                call.tell(SpeechStarted("c2", 1000))
            case _:
                call.model.dismiss_turn()
        await wait_in_silence(call, 30)
        assert main.sessions[0].told == []
        assert not call.model.changes


@pytest.mark.usefixtures("_frequent_checks")
async def test_a_response_that_failed_before_its_first_word_leaves_the_caller_waiting(impatient: DeadAirPolicy) -> None:
    main = FakeBackend("main")
    async with stage(main, dead_air=impatient) as call:
        call.tell(ResponseStarted("r1"), ResponseDone("r1", ResponseStatus.FAILED, "server_error", None))
        await wait_in_silence(call, 5)
        assert main.sessions[0].told == [("respond", None)]


async def test_a_backend_that_speaks_other_formats_can_take_over_in_mid_call() -> None:
    """The leg goes on in G.711 while Gemini's 16 kHz in and 24 kHz out stand behind it."""
    main = FakeBackend("main", None, ModelForbiddenError("no"))
    second = FakeBackend("second", formats=(AudioFormat.PCM16_16K, AudioFormat.PCM16_24K))
    async with stage(main, second) as call:
        call.tell(LOST)
        await call.until(lambda: bool(call.model.changes))
        (session,) = second.sessions
        assert session.settings.input_format is AudioFormat.PCM16_16K
        assert session.settings.output_format is AudioFormat.PCM16_24K
        session.audio.clear()
        for _ in range(50):
            call.model.append_audio(b"\x10" * 160)
        heard = sum(len(audio) for audio in session.audio)
        assert abs(heard - 50 * 640) <= 2 * 32 * 2  # resampling holds back 2 ms
        for _ in range(50):
            session.sink(AudioDelta("r1", "i1", b"\x00\x20" * 480))
        spoken = b"".join(event.audio for event in call.of(AudioDelta) if isinstance(event, AudioDelta))
        assert abs(len(spoken) - 50 * 160) <= 2 * 8 * 2
        assert spoken.strip(b"\xff")


@pytest.mark.parametrize("given", AudioFormat)
@pytest.mark.parametrize("wanted", AudioFormat)
def test_audio_is_as_long_and_as_loud_after_its_conversion(given: AudioFormat, wanted: AudioFormat) -> None:
    tone = (8000 * np.sin(np.arange(given.sample_rate_hz) * 2 * np.pi * 400 / given.sample_rate_hz)).astype(np.int16)
    audio = audio_of(tone, given)
    conversion = conversion_between(given, wanted)
    pieces = [audio[at : at + 333] for at in range(0, len(audio), 333)]  # odd sizes: samples are cut in two
    converted = audio if conversion is None else b"".join(map(conversion.convert, pieces))
    assert abs(len(converted) - 1000 * wanted.bytes_per_ms) <= 4 * wanted.bytes_per_ms
    loudness = np.sqrt(np.mean(np.square(samples_of(converted, wanted).astype(np.float64))))
    assert loudness == pytest.approx(8000 / np.sqrt(2), rel=0.05)


async def test_words_beside_the_conversation_come_also_when_the_call_has_ended() -> None:
    main = FakeBackend("main")
    async with stage(main) as call:
        call.model.stop()
        asking = asyncio.create_task(call.model.answer_aside("Sum up.", 5.0))
        await call.until(lambda: bool(main.sessions[0].told))
        ((_, request_id, instructions),) = main.sessions[0].told
        assert instructions == "Sum up."
        call.tell(TextAnswer(str(request_id), "A table for four."))
        assert await asking == "A table for four."
        assert call.heard == []


async def test_nobody_waits_for_words_of_a_session_that_is_lost_or_silent() -> None:
    main = FakeBackend("main")
    async with stage(main) as call:
        assert await call.model.answer_aside("Sum up.", 0.01) is None
        asking = asyncio.create_task(call.model.answer_aside("Sum up.", 5.0))
        await call.until(lambda: len(main.sessions[0].told) == 2)
        call.tell(LOST)
        assert await asking is None


class ResumingFakeBackend(FakeBackend):
    """A backend whose sessions can be taken up again."""

    def resume_session(self, sink: EventSink, handle: str) -> FakeSession:
        session = self.create_session(sink)
        session.resumed = handle
        return session


async def test_a_renewed_session_of_a_service_with_handles_goes_on_by_its_handle() -> None:
    main = ResumingFakeBackend("main")
    async with stage(main) as call:
        main.sessions[0].resumption_handle = "handle-1"
        call.tell(SessionExpiring(10.0))
        await call.until(lambda: bool(call.model.changes))
        assert main.sessions[1].resumed == "handle-1"
        assert main.sessions[1].history == ()
        call.model.send_tool_result("t1", "seven")
        assert main.sessions[1].told[-1] == ("tool", "t1", "seven")  # the service knows the call by its own id


async def test_a_handle_that_the_service_does_not_take_leads_to_a_replay() -> None:
    main = ResumingFakeBackend("main", None, ModelRefusedError("expired"))
    async with stage(main) as call:
        main.sessions[0].resumption_handle = "handle-1"
        call.tell(SessionExpiring(10.0))
        await call.until(lambda: bool(call.model.changes))
        assert [session.resumed for session in main.sessions] == [None, "handle-1", None]
        assert main.sessions[2].history == call.history


async def test_a_session_lost_in_mid_sentence_is_replayed_whatever_handle_there_was() -> None:
    main = ResumingFakeBackend("main")
    async with stage(main) as call:
        main.sessions[0].resumption_handle = "from before the sentence"
        call.tell(ResponseStarted("r1"), AudioDelta("r1", "i1", b"Your"), LOST)
        await call.until(lambda: bool(call.model.changes))
        assert main.sessions[1].resumed is None
        assert main.sessions[1].history == call.history


async def test_time_is_charged_by_the_count_of_the_service_where_it_tells_it() -> None:
    main = FakeBackend("main")
    async with stage(main) as call:
        call.ahead_s += 600
        call.tell(SessionUsage(120.0))  # of ten minutes, two were charged
        call.ahead_s += 60
        assert call.model.cost == pytest.approx(3 * 0.6, abs=0.01)


@pytest.mark.usefixtures("_frequent_checks")
async def test_a_model_that_takes_its_turns_by_itself_is_asked_again_and_left_alone(impatient: DeadAirPolicy) -> None:
    main = FakeBackend("main", takes_turns=True)
    async with stage(main, dead_air=impatient) as call:
        call.model.create_response("Greet.")
        await wait_in_silence(call, 30)
        assert main.sessions[0].told == [("respond", "Greet."), ("respond", None)]
        assert (call.of(AudioDelta), call.model.changes) == ([], [])


async def test_speech_in_another_format_is_converted_once_and_in_order() -> None:
    """A stream's converter holds back a little: a piece that went through it twice would be heard."""
    main = FakeBackend("main", None, ModelForbiddenError("no"))
    second = FakeBackend("second", formats=(AudioFormat.PCM16_16K, AudioFormat.PCM16_24K))
    async with stage(main, second) as call:
        call.tell(LOST)
        await call.until(lambda: bool(call.model.changes))
        tone = (8000 * np.sin(np.arange(24_000) * 2 * np.pi * 400 / 24_000)).astype("<i2").tobytes()
        for number, start in enumerate(range(0, len(tone), 4800)):
            second.sessions[0].sink(AudioDelta("r1", f"i{number}", tone[start : start + 4800]))
        spoken = b"".join(event.audio for event in call.of(AudioDelta) if isinstance(event, AudioDelta))
        samples = samples_of(spoken, AudioFormat.PCMU).astype(np.float64)
        steps = np.abs(np.diff(samples[80:]))
        assert steps.max() < 1.3 * 8000 * 2 * np.pi * 400 / 8000  # a tone without a crack
        assert abs(len(spoken) - 8000) <= 32


async def test_a_tool_that_gives_no_answer_leaves_nobody_waiting() -> None:
    main = FakeBackend("main")
    async with stage(main) as call:
        call.tell(ResponseStarted("r1"), ToolCall("r1", "t1", "hold_caller", "{}"))
        call.tell(ResponseDone("r1", ResponseStatus.COMPLETED, "", None))
        due = [call.model.reply_is_due]
        call.model.settle_tool("t1")
        due.append(call.model.reply_is_due)
        call.tell(ToolCall("r1", "t2", "look_up", "{}"), ToolCallCancelled("t2"))
        due.append(call.model.reply_is_due)
        assert due == [True, False, False]


@pytest.mark.usefixtures("_frequent_checks")
async def test_a_model_that_waits_for_the_second_of_two_tools_owes_no_word(impatient: DeadAirPolicy) -> None:
    main = FakeBackend("main")
    async with stage(main, dead_air=impatient) as call:
        call.tell(ResponseStarted("r1"), ToolCall("r1", "t1", "quick", "{}"), ToolCall("r1", "t2", "slow", "{}"))
        call.tell(ResponseDone("r1", ResponseStatus.COMPLETED, "", None))
        call.model.send_tool_result("t1", "yes")
        await wait_in_silence(call, 30)
        assert main.sessions[0].told == [("tool", "t1", "yes")]
        call.model.send_tool_result("t2", "no")
        await wait_in_silence(call, 5)
        assert main.sessions[0].told[-1] == ("respond", None)
