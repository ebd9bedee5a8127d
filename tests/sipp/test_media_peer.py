"""Calls whose signalling is SIPp's and whose media peer is the test: what SIPp itself cannot hear."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.helpers.gateway_process import ECHO, SILENT, TALK, GatewayProcess
from tests.helpers.rtp_capture import FRAME_BYTES, PCMU, SILENT_FRAME, RtpPeer, dtmf_frames, tone_frame
from tests.helpers.sipp import SippRun, run_sipp

pytestmark = [pytest.mark.sipp, pytest.mark.process]


@asynccontextmanager
async def a_call(
    gateway: GatewayProcess, folder: Path, number: str, hold_ms: int, scenario: str = "uac-external-media"
) -> AsyncIterator[tuple[RtpPeer, "asyncio.Task[SippRun]"]]:
    """A call that SIPp holds for so long; the peer and SIPp's outcome."""
    async with RtpPeer.open() as peer:
        keys: dict[str, str | int] = {"rtp_ip": "127.0.0.1", "rtp_port": peer.port}
        sipp = asyncio.create_task(
            asyncio.to_thread(
                run_sipp, scenario, gateway.sip_address, folder, number=number, hold_ms=hold_ms, keys=keys
            )
        )
        try:
            await peer.first_packet()
            yield peer, sipp
        finally:
            await sipp


async def test_media_is_one_unbroken_pcmu_stream__rfc3550_5_1(gateway: GatewayProcess, tmp_path: Path) -> None:
    async with a_call(gateway, tmp_path, TALK, hold_ms=2000) as (peer, sipp):
        run = await sipp

    run.assert_clean()
    packets = peer.packets
    assert len(packets) >= 50
    assert {packet.payload_type for packet in packets} == {PCMU}
    assert {len(packet.payload) for packet in packets} == {FRAME_BYTES}
    assert len({packet.ssrc for packet in packets}) == 1
    assert len({packet.source for packet in packets}) == 1
    assert peer.sequence_faults() == 0
    steps = {(later.timestamp - earlier.timestamp) & 0xFFFF_FFFF for earlier, later in pairwise(packets)}
    # Where the machine keeps the gateway from running, the timestamp counts the missed turn and the sequence does not.
    assert min(steps) == FRAME_BYTES
    assert all(step % FRAME_BYTES == 0 for step in steps)
    assert any(packet.first_loud_sample is not None for packet in packets), "the agent talks"


async def test_silence_is_sent_while_the_agent_is_silent__rfc3551_4_1(gateway: GatewayProcess, tmp_path: Path) -> None:
    async with a_call(gateway, tmp_path, SILENT, hold_ms=1500) as (peer, sipp):
        run = await sipp

    run.assert_clean()
    assert len(peer.packets) >= 35
    assert all(packet.first_loud_sample is None for packet in peer.packets)


async def test_sound_comes_back_from_the_echo(gateway: GatewayProcess, tmp_path: Path) -> None:
    tone = tone_frame()
    async with a_call(gateway, tmp_path, ECHO, hold_ms=3000) as (peer, sipp):
        await peer.play([SILENT_FRAME] * 20)
        (sent_s, *_) = await peer.play([tone] * 25)
        await peer.play([SILENT_FRAME] * 25)
        run = await sipp

    run.assert_clean()
    assert peer.heard_after_ms(sent_s, within_s=2.0) is not None
    loud_frames = sum(packet.first_loud_sample is not None for packet in peer.packets)
    assert loud_frames >= 15, "most of the tone's 25 frames came back"


async def test_keys_pressed_during_the_call_are_in_the_record__rfc4733_2_5(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    async with a_call(gateway, tmp_path, SILENT, hold_ms=3000) as (peer, sipp):
        await peer.play([SILENT_FRAME] * 5)
        await peer.press("0*9#55")
        run = await sipp

    run.assert_clean()
    record = gateway.wait_for_record(run.sip_call_id)
    assert "".join(press["digit"] for press in record["digits"]) == "0*9#55"


async def test_keys_that_come_as_tones_are_keys_and_the_model_hears_next_to_nothing_of_them__q23(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    """The echo gives back what a model hears: of each tone of 100 ms at most its first packet."""
    keys = "159#0*"
    async with a_call(gateway, tmp_path, ECHO, 5000, "uac-external-media-inband") as (peer, sipp):
        await peer.play([SILENT_FRAME] * 20)
        for key in keys:
            await peer.play(dtmf_frames(key, 5))
            await peer.play([SILENT_FRAME] * 5)
        await peer.play([tone_frame()] * 10)  # a tone that is no key passes as it is
        await peer.play([SILENT_FRAME] * 40)
        run = await sipp

    run.assert_clean()
    record = gateway.wait_for_record(run.sip_call_id)
    assert "".join(press["digit"] for press in record["digits"]) == keys
    assert all(60 <= press["duration_ms"] <= 140 for press in record["digits"])
    loud = sum(packet.first_loud_sample is not None for packet in peer.packets)
    assert loud - 11 <= len(keys) * 2, "a packet's worth of each key may lie across two packets"


async def test_noise_on_the_media_port_ends_nothing(gateway: GatewayProcess, tmp_path: Path) -> None:
    randomness = random.Random(20_261_122)
    async with a_call(gateway, tmp_path, TALK, hold_ms=2000) as (peer, sipp):
        for _ in range(200):
            peer.send_raw(randomness.randbytes(randomness.randrange(0, 1400)))
        await peer.play([SILENT_FRAME] * 20)
        run = await sipp

    run.assert_clean()
    assert peer.sequence_faults() == 0
    assert gateway.wait_for_record(run.sip_call_id)["end"]["reason"] == "caller_hung_up"
