"""The stage on which models are measured: embedded servers behind taps, a gateway with one agent, and a caller."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.first_light import probe_call
from benchmarks.model_tap import ModelTap
from gateway.embedded.audio import Samples, resample
from gateway.embedded.process import EmbeddedServer
from gateway.embedded.voice import Voice
from rtp.codec.g711 import encode_ulaw
from tests.helpers.gateway_process import GatewayProcess, Record
from tests.helpers.rtp_capture import FRAME_BYTES, FRAME_S, SILENT_FRAME, RtpPeer

TELEPHONE_RATE_HZ: Final = 8000
NUMBER: Final = "3000"
RECORDED_WITHIN_S: Final = 5.0

QUESTION: Final = "Where are you?"
BOOKING: Final = "A table for four tomorrow at seven, please."
OTHER_QUESTION: Final = "What are your opening hours?"
STORY: Final = (
    "Good evening, this is the Harbour Kitchen. We are open every day from noon until ten in the evening, and there "
    "are three vegetarian dishes on the menu. You find us at number five, Mill Lane, right beside the old bridge. "
    "Our cook has been with us for twenty years, and the fish comes from the harbour each morning, before sunrise."
)
SCRIPT: Final = {
    "name": "The Harbour Kitchen",
    "greeting": STORY,
    "not_understood": ["Sorry?"],
    "slots": {"guests": ["three", "four"], "day": ["today", "tomorrow"], "hour": ["seven", "eight"]},
    "turns": [
        {"name": "address", "heard": [QUESTION], "say": f"With pleasure. {STORY}"},
        {"name": "hours", "heard": [OTHER_QUESTION], "say": "We are open from noon until ten."},
        {
            "name": "booking",
            "heard": ["A table for {guests} {day} at {hour}, please."],
            "say": "One moment, let me look.",
            "call": {"tool": "book_table", "arguments": {"guests": "{guests}", "day": "{day}", "hour": "{hour}"}},
            "results": [{"say": "Your table for {guests} is booked {day} at {hour}."}],
        },
    ],
}


@dataclass(frozen=True, slots=True)
class Lines:
    """The caller's words as frames."""

    spoken: Mapping[str, Sequence[bytes]]

    @classmethod
    def learn(cls, *sentences: str) -> "Lines":
        """Speaks them once, before anything is measured."""
        voice = Voice(pitch=0.87)
        return cls({sentence: frames_of(voice.speak(sentence), voice.rate_hz) for sentence in sentences})


def frames_of(samples: Samples, rate_hz: int) -> Sequence[bytes]:
    """Speech as frames of PCMU."""
    audio = encode_ulaw(resample(samples, rate_hz, TELEPHONE_RATE_HZ))
    audio += b"\xff" * (-len(audio) % FRAME_BYTES)
    return [audio[start : start + FRAME_BYTES] for start in range(0, len(audio), FRAME_BYTES)]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a part of the measuring has: the taps by backend, the gateway, a folder of its own."""

    gateway: GatewayProcess
    taps: Mapping[str, ModelTap]
    lines: Lines
    folder: Path

    async def call(self, name: str, seconds: float, act: Callable[[RtpPeer], Awaitable[None]]) -> RtpPeer:
        """One call of at most so many seconds."""
        peer, _ = await probe_call(self.gateway, self.folder / name, NUMBER, round(seconds * 1000), act)
        return peer

    async def record(self) -> Record:
        """The record of the only call; it is written a moment after its end."""
        return await asyncio.to_thread(self._wait_for_record)

    def _wait_for_record(self) -> Record:
        deadline = time.monotonic() + RECORDED_WITHIN_S
        while not (records := self.gateway.records()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return records[0]


@asynccontextmanager
async def staged(
    folder: Path,
    lines: Lines,
    servers: Mapping[str, Sequence[str]],
    **agent: Any,
) -> AsyncIterator[Stage]:
    """A gateway with one agent, whose backends are embedded servers with these arguments, in this order."""
    script = write_script(folder)
    taps: dict[str, ModelTap] = {}

    def adapt(configuration: Record) -> None:
        configuration["backends"] = {
            name: {"type": "openai", "dialect": "compatible", "url": tap.url, "model": "embedded-agent"}
            for name, tap in taps.items()
        }
        settings = {"instructions": "You are a waiter.", "backends": list(taps), **agent}
        configuration["agents"] = {"waiter": settings}
        configuration["trunks"]["loopback"]["numbers"] = {NUMBER: "waiter"}

    async with AsyncServers(script, servers) as running:
        for name, server in running.items():
            taps[name] = await ModelTap(server.url).__aenter__()
        gateway = GatewayProcess(folder / "gateway", adapt=adapt)
        await asyncio.to_thread(gateway.__enter__)
        try:
            yield Stage(gateway, taps, lines, folder)
        except BaseException as error:
            gateway.__exit__(type(error), error, None)
            raise
        else:
            await asyncio.to_thread(gateway.__exit__, None, None, None)
        finally:
            for tap in taps.values():
                await tap.__aexit__(None, None, None)


def write_script(folder: Path) -> Path:
    """What the model servers understand and say."""
    folder.mkdir(parents=True)
    script = folder / "script.yaml"
    script.write_text(yaml.safe_dump(SCRIPT, sort_keys=False))
    return script


class AsyncServers:
    """Several embedded servers at once."""

    def __init__(self, script: Path, servers: Mapping[str, Sequence[str]]) -> None:
        self._servers = {name: EmbeddedServer(script=script, arguments=given) for name, given in servers.items()}

    async def __aenter__(self) -> Mapping[str, EmbeddedServer]:
        await asyncio.gather(*(server.__aenter__() for server in self._servers.values()))
        return self._servers

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.gather(*(server.aclose() for server in self._servers.values()))


async def listen(peer: RtpPeer, seconds: float) -> None:
    """The caller says nothing for so long."""
    await peer.play([SILENT_FRAME] * round(seconds / FRAME_S))


async def listen_until(peer: RtpPeer, condition: Callable[[], bool], within_s: float) -> None:
    """The caller says nothing until something has happened."""
    for _ in range(round(within_s / FRAME_S)):
        if condition():
            return
        await peer.play([SILENT_FRAME])
    raise AssertionError(f"What was waited for did not happen within {within_s} s")
