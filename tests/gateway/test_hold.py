"""Music on hold and announcements, between a whole gateway, a fake model server and a caller on loopback."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.audio_file import read_wav, write_wav
from gateway.caller import PlacedCall
from gateway.config.trunk import Codec, TrunkSettings
from gateway.media_policy import MediaPolicy
from rtp.codec.g711 import decode_ulaw
from tests.fakes.realtime_server import Peer, audio_delta, audio_done, function_call, realtime_server, response_created
from tests.fakes.realtime_server import response_done as done
from tests.helpers.gateway_process import Record
from tests.helpers.house import House, calling, house
from tests.helpers.patience import until

RATE_HZ = 8000
MUSIC_HZ, NOTICE_HZ = 700.0, 1100.0
NOTICE_S = 0.8
WORD = b"\x10" * 1600
"""What the agent says: 200 ms of a sound that is neither music nor notice."""
Samples = NDArray[np.int16]


def note(hertz: float, seconds: float) -> Samples:
    return (6000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.int16)


def heard_ms(samples: Samples, hertz: float) -> int:
    """For how long a note is heard, by windows of 20 ms."""
    windows = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    turns = np.exp(-2j * np.pi * hertz * np.arange(160) / RATE_HZ)
    return 20 * int((2 * np.abs(windows @ turns) / 160 > 3000).sum())


def edge(samples: Samples, hertz: float) -> int:
    """Where a note is heard first."""
    return next(start for start in range(0, len(samples), 160) if heard_ms(samples[start : start + 160], hertz))


class Script:
    """A model that does what a test says, and keeps what the caller said to it."""

    def __init__(self, act: Callable[["Script", Peer], Awaitable[None]]) -> None:
        self._act = act
        self.heard = bytearray()

    async def __call__(self, peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await self._act(self, peer)
        while True:
            await self.hear(peer)

    async def hear(self, peer: Peer) -> dict[str, Any]:
        """The next event; audio is kept."""
        event: dict[str, Any] = dict(await peer.receive())
        if event["type"] == "input_audio_buffer.append":
            self.heard += base64.b64decode(event["audio"])
        return event

    async def result(self, peer: Peer) -> dict[str, Any]:
        """The next result of a tool."""
        while True:
            event = await self.hear(peer)
            if event["type"] == "conversation.item.create" and event["item"]["type"] == "function_call_output":
                output: dict[str, Any] = json.loads(event["item"]["output"])
                return output


async def call_tool(peer: Peer, name: str, **arguments: object) -> None:
    """Says a word and calls a tool."""
    tool = function_call("call_1", name, json.dumps(arguments))
    await peer.send(response_created(), audio_delta(WORD), audio_done(), done("resp_1", "completed", tool))


async def speak_again(peer: Peer) -> None:
    """Says the word a second time."""
    delta = audio_delta(WORD, response_id="resp_2", item_id="item_2")
    end = audio_done(response_id="resp_2", item_id="item_2")
    await peer.send(response_created("resp_2"), delta, end, done("resp_2"))


@asynccontextmanager
async def scene(
    folder: Path, script: Script, *, codec: Codec = Codec.PCMU, max_seconds: int = 60
) -> AsyncIterator[tuple[House, PlacedCall]]:
    """A gateway whose agent has music and an announcement, and a call to it."""
    write_wav(folder / "music.wav", note(MUSIC_HZ, 1.0), RATE_HZ)
    write_wav(folder / "notice.wav", note(NOTICE_HZ, NOTICE_S), RATE_HZ)

    def adapt(configuration: Record) -> None:
        configuration["trunks"]["loop"]["codecs"] = [codec.value]
        configuration["agents"]["agent"] |= {
            "built_in_tools": ["hold_caller", "play_announcement", "transfer_call"],
            "hold": {"music": str(folder / "music.wav"), "max_seconds": max_seconds},
            "announcements": {"notice": {"file": str(folder / "notice.wav"), "description": "What the law wants."}},
            "transfer": {"destinations": {"sales": "+15557778888"}, "timeout_seconds": 5},
        }

    offered = MediaPolicy.of(TrunkSettings(numbers={"*": "x"}, anyone=True, codecs=(codec,)))
    async with (
        realtime_server(script) as model,
        house(folder, model.url, adapt=adapt) as gateway,
        calling(gateway, offered) as call,
    ):
        yield gateway, call


@pytest.mark.parametrize("codec", [Codec.PCMU, Codec.G722, Codec.OPUS])
async def test_a_caller_on_hold_hears_music_without_a_gap_until_the_agent_speaks(tmp_path: Path, codec: Codec) -> None:
    speak = asyncio.Event()

    async def act(script: Script, peer: Peer) -> None:
        await call_tool(peer, "hold_caller")
        listening = asyncio.create_task(script.result(peer))
        await speak.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await speak_again(peer)

    script = Script(act)
    async with scene(tmp_path, script, codec=codec) as (_, call):
        await until(lambda: heard_ms(call.heard(), MUSIC_HZ) >= 200)
        singing = asyncio.create_task(call.say(note(400.0, 1.0)))
        await until(lambda: heard_ms(call.heard(), MUSIC_HZ) >= 2000)  # twice the length of the file
        speak.set()
        await until(lambda: heard_ms(call.heard()[-2400:], MUSIC_HZ) == 0)
        music = heard_ms(call.heard(), MUSIC_HZ)
        await asyncio.sleep(0.3)
        await singing
        statistics = call.statistics()
        heard = call.heard()
    assert heard_ms(heard, MUSIC_HZ) == music, "the music is over"
    begun, ended = (edge(heard, MUSIC_HZ) for heard in (heard, heard[::-1]))
    stretch = heard[begun : len(heard) - ended]
    # Where the machine keeps everybody from running, there are turns without packets; no packet is missing.
    assert heard_ms(stretch, MUSIC_HZ) >= 0.8 * len(stretch) * 1000 / RATE_HZ, "there is no gap in it"
    assert statistics.lost == 0
    if codec is Codec.PCMU:  # the model is given what the caller sends, undecoded
        assert heard_ms(np.asarray(decode_ulaw(bytes(script.heard)), np.int16), 400.0) == 0, "it hears silence"
        assert len(script.heard) >= RATE_HZ, "and its clock goes on"


async def test_an_announcement_is_heard_to_its_end_and_then_the_agent_goes_on(tmp_path: Path) -> None:
    results = []

    async def act(script: Script, peer: Peer) -> None:
        await call_tool(peer, "play_announcement", announcement="notice")
        results.append(await script.result(peer))
        await speak_again(peer)

    async with scene(tmp_path, Script(act)) as (gateway, call):
        await until(lambda: bytes(call.captured).count(b"\x10") >= 2 * len(WORD))
        heard = bytes(call.captured)
        call.hang_up()
        await call.ended()
        await gateway.empty()
        record = await gateway.record()
    assert results == [{"played": "notice"}]
    piece = WORD[:80]
    samples = np.asarray(decode_ulaw(heard[heard.index(piece) : heard.rindex(piece)]), np.int16)
    assert heard_ms(samples, NOTICE_HZ) == pytest.approx(NOTICE_S * 1000, abs=40)
    recorded, _ = read_wav(Path(record["recording"]["path"]))
    assert heard_ms(recorded[:, 1], NOTICE_HZ) == pytest.approx(NOTICE_S * 1000, abs=60), "the recording has it too"


async def test_a_hold_has_a_longest_time_after_which_the_agent_is_asked_to_speak(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def act(script: Script, peer: Peer) -> None:
        await call_tool(peer, "hold_caller")
        while (await script.hear(peer))["type"] != "response.create":
            pass
        asked.set()

    async with scene(tmp_path, Script(act), max_seconds=1) as (_, call):
        async with asyncio.timeout(10):
            await asked.wait()
        await asyncio.sleep(0.2)
        music = heard_ms(call.heard(), MUSIC_HZ)
        await asyncio.sleep(0.3)
        assert heard_ms(call.heard(), MUSIC_HZ) == music
    assert music >= 500


async def test_a_caller_hears_music_while_it_is_transferred_and_the_agent_again_where_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []

    async def act(script: Script, peer: Peer) -> None:
        await call_tool(peer, "transfer_call", destination="sales")
        results.append(await script.result(peer))
        await speak_again(peer)

    async with scene(tmp_path, Script(act)) as (_, call):
        monkeypatch.setattr(call, "_begin_transfer", lambda: tries_without_hold(call))
        await until(lambda: bool(results))
        await until(lambda: bytes(call.captured).count(b"\x10") >= 2 * len(WORD))
        music = heard_ms(call.heard(), MUSIC_HZ)
        await asyncio.sleep(0.3)
        assert heard_ms(call.heard(), MUSIC_HZ) == music
    assert music >= 500
    assert "486" in results[0]["error"]


def tries_without_hold(call: PlacedCall) -> None:
    """A far end that tries a transfer for a second, leaves the caller with us meanwhile, and finds nobody."""
    call._perform(call._session.accept_refer)
    asyncio.get_running_loop().call_later(1.0, call._perform, call._session.notify_refer, 486)


async def test_keys_are_keys_on_hold(tmp_path: Path) -> None:
    told = []

    async def act(script: Script, peer: Peer) -> None:
        await call_tool(peer, "hold_caller")
        while True:
            event = await script.hear(peer)
            if event["type"] == "conversation.item.create":
                told.append(json.dumps(event["item"]))

    async with scene(tmp_path, Script(act)) as (_, call):
        await until(lambda: heard_ms(call.heard(), MUSIC_HZ) >= 200)
        assert call.press("4#")
        await until(lambda: any("4#" in item for item in told))


async def test_a_caller_that_hangs_up_on_hold_leaves_nothing_behind(tmp_path: Path) -> None:
    async def act(script: Script, peer: Peer) -> None:
        await call_tool(peer, "hold_caller")

    async with scene(tmp_path, Script(act)) as (gateway, call):
        await until(lambda: heard_ms(call.heard(), MUSIC_HZ) >= 200)
        call.hang_up()
        await call.ended()
        await gateway.empty()
        record = await gateway.record()
    assert record["end"]["reason"] == "caller_hung_up"
    assert record["recording"]["fault"] is None
