"""What a caller hears when they interrupt the agent, and when its model fails: the bars of the model sessions.

Usage, from the project's root: `.venv/bin/python -m benchmarks.model_faults` (about three minutes) or with the names of
some parts. The gateway is the real process, the caller's packets carry the kernel's stamps, the model is the embedded
server with its faults behind a tap that stamps every message. It prints a table for each part, leaves the figures as
JSON in `bench-model-faults/`, and exits with 1 where a bar is missed.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.first_light import ROOT, Measure, at_most, exactly, probe_call, show, told
from benchmarks.model_tap import Message, ModelTap, Speech
from gateway.embedded.audio import Samples, resample
from gateway.embedded.process import EmbeddedServer
from gateway.embedded.voice import Voice
from rtp.codec.g711 import encode_ulaw
from tests.helpers.gateway_process import GatewayProcess, Record
from tests.helpers.rtp_capture import FRAME_BYTES, SILENT_FRAME, ReceivedPacket, RtpPeer, percentile

FRAME_MS: Final = 20
TELEPHONE_RATE_HZ: Final = 8000
NUMBER: Final = "3000"

BARGE_IN_CALLS: Final = 2
BARGE_INS: Final = 5
COUGHS: Final = 5
COUGH_MS: Final = 240
PULSE_CALLS: Final = 4
PULSES: Final = 25
CUTS: Final = 3
TOOL_S: Final = 8.0
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


async def book_table(guests: str, day: str, hour: str) -> dict[str, bool]:
    """Books a table, slowly."""
    await asyncio.sleep(TOOL_S)
    return {"ok": True}


# The stage: servers, taps, a gateway, a caller.


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
    await peer.play([SILENT_FRAME] * round(seconds * 1000 / FRAME_MS))


async def listen_until(peer: RtpPeer, condition: Callable[[], bool], within_s: float) -> None:
    """The caller says nothing until something has happened."""
    for _ in range(round(within_s * 1000 / FRAME_MS)):
        if condition():
            return
        await peer.play([SILENT_FRAME])
    raise AssertionError(f"What was waited for did not happen within {within_s} s")


# What was heard.


@dataclass(frozen=True, slots=True)
class Heard:
    """An item of speech as the caller's capture holds it: its first and last packet with sound, and how much came.

    A pause in the speech looks like the silence after its end, so how much came lies between `sounding_ms` and `ms`.
    """

    first: ReceivedPacket
    last: ReceivedPacket
    sounding_ms: int
    ms: int
    pauses: int

    def difference_ms(self, end_ms: int) -> int:
        """By how much a claim of what was heard is beside it."""
        return max(end_ms - self.ms, self.sounding_ms - end_ms, 0)


def heard_of(speech: Speech, packets: Sequence[ReceivedPacket]) -> Heard | None:
    """Finds an item in the capture by its very bytes: the model's μ-law leaves the gateway as it is.

    Silence between two of its frames is a pause, in which the rest of it waited. Equal words are equal bytes, so only
    what came after the item's first delta is looked at.
    """
    frames = [bytes(speech.audio[at : at + FRAME_BYTES]) for at in range(0, len(speech.audio), FRAME_BYTES)]
    start = next(
        (
            index
            for index, packet in enumerate(packets)
            if packet.arrived_s > speech.first_at and packet.payload == frames[0]
        ),
        None,
    )
    if start is None:
        return None
    matched, sounding, pauses, last, last_sounding = 0, 0, 0, start, start
    for index in range(start, len(packets)):
        payload = packets[index].payload
        if matched < len(frames) and payload[: len(frames[matched])] == frames[matched]:
            pauses += index - last > 1
            last, matched = index, matched + 1
            if payload.strip(b"\xff"):
                last_sounding, sounding = index, matched
        elif matched == len(frames) or payload.strip(b"\xff"):
            break
    return Heard(packets[start], packets[last_sounding], sounding * FRAME_MS, matched * FRAME_MS, pauses)


def first_sound_after(at: float, packets: Sequence[ReceivedPacket]) -> float | None:
    """When the first packet with sound came after a moment."""
    return next(
        (packet.arrived_s for packet in packets if packet.arrived_s > at and packet.payload.strip(b"\xff")), None
    )


def longest_silence_ms(packets: Sequence[ReceivedPacket]) -> float:
    """The longest silence after the first sound."""
    longest, since = 0.0, None
    for packet in packets:
        if packet.payload.strip(b"\xff"):
            if since is not None:
                longest = max(longest, packet.arrived_s - since)
            since = packet.arrived_s
    return longest * 1000


def milliseconds(values: Sequence[float]) -> str:
    """Median and greatest."""
    return f"{percentile(values, 50):.1f} ms, {max(values):.1f} ms"


# The parts.


async def measure_barge_in(folder: Path, lines: Lines) -> Iterator[Measure]:
    """The caller speaks over the agent, again and again."""
    delays: list[float] = []
    differences: list[float] = []
    excess: list[float] = []

    async with staged(folder, lines, {"main": ()}, greeting=STORY) as stage:
        tap = stage.taps["main"]

        async def interrupt(peer: RtpPeer) -> None:
            connection = max(message.connection for message in tap.messages)
            interrupted = 0

            def is_heard() -> bool:
                speeches = speeches_of(tap, connection)
                return len(speeches) > interrupted and heard_of(speeches[-1], peer.packets) is not None

            for _ in range(BARGE_INS):
                await listen_until(peer, is_heard, 8)
                await listen(peer, 2.5)
                interrupted = len(speeches_of(tap, connection))
                await peer.play(lines.spoken[QUESTION])

        peers = {}
        for number in range(1, BARGE_IN_CALLS + 1):
            peers[number] = await stage.call(f"barge-in-{number}", BARGE_INS * 8, interrupt)
        for number, peer in peers.items():
            for started, speech, end_ms in interruptions(tap, number):
                heard = heard_of(speech, peer.packets)
                if heard is None:
                    continue
                delays.append(max(0.0, (heard.last.arrived_s - started.at) * 1000))
                differences.append(heard.difference_ms(end_ms))
                excess.append(end_ms - speech.generated_ms)
    return iter(
        (
            at_most(
                f"speech_started → last packet of old speech, greatest of {len(delays)}", max(delays), 40, "ms"
            ),
            told("  median and greatest", milliseconds(delays)),
            exactly("  interruptions that were truncated", len(delays), BARGE_IN_CALLS * BARGE_INS),
            at_most(
                "audio_end_ms against the caller's capture, greatest difference",
                max(differences), 40, "ms",
            ),
            at_most("  audio_end_ms less what was generated, greatest", max(excess), 0, "ms"),
        )
    )  # fmt: skip


def speeches_of(tap: ModelTap, connection: int) -> list[Speech]:
    """What the model said on one connection, in its order."""
    return [speech for (number, _), speech in tap.speeches.items() if number == connection]


def interruptions(tap: ModelTap, connection: int) -> Iterator[tuple[Message, Speech, int]]:
    """Each speech_started that was followed by a truncation, with the item that was cut, and where."""
    started: Message | None = None
    for message in tap.messages:
        if message.connection != connection:
            continue
        if message.type == "input_audio_buffer.speech_started":
            started = message
        elif message.type == "conversation.item.truncate" and started is not None:
            key = (connection, message.event["item_id"])
            yield started, tap.speeches[key], message.event["audio_end_ms"]
            started = None


async def measure_cough(folder: Path, lines: Lines) -> Iterator[Measure]:
    """A sound too short to count: the agent pauses and goes on in the midst of its word."""
    cough = loudest_part(lines.spoken[QUESTION], COUGH_MS)
    async with staged(folder, lines, {"main": ()}, greeting=STORY, interruption={"minimum_speech_ms": 400}) as stage:
        tap = stage.taps["main"]

        async def clear_the_throat(peer: RtpPeer) -> None:
            await listen(peer, 2.5)
            for _ in range(COUGHS):
                await peer.play(cough)
                await listen(peer, 2.0)
            await listen(peer, 8)

        peer = await stage.call("cough", COUGHS * 2.2 + 12, clear_the_throat)
        (speech,) = speeches_of(tap, 1)
        heard = heard_of(speech, peer.packets)
        started = [message for message in tap.messages if message.type == "input_audio_buffer.speech_started"]
        silent = [silence_after(message.at, peer.packets) for message in started]
        truncations = sum(message.type == "conversation.item.truncate" for message in tap.messages)
    if heard is None:
        return iter((Measure("the greeting", "heard", "not heard", is_met=False),))
    return iter(
        (
            told("coughs that the service took for speech", f"{len(started)} of {COUGHS}"),
            at_most("  speech_started → silence, greatest", max(silent), 40, "ms"),
            exactly("  pauses in the agent's speech", heard.pauses, len(started)),
            exactly("  milliseconds of it that were lost", -(-speech.generated_ms // FRAME_MS) * FRAME_MS - heard.ms),
            exactly("  truncations", truncations),
        )
    )


def loudest_part(frames: Sequence[bytes], duration_ms: int) -> Sequence[bytes]:
    """So much of a sentence, where it is loudest."""
    count = duration_ms // FRAME_MS
    loudness = [sum(~byte & 0x7F for byte in frame) for frame in frames]
    start = max(range(len(frames) - count), key=lambda at: sum(loudness[at : at + count]))
    return frames[start : start + count]


def silence_after(at: float, packets: Sequence[ReceivedPacket]) -> float:
    """From a moment to the last packet with sound before the next silence of two packets or more, in milliseconds."""
    later = [packet for packet in packets if packet.arrived_s > at]
    sounding = list(takewhile(lambda packet: bool(packet.payload.strip(b"\xff")), later))
    return (sounding[-1].arrived_s - at) * 1000 if sounding else 0.0


async def measure_first_sound(folder: Path, lines: Lines) -> Iterator[Measure]:
    """From the first delta of an answer to its first packet."""
    async with staged(folder, lines, {"main": ()}) as stage:
        tap = stage.taps["main"]

        def ask(number: int) -> Callable[[RtpPeer], Awaitable[None]]:
            async def press(peer: RtpPeer) -> None:
                for pulse in range(PULSES):
                    await peer.press(f"{number}#")
                    await listen(peer, 1.0 + pulse * 0.003)  # not in step with the media clock

            return press

        async with asyncio.TaskGroup() as group:
            calls = {
                number: group.create_task(stage.call(f"pulse-{number}", PULSES * 2, ask(number)))
                for number in range(PULSE_CALLS)
            }
        delays = [
            delay
            for number, call in calls.items()
            for delay in first_delays(speeches_of(tap, connection_of(tap, number)), call.result().packets)
        ]
    return iter(
        (
            at_most(f"first delta → first RTP packet, p95 of {len(delays)}", percentile(delays, 95), 20, "ms"),
            told("  median and greatest", milliseconds(delays)),
        )
    )


def connection_of(tap: ModelTap, number: int) -> int:
    """The session of the call whose caller pressed this number."""
    return next(
        message.connection
        for message in tap.messages
        if message.type == "conversation.item.create" and f"pressed {number}#" in str(message.event)
    )


def first_delays(speeches: Sequence[Speech], packets: Sequence[ReceivedPacket]) -> list[float]:
    """For each item of one call the time from its first delta to its first packet."""
    heard = [(speech, heard_of(speech, packets)) for speech in speeches]
    return [(found.first.arrived_s - speech.first_at) * 1000 for speech, found in heard if found is not None]


async def measure_loss(folder: Path, lines: Lines) -> Iterator[Measure]:
    """The model's socket is cut in mid-sentence: at a quick model, and at one that thinks for a second."""
    measures: list[Measure] = []
    for name, arguments in (
        ("a model that answers at once", ()),
        ("one that thinks for 1 s", ("--thinking-ms", "1000")),
    ):
        sounds, agents, contexts, silences = await lose(folder / name.replace(" ", "-"), lines, arguments)
        quick = not arguments
        measures += [
            at_most(
                f"socket cut in mid-sentence, {name}: sound again, greatest of {len(sounds)}", max(sounds), 400, "ms"
            ),
            at_most("  the agent speaks again, greatest", max(agents), 1500, "ms")
            if quick
            else told("  the agent speaks again (the filler is said to its end)", milliseconds(agents)),
            told("  longest silence", f"{max(silences):.0f} ms"),
            exactly("  sessions that were told what had been heard", contexts, CUTS),
        ]
    return iter(measures)


