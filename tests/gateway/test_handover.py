"""REFER that is followed: a call changes its side while the conversation goes on (RFC 3515).

A whole gateway on loopback; the far ends are our own SIP stack on sockets of their own.
"""

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest

from gateway.call.handover import HANDOVERS_LIMIT
from sip.digest_verifier import DigestVerdict, DigestVerifier
from sip.event import (
    AgentEvent,
    Answered,
    ByeReceived,
    Cancelled,
    Ended,
    IncomingInvite,
    ReferAccepted,
    ReferEnded,
    ReferProgress,
)
from sip.message import Request, parse_message
from sip.reception import Refusal
from sip.transport.flow import Flow
from tests.helpers.house import BRIEF
from tests.helpers.party import description
from tests.helpers.patience import until
from tests.helpers.phone import Ear, Phone
from tests.helpers.scene import in_g729, replacing, scene
from tests.helpers.sipp import LOOPBACK


class Fork(asyncio.DatagramProtocol):
    """A proxy's side of a call that rings two telephones at once: both answer, the second one first."""

    def __init__(self, media_port: int) -> None:
        self.requests: list[Request] = []
        self._media_port = media_port

    def begin(self, transport: asyncio.DatagramTransport) -> str:
        """Where it can be called."""
        self.transport = transport
        self.port: int = transport.get_extra_info("sockname")[1]
        return f"sip:team@{LOOPBACK}:{self.port}"

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = parse_message(data)
        assert isinstance(request, Request)
        self.requests.append(request)
        if request.method == "INVITE":
            for status, tag in ((180, "first"), (180, "second"), (200, "second"), (200, "first")):
                contact = ("Contact", f"<sip:{tag}@{LOOPBACK}:{self.port}>")
                body = description(self._media_port) if status == 200 else b""
                fields = [contact, ("Content-Type", "application/sdp")] if body else [contact]
                response = request.create_response(status, to_tag=tag, headers=fields, body=body)
                self.transport.sendto(bytes(response), addr)
        elif request.method != "ACK":
            self.transport.sendto(bytes(request.create_response(200)), addr)

    def of(self, method: str) -> list[str | None]:
        """To whom requests of a method went."""
        return [request.uri.user for request in self.requests if request.method == method]


async def test_a_refer_that_is_listed_is_followed_to_the_end__rfc3515_2_4(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    desk.on_event = desk.picks_up
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, talk):
        await alice.reach(gateway.target)
        await alice.hears()
        alice.refer(desk.uri, ("Referred-By", "<sip:alice@example.net>"))
        ended = await alice.first(ReferEnded)
        assert (ended.status, ended.is_accepted) == (200, True)
        assert [event.status for event in alice.of(ReferProgress)] == [100, 180]
        invite = (await desk.first(IncomingInvite)).session
        assert invite.request.headers.get("Referred-By") == "<sip:alice@example.net>"
        assert invite.request.from_.uri.user == "1000"
        await alice.first(ByeReceived)
        await desk.hears()
        await until(lambda: any("handed over" in words for words in talk.told))
        await desk.hang_up(invite)
        await gateway.settled()
        record = await gateway.record()
        silent = alice.ear.poll()
        await asyncio.sleep(0.1)
        assert alice.ear.poll() == silent, "who was left hears nothing any more"
    assert talk.sessions == 1, "one model session for the whole conversation"
    assert record["end"]["reason"] == "caller_hung_up"
    (transfer,) = record["transfers"]
    assert (transfer["kind"], transfer["destination"], transfer["status"]) == ("followed", desk.uri, 200)
    first, second = record["sides"]
    assert first["sip_call_id"] == record["sip_call_id"]
    assert first["party"] == f"sip:alice@{LOOPBACK}"
    assert first["media"]["packets_tx"] > 0
    assert (second["party"], second["sip_call_id"]) == (desk.uri, invite.sip_call_id)
    assert second["from_ms"] >= first["from_ms"]
    assert record["media"] == second["media"]


