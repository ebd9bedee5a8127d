"""The tools of one call at work: each request of the model is a task, bounded in time, and is answered once.

The model's reader hands a request over and goes on. What a task may meet (no such tool, arguments that are cut short, a
function that raises, a server that is silent, a caller who hangs up) ends as an outcome in the call record.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.log import ContextLogger
from gateway.realtime.conversation import ToolExchange
from gateway.realtime.event import ToolCall
from gateway.tools.catalog import Toolbox
from gateway.tools.errors import ToolArgumentsError, ToolError
from gateway.tools.tool import Arguments, Tool, ToolContext, as_output

# Requests at work at once in one call: a model that asks for more has lost its way.
RUNNING_LIMIT: Final = 16
# Arguments that wait for the caller's consent; a model that asks on and on forgets the oldest.
UNCONFIRMED_LIMIT: Final = 16

Spawn = Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"]


class ToolFloor(Protocol):
    """The call, as far as its desk knows it."""

    @property
    def caller_turns(self) -> int:
        """How often the caller has spoken so far."""

    @property
    def has_secrets(self) -> bool:
        """Whether arguments and results may hold what must not be kept, and so not be logged."""

    def answer_tool(self, tool_call_id: str, output: str) -> None:
        """Gives the model a result; the session brings it in at the right turn."""

    def say_filler(self, words: str) -> None:
        """Says something while a tool runs, unless somebody is speaking."""

    def keep_tool_call(self, work: "ToolWork") -> None:
        """Takes a request that is settled."""


@dataclass(slots=True)
class ToolWork:
    """One request of the model, from its arrival (monotonic seconds) to its outcome."""

    call: ToolCall
    began: float
    ended: float | None = None
    outcome: str = "running"
    output: str | None = None

    @property
    def exchange(self) -> ToolExchange:
        """What a replacing session is told of it."""
        return ToolExchange(self.call.call_id, self.call.name, self.call.arguments, self.output)


class ToolDesk:
    """Starts the tools of one call and answers for them.

    Args:
        tools: what the agent may use.
        context_of: makes the context of a request by the model's name of it.
        floor: the call.
        spawn: starts a task that the call owns.
        clock: monotonic seconds.
        logger: the call's.
        calls_limit: requests in one call; further ones are refused.
    """

    def __init__(
        self,
        tools: Toolbox,
        context_of: Callable[[str], ToolContext],
        floor: ToolFloor,
        spawn: Spawn,
        clock: Callable[[], float],
        logger: ContextLogger,
        calls_limit: int | None = None,
    ) -> None:
        self.works: list[ToolWork] = []
        self._tools = tools
        self._context_of = context_of
        self._floor = floor
        self._spawn = spawn
        self._clock = clock
        self._logger = logger
        self._calls_limit = calls_limit
        self._running: dict[str, asyncio.Task[None]] = {}
        self._unconfirmed: dict[tuple[str, str], int] = {}
        self._filled_responses: set[str] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a tool is at work."""
        return bool(self._running)

    def take(self, call: ToolCall) -> None:
        """Takes a request; never blocks. The answer comes from a task, at the latest after the tool's timeout."""
        work = ToolWork(call, self._clock())
        self.works.append(work)
        given: dict[str, object] = {"withheld": True} if self._floor.has_secrets else {"arguments": call.arguments}
        self._logger.info("tool call", extra={"event": "tool_call", "tool": call.name, **given})
        if len(self._running) >= RUNNING_LIMIT or (
            self._calls_limit is not None and len(self.works) > self._calls_limit
        ):
            self._settle(work, "limit_reached", {"error": "No further tool may be used in this call."})
            return
        task = self._running[call.call_id] = self._spawn(self._serve(work))
        task.add_done_callback(lambda _: self._end(work))

    def cancel(self, tool_call_id: str) -> None:
        """The model no longer wants the result. What the tool has done already is done."""
        if (task := self._running.get(tool_call_id)) is not None:
            task.cancel()

    def close(self) -> None:
        """The call is over: whatever runs is cancelled."""
        for task in list(self._running.values()):
            task.cancel()

    async def _serve(self, work: ToolWork) -> None:
        tool = self._tools.get(work.call.name)
        if tool is None:
            self._settle(work, "unknown_tool", {"error": f"There is no tool {work.call.name}."})
            return
        try:
            arguments = tool.check(work.call.arguments)
        except ToolArgumentsError as error:
            self._settle(work, error.label, {"error": f"The arguments are wrong, nothing was done. {error}"})
            return
        if tool.policy.confirm and not self._is_confirmed(work.call.name, arguments):
            self._settle(
                work,
                "not_confirmed",
                {
                    "error": "The caller has not agreed yet, nothing was done.",
                    "instruction": "Tell the caller what you are about to do and ask for a yes. "
                    "Only after a yes, call this tool again with the same arguments.",
                },
            )
            return
        await self._run(tool, arguments, work)

    async def _run(self, tool: Tool, arguments: Arguments, work: ToolWork) -> None:
        policy = tool.policy
        filler = self._arm_filler(tool, work.call.response_id)
        try:
            async with asyncio.timeout(policy.timeout_seconds):
                result = await tool.run(arguments, self._context_of(work.call.call_id))
            self._settle(work, "done", ({"ok": True} if result is None else result) if policy.answers else None)
        except TimeoutError:
            self._fail(tool, work, "timed_out", f"The tool took longer than {policy.timeout_seconds:g} s.")
        except ToolError as error:
            self._fail(tool, work, error.label, str(error))
        finally:
            if filler is not None:
                filler.cancel()

    def _arm_filler(self, tool: Tool, response_id: str) -> asyncio.TimerHandle | None:
        """Filler words once for a response, however many tools it called."""
        words = tool.policy.filler
        if words is None:
            return None

        def say() -> None:
            if response_id not in self._filled_responses:
                self._filled_responses.add(response_id)
                self._floor.say_filler(words)

        return asyncio.get_running_loop().call_later(tool.policy.filler_after_seconds, say)

    def _is_confirmed(self, name: str, arguments: Arguments) -> bool:
        """Whether the caller has spoken since the same request was turned down."""
        key = (name, json.dumps(arguments, sort_keys=True, default=str))
        turns = self._floor.caller_turns
        asked = self._unconfirmed.pop(key, None)
        if asked is not None and turns > asked:
            return True
        self._unconfirmed[key] = turns if asked is None else asked
        if len(self._unconfirmed) > UNCONFIRMED_LIMIT:
            del self._unconfirmed[next(iter(self._unconfirmed))]
        return False

    def _fail(self, tool: Tool, work: ToolWork, outcome: str, reason: str) -> None:
        error = {"error": reason}
        if tool.policy.fallback is not None:
            error["say_to_the_caller"] = tool.policy.fallback
        why: dict[str, object] = {"withheld": True} if self._floor.has_secrets else {"detail": reason}
        self._logger.warning("tool failed", extra={"tool": work.call.name, "outcome": outcome, **why})
        self._settle(work, outcome, error)

    def _end(self, work: ToolWork) -> None:
        """A task is over; one that was cancelled, perhaps before it began, has settled nothing."""
        self._running.pop(work.call.call_id, None)
        if work.ended is None:
            self._settle(work, "cancelled", None)

    def _settle(self, work: ToolWork, outcome: str, result: object) -> None:
        """Ends a request; `result` None: the model gets no answer. Raises ToolFailedError, and nothing is settled."""
        output = None if result is None else as_output(result)
        work.ended, work.outcome = self._clock(), outcome
        self._floor.keep_tool_call(work)
        if output is not None:
            work.output = output
            self._floor.answer_tool(work.call.call_id, output)