async def lose(
    folder: Path, lines: Lines, arguments: Sequence[str]
) -> tuple[list[float], list[float], int, list[float]]:
    """Cuts the socket some times. Returns until sound, until the agent speaks, sessions with context, silences."""
    async with staged(folder, lines, {"main": ("--speed", "1", *arguments)}, greeting=STORY) as stage:
        tap = stage.taps["main"]
        cuts: list[float] = []

        async def suffer(peer: RtpPeer) -> None:
            for cut in range(1, CUTS + 1):
                await listen_until(peer, lambda n=cut: bool(speeches_of(tap, n)), 10)  # type: ignore[misc]
                await listen(peer, 6)  # a session that ends at once would count as one that the conversation breaks
                cuts.append(tap.cut(cut))
            await listen_until(peer, lambda: bool(speeches_of(tap, CUTS + 1)), 10)
            await listen(peer, 2)

        peer = await stage.call("loss", CUTS * 10 + 6, suffer)
        sounds = [(first_sound_after(at + 0.06, peer.packets) or 1e9) - at for at in cuts]
        agents = []
        for number, at in enumerate(cuts, start=2):
            after = [packet for packet in peer.packets if packet.arrived_s > at]
            heard = heard_of(speeches_of(tap, number)[0], after)
            agents.append(1e9 if heard is None else heard.first.arrived_s - at)
        contexts = sum(was_told(tap, number) for number in range(2, CUTS + 2))
        silences = [longest_silence_ms([p for p in peer.packets if at - 1 < p.arrived_s < at + 5]) for at in cuts]
    return [value * 1000 for value in sounds], [value * 1000 for value in agents], contexts, silences


