"""`trunkline call`: a test call by hand."""

import asyncio
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from gateway.address import address_towards
from gateway.audio_file import AudioFileError, Samples, read_audio, write_wav
from gateway.caller import SAMPLE_RATE_HZ, Caller, CallFailedError, PlacedCall
from gateway.media_policy import MediaPolicy
from rtp.source_lock import SourcePolicy
from sip.errors import SipError
from sip.uri import Uri

# A gateway that is called by a loopback address tells the address of its interface and sends from the other one.
WHOEVER_ANSWERS: Final = MediaPolicy(SourcePolicy.LATCH)


def run(
    target: str,
    *,
    play: Path | None,
    record: Path | None,
    digits: str,
    duration_seconds: float,
    caller: str,
    bind: str | None,
) -> int:
    """Places a call, plays and keys what was asked for, listens, hangs up.

    Returns:
        0 for a call that was answered, 1 for one that was refused or could not be placed.
    """
    console = Console(highlight=False)
    try:
        samples = None if play is None else read_audio(play, SAMPLE_RATE_HZ)
        call = uvloop.run(_place(console, target, samples, digits, duration_seconds, caller, bind))
    except (AudioFileError, CallFailedError, SipError, OSError) as error:
        Console(stderr=True).print(str(error), markup=False)
        return 1
    heard = call.heard()
    if record is not None:
        write_wav(record, heard, SAMPLE_RATE_HZ)
        console.print(f"recorded {len(heard) / SAMPLE_RATE_HZ:.1f} s in {record}")
    media = call.statistics()
    console.print(f"received {media.packets_rx} packets ({media.lost} lost), sent {media.packets_tx}")
    return 0


async def _place(
    console: Console,
    target: str,
    samples: Samples | None,
    digits: str,
    duration_seconds: float,
    caller: str,
    bind: str | None,
) -> PlacedCall:
    async with Caller(bind or _address_for(target)) as agent:
        call = agent.place(target, caller=caller, policy=WHOEVER_ANSWERS)
        await call.answered()
        console.print(f"answered after {call.set_up_ms} ms")
        try:
            async with asyncio.timeout(duration_seconds):
                await _talk(console, call, samples, digits)
                await call.ended()
        except TimeoutError:
            call.hang_up()
        await call.ended()
        console.print("the far end hung up" if call.ended_by_peer else "hung up")
        return call


async def _talk(console: Console, call: PlacedCall, samples: Samples | None, digits: str) -> None:
    if digits and not call.press(digits):
        console.print("the far end takes no telephone-events; no digits were sent")
    if samples is not None:
        await call.say(samples)


def _address_for(target: str) -> str | None:
    """The address to call from: the one that leads to the target, where that is an IP literal."""
    host = Uri.parse(target).host.strip("[]")
    try:
        return address_towards(host)
    except ValueError:
        return None  # a name: the address that leads outside will do
