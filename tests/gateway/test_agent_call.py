"""What an agent's configuration does to a real call: tools, silence, interruptions; the model server is scripted."""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.audio_file import read_wav
from gateway.call.discretion import TOLD_LATE_SECONDS
from gateway.caller import Caller
from gateway.tools.tool import ToolContext
from tests.fakes.realtime_server import (
    Event,
    Peer,
    audio_delta,
    audio_done,
    function_call,
    realtime_server,
    response_created,
    response_done,
)
from tests.helpers.gateway_process import Record
from tests.helpers.house import calling, house, scripted_call
from tests.helpers.patience import until
from tests.helpers.sipp import LOOPBACK


async def look_up(name: str, context: ToolContext) -> dict[str, str]:
    """Looks a booking up."""
    return {"name": name, "caller": context.caller}


async def never() -> None:
    """Takes for ever."""
    await asyncio.Event().wait()


def leaves(code: int) -> None:
    """Ends as a script does."""
    sys.exit(code)


async def leaves_the_loop(code: int) -> None:
    """The same in the event loop."""
    sys.exit(code)


def here(function: str, **settings: object) -> dict[str, object]:
    return {"type": "python", "function": f"{__name__}:{function}", **settings}


async def next_output(peer: Peer) -> Event:
    """The next tool result, as the model is given it."""
    while True:
        item = (await peer.receive("conversation.item.create"))["item"]
        assert isinstance(item, dict)
        if item["type"] == "function_call_output":
            return item