def was_told(tap: ModelTap, connection: int) -> bool:
    """Whether a session was told what the caller had heard of the agent's first words, and not all of them."""
    told_words = [
        content["text"]
        for message in tap.messages
        if message.connection == connection and message.type == "conversation.item.create"
        for content in message.event["item"].get("content", ())
    ]
    return any(STORY.startswith(words) and 0 < len(words) < len(STORY) for words in told_words)


async def measure_refusal(folder: Path, lines: Lines) -> Iterator[Measure]:
    """The primary backend refuses: from the beginning, or when the conversation is to be taken up again."""
    servers: Mapping[str, Sequence[str]] = {"main": ("--fault", "status,code=503"), "spare": ()}
    async with staged(folder / "set-up", lines, servers, greeting=STORY) as stage:
        peer = await stage.call("refused", 6, lambda peer: listen(peer, 5))
        set_up_ms = ((first_sound_after(0, peer.packets) or 1e9) - peer.packets[0].arrived_s) * 1000
        backend = (await stage.record())["model"]["backend"]
    servers = {"main": ("--speed", "1", "--fault", "2:status,code=503", "--fault", "3:status,code=503"), "spare": ()}
    async with staged(folder / "mid-call", lines, servers, greeting=STORY) as stage:
        tap = stage.taps["main"]
        cuts: list[float] = []

        async def suffer(peer: RtpPeer) -> None:
            await listen_until(peer, lambda: bool(speeches_of(tap, 1)), 10)
            await listen(peer, 6)
            cuts.append(tap.cut(1))
            await listen(peer, 5)

        peer = await stage.call("lost", 15, suffer)
        silence_ms = longest_silence_ms([packet for packet in peer.packets if packet.arrived_s > cuts[0] - 1])
        (change,) = (await stage.record())["model"]["changes"]
    return iter(
        (
            at_most("primary refuses: from the first packet to the secondary's first word", set_up_ms, 2000, "ms"),
            exactly("  calls that the secondary answered", int(backend == "spare"), 1),
            at_most("primary cut off and refusing: longest silence until the secondary speaks", silence_ms, 2000, "ms"),
            exactly("  conversations that the secondary went on with", int(change["to_backend"] == "spare"), 1),
        )
    )


