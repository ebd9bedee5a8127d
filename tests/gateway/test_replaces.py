"""INVITE with Replaces: somebody else takes the place of a call's far end, or of whom it calls (RFC 3891).

A whole gateway on loopback; the far ends are our own SIP stack on sockets of their own.
"""

from pathlib import Path
from typing import Any

import pytest

from sip.event import Answered, ByeReceived, Cancelled, Failed, IncomingInvite, ReferEnded, ReferProgress
from sip.header import NameAddr
from sip.session.uac import ClientSession
from sip.uri import Uri
from tests.fakes.realtime_server import Peer, audio_delta, response_created
from tests.helpers.party import description
from tests.helpers.patience import until
from tests.helpers.phone import Phone
from tests.helpers.scene import Talk, in_g729, replacing, scene
from tests.helpers.sipp import LOOPBACK

STORY_MS = 5000


class Story(Talk):
    """A model that tells a story of five seconds, and keeps how much of it was heard."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_ms: list[int] = []
        self.is_cancelled = False

    async def __call__(self, peer: Peer) -> None:
        self.sessions += 1
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(response_created(), audio_delta(bytes(STORY_MS * 8)))
        truncation: Any = await peer.receive("conversation.item.truncate")
        self.heard_ms.append(truncation["audio_end_ms"])
        await peer.receive("response.cancel")
        self.is_cancelled = True
        await peer.drain()


async def test_an_invite_with_replaces_takes_the_conversation_over__rfc3891_3(tmp_path: Path) -> None:
    alice, carol = Phone("alice"), Phone("carol")
    async with scene(tmp_path, alice, carol) as (gateway, talk):
        call = await alice.reach(gateway.target)
        await alice.hears()
        second = await carol.reach(gateway.uri("nobody"), replacing(call), ("Require", "replaces"))
        await alice.first(ByeReceived)
        await carol.hears()
        await carol.hang_up(second)
        await gateway.settled()
        record = await gateway.record()
    assert talk.sessions == 1
    (transfer,) = record["transfers"]
    assert (transfer["kind"], transfer["destination"], transfer["status"]) == ("replaced", f"sip:carol@{LOOPBACK}", 200)
    assert [side["sip_call_id"] for side in record["sides"]] == [call.sip_call_id, second.sip_call_id]


@pytest.mark.parametrize(
    ("more", "status"), [(";early-only", 486), (";x=y", None), ("", None)], ids=["early-only", "parameter", "plain"]
)
async def test_what_is_confirmed_is_replaced_unless_early_only_is_asked__rfc3891_3(
    tmp_path: Path, more: str, status: int | None
) -> None:
    alice, carol = Phone("alice"), Phone("carol")
    async with scene(tmp_path, alice, carol) as (gateway, _):
        call = await alice.reach(gateway.target)
        second = carol.place(gateway.target, replacing(call, more))
        if status is None:
            await carol.first(Answered)
            await carol.hang_up(second)
        else:
            assert (await carol.first(Failed)).status == status
            assert not call.is_ended
            await alice.hang_up(call)


async def test_an_offer_that_cannot_be_taken_leaves_the_call_as_it_was__rfc3891_3(tmp_path: Path) -> None:
    alice, carol = Phone("alice"), Phone("carol")
    async with scene(tmp_path, alice, carol) as (gateway, _):
        call = await alice.reach(gateway.target)
        carol.endpoint.perform(
            carol.agent.invite,
            target=Uri.parse(gateway.target),
            from_=NameAddr.parse(f"<sip:carol@{LOOPBACK}>"),
            offer=in_g729(carol),
            headers=[replacing(call)],
        )
        assert (await carol.first(Failed)).status == 488
        await alice.hears()
        await alice.hang_up(call)


@pytest.mark.parametrize("is_usable", [True, False])
async def test_without_an_offer_the_ack_decides__rfc3891_3(tmp_path: Path, is_usable: bool) -> None:
    alice, carol = Phone("alice"), Phone("carol")
    async with scene(tmp_path, alice, carol) as (gateway, _):
        call = await alice.reach(gateway.target)
        second: ClientSession = carol.endpoint.perform(
            carol.agent.invite,
            target=Uri.parse(gateway.target),
            from_=NameAddr.parse(f"<sip:carol@{LOOPBACK}>"),
            offer=b"",
            headers=[replacing(call)],
        )
        await carol.first(Answered)
        carol.endpoint.perform(second.acknowledge, description(carol.ear.port) if is_usable else in_g729(carol))
        if is_usable:
            await alice.first(ByeReceived)
            await carol.hears()
            await carol.hang_up(second)
        else:
            await carol.first(ByeReceived)
            await alice.hears()
            await alice.hang_up(call)


async def test_a_trunk_can_forbid_it(tmp_path: Path) -> None:
    alice, carol = Phone("alice"), Phone("carol")
    async with scene(tmp_path, alice, carol, trunk={"replaces": "never"}) as (gateway, _):
        call = await alice.reach(gateway.target)
        carol.place(gateway.target, replacing(call))
        assert (await carol.first(Failed)).status == 403
        await alice.hang_up(call)


async def test_who_is_being_called_can_be_picked_up_elsewhere__rfc3891_3(tmp_path: Path) -> None:
    """Call pickup: Carol takes the call that the gateway makes to a desk where nobody answers."""
    alice, desk, carol = Phone("alice"), Phone("desk"), Phone("carol")
    async with scene(tmp_path, alice, desk, carol, allow=(desk.uri,)) as (gateway, talk):
        await alice.reach(gateway.target)
        alice.refer(desk.uri)
        ringing = (await desk.first(IncomingInvite)).session
        desk.endpoint.perform(ringing.ring)
        await until(lambda: 180 in [event.status for event in alice.of(ReferProgress)])
        invite, tag = ringing.request, ringing.local_tag
        replaces = f"{invite.call_id};to-tag={invite.from_.tag};from-tag={tag};early-only"
        second = carol.place(gateway.target, ("Replaces", replaces))
        await desk.first(Cancelled)
        assert (await alice.first(ReferEnded)).status == 200
        await carol.hears()
        await carol.hang_up(second)
    assert talk.sessions == 1


@pytest.mark.parametrize(("policy", "status"), [("same_trunk", 403), ("any_trunk", None)])
async def test_calls_of_other_trunks_are_taken_over_only_where_the_trunk_may(
    tmp_path: Path, policy: str, status: int | None
) -> None:
    alice, carol = Phone("alice"), Phone("carol", "127.0.0.2")
    other = {"allow": ["127.0.0.2/32"], "numbers": {"1000": "agent"}, "replaces": policy}
    async with scene(tmp_path, alice, carol, more_trunks={"other": other}) as (gateway, _):
        call = await alice.reach(gateway.target)
        second = carol.place(gateway.target, replacing(call))
        if status is None:
            await carol.first(Answered)
            await alice.first(ByeReceived)
            await carol.hang_up(second)
        else:
            assert (await carol.first(Failed)).status == status
            await alice.hang_up(call)


async def test_the_model_forgets_what_neither_side_heard(tmp_path: Path) -> None:
    alice, carol, story = Phone("alice"), Phone("carol"), Story()
    async with scene(tmp_path, alice, carol, model_talk=story) as (gateway, _):
        call = await alice.reach(gateway.target)
        await alice.hears(20)
        second = carol.place(gateway.target, replacing(call))
        await alice.first(ByeReceived)
        await until(lambda: story.is_cancelled)
        await carol.hang_up(second)
        await gateway.settled()
        record = await gateway.record()
    assert 0 < story.heard_ms[0] < STORY_MS
    assert record["sides"][0]["media"]["packets_tx"] * 20 >= story.heard_ms[0]


async def test_while_the_agent_transfers_the_caller_nobody_else_does(tmp_path: Path) -> None:
    """A second handover waits its turn: 491, for a REFER and for Replaces."""
    alice, desk, carol = Phone("alice"), Phone("desk"), Phone("carol")
    async with scene(tmp_path, alice, desk, carol, allow=(desk.uri,)) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(desk.uri)
        invite = (await desk.first(IncomingInvite)).session
        carol.place(gateway.target, replacing(call))
        assert (await carol.first(Failed)).status == 491
        desk.endpoint.perform(invite.reject, 480)
        assert (await alice.first(ReferEnded)).status == 480
        await alice.hang_up(call)
