"""Blind transfer between a whole gateway and a caller on loopback (RFC 3515; facts on carriers §7)."""

import json
from pathlib import Path
from typing import Any

from gateway.caller import Caller
from sip.event import AgentEvent, ReferReceived, ReinviteAnswered, ReinviteReceived
from tests.fakes.realtime_server import Peer, audio_delta, audio_done, function_call, realtime_server, response_created
from tests.fakes.realtime_server import response_done as done
from tests.helpers.gateway_process import Record
from tests.helpers.house import calling, house
from tests.helpers.party import description
from tests.helpers.patience import until
from tests.helpers.phone import Phone
from tests.helpers.sipp import LOOPBACK

TRANSFER = {"destinations": {"sales": "+15557778888"}, "allow": ["+1666*"], "timeout_seconds": 5}


class Wish:
    """A model that asks for a transfer after a word, and remembers what it was answered."""

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self.results: list[dict[str, Any]] = []

    async def __call__(self, peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        arguments = json.dumps({"destination": self._destination})
        call = function_call("call_1", "transfer_call", arguments)
        await peer.send(
            response_created(), audio_delta(b"\x10" * 1600), audio_done(), done("resp_1", "completed", call)
        )
        item = await peer.receive("conversation.item.create")
        output: Any = item["item"]
        self.results.append(json.loads(output["output"]))
        await peer.drain()


def may_transfer(configuration: Record) -> None:
    """Lets the agent transfer."""
    configuration["agents"]["agent"] |= {"built_in_tools": ["transfer_call"], "transfer": TRANSFER}


async def test_a_transfer_that_succeeds_ends_with_our_bye_at_once__rfc3515_2_4_5(tmp_path: Path) -> None:
    async with (
        realtime_server(Wish("sales")) as model,
        house(tmp_path, model.url, adapt=may_transfer) as gateway,
        Caller(LOOPBACK) as caller,
    ):
        call = caller.place(gateway.target)
        call.transfer_status = 200
        await call.answered()
        await until(lambda: call.is_over)
        assert call.ended_by_peer
        assert call.referred_to == ["tel:+15557778888"]
        assert call.referred_by is not None
        assert "1000@" in call.referred_by
        await gateway.empty()
        record = await gateway.record()
    assert record["end"]["reason"] == "transferred"
    assert record["end"]["by"] == "agent"
    (transfer,) = record["transfers"]
    assert (transfer["destination"], transfer["accepted"], transfer["status"]) == ("tel:+15557778888", True, 200)
    assert bytes(call.captured).count(b"\x10") == 1600  # the agent's word was heard before the hold


async def test_a_transfer_that_fails_takes_the_caller_back_to_the_agent__rfc3515_2_4_4(tmp_path: Path) -> None:
    wish = Wish("+1 666 777-8888")
    async with (
        realtime_server(wish) as model,
        house(tmp_path, model.url, adapt=may_transfer) as gateway,
        Caller(LOOPBACK) as caller,
    ):
        call = caller.place(gateway.target)
        call.transfer_status = 486
        await call.answered()
        await until(lambda: bool(wish.results))
        assert call.referred_to == ["tel:+16667778888"]
        heard = len(call.captured)
        await until(lambda: len(call.captured) > heard + 1600)  # the media runs again, and the call is up
        call.hang_up()
        await call.ended()
        await gateway.empty()
        record = await gateway.record()
    assert "486 Busy Here" in wish.results[0]["error"]
    assert record["end"]["reason"] == "caller_hung_up"
    assert record["transfers"][0]["status"] == 486


async def test_a_refer_that_is_refused_is_the_tools_result__rfc3515_2_4_2(tmp_path: Path) -> None:
    wish = Wish("sales")
    async with (
        realtime_server(wish) as model,
        house(tmp_path, model.url, adapt=may_transfer) as gateway,
        calling(gateway),
    ):
        await until(lambda: bool(wish.results))
    record = await gateway.record()
    assert "603" in wish.results[0]["error"]
    assert record["transfers"][0]["accepted"] is False


async def test_a_far_end_that_never_takes_us_off_hold_is_asked_to__rfc3264_8_4(tmp_path: Path) -> None:
    """A transfer has failed and the caller would hear silence for the rest of the call."""
    wish, alice = Wish("sales"), Phone("alice")
    offers: list[bytes] = []

    def hold_and_fail(event: AgentEvent) -> None:
        match event:
            case ReferReceived(session=session):
                alice.endpoint.perform(session.accept_refer)
                alice.endpoint.perform(session.reinvite, description(alice.ear.port, 2, "sendonly"))
            case ReinviteAnswered(session=session):
                alice.endpoint.perform(session.notify_refer, 486)
            case ReinviteReceived(session=session, offer=offer):
                offers.append(offer or b"")
                alice.endpoint.perform(session.answer_reinvite, description(alice.ear.port, 3))
            case _:
                pass

    alice.on_event = hold_and_fail
    async with (
        realtime_server(wish) as model,
        house(tmp_path, model.url, adapt=may_transfer) as gateway,
        alice.running(),
    ):
        call = alice.place(gateway.target)
        await until(lambda: bool(wish.results))
        await until(lambda: bool(offers))
        await alice.hears()
        alice.endpoint.perform(call.bye)
        await gateway.empty()
    assert len(offers) == 1
    assert b"a=sendrecv" in offers[0]


async def test_a_transfer_over_the_cap_is_the_tools_result__promise_15(tmp_path: Path) -> None:
    wish = Wish("sales")
    async with (
        realtime_server(wish) as model,
        house(tmp_path, model.url, adapt=may_transfer, dialling={"prefixes": {"+1555": 0}}) as gateway,
        calling(gateway) as call,
    ):
        await until(lambda: bool(wish.results))
        assert call.referred_to == []
    record = await gateway.record()
    assert "never dialled" in wish.results[0]["error"]
    (transfer,) = record["transfers"]
    assert (transfer["kind"], transfer["accepted"], transfer["status"]) == ("sent", False, 503)


async def test_what_is_not_listed_is_never_dialled(tmp_path: Path) -> None:
    wish = Wish("+15550009999")
    async with (
        realtime_server(wish) as model,
        house(tmp_path, model.url, adapt=may_transfer) as gateway,
        calling(gateway) as call,
    ):
        await until(lambda: bool(wish.results))
        assert call.referred_to == []
    record = await gateway.record()
    assert "may not be transferred" in wish.results[0]["error"]
    assert record["transfers"] == []
    assert record["tool_calls"][0]["outcome"] == "invalid_arguments"