async def measure_tool(folder: Path, lines: Lines) -> Iterator[Measure]:
    """A tool of eight seconds: the caller asks something else meanwhile."""
    tools = {
        "book_table": {
            "type": "python",
            "function": "benchmarks.model_faults:book_table",
            "timeout_seconds": 20,
        }
    }
    async with staged(folder, lines, {"main": ()}, tools=tools) as stage:
        tap = stage.taps["main"]

        async def book(peer: RtpPeer) -> None:
            await listen(peer, 0.5)
            await peer.play(lines.spoken[BOOKING])
            await listen(peer, 4.5)
            await peer.play(lines.spoken[OTHER_QUESTION])
            await listen(peer, 12)

        await stage.call("tool", 26, book)
        said = [
            (message.at, str(message.event["transcript"]))
            for message in tap.messages
            if message.type == "response.output_audio_transcript.done"
        ]
        called = next(m.at for m in tap.messages if m.type == "response.function_call_arguments.done")
        answered = next(m.at for m in tap.messages if not m.is_from_model and "function_call_output" in str(m.event))
        (work,) = (await stage.record())["tool_calls"]
    hours = [at for at, words in said if words == "We are open from noon until ten."]
    booked = [at for at, words in said if words.startswith("Your table for four is booked tomorrow")]
    return iter(
        (
            told("a tool that takes 8 s: its result after the call", f"{answered - called:.2f} s"),
            exactly("  other questions answered while it ran", sum(called < at < answered for at in hours), 1),
            exactly("  answers with its result, after it and once", sum(at > answered for at in booked), 1),
            at_most(
                "  result → the model's answer is complete",
                (booked[0] - answered) * 1000 if booked else 1e9,
                2000,
                "ms",
            ),
            exactly("  tool calls that succeeded", int(work["outcome"] == "done"), 1),
        )
    )