async def test_a_tool_answers_and_the_model_is_asked_to_speak(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def calls_a_tool(peer: Peer) -> None:
        seen["tools"] = (await peer.greet())["session"]
        await peer.receive("response.create")
        await peer.send(
            response_created(),
            response_done("resp_1", "completed", function_call("t1", "look_up", '{"name": "Ada"}')),
        )
        seen["output"] = json.loads(str((await next_output(peer))["output"]))
        await peer.receive("response.create")
        seen["asked"] = True
        await peer.drain()

    async with scripted_call(tmp_path, calls_a_tool, tools={"look_up": here("look_up")}) as (house, _):
        await until(lambda: "asked" in seen)
    assert {tool["name"] for tool in seen["tools"]["tools"]} == {"end_call", "look_up"}
    assert seen["output"] == {"name": "Ada", "caller": "+15552223333"}
    (record,) = (await house.record())["tool_calls"]
    assert (record["name"], record["outcome"]) == ("look_up", "done")


@pytest.mark.parametrize("function", ["leaves", "leaves_the_loop"])
async def test_a_tool_that_exits_has_failed_and_the_call_goes_on(tmp_path: Path, function: str) -> None:
    outputs: list[object] = []

    async def calls_it_twice(peer: Peer) -> None:
        await peer.greet()
        for number in (1, 2):
            await peer.receive("response.create")
            asked = function_call(f"t{number}", "look_up", f'{{"code": {number}}}')
            await peer.send(response_created(), response_done("resp_1", "completed", asked))
            outputs.append(json.loads(str((await next_output(peer))["output"])))
        await peer.drain()

    async with scripted_call(tmp_path, calls_it_twice, tools={"look_up": here(function)}) as (house, _):
        await until(lambda: len(outputs) == 2)
    assert outputs == [{"error": "SystemExit: 1"}, {"error": "SystemExit: 2"}]
    assert [call["outcome"] for call in (await house.record())["tool_calls"]] == ["failed", "failed"]


async def test_a_slow_tool_lets_the_conversation_go_on(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def calls_a_slow_tool(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(response_created(), response_done("resp_1", "completed", function_call("t1", "never")))
        filler = await peer.receive("response.create")
        seen["filler"] = filler["response"]
        await peer.send(response_created("resp_2"), response_done("resp_2"))
        seen["output"] = json.loads(str((await next_output(peer))["output"]))
        await peer.drain()

    tool = here("never", timeout_seconds=0.5, filler="One moment.", filler_after_seconds=0.1, fallback="I cannot.")
    async with scripted_call(tmp_path, calls_a_slow_tool, tools={"never": tool}) as (house, _):
        await until(lambda: "output" in seen)
    assert "One moment." in seen["filler"]["instructions"]
    assert seen["output"]["say_to_the_caller"] == "I cannot."
    assert (await house.record())["tool_calls"][0]["outcome"] == "timed_out"


async def test_a_caller_who_hangs_up_cancels_a_tool(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def calls_a_slow_tool(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(response_created(), response_done("resp_1", "completed", function_call("t1", "never")))
        asked.set()
        await peer.drain()

    async with scripted_call(tmp_path, calls_a_slow_tool, tools={"never": here("never")}) as (house, _):
        await asked.wait()
        await asyncio.sleep(0.1)
    assert (await house.record())["tool_calls"][0]["outcome"] == "cancelled"


async def test_a_caller_who_says_nothing_is_hung_up_on(tmp_path: Path) -> None:
    said: list[str] = []

    async def takes_prompts(peer: Peer) -> None:
        await peer.greet()
        for number in range(2):
            said.append(json.dumps(await peer.receive("response.create")))
            name = f"resp_{number}"
            await peer.send(response_created(name), response_done(name))
        await peer.drain()

    silence = {"prompt": "Are you there?", "prompt_after_seconds": 1, "prompts": 1, "hang_up_after_seconds": 3}
    async with scripted_call(tmp_path, takes_prompts, silence=silence) as (house, call):
        async with asyncio.timeout(15):
            await call.ended()
        assert call.ended_by_peer
    assert "Are you there?" in said[1]
    assert (await house.record())["end"]["reason"] == "silence_limit"


async def test_a_cough_does_not_cut_the_agent_off(tmp_path: Path) -> None:
    async def coughs(peer: Peer) -> None:
        update = await peer.greet()
        detection = update["session"]["audio"]["input"]["turn_detection"]  # type: ignore[index]
        assert (detection["create_response"], detection["interrupt_response"]) == (False, False)
        await peer.receive("response.create")
        await peer.send(response_created(), audio_delta(b"\x10" * 8000), audio_done(), response_done())
        await peer.receive("input_audio_buffer.append")
        for kind in ("started", "stopped"):
            await peer.send({"type": f"input_audio_buffer.speech_{kind}", "event_id": "e", "item_id": "c1"})
        await peer.drain()

    async with scripted_call(tmp_path, coughs, interruption={"minimum_speech_ms": 300}) as (house, call):
        await until(lambda: bytes(call.captured).count(b"\x10") == 8000)
    assert not any(turn["interrupted"] for turn in (await house.record())["turns"])


async def test_the_agent_pauses_while_it_is_undecided_and_goes_on_in_the_midst_of_its_word(tmp_path: Path) -> None:
    """No byte of the speech is lost, and the silence in its midst lasts as long as the doubt."""
    speech = bytes(range(1, 101)) * 160

    async def doubts(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(response_created(), audio_delta(speech), audio_done(), response_done())
        await asyncio.sleep(0.4)
        await peer.send({"type": "input_audio_buffer.speech_started", "event_id": "e", "item_id": "c1"})
        await asyncio.sleep(0.2)
        await peer.send({"type": "input_audio_buffer.speech_stopped", "event_id": "e", "item_id": "c1"})
        await peer.drain()

    async with scripted_call(tmp_path, doubts, interruption={"minimum_speech_ms": 300}) as (house, call):
        await until(lambda: len(bytes(call.captured).replace(b"\xff", b"")) >= len(speech))
        heard = bytes(call.captured)
    begin, end = heard.index(speech[:160]), heard.rindex(speech[-160:]) + 160
    assert heard[begin:end].replace(b"\xff", b"") == speech
    paused_ms = (end - begin - len(speech)) / 8
    assert 100 <= paused_ms <= 600
    assert not any(turn["interrupted"] for turn in (await house.record())["turns"])


async def test_the_gateway_finds_the_turns_of_a_caller_whose_model_finds_none(tmp_path: Path) -> None:
    """The service is asked to detect nothing; it gets the caller's sound, and is told where a turn ends."""
    told: list[str] = []
    seen: dict[str, Any] = {}

    async def hears_no_turns(peer: Peer) -> None:
        seen["session"] = (await peer.greet())["session"]
        await peer.receive("response.create")
        await peer.send(response_created(), audio_delta(b"\x10" * 16_000), audio_done(), response_done())
        while "input_audio_buffer.commit" not in told:
            told.append(str((await peer.receive())["type"]))
        await peer.receive("response.create")
        await peer.send(response_created("r2"), audio_delta(b"\x20" * 1600, response_id="r2", item_id="i2"))
        await peer.send(audio_done(response_id="r2", item_id="i2"), response_done("r2"))
        await peer.drain()

    tone = (8000 * np.sin(np.arange(4000) * 2 * np.pi * 400 / 8000)).astype(np.int16)
    async with scripted_call(tmp_path, hears_no_turns, turn_detection={"type": "client_vad"}) as (house, call):
        await until(lambda: bytes(call.captured).count(b"\x10") > 2000)
        await call.say(tone)  # half a second, over the agent's words
        await until(lambda: bytes(call.captured).count(b"\x20") == 1600)
        heard = bytes(call.captured)
    record = await house.record()
    assert seen["session"]["audio"]["input"]["turn_detection"] is None
    assert told.index("conversation.item.truncate") < told.index("input_audio_buffer.commit")
    assert heard.count(b"\x10") < 16_000  # what was left of the first answer was dropped
    assert [turn["interrupted"] for turn in record["turns"]] == [True, False]
    assert record["turns"][1]["latency_ms"] is not None


async def test_the_model_summarises_a_call_that_has_ended_and_nobody_hears_it(tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    async def sums_up(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(response_created(), audio_delta(b"\x10" * 800), audio_done(), response_done())
        await asyncio.sleep(0.4)  # until that was heard
        for kind in ("started", "stopped"):
            await peer.send({"type": f"input_audio_buffer.speech_{kind}", "event_id": "e", "item_id": "c1"})
        while "conversation" not in asked:
            request = (await peer.receive("response.create")).get("response")
            assert isinstance(request, dict)
            asked.update(request)
        content = [{"type": "output_text", "text": "A table for four."}]
        words: Event = {"type": "message", "role": "assistant", "content": content}
        begun: Event = {"id": "resp_2", "status": "in_progress", "metadata": asked["metadata"]}
        await peer.send({"type": "response.created", "event_id": "e", "response": begun})
        await peer.send(audio_delta(b"\x20" * 800, response_id="resp_2"), response_done("resp_2", "completed", words))
        await peer.drain()

    async with scripted_call(tmp_path, sums_up, backend={"dialect": "openai"}, summary={"instructions": "Sum up."}) as (
        house,
        call,
    ):
        await until(lambda: bytes(call.captured).count(b"\x10") == 800)
        await asyncio.sleep(0.6)
        call.hang_up()
        await call.ended()
        heard = bytes(call.captured)
    assert (await house.record())["summary"] == "A table for four."
    assert (asked["conversation"], asked["output_modalities"]) == ("none", ["text"])
    assert asked["instructions"] == "Sum up."
    assert b"\x20" not in heard


async def test_a_call_whose_model_says_nothing_about_it_ends_without_a_summary(tmp_path: Path) -> None:
    async def keeps_quiet(peer: Peer) -> None:
        await peer.greet()
        for kind in ("started", "stopped"):
            await peer.send({"type": f"input_audio_buffer.speech_{kind}", "event_id": "e", "item_id": "c1"})
        await peer.drain()

    summary = {"timeout_seconds": 0.2}
    async with scripted_call(tmp_path, keeps_quiet, backend={"dialect": "openai"}, summary=summary) as (house, _):
        await asyncio.sleep(0.2)
    assert (await house.record())["summary"] is None


async def test_instructions_and_greeting_are_filled_with_the_call(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def listens(peer: Peer) -> None:
        seen["session"] = (await peer.greet())["session"]
        seen["greeting"] = (await peer.receive("response.create"))["response"]
        await peer.drain()

    agent: dict[str, Any] = {
        "instructions": "You answer for {{ variables.shop }}; {{ caller }} calls {{ dialled }}.",
        "greeting": "This is {{ variables.shop }}.",
        "variables": {"shop": "the Harbour Kitchen"},
    }
    async with scripted_call(tmp_path, listens, **agent):
        await until(lambda: "greeting" in seen)
    assert seen["session"]["instructions"] == "You answer for the Harbour Kitchen; +15552223333 calls 1000."
    assert "This is the Harbour Kitchen." in seen["greeting"]["instructions"]


async def tell_call(context: ToolContext) -> dict[str, object]:
    """Tells what a tool knows of its call."""
    return {"trunk": context.trunk, "agent": context.agent, "shop": context.variables["shop"]}


async def use(peer: Peer, name: str, number: int, arguments: str = "{}") -> dict[str, Any]:
    """Lets the model call a tool, and gives what it is answered."""
    response = f"resp_{number}"
    call = function_call(f"t{number}", name, arguments)
    await peer.send(response_created(response), response_done(response, "completed", call))
    answer: dict[str, Any] = json.loads(str((await next_output(peer))["output"]))
    return answer


async def test_a_tool_knows_the_call_and_its_variables(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def calls_a_tool(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        seen["answer"] = await use(peer, "tell", 1)
        await peer.drain()

    tools = {"tell": here("tell_call")}
    async with scripted_call(tmp_path, calls_a_tool, tools=tools, variables={"shop": "Harbour Kitchen"}):
        await until(lambda: "answer" in seen)
    assert seen["answer"] == {"trunk": "loop", "agent": "agent", "shop": "Harbour Kitchen"}


async def test_a_server_of_the_model_context_protocol_answers_in_a_call(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def calls_tools(peer: Peer) -> None:
        session: Any = (await peer.greet())["session"]
        seen["names"] = [tool["name"] for tool in session["tools"]]
        await peer.receive("response.create")
        seen["found"] = await use(peer, "crm_look_up", 1, '{"name": "Ada"}')
        seen["cut"] = await use(peer, "crm_look_up", 2, '{"name": "Ad')
        seen["late"] = await use(peer, "crm_wait", 3)
        await peer.drain()

    program = Path(__file__).parents[1] / "fakes" / "mcp_program.py"
    server: dict[str, object] = {
        "type": "mcp",
        "command": sys.executable,
        "args": [str(program), "stdio"],
        "allow": ["look_up", "wait"],
    }
    server |= {"timeout_seconds": 0.5, "fallback": "I cannot see that just now."}
    async with scripted_call(tmp_path, calls_tools, tools={"crm": server}) as (house, _):
        await until(lambda: "late" in seen)
    assert seen["names"] == ["end_call", "crm_look_up", "crm_wait"]
    assert seen["found"]["name"] == "Ada"
    assert "nothing was done" in seen["cut"]["error"]
    assert seen["late"]["say_to_the_caller"] == "I cannot see that just now."
    outcomes = [call["outcome"] for call in (await house.record())["tool_calls"]]
    assert outcomes == ["done", "invalid_arguments", "timed_out"]


async def test_the_longest_call_ends_with_a_bye(tmp_path: Path) -> None:
    async def talks_on(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(response_created(), audio_delta(b"\x10" * 80_000), audio_done(), response_done())
        await peer.drain()

    async with scripted_call(tmp_path, talks_on, max_duration_seconds=1) as (house, call):
        async with asyncio.timeout(10):
            await call.ended()
        assert call.ended_by_peer
    record = await house.record()
    assert record["end"]["reason"] == "duration_limit"
    assert 950 <= record["duration_ms"] < 5_000


async def test_a_call_has_only_so_many_tool_calls(tmp_path: Path) -> None:
    answers: list[dict[str, Any]] = []

    async def calls_tools(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        answers.extend([await use(peer, "look_up", number, '{"name": "Ada"}') for number in range(3)])
        await peer.drain()

    tools = {"look_up": here("look_up")}
    async with scripted_call(tmp_path, calls_tools, tools=tools, max_tool_calls=2) as (house, _):
        await until(lambda: len(answers) == 3)
    assert [answer.get("name") for answer in answers] == ["Ada", "Ada", None]
    assert "No further tool" in answers[2]["error"]
    outcomes = [call["outcome"] for call in (await house.record())["tool_calls"]]
    assert outcomes == ["done", "done", "limit_reached"]


async def test_a_call_that_has_cost_enough_is_ended(tmp_path: Path) -> None:
    async def costs(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        done: Any = response_done()
        done["response"]["usage"] = {
            "total_tokens": 3_000,
            "input_tokens": 1_000,
            "output_tokens": 2_000,
            "input_token_details": {"audio_tokens": 1_000},
            "output_token_details": {"audio_tokens": 2_000},
        }
        await peer.send(response_created(), done)
        await peer.drain()

    prices = {"input_audio": 32, "output_audio": 64}
    async with scripted_call(tmp_path, costs, backend={"prices": prices}, max_cost=0.1) as (house, call):
        async with asyncio.timeout(10):
            await call.ended()
        assert call.ended_by_peer
    record = await house.record()
    assert record["end"]["reason"] == "cost_limit"
    assert record["model"]["cost"] == 0.16  # a thousandth of 32 and two thousandths of 64


async def test_a_call_takes_a_socket_that_waits(tmp_path: Path) -> None:
    async def greets(peer: Peer) -> None:
        await peer.greet()
        await peer.drain()

    async with scripted_call(tmp_path, greets, backend={"warm": 1}) as (house, _):
        assert house.service._running is not None
        (pool,) = house.service._running.models.pools
        await until(lambda: pool.resting == 1)
        taken = pool.counters["warm_taken"]
        async with Caller(LOOPBACK) as caller:
            call = caller.place(house.target, caller="+15552224444")
            await call.answered()
            assert pool.counters["warm_taken"] == taken + 1
            call.hang_up()
            await call.ended()


CARD = "4111222233334444"
SPOKEN = "four one one one two two two two"
charged: list[str] = []


async def charge(number: str) -> dict[str, str]:
    """Charges a card."""
    charged.append(number)
    return {"charged": number}


async def told(peer: Peer, words: str) -> None:
    """Waits until the model is told a text that holds these words."""
    while words not in json.dumps(await peer.receive("conversation.item.create")):
        pass


def caller_event(kind: str, item_id: str, **fields: object) -> Event:
    """What the service says of the caller's words: speech_started, speech_stopped or transcript."""
    name = f"input_audio_buffer.{kind}"
    if kind == "transcript":
        name = "conversation.item.input_audio_transcription.completed"
        fields["content_index"] = 0
    return {"type": name, "event_id": "e", "item_id": item_id, **fields}


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_card_number_reaches_model_and_tool_and_nothing_that_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recorded: bool
) -> None:
    seen: dict[str, Any] = {}
    caplog.set_level(logging.DEBUG)
    charged.clear()

    async def takes_a_card(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(caller_event("speech_started", "c1"), caller_event("speech_stopped", "c1"))
        await peer.send(caller_event("transcript", "c1", transcript="I want to pay."))
        seen["paused"] = await use(peer, "pause_recording", 1)
        await peer.send(caller_event("speech_started", "c2"))
        await told(peer, f"{CARD}#")
        seen["answers"] = [await use(peer, "charge", 2, f'{{"number": "{CARD}"}}')]
        await peer.send(caller_event("speech_stopped", "c2"))
        await use(peer, "resume_recording", 3)
        await peer.send(caller_event("transcript", "c2", transcript=SPOKEN))
        seen["answers"].append(await use(peer, "charge", 4, f'{{"number": "{CARD}"}}'))
        await asyncio.sleep(TOLD_LATE_SECONDS + 0.2)
        await peer.send(caller_event("speech_started", "c3"), caller_event("speech_stopped", "c3"))
        await peer.send(caller_event("transcript", "c3", transcript="Thank you."))
        seen["resumed"] = True
        await peer.drain()

    def adapt(configuration: Record) -> None:
        configuration["recording"]["enabled"] = recorded
        configuration["agents"]["agent"] |= {
            "built_in_tools": ["pause_recording", "resume_recording"],
            "tools": {"charge": here("charge")},
            "summary": {"timeout_seconds": 0.2},
        }

    async with (
        realtime_server(takes_a_card) as model,
        house(tmp_path, model.url, adapt=adapt) as gateway,
        calling(gateway) as call,
    ):
        await until(lambda: "paused" in seen)
        assert call.press(f"{CARD}#")
        await until(lambda: "resumed" in seen)
        await asyncio.sleep(0.2)
    record = await gateway.record()
    assert seen["paused"] == {"recorded": False, "was_recorded": recorded}
    assert charged == [CARD, CARD]
    assert seen["answers"] == [{"charged": CARD}, {"charged": CARD}]
    assert [(key["digit"], key["withheld"]) for key in record["digits"]] == [("", True)] * len(f"{CARD}#")
    assert [(said["text"], said["withheld"]) for said in record["transcript"]] == [
        ("I want to pay.", False),
        ("", True),
        ("Thank you.", False),
    ]
    assert record["summary"] is None
    lines = [line for line in caplog.records if not line.name.startswith("websockets.server")]  # the model's
    assert not [line for line in lines if CARD in str(vars(line)) or SPOKEN in str(vars(line)) or "digit" in vars(line)]
    assert [line for line in lines if getattr(line, "event", "") == "summary_withheld"]
    for path in (tmp_path / "records").iterdir():
        assert CARD not in path.read_text()
        assert SPOKEN not in path.read_text()


async def test_a_session_that_takes_over_in_a_pause_is_told_what_no_record_holds(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def goes_on(peer: Peer) -> None:
        await peer.greet()
        if "lost" in seen:
            await told(peer, SPOKEN)
            seen["told"] = True
            await peer.drain()
            return
        await peer.receive("response.create")
        await use(peer, "pause_recording", 1)
        await peer.send(caller_event("speech_started", "c1"), caller_event("speech_stopped", "c1"))
        await peer.send(caller_event("transcript", "c1", transcript=SPOKEN))
        seen["lost"] = True
        await asyncio.sleep(0.2)
        peer.abort()

    async with scripted_call(tmp_path, goes_on, built_in_tools=["pause_recording"]) as (house, _):
        await until(lambda: "told" in seen)
    record = await house.record()
    assert [(said["text"], said["withheld"]) for said in record["transcript"]] == [("", True)]
    assert [call["name"] for call in record["tool_calls"]] == ["pause_recording"]


async def test_what_the_agent_reads_back_is_not_recorded_though_it_resumes_before_it_was_heard(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def reads_back(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await use(peer, "pause_recording", 1)
        resume = function_call("t2", "resume_recording")
        await peer.send(response_created("resp_2"), audio_delta(b"\x10" * 8000, response_id="resp_2"))
        await peer.send(audio_done(response_id="resp_2"), response_done("resp_2", "completed", resume))
        seen["resumed"] = json.loads(str((await next_output(peer))["output"]))
        await peer.drain()

    tools = ["pause_recording", "resume_recording"]
    async with scripted_call(tmp_path, reads_back, built_in_tools=tools) as (house, call):
        await until(lambda: "resumed" in seen)
        await until(lambda: bytes(call.captured).count(b"\x10") == 8000)
        await asyncio.sleep(0.3)
    assert seen["resumed"] == {"recorded": True}
    recording = (await house.record())["recording"]
    samples, _ = read_wav(Path(recording["path"]))
    assert not np.any(samples[:, 1])
    assert 900 <= recording["paused_ms"] < recording["duration_ms"]


async def test_the_agent_keeps_a_card_number_out_of_the_recording(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def asks_for_a_card(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        seen["paused"] = await use(peer, "pause_recording", 1)
        await asyncio.sleep(0.5)
        seen["resumed"] = await use(peer, "resume_recording", 2)
        await peer.drain()

    tools = ["pause_recording", "resume_recording"]
    async with scripted_call(tmp_path, asks_for_a_card, built_in_tools=tools) as (house, _):
        await until(lambda: "resumed" in seen)
        await asyncio.sleep(0.3)
    assert (seen["paused"], seen["resumed"]) == ({"recorded": False, "was_recorded": True}, {"recorded": True})
    recording = (await house.record())["recording"]
    assert 400 <= recording["paused_ms"] < recording["duration_ms"]
