"""A call that has ended leaves no cycle of objects: a run of the garbage collector stops the media clock."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.caller import Caller, CallFailedError
from sip.event import IncomingInvite, ReferEnded
from tests.fakes.realtime_server import (
    Peer,
    audio_delta,
    audio_done,
    function_call,
    realtime_server,
    response_created,
    response_done,
)
from tests.gateway.test_agent_call import here
from tests.helpers.garbage import uncollected
from tests.helpers.house import house, obliging, scripted_call
from tests.helpers.patience import until
from tests.helpers.phone import Phone
from tests.helpers.scene import scene
from tests.helpers.sipp import LOOPBACK

# The caller of these tests is made of gateway.leg and gateway.caller, which may leave what they like.
OURS = ("gateway.call.", "gateway.bridge", "gateway.tools.")


@pytest.fixture
def garbage() -> Iterator[Callable[[], Counter[str]]]:
    with uncollected(lambda kind: kind.__module__.startswith(OURS)) as found:
        yield found


async def test_ended_call_is_freed_at_once(tmp_path: Path, garbage: Callable[[], Counter[str]]) -> None:
    tools_used = asyncio.Event()

    async def talks_and_calls_a_tool(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(response_created(), audio_delta(b"\x55" * 1600), audio_done())
        await peer.send(response_done("resp_1", "completed", function_call("t1", "look_up", '{"name": "Ada"}')))
        await peer.receive("response.create")
        tools_used.set()
        await peer.drain()

    interruption = {"minimum_speech_ms": 200, "protect_greeting": True}
    tools = {"look_up": here("look_up")}
    async with scripted_call(tmp_path, talks_and_calls_a_tool, tools=tools, interruption=interruption):
        async with asyncio.timeout(5):
            await tools_used.wait()
    assert garbage() == {}


async def test_a_call_whose_side_changed_is_freed_at_once(tmp_path: Path, garbage: Callable[[], Counter[str]]) -> None:
    alice, desk, busy = Phone("alice"), Phone("desk"), Phone("busy")
    desk.on_event, busy.on_event = desk.picks_up, busy.is_busy
    async with scene(tmp_path, alice, desk, busy, allow=(desk.uri, busy.uri)) as (gateway, _):
        await alice.reach(gateway.target)
        alice.refer(busy.uri)
        await until(lambda: len(alice.of(ReferEnded)) == 1)
        alice.refer(desk.uri)
        await until(lambda: len(alice.of(ReferEnded)) == 2)
        session = (await desk.first(IncomingInvite)).session
        desk.endpoint.perform(session.bye)
        await gateway.settled()
    assert garbage() == {}


async def test_a_call_that_no_model_can_be_had_for_is_freed_at_once(
    tmp_path: Path, garbage: Callable[[], Counter[str]]
) -> None:
    async with realtime_server(obliging, refuse=401) as model, house(tmp_path, model.url) as gateway:
        async with Caller(LOOPBACK) as caller:
            call = caller.place(gateway.target)
            with pytest.raises(CallFailedError):
                await call.answered()
        await gateway.empty()
    assert garbage() == {}