PARTS: Final[Mapping[str, Callable[[Path, Lines], Awaitable[Iterator[Measure]]]]] = {
    "barge-in": measure_barge_in,
    "cough": measure_cough,
    "first-sound": measure_first_sound,
    "loss": measure_loss,
    "refusal": measure_refusal,
    "tool": measure_tool,
}


async def measure(folder: Path, parts: Sequence[str]) -> list[Measure]:
    """Runs the parts one after another."""
    lines = Lines.learn(QUESTION, BOOKING, OTHER_QUESTION)
    measures: list[Measure] = []
    for part in parts:
        found = list(await PARTS[part](folder / part, lines))
        show(found, f"Trunkline, model sessions: {part}")
        measures += found
    return measures


def main() -> int:
    """Measures the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "bench-model-faults", help="where traces and figures go")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all when none is given")
    arguments = parser.parse_args()
    folder: Path = arguments.folder / f"{datetime.now():%Y%m%d-%H%M%S}"
    os.environ["PYTHONPATH"] = str(ROOT)  # the gateway finds the tool by the name of this module
    measures = asyncio.run(measure(folder, arguments.parts or list(PARTS)))
    (folder / "figures.json").write_text(json.dumps([asdict(measure) for measure in measures], indent=2))
    return int(any(measure.is_met is False for measure in measures))


if __name__ == "__main__":
    sys.exit(main())
