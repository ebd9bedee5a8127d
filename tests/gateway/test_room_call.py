"""Calls into a room, between a whole gateway and callers on loopback: what ends them, and what does not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.caller import Caller, CallFailedError, PlacedCall
from gateway.config.trunk import Codec, TrunkSettings
from gateway.leg import AudioLeg
from gateway.media_policy import MediaPolicy
from tests.fakes.realtime_server import Peer, Script, realtime_server
from tests.helpers.gateway_process import Record
from tests.helpers.house import House, house
from tests.helpers.patience import until
from tests.helpers.sipp import LOOPBACK

RATE_HZ = 8000
ROOM = "3000"
NOTE_HZ = 700.0


async def nobody(peer: Peer) -> None:
    """A model that is never asked for."""
    await peer.drain()


def policy(*codecs: Codec) -> MediaPolicy:
    return MediaPolicy.of(TrunkSettings(numbers={"*": "x"}, anyone=True, codecs=codecs))


def note(seconds: float) -> NDArray[np.int16]:
    return (6000 * np.sin(2 * np.pi * NOTE_HZ * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.int16)


def hears(call: PlacedCall) -> bool:
    """Whether the note was heard in the last 200 ms."""
    window = call.heard()[-1600:].astype(np.float64)
    turns = np.exp(-2j * np.pi * NOTE_HZ * np.arange(len(window)) / RATE_HZ)
    return len(window) == 1600 and float(2 * np.abs(window @ turns) / 1600) > 2000


@asynccontextmanager
async def room(
    folder: Path, *, script: Script = nobody, is_stopped: bool = False, **settings: Any
) -> AsyncIterator[tuple[House, Callable[..., PlacedCall]]]:
    """A gateway with a room, and how to call it. `is_stopped`: the test stops it, so that it cannot be asked."""

    def adapt(configuration: Record) -> None:
        configuration["trunks"]["loop"]["codecs"] = ["pcmu", "g722"]
        configuration["conferences"] = {"stage": {"seats": [{"number": ROOM}], **settings}}

    async with (
        realtime_server(script) as model,
        house(folder, model.url, adapt=adapt) as gateway,
        Caller(LOOPBACK) as caller,
    ):

        def dial(*codecs: Codec) -> PlacedCall:
            return caller.place(gateway.uri(ROOM), policy=policy(*(codecs or (Codec.PCMU,))))

        yield gateway, dial
        if not is_stopped:
            await gateway.empty()


async def hang_up(*calls: PlacedCall) -> None:
    for call in calls:
        call.hang_up()
        await call.ended()


async def records(gateway: House, count: int) -> list[dict[str, Any]]:
    await until(lambda: len(gateway.records()) >= count)
    return gateway.records()


def leg_of(call: PlacedCall) -> AudioLeg:
    return call._leg


async def test_a_caller_that_changes_its_codec_stays_in_the_room_and_on_its_stream(tmp_path: Path) -> None:
    async with room(tmp_path) as (_, dial):
        mover, other = dial(Codec.G722, Codec.PCMU), dial()
        await asyncio.gather(mover.answered(), other.answered())
        assert leg_of(mover).codec == "PCMU"  # the trunk's order decides
        for codec in (Codec.G722, Codec.PCMU):
            leg = leg_of(mover)
            leg._policy = policy(codec)
            mover._perform(mover._session.reinvite, leg.offer())
            await until(lambda name=codec.value: leg_of(mover).codec.lower() == name)  # type: ignore[misc]
            speaking = asyncio.create_task(mover.say(note(3.0)))
            await until(lambda: hears(other))
            await speaking
            speaking = asyncio.create_task(other.say(note(3.0)))
            await until(lambda: hears(mover))
            await speaking
        assert mover.statistics().lost == 0
        await hang_up(mover, other)


async def test_the_longest_stay_ends_the_call_and_the_seat_is_free(tmp_path: Path) -> None:
    async with room(tmp_path, max_duration_seconds=1, legs=2) as (gateway, dial):
        call = dial()
        await call.answered()
        await until(lambda: call.is_over)
        assert call.ended_by_peer
        (record,) = await records(gateway, 1)
        again = dial()
        await again.answered()
        await hang_up(again)
    assert (record["conference"], record["end"]["reason"], record["end"]["by"]) == (
        "stage",
        "duration_limit",
        "gateway",
    )
    assert record["agent"] is None


async def test_an_agent_comes_to_who_enters_while_the_last_one_is_on_its_way_out(tmp_path: Path) -> None:
    """Its session takes a while to close, for the service does not answer; meanwhile the room has another caller."""
    met: list[Peer] = []

    async def slow_to_part(peer: Peer) -> None:
        met.append(peer)
        await peer.greet()
        await peer.stall()

    async with room(tmp_path, script=slow_to_part, agent="agent") as (gateway, dial):
        first = dial()
        await first.answered()
        await until(lambda: len(met) == 1 and len(first.captured) > 4000)
        await hang_up(first)
        second = dial()
        await second.answered()
        await until(lambda: len(met) == 2)
        await hang_up(second)
        await records(gateway, 4)
        for peer in met:
            peer.released.set()
    agents = [record for record in gateway.records() if record["direction"] == "conference"]
    assert [record["end"]["reason"] for record in agents] == ["room_empty", "room_empty"]


async def test_a_gateway_that_stops_ends_the_room_s_calls(tmp_path: Path) -> None:
    async with room(tmp_path, is_stopped=True) as (gateway, dial):
        call = dial()
        await call.answered()
        await until(lambda: len(call.captured) > 1600)
        gateway.service.stop()
        await until(lambda: call.is_over)
        assert call.ended_by_peer
        (record,) = await records(gateway, 1)
    assert record["end"]["reason"] == "gateway_stopped"


async def test_one_too_many_is_busy_and_has_a_record(tmp_path: Path) -> None:
    async with room(tmp_path, legs=2) as (gateway, dial):
        first, second = dial(), dial()
        await asyncio.gather(first.answered(), second.answered())
        await until(lambda: len(first.captured) > 1600 and len(second.captured) > 1600)
        with pytest.raises(CallFailedError, match="486"):
            await dial().answered()
        (record,) = await records(gateway, 1)
        await hang_up(first, second)
    assert (record["end"]["reason"], record["end"]["sip_status"]) == ("room_full", 486)
    assert record["answered_at"] is None


async def test_a_caller_that_gives_up_before_the_ack_leaves_no_seat_taken(tmp_path: Path) -> None:
    async with room(tmp_path, legs=2) as (gateway, dial):
        call = dial()
        call.hang_up()
        await call.ended()
        await gateway.empty()
        first, second = dial(), dial()
        await asyncio.gather(first.answered(), second.answered())
        await hang_up(first, second)
