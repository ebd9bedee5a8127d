"""The tools of a call at work: every request is answered once, whatever the tool does."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.log import ContextLogger
from gateway.realtime.event import ToolCall
from gateway.realtime.settings import ToolDefinition
from gateway.tools.built_in import BUILT_IN
from gateway.tools.desk import RUNNING_LIMIT, ToolDesk, ToolWork
from gateway.tools.errors import ToolArgumentsError, ToolFailedError
from gateway.tools.tool import Arguments, ToolContext, ToolPolicy, TransferOutcome

Run = Callable[[Arguments], Awaitable[object]]


class FakeTool:
    """A tool that does as the test says; arguments must be JSON."""

    def __init__(self, run: Run, policy: ToolPolicy) -> None:
        self.definition = ToolDefinition("look_up", "Looks it up.", {"type": "object"})
        self.policy = policy
        self._run = run

    def check(self, arguments: str) -> Arguments:
        try:
            values: Arguments = json.loads(arguments)
        except ValueError:
            raise ToolArgumentsError("not JSON") from None
        return values

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        return await self._run(arguments)


class Stage:
    """A call that remembers what its desk says."""

    def __init__(self, tasks: asyncio.TaskGroup, run: Run, policy: ToolPolicy, calls_limit: int | None) -> None:
        self.caller_turns = 1
        self.has_secrets = False
        self.answers: dict[str, object] = {}
        self.fillers: list[str] = []
        self.kept: list[ToolWork] = []
        self.hung_up = 0
        self.recorded: list[bool] = []
        self.digits: list[str] = []
        self.transfers: list[str] = []
        self.desk = ToolDesk(
            {"look_up": FakeTool(run, policy), **{name.value: tool for name, tool in BUILT_IN.items()}},
            lambda tool_call_id: ToolContext("c1", tool_call_id, "+1", "+2", self),
            self,
            tasks.create_task,
            asyncio.get_running_loop().time,
            ContextLogger(logging.getLogger("test"), {}),
            calls_limit,
        )

    def call(self, call_id: str = "t1", name: str = "look_up", arguments: str = "{}", response: str = "r1") -> None:
        self.desk.take(ToolCall(response, call_id, name, arguments))

    def answer_tool(self, tool_call_id: str, output: str) -> None:
        assert tool_call_id not in self.answers
        self.answers[tool_call_id] = json.loads(output)

    def say_filler(self, words: str) -> None:
        self.fillers.append(words)

    def keep_tool_call(self, work: ToolWork) -> None:
        self.kept.append(work)

    def end_call(self) -> None:
        self.hung_up += 1

    def send_digits(self, digits: str) -> bool:
        self.digits.append(digits)
        return digits != "0"

    async def hold_caller(self, music: Path, max_seconds: float) -> bool:
        return False

    async def play_announcement(self, file: Path) -> bool:
        return False

    def pause_recording(self) -> bool:
        self.recorded.append(False)
        return True

    async def resume_recording(self) -> bool:
        self.recorded.append(True)
        return True

    async def transfer_call(self, uri: str) -> TransferOutcome:
        self.transfers.append(uri)
        return TransferOutcome(200, "OK") if uri.startswith("tel:") else TransferOutcome(486, "Busy Here")

    @property
    def outcomes(self) -> list[str]:
        return [work.outcome for work in self.kept]

    async def settled(self) -> None:
        async with asyncio.timeout(5):
            while self.desk.is_busy:
                await asyncio.sleep(0)


@asynccontextmanager
async def stage(run: Run, policy: ToolPolicy | None = None, calls_limit: int | None = None) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        desk = Stage(tasks, run, policy or ToolPolicy(), calls_limit)
        yield desk
        desk.desk.close()


async def gives_seven(_: Arguments) -> object:
    return {"table": 7}


async def waits(_: Arguments) -> object:
    return await asyncio.Event().wait()


async def test_a_tool_that_runs_answers() -> None:
    async with stage(gives_seven) as call:
        call.call()
        assert call.answers == {}  # the reader never waits: nothing has run yet
        await call.settled()
        assert call.answers == {"t1": {"table": 7}}
        assert call.outcomes == ["done"]


async def test_parallel_requests_run_at_once() -> None:
    both = asyncio.Barrier(2)

    async def meets(_: Arguments) -> object:
        await both.wait()
        return ["met"]

    async with stage(meets) as call:
        call.call("t1")
        call.call("t2")
        await asyncio.wait_for(call.settled(), 5)
        assert call.answers == {"t1": ["met"], "t2": ["met"]}


async def test_no_such_tool_is_an_answer() -> None:
    async with stage(gives_seven) as call:
        call.call(name="fly")
        await call.settled()
        assert call.answers == {"t1": {"error": "There is no tool fly."}}
        assert call.outcomes == ["unknown_tool"]


async def test_arguments_that_were_cut_short_run_nothing() -> None:
    async with stage(waits) as call:
        call.call(arguments='{"day": "Sat')
        await call.settled()
        assert "nothing was done" in str(call.answers["t1"])
        assert call.outcomes == ["invalid_arguments"]


async def test_a_tool_that_takes_too_long_is_answered_with_the_fallback() -> None:
    async with stage(waits, ToolPolicy(timeout_seconds=0.01, fallback="I will call you back.")) as call:
        call.call()
        await call.settled()
        answer = call.answers["t1"]
        assert isinstance(answer, dict)
        assert answer["say_to_the_caller"] == "I will call you back."
        assert call.outcomes == ["timed_out"]


async def test_a_tool_that_fails_says_why() -> None:
    async def fails(_: Arguments) -> object:
        raise ToolFailedError("The book is closed.")

    async with stage(fails) as call:
        call.call()
        await call.settled()
        assert call.answers == {"t1": {"error": "The book is closed."}}


class Shy:
    def __str__(self) -> str:
        raise AttributeError("no name")


KNOT: list[object] = []
KNOT.append(KNOT)


@pytest.mark.parametrize(
    ("result", "reason"),
    [({(1, 2): "free"}, "TypeError"), (KNOT, "Circular"), ([Shy()], "AttributeError: no name")],
    ids=["key", "knot", "shy"],
)
async def test_a_result_that_cannot_be_written_is_a_failure(result: object, reason: str) -> None:
    async def gives(_: Arguments) -> object:
        return result

    async with stage(gives, ToolPolicy(fallback="I will call you back.")) as call:
        call.call()
        await call.settled()
        answer = call.answers["t1"]
        assert isinstance(answer, dict)
        assert "The result cannot be written as JSON: " in answer["error"]
        assert reason in answer["error"]
        assert answer["say_to_the_caller"] == "I will call you back."
        assert call.outcomes == ["failed"]


async def test_a_slow_tool_is_bridged_with_words_once_for_a_response() -> None:
    async with stage(waits, ToolPolicy(filler="One moment.", filler_after_seconds=0)) as call:
        call.call("t1")
        call.call("t2")
        call.call("t3", response="r2")
        async with asyncio.timeout(5):
            while len(call.fillers) < 2:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert call.fillers == ["One moment."] * 2


async def test_a_quick_tool_needs_no_words() -> None:
    async with stage(gives_seven, ToolPolicy(filler="One moment.", filler_after_seconds=0.01)) as call:
        call.call()
        await call.settled()
        await asyncio.sleep(0.03)
        assert call.fillers == []


async def test_a_caller_who_hangs_up_cancels_what_runs() -> None:
    async with stage(waits) as call:
        call.call()
        await asyncio.sleep(0)
        call.desk.close()
        await call.settled()
        assert call.answers == {}
        assert call.outcomes == ["cancelled"]


async def test_a_request_that_the_model_takes_back_is_cancelled() -> None:
    async with stage(waits) as call:
        call.call("t1")
        call.call("t2")
        await asyncio.sleep(0)
        call.desk.cancel("t1")
        call.desk.cancel("unknown")
        await asyncio.sleep(0.01)
        assert call.outcomes == ["cancelled"]


async def test_what_must_be_confirmed_runs_after_the_caller_has_spoken() -> None:
    async with stage(gives_seven, ToolPolicy(confirm=True)) as call:
        call.call("t1", arguments='{"day": "Monday"}')
        await call.settled()
        call.call("t2", arguments='{"day": "Monday"}')  # asked again without a word of the caller
        await call.settled()
        call.caller_turns += 1
        call.call("t3", arguments='{"day": "Tuesday"}')  # something else than what was agreed to
        await call.settled()
        call.call("t4", arguments='{"day": "Monday"}')
        await call.settled()
        call.call("t5", arguments='{"day": "Monday"}')  # consent is for once
        await call.settled()
        assert call.outcomes == ["not_confirmed", "not_confirmed", "not_confirmed", "done", "not_confirmed"]


@pytest.mark.parametrize(("limit", "refused"), [(2, 1), (None, 0)])
async def test_a_call_has_only_so_many_tool_calls(limit: int | None, refused: int) -> None:
    async with stage(gives_seven, calls_limit=limit) as call:
        for number in range(3):
            call.call(f"t{number}")
        await call.settled()
        assert call.outcomes.count("limit_reached") == refused
        assert len(call.answers) == 3


async def test_only_so_many_run_at_once() -> None:
    async with stage(waits) as call:
        for number in range(RUNNING_LIMIT + 1):
            call.call(f"t{number}")
        assert call.outcomes == ["limit_reached"]


async def test_end_call_hangs_up_and_needs_no_answer() -> None:
    async with stage(waits) as call:
        call.call(name="end_call", arguments='{"reason": "done", "mood": "fine"}')
        await call.settled()
        assert call.hung_up == 1
        assert call.answers == {}


async def test_a_recording_is_paused_and_resumed() -> None:
    async with stage(gives_seven) as call:
        call.call("t1", "pause_recording", "")
        await call.settled()
        assert call.recorded == [False]
        call.call("t2", "resume_recording", '{"why": "the number is said"}')
        await call.settled()
        assert call.recorded == [False, True]
    assert call.answers == {"t1": {"recorded": False, "was_recorded": True}, "t2": {"recorded": True}}


async def test_send_digits_presses_only_keys() -> None:
    async with stage(waits) as call:
        call.call("t1", "send_digits", '{"digits": "12#"}')
        call.call("t2", "send_digits", '{"digits": "+4930"}')
        call.call("t3", "send_digits", '{"digits": "0"}')
        await call.settled()
        assert call.digits == ["12#", "0"]
        assert sorted(call.outcomes) == ["done", "failed", "invalid_arguments"]


async def test_nothing_that_a_tool_is_given_or_says_is_logged_once_there_are_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given: list[Arguments] = []

    async def fails(arguments: Arguments) -> object:
        given.append(arguments)
        raise ToolFailedError(f"The card {arguments['number']} was refused.")

    caplog.set_level(logging.DEBUG)
    async with stage(fails) as call:
        call.call("t1", arguments='{"number": "5500"}')
        await call.settled()
        call.has_secrets = True
        call.call("t2", arguments='{"number": "4111"}')
        await call.settled()
    assert given == [{"number": "5500"}, {"number": "4111"}]
    assert call.answers["t2"] == {"error": "The card 4111 was refused."}
    lines = [str(vars(line)) for line in caplog.records]
    assert sum("5500" in line for line in lines) == 2
    assert not [line for line in lines if "4111" in line]
    assert [vars(line)["tool"] for line in caplog.records if "withheld" in vars(line)] == ["look_up", "look_up"]
