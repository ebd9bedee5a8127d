"""Kamailio where Twilio's edge stands: two Record-Routes (r2=on), UDP inside, a private Contact behind it.

Whatever we send inside a dialog has to go to the first Route, with the private Contact untouched in the Request-URI.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sip.event import (
    Acknowledged,
    AgentEvent,
    Answered,
    ByeReceived,
    Ended,
    IncomingInvite,
    ReferEnded,
    ReferReceived,
    ReinviteAnswered,
    ReinviteReceived,
)
from sip.transport.flow import Address
from sip.transport.stream import TcpListener
from sip.transport.tls import TlsListener
from sip.transport.udp import UdpListener
from tests.fakes.realtime_server import Peer, function_call, realtime_server, response_created, response_done
from tests.helpers.certificate import CertificateFiles
from tests.helpers.gateway_process import BRIEF, SILENT, GatewayProcess, Record
from tests.helpers.kamailio import KamailioEdge
from tests.helpers.party import Party, description
from tests.helpers.peer_process import free_ports
from tests.helpers.sipp import LOOPBACK, free_udp_ports
from tests.integration.conftest import ReachableGateway

pytestmark = [pytest.mark.peer("kamailio"), pytest.mark.process]

PRIVATE_HOST = "172.25.75.240"  # as in a trace of Twilio's; nothing here answers at it
TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])


def inner_party() -> Party:
    """Who is behind the edge: its Contact and its Via name an address that cannot be reached."""
    (port,) = free_udp_ports(1)
    return Party(UdpListener(LOOPBACK, port), Address(PRIVATE_HOST, port))


def assert_route_was_followed(edge: KamailioEdge, *methods: str) -> None:
    """Each request came to the edge's outer socket, and none of them lacked its Route."""
    for method in methods:
        assert f"no route in {method}" not in edge.console
        (line,) = {line for line in edge.relayed if line.startswith(f"{method} ") and f"via {edge.outer[1]}" in line}
        assert f" over {edge.transport} " in line
        assert PRIVATE_HOST in line, "the Request-URI is the private Contact, untouched"


@TRANSPORTS
async def test_bye_of_the_gateway_follows_the_route_through_the_edge__rfc3261_12_2_1_1(
    gateway: ReachableGateway, certificates: CertificateFiles, tmp_path: Path, transport: str
) -> None:
    (media_port,) = free_udp_ports(1)
    with KamailioEdge(tmp_path / "edge", (LOOPBACK, gateway.port(transport)), transport, certificates) as edge:
        async with inner_party().running() as caller:
            call = caller.call(edge.inner, BRIEF, description(media_port))
            answered = await caller.first(Answered)
            bye = await caller.first(ByeReceived)
            await caller.first(Ended)
        assert_route_was_followed(edge, "BYE")

    assert len([uri for uri in answered.response.record_routes if uri.uri.params.get("r2") == "on"]) == 2
    assert bye.request.uri.host == PRIVATE_HOST
    record = await asyncio.to_thread(gateway.process.wait_for_record, call.sip_call_id)
    assert record["end"]["reason"] == "duration_limit"


@TRANSPORTS
async def test_hold_and_bye_of_the_caller_come_through_the_edge__rfc3264_8_4(
    gateway: ReachableGateway, certificates: CertificateFiles, tmp_path: Path, transport: str
) -> None:
    (media_port,) = free_udp_ports(1)
    with KamailioEdge(tmp_path / "edge", (LOOPBACK, gateway.port(transport)), transport, certificates) as edge:
        async with inner_party().running() as caller:
            call = caller.call(edge.inner, SILENT, description(media_port))
            await caller.first(Answered)
            caller.endpoint.perform(call.reinvite, description(media_port, 2, "sendonly"))
            held = await caller.first(ReinviteAnswered)
            caller.endpoint.perform(call.bye)
            await caller.first(Ended)

    assert b"a=recvonly" in (held.body or b"")
    record = await asyncio.to_thread(gateway.process.wait_for_record, call.sip_call_id)
    assert record["end"]["reason"] == "caller_hung_up"


def outer_party(transport: str, port: int, certificates: CertificateFiles) -> Party:
    """Our own stack where the gateway stands, for what a gateway sends only when an agent wants it to."""
    address = Address(LOOPBACK, port)
    if transport == "udp":
        return Party(UdpListener(LOOPBACK, port), address)
    if transport == "tcp":
        return Party(TcpListener(LOOPBACK, port), address)
    listener = TlsListener(LOOPBACK, port, certificate=certificates.certificate, key=certificates.key)
    return Party(listener, address, certificates.authority)


