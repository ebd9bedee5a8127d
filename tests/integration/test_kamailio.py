"""Kamailio where Twilio's edge stands: two Record-Routes (r2=on), UDP inside, a private Contact behind it.

Whatever we send inside a dialog has to go to the first Route, with the private Contact untouched in the Request-URI.
"""

import asyncio
from pathlib import Path

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
from tests.helpers.certificate import CertificateFiles
from tests.helpers.gateway_process import BRIEF, SILENT
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