async def test_a_busy_destination_leaves_the_call_as_it_was__rfc3515_2_4_4(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    desk.on_event = desk.is_busy
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(desk.uri)
        ended = await alice.first(ReferEnded)
        assert (ended.status, ended.is_accepted) == (486, True)
        await alice.hears()
        assert not call.is_ended
        await alice.hang_up(call)
        await gateway.settled()
        record = await gateway.record()
    assert record["transfers"][0]["status"] == 486
    assert record["sides"] == []


async def test_of_two_that_answer_the_first_has_the_conversation__rfc3261_13_2_2_4(tmp_path: Path) -> None:
    alice, ear = Phone("alice"), Ear()
    loop = asyncio.get_running_loop()
    transport, fork = await loop.create_datagram_endpoint(lambda: Fork(ear.port), local_addr=(LOOPBACK, 0))
    uri = fork.begin(transport)
    async with scene(tmp_path, alice, allow=(uri,)) as (gateway, _):
        await alice.reach(gateway.uri(BRIEF))
        alice.refer(uri)
        assert (await alice.first(ReferEnded)).status == 200
        assert [event.status for event in alice.of(ReferProgress)] == [100, 180], "one NOTIFY for both"
        await until(lambda: fork.of("BYE") == ["first"])
        before = ear.poll()
        await until(lambda: ear.poll() > before + 5)
        await until(lambda: fork.of("BYE") == ["first", "second"])  # its agent hangs up after a second
    assert set(fork.of("ACK")) == {"first", "second"}
    transport.close()
    ear.close()


async def test_nobody_answers_in_time_so_it_is_cancelled__rfc3261_9_1(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")

    def ring(event: AgentEvent) -> None:
        if isinstance(event, IncomingInvite):
            desk.endpoint.perform(event.session.ring)

    desk.on_event = ring
    async with scene(tmp_path, alice, desk, allow=(desk.uri,), timeout_seconds=0.3) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(desk.uri)
        ended = await alice.first(ReferEnded)
        assert ended.status == 408
        await desk.first(Cancelled)
        await alice.hears()
        await alice.hang_up(call)


@pytest.mark.parametrize(
    "wish", ["sip:desk@203.0.113.9", "tel:+15557778888", "sip:desk@{host};method=BYE", "sip:*@{host}", "mailto:a@b"]
)
async def test_what_is_not_listed_is_declined_and_causes_no_traffic__rfc3515_2_4_2(tmp_path: Path, wish: str) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(wish.format(host=f"{LOOPBACK}:{desk.port}"))
        ended = await alice.first(ReferEnded)
        assert (ended.status, ended.is_accepted) == (603, False)
        assert desk.events == []
        await alice.hang_up(call)
        await gateway.settled()
        record = await gateway.record()
    (transfer,) = record["transfers"]
    assert (transfer["accepted"], transfer["status"], transfer["reason"]) == (False, 603, "not listed")


async def test_a_transferor_that_leaves_at_once_is_waited_out__rfc5589_6_1(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, talk):
        call = await alice.reach(gateway.target)
        alice.refer(desk.uri)
        await alice.first(ReferAccepted)
        await alice.hang_up(call)
        invite = (await desk.first(IncomingInvite)).session
        desk.endpoint.perform(invite.answer, description(desk.ear.port))
        await desk.hears()
        await desk.hang_up(invite)
        await gateway.settled()
        record = await gateway.record()
    assert talk.sessions == 1
    assert [side["party"] for side in record["sides"]] == [f"sip:alice@{LOOPBACK}", desk.uri]


async def test_a_transferor_that_left_and_a_destination_that_fails_end_the_call(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(desk.uri)
        await alice.first(ReferAccepted)
        await alice.hang_up(call)
        invite = (await desk.first(IncomingInvite)).session
        desk.endpoint.perform(invite.reject, 480)
        await gateway.settled()
        record = await gateway.record()
    assert record["end"]["reason"] == "caller_hung_up"
    assert "480" in record["end"]["detail"]


async def test_a_call_that_ends_meanwhile_cancels_what_it_was_calling(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, _):
        alice.place(gateway.uri(BRIEF))  # its agent hangs up after a second
        await alice.first(Answered)
        alice.refer(desk.uri)
        invite = (await desk.first(IncomingInvite)).session
        desk.endpoint.perform(invite.ring)
        await desk.first(Cancelled)
        await alice.first(Ended)
        await gateway.settled()
        record = await gateway.record()
    assert record["end"]["reason"] == "duration_limit"
    assert record["transfers"][0]["status"] is None


async def test_an_attended_transfer_goes_into_the_call_that_was_consulted__rfc5589_7(tmp_path: Path) -> None:
    """Alice asks the desk first, and then has the gateway take her place there."""
    alice, desk = Phone("alice"), Phone("desk")
    desk.on_event = desk.picks_up
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, talk):
        call = await alice.reach(gateway.target)
        consultation = alice.place(desk.uri)
        await until(lambda: len(alice.of(Answered)) == 2)
        _, value = replacing(consultation)
        alice.endpoint.perform(call.refer, f"<{desk.uri}?Replaces={quote(value, safe='')}>")
        assert (await alice.first(ReferEnded)).status == 200
        invite = desk.of(IncomingInvite)[-1]
        assert invite.replaces is desk.of(IncomingInvite)[0].session
        desk.endpoint.perform(invite.replaces.bye)
        await desk.hears()
        await desk.hang_up(invite.session)
    assert talk.sessions == 1


async def test_an_attended_transfer_to_a_dialog_that_is_gone_leaves_the_call_as_it_was__rfc5589_7(
    tmp_path: Path,
) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    desk.on_event = desk.picks_up
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, _):
        await alice.reach(gateway.target)
        alice.refer(f"{desk.uri}?Replaces=90210%40desk%3Bto-tag%3Dabc%3Bfrom-tag%3Ddef&X-Evil=1")
        assert (await alice.first(ReferEnded)).status == 481, "the desk knows no such dialog, and says so"
        assert desk.events == []
        assert desk.agent.counters["replaces_481"] == 1
        await alice.hang_up(alice.of(Answered)[0].session)


async def test_a_refer_to_a_dialog_that_cannot_be_read_gets_400(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(f"{desk.uri}?Replaces=90210")
        assert (await alice.first(ReferEnded)).status == 400
        await alice.hang_up(call)


async def test_a_redirection_is_followed_where_its_target_is_listed__rfc3261_8_1_3_4(tmp_path: Path) -> None:
    alice, desk, night = Phone("alice"), Phone("desk"), Phone("night")
    night.on_event = night.picks_up

    def redirect(event: AgentEvent) -> None:
        if isinstance(event, IncomingInvite):
            contacts = f"<sip:premium@203.0.113.9>, <{night.uri}>"
            desk.endpoint.perform(event.session.reject, 302, headers=[("Contact", contacts)])

    desk.on_event = redirect
    async with scene(tmp_path, alice, desk, night, allow=(desk.uri, night.uri)) as (gateway, _):
        await alice.reach(gateway.target)
        alice.refer(desk.uri)
        assert (await alice.first(ReferEnded)).status == 200
        await night.hears()
        await night.hang_up((await night.first(IncomingInvite)).session)


async def test_a_redirection_to_what_is_not_listed_is_not_followed__promise_15(tmp_path: Path) -> None:
    alice, desk, night = Phone("alice"), Phone("desk"), Phone("night")

    def redirect(event: AgentEvent) -> None:
        if isinstance(event, IncomingInvite):
            desk.endpoint.perform(event.session.reject, 302, headers=[("Contact", f"<{night.uri}>")])

    desk.on_event = redirect
    async with scene(tmp_path, alice, desk, night, allow=(desk.uri,)) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(desk.uri)
        assert (await alice.first(ReferEnded)).status == 302
        assert night.events == []
        await alice.hang_up(call)


async def test_whoever_redirects_in_a_circle_gets_no_further__rfc3261_8_1_3_4(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")

    def redirect(event: AgentEvent) -> None:
        if isinstance(event, IncomingInvite):
            desk.endpoint.perform(event.session.reject, 302, headers=[("Contact", f"<{desk.uri}>")])

    desk.on_event = redirect
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(desk.uri)
        assert (await alice.first(ReferEnded)).status == 302
        assert len(desk.of(IncomingInvite)) == 6
        await alice.hang_up(call)


async def test_what_is_over_the_cap_is_not_dialled__promise_15(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    desk.on_event = desk.is_busy
    limits = {"dialling": {"per_prefix": 1}}
    async with scene(tmp_path, alice, desk, allow=(desk.uri,), limits=limits) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(desk.uri)
        assert (await alice.first(ReferEnded)).status == 486
        alice.events = [event for event in alice.events if not isinstance(event, ReferEnded)]
        alice.refer(desk.uri)
        assert (await alice.first(ReferEnded)).status == 503
        assert len(desk.of(IncomingInvite)) == 1
        await alice.hang_up(call)
        await gateway.settled()
        record = await gateway.record()
    assert [transfer["status"] for transfer in record["transfers"]] == [486, 503]
    assert "often enough" in record["transfers"][1]["reason"]


async def test_numbers_go_to_the_trunks_proxy_with_its_credentials__rfc3261_22_3(tmp_path: Path) -> None:
    alice, carrier = Phone("alice"), Phone("carrier")
    carrier.on_event = carrier.picks_up
    verifier = DigestVerifier("carrier.example", b"sixteen octets or more", {"gateway": "sesame"}.get)

    def challenge(request: Request, flow: Flow) -> Refusal | None:
        shown = request.headers.get_all("Authorization")
        uri = str(request.uri)
        verdict, _ = verifier.verify(shown, method=request.method, request_uri=uri, now=0.0)
        if verdict is DigestVerdict.ACCEPTED:
            return None
        fields = tuple(("WWW-Authenticate", value) for value in verifier.challenges(0.0))
        return Refusal(401, "digest", headers=fields)

    carrier.agent.screen = challenge
    trunk = {
        "outbound": {"proxy": f"{LOOPBACK}:{carrier.port}", "sip_host": "acme.example.net"},
        "authenticate": {"user": "gateway", "password": "sesame", "realm": "carrier.example"},
    }
    async with scene(tmp_path, alice, carrier, allow=("+1555*",), trunk=trunk) as (gateway, _):
        await alice.reach(gateway.target)
        alice.refer("sip:+15557778888@premium.example;maddr=203.0.113.9")
        assert (await alice.first(ReferEnded)).status == 200
        invite = (await carrier.first(IncomingInvite)).session
        assert str(invite.request.uri) == "sip:+15557778888@acme.example.net"
        assert invite.request.headers.get("Route") == f"<sip:{LOOPBACK}:{carrier.port};lr>"
        await carrier.hears()
        await carrier.hang_up(invite)


async def test_an_answer_that_cannot_be_used_leaves_the_call_as_it_was__rfc3261_13_2_2_4(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")

    def answer_in_g729(event: AgentEvent) -> None:
        if isinstance(event, IncomingInvite):
            desk.endpoint.perform(event.session.answer, in_g729(desk))

    desk.on_event = answer_in_g729
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, _):
        call = await alice.reach(gateway.target)
        alice.refer(desk.uri)
        assert (await alice.first(ReferEnded)).status == 488
        await desk.first(ByeReceived)
        await alice.hears()
        await alice.hang_up(call)


async def test_a_far_end_that_tries_on_and_on_is_declined(tmp_path: Path) -> None:
    alice, desk = Phone("alice"), Phone("desk")
    async with scene(tmp_path, alice, desk, allow=(desk.uri,)) as (gateway, _):
        call = await alice.reach(gateway.target)
        for number, wish in enumerate([*["tel:+19005550100"] * HANDOVERS_LIMIT, desk.uri], 1):
            alice.refer(wish)
            await until(lambda count=number: len(alice.of(ReferEnded)) == count)  # type: ignore[misc]
        assert {event.status for event in alice.of(ReferEnded)} == {603}
        assert desk.events == [], "even what is listed is not called any more"
        await alice.hang_up(call)
