"""What a caller hears when they interrupt the agent, and when its model fails: the bars of the model sessions.

Usage, from the project's root: `.venv/bin/python -m benchmarks.model_faults` (about three minutes) or with the names of
some parts. The gateway is the real process, the caller's packets carry the kernel's stamps, the model is the embedded
server with its faults behind a tap that stamps every message. It prints a table for each part, leaves the figures as
JSON in `bench-model-faults/`, and exits with 1 where a bar is missed.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from benchmarks.first_light import ROOT
from benchmarks.hearing import FRAME_MS, first_sound_after, heard_of, longest_silence_ms, silence_after
from benchmarks.measure import Measure, at_most, exactly, exit_code, keep, show, told
from benchmarks.model_stage import BOOKING, OTHER_QUESTION, QUESTION, STORY, Lines, listen, listen_until, staged
from benchmarks.model_tap import Message, ModelTap, Speech
from tests.helpers.rtp_capture import ReceivedPacket, RtpPeer, percentile

BARGE_IN_CALLS: Final = 2
BARGE_INS: Final = 5
COUGHS: Final = 5
COUGH_MS: Final = 240
PULSE_CALLS: Final = 4
PULSES: Final = 25
CUTS: Final = 3
TOOL_S: Final = 8.0


async def book_table(guests: str, day: str, hour: str) -> dict[str, bool]:
    """Books a table, slowly."""
    await asyncio.sleep(TOOL_S)
    return {"ok": True}


def milliseconds(values: Sequence[float]) -> str:
    """Median and greatest."""
    return f"{percentile(values, 50):.1f} ms, {max(values):.1f} ms"


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
    keep(measures, folder)
    return exit_code(measures)


if __name__ == "__main__":
    sys.exit(main())
