"""A whole gateway in this process, real sockets on loopback, and a model server that does as the test says.

What every test shares: however a call ends, no task, socket, port, dialog or transaction is left, and a record is
written.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.caller import Caller, CallFailedError
from rtp.codec.polyphase import _phases
from tests.fakes.realtime_server import (
    Peer,
    audio_delta,
    audio_done,
    function_call,
    realtime_server,
    response_created,
    response_done,
)
from tests.helpers.gateway_process import Record
from tests.helpers.house import BRIEF, House, calling, house, obliging
from tests.helpers.patience import SETTLE_SECONDS, until
from tests.helpers.sipp import LOOPBACK


async def refusal(gateway: House) -> int:
    """The status that a call is refused with; nothing of it is held any more."""
    async with Caller(LOOPBACK) as caller:
        call = caller.place(gateway.target)
        with pytest.raises(CallFailedError) as failure:
            await call.answered()
    await gateway.empty()
    return failure.value.status


async def test_what_codecs_need_is_ready_before_the_first_call(tmp_path: Path) -> None:
    _phases.cache_clear()
    async with realtime_server(obliging) as model, house(tmp_path, model.url):
        assert _phases.cache_info().currsize > 0


async def test_a_call_that_the_caller_ends_leaves_nothing_behind(tmp_path: Path) -> None:
    async with realtime_server(obliging) as model, house(tmp_path, model.url) as gateway:
        async with calling(gateway) as call:
            await until(lambda: len(call.captured) > 1600)
        record = await gateway.record()
    assert record["end"]["reason"] == "caller_hung_up"
    assert record["end"]["by"] == "caller"
    assert record["media"]["packets_rx"] > 5
    assert record["recording"]["duration_ms"] > 100
    assert 180 in call.provisional


async def test_the_gateways_bye_leaves_nothing_behind(tmp_path: Path) -> None:
    async with realtime_server(obliging) as model, house(tmp_path, model.url) as gateway:
        async with Caller(LOOPBACK) as caller:
            call = caller.place(gateway.uri(BRIEF))
            await call.answered()
            async with asyncio.timeout(SETTLE_SECONDS):
                await call.ended()
            assert call.ended_by_peer
        await gateway.empty()
        assert (await gateway.record())["end"]["reason"] == "duration_limit"


async def test_an_agent_that_ends_the_call_is_heard_to_its_last_word(tmp_path: Path) -> None:
    async def farewell(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(
            response_created(),
            audio_delta(b"\x10" * 4000),
            audio_done(),
            response_done("resp_1", "completed", function_call("call_1", "end_call")),
        )
        await peer.drain()

    async with realtime_server(farewell) as model, house(tmp_path, model.url) as gateway:
        async with calling(gateway) as call:
            await until(lambda: call.is_over)
        record = await gateway.record()
    assert record["end"]["reason"] == "agent_hung_up"
    assert [tool["name"] for tool in record["tool_calls"]] == ["end_call"]
    assert bytes(call.captured).count(b"\x10") == 4000


async def test_a_model_that_is_lost_ends_the_call_with_bye(tmp_path: Path) -> None:
    async def dies(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("input_audio_buffer.append")
        peer.abort()

    async with realtime_server(dies) as model, house(tmp_path, model.url) as gateway:
        async with calling(gateway) as call:
            await until(lambda: call.is_over)
            assert call.ended_by_peer
        record = await gateway.record()
    assert record["end"]["reason"] == "model_lost"
    assert "connection_lost" in record["end"]["detail"]


@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_a_model_that_refuses_is_a_503_and_never_an_answered_call(tmp_path: Path, status: int) -> None:
    async with realtime_server(obliging, refuse=status) as model, house(tmp_path, model.url) as gateway:
        assert await refusal(gateway) == 503
        record = await gateway.record()
    assert record["end"]["reason"] == "model_unavailable"
    assert record["end"]["sip_status"] == 503
    assert record["answered_at"] is None


async def test_a_missing_key_is_said_at_the_start_and_each_call_is_refused_with_503(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def adapt(configuration: Record) -> None:
        configuration["backends"]["model"]["dialect"] = "openai"

    async with house(tmp_path, "wss://model.invalid/v1/realtime", adapt=adapt) as gateway:
        assert "agent has no backend: its calls are refused with 503" in caplog.text
        assert await refusal(gateway) == 503
        assert (await gateway.record())["end"]["reason"] == "no_backend"


async def test_a_model_that_never_answers_is_given_up_at_the_set_up_limit(tmp_path: Path) -> None:
    async with (
        realtime_server(obliging, mute=True) as model,
        house(tmp_path, model.url, setup_timeout_seconds=1) as gateway,
    ):
        assert await refusal(gateway) == 503
        assert (await gateway.record())["end"]["reason"] == "setup_expired"


async def test_a_caller_who_gives_up_while_it_rings_leaves_nothing_behind(tmp_path: Path) -> None:
    async with realtime_server(obliging, mute=True) as model, house(tmp_path, model.url) as gateway:
        async with Caller(LOOPBACK) as caller:
            call = caller.place(gateway.target)
            await until(lambda: 180 in call.provisional)
            call.hang_up()
            with pytest.raises(CallFailedError) as failure:
                await call.answered()
            assert failure.value.status == 487
        await gateway.empty()
        assert (await gateway.record())["end"]["reason"] == "cancelled"


async def test_a_process_that_stops_hangs_up_on_its_calls(tmp_path: Path) -> None:
    async with realtime_server(obliging) as model, Caller(LOOPBACK) as caller:
        async with house(tmp_path, model.url) as gateway:
            call = caller.place(gateway.target)
            await call.answered()
        async with asyncio.timeout(SETTLE_SECONDS):
            await call.ended()
        assert call.ended_by_peer
        assert (await gateway.record())["end"]["reason"] == "gateway_stopped"


async def test_a_full_gateway_sends_the_next_call_elsewhere(tmp_path: Path) -> None:
    async with realtime_server(obliging) as model, house(tmp_path, model.url, calls=1) as gateway:
        async with Caller(LOOPBACK) as caller:
            first = caller.place(gateway.target)
            await first.answered()
            second = caller.place(gateway.target)
            with pytest.raises(CallFailedError) as failure:
                await second.answered()
            assert failure.value.status == 503
            first.hang_up()
            await first.ended()
        await gateway.empty()
        await until(lambda: len(gateway.records()) == 2)
        assert {record["end"]["reason"] for record in gateway.records()} == {"caller_hung_up", "gateway_full"}


async def test_a_gateway_without_a_free_port_sends_the_next_call_elsewhere(tmp_path: Path) -> None:
    def leave_one(configuration: Record) -> None:
        rtp = configuration["network"]["rtp"]
        rtp["last_port"] = rtp["first_port"] + 1

    async with realtime_server(obliging) as model, house(tmp_path, model.url, adapt=leave_one) as gateway:
        async with calling(gateway), Caller(LOOPBACK) as caller:
            second = caller.place(gateway.target)
            with pytest.raises(CallFailedError) as failure:
                await second.answered()
            assert failure.value.status == 503
        await until(lambda: len(gateway.records()) == 2)
        assert {record["end"]["reason"] for record in gateway.records()} == {"caller_hung_up", "no_port"}


async def test_a_200_that_nobody_acknowledges_ends_with_bye_and_leaves_nothing(tmp_path: Path) -> None:
    async with realtime_server(obliging) as model, house(tmp_path, model.url) as gateway:
        async with silent_caller() as send:
            seen = await send(gateway.target)
        await gateway.empty()
        assert (await gateway.record())["end"]["reason"] == "not_acknowledged"
    assert seen.count("SIP/2.0 200 OK") >= 3
    assert seen[-1].startswith("BYE ")


@asynccontextmanager
async def silent_caller() -> AsyncIterator[Callable[[str], Awaitable[list[str]]]]:
    """Sends an INVITE and never an ACK; gives the start lines of what comes until the BYE."""
    loop = asyncio.get_running_loop()
    datagrams: asyncio.Queue[bytes] = asyncio.Queue()

    class Peer(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            datagrams.put_nowait(data)

    transport, _ = await loop.create_datagram_endpoint(Peer, local_addr=(LOOPBACK, 0))
    port = transport.get_extra_info("sockname")[1]
    body = f"v=0\r\no=- 1 1 IN IP4 {LOOPBACK}\r\ns=-\r\nc=IN IP4 {LOOPBACK}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"

    async def send(target: str) -> list[str]:
        host, gateway_port = target.partition("@")[2].split(":")
        invite = (
            f"INVITE {target} SIP/2.0\r\nVia: SIP/2.0/UDP {LOOPBACK}:{port};branch=z9hG4bKsilent\r\n"
            f"From: <sip:caller@{LOOPBACK}>;tag=1\r\nTo: <{target}>\r\nCall-ID: silent@{LOOPBACK}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:caller@{LOOPBACK}:{port}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        transport.sendto(invite.encode(), (host, int(gateway_port)))
        seen: list[str] = []
        async with asyncio.timeout(SETTLE_SECONDS):
            while not seen or not seen[-1].startswith("BYE "):
                data = await datagrams.get()
                if data[:1].isalpha():  # not the RTP that the same socket receives
                    seen.append(data.partition(b"\r\n")[0].decode())
        return seen

    try:
        yield send
    finally:
        transport.close()
