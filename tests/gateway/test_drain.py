"""A gateway that is told to stop ends, whatever its calls, their models and its far ends do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway import switchboard
from gateway.call.agent import CallAgent
from gateway.call.call import Call
from gateway.caller import Caller
from tests.fakes.realtime_server import realtime_server
from tests.helpers.house import CALLER, house, obliging
from tests.helpers.sipp import LOOPBACK


async def record_of_a_stopped_call(folder: Path) -> dict[str, Any]:
    """The record of a call that is in progress when the gateway is told to stop."""
    async with realtime_server(obliging) as model, house(folder, model.url) as gateway, Caller(LOOPBACK) as phone:
        call = phone.place(gateway.target, caller=CALLER)
        await call.answered()
        gateway.service.stop()
        await call.ended()
    (record,) = gateway.records()
    return record


async def test_a_call_that_does_not_end_is_cancelled_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever holds it: here it never learns that it should."""
    monkeypatch.setattr(switchboard, "RELEASE_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(Call, "stop", lambda call: None)
    record = await record_of_a_stopped_call(tmp_path)
    assert record["end"]["by"] == "gateway"


async def test_a_call_whose_inbox_was_full_is_stopped_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Call] = []
    stop = Call.stop

    def lose_the_first(call: Call) -> None:
        told.append(call)
        if told.count(call) > 1:
            stop(call)

    monkeypatch.setattr(Call, "stop", lose_the_first)
    record = await record_of_a_stopped_call(tmp_path)
    assert record["end"]["reason"] == "gateway_stopped"


async def test_a_call_that_ends_while_all_are_told_again_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = 0
    stop_calls = switchboard.Switchboard._stop_calls

    async def tell_in_the_second_round(board: switchboard.Switchboard) -> None:
        nonlocal rounds
        rounds += 1
        while rounds == 2 and board.call_count:
            await stop_calls(board)
            await asyncio.sleep(0.01)

    monkeypatch.setattr(switchboard.Switchboard, "_stop_calls", tell_in_the_second_round)
    record = await record_of_a_stopped_call(tmp_path)
    assert record["end"]["reason"] == "gateway_stopped"
    assert rounds == 2


async def test_calls_are_hung_up_on_a_few_in_each_turn_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, stopped_in = 0, list[int]()
    stop, loop = Call.stop, asyncio.get_running_loop()

    def count() -> None:
        nonlocal turns
        turns += 1
        if turns < 1000:
            loop.call_soon(count)

    def note(call: Call) -> None:
        stopped_in.append(turns)
        if len(stopped_in) == 1:
            loop.call_soon(count)
        stop(call)

    monkeypatch.setattr(switchboard, "STOPPED_AT_ONCE", 1)
    monkeypatch.setattr(Call, "stop", note)
    async with realtime_server(obliging) as model, house(tmp_path, model.url) as gateway, Caller(LOOPBACK) as phone:
        calls = [phone.place(gateway.target, caller=CALLER) for _ in range(3)]
        for call in calls:
            await call.answered()
        gateway.service.stop()
        for call in calls:
            await call.ended()
    assert len(set(stopped_in[:3])) == 3


async def test_a_call_whose_model_cannot_be_closed_is_cancelled_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = CallAgent.aclose

    async def hang(agent: CallAgent) -> None:
        await close(agent)
        await asyncio.Event().wait()

    monkeypatch.setattr(switchboard, "RELEASE_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(CallAgent, "aclose", hang)
    record = await record_of_a_stopped_call(tmp_path)
    assert record["end"]["reason"] == "gateway_stopped"