@TRANSPORTS
async def test_reinvite_and_refer_follow_the_route_through_the_edge__rfc3515_2_4(
    certificates: CertificateFiles, tmp_path: Path, transport: str
) -> None:
    media_port, other_media_port = free_udp_ports(2)
    (port,) = free_ports(1)
    answerer = outer_party(transport, port, certificates)
    caller = inner_party()

    def answer(event: AgentEvent) -> None:
        if isinstance(event, IncomingInvite):
            answerer.endpoint.perform(event.session.answer, description(other_media_port))

    def follow(event: AgentEvent) -> None:
        match event:
            case ReinviteReceived(session=session):
                caller.endpoint.perform(session.answer_reinvite, description(media_port, 2))
            case ReferReceived(session=session):
                caller.endpoint.perform(session.accept_refer)
                caller.endpoint.perform(session.notify_refer, 200, "OK")
            case _:
                pass

    answerer.on_event, caller.on_event = answer, follow
    with KamailioEdge(tmp_path / "edge", (LOOPBACK, port), transport, certificates) as edge:
        async with answerer.running(), caller.running():
            caller.call(edge.inner, BRIEF, description(media_port))
            await caller.first(Answered)
            session = (await answerer.first(Acknowledged)).session
            answerer.endpoint.perform(session.reinvite, description(other_media_port, 2))
            await answerer.first(ReinviteAnswered)
            answerer.endpoint.perform(session.refer, "<tel:+15557778888>")
            transferred = await answerer.first(ReferEnded)
            answerer.endpoint.perform(session.bye)  # Twilio wants it at once after the last NOTIFY
            await caller.first(ByeReceived)
            await caller.first(Ended)
        assert_route_was_followed(edge, "INVITE", "REFER", "BYE")

    assert (transferred.status, transferred.is_accepted) == (200, True)


class Handing:
    """A model whose agent hands the caller over as soon as it speaks."""

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []

    async def __call__(self, peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        call = function_call("call_1", "transfer_call", '{"destination": "sales"}')
        await peer.send(response_created(), response_done("resp_1", "completed", call))
        item = await peer.receive("conversation.item.create")
        output: Any = item["item"]
        self.results.append(json.loads(output["output"]))
        await peer.drain()


@pytest.fixture
def handing_gateway(
    certificates: CertificateFiles, tmp_path: Path
) -> Callable[[str], AbstractAsyncContextManager[ReachableGateway]]:
    """A gateway process of its own, whose agent's model is at a URL and may transfer."""

    @asynccontextmanager
    async def running(url: str) -> AsyncIterator[ReachableGateway]:
        tcp_port, tls_port = free_ports(2)

        def adapt(configuration: Record) -> None:
            tls = {"certificate": str(certificates.certificate), "key": str(certificates.key)}
            configuration["network"]["sip"] += [
                {"transport": "tcp", "bind": LOOPBACK, "port": tcp_port},
                {"transport": "tls", "bind": LOOPBACK, "port": tls_port, **tls},
            ]
            configuration["network"]["tls_ca"] = str(certificates.authority)
            backend = {"type": "openai", "dialect": "compatible", "url": url, "model": "fake"}
            configuration["backends"]["handing"] = backend
            configuration["agents"]["silent"] |= {
                "backends": ["handing"],
                "greeting": "Hello.",
                "built_in_tools": ["transfer_call"],
                "transfer": {"destinations": {"sales": "+15557778888"}},
            }

        process = GatewayProcess(tmp_path / "gateway", calls=4, adapt=adapt)
        await asyncio.to_thread(process.__enter__)
        try:
            yield ReachableGateway(process, tcp_port, tls_port)
        finally:
            await asyncio.to_thread(process.__exit__, None, None, None)

    return running


@TRANSPORTS
@pytest.mark.parametrize("status", [200, 486])
async def test_refer_and_reinvite_of_the_gateway_follow_the_route_through_the_edge__rfc3261_12_2_1_1(
    handing_gateway: Callable[[str], AbstractAsyncContextManager[ReachableGateway]],
    certificates: CertificateFiles,
    tmp_path: Path,
    transport: str,
    status: int,
) -> None:
    """The agent's REFER; where it fails and the edge's side holds us for ever, also our re-INVITE, and then a BYE."""
    (media_port,) = free_udp_ports(1)
    caller, handing = inner_party(), Handing()

    def follow(event: AgentEvent) -> None:
        match event:
            case ReferReceived(session=session):
                caller.endpoint.perform(session.accept_refer)
                caller.endpoint.perform(session.reinvite, description(media_port, 2, "sendonly"))
            case ReinviteAnswered(session=session):
                caller.endpoint.perform(session.notify_refer, status)
            case ReinviteReceived(session=session):
                caller.endpoint.perform(session.answer_reinvite, description(media_port, 3))
            case _:
                pass

    caller.on_event = follow
    async with realtime_server(handing) as model, handing_gateway(model.url) as gateway:
        with KamailioEdge(tmp_path / "edge", (LOOPBACK, gateway.port(transport)), transport, certificates) as edge:
            async with caller.running():
                call = caller.call(edge.inner, SILENT, description(media_port))
                refer = await caller.first(ReferReceived)
                if status == 486:
                    await caller.first(ReinviteReceived)
                    caller.endpoint.perform(call.bye)
                else:
                    await caller.first(ByeReceived)
                await caller.first(Ended)
            assert_route_was_followed(edge, "REFER", *(["INVITE"] if status == 486 else ["BYE"]))
        record = await asyncio.to_thread(gateway.process.wait_for_record, call.sip_call_id)

    assert str(refer.refer_to.uri) == "tel:+15557778888"
    assert refer.request.uri.host == PRIVATE_HOST
    assert [transfer["status"] for transfer in record["transfers"]] == [status]
    assert record["end"]["reason"] == ("transferred" if status == 200 else "caller_hung_up")
