"""Kamailio where Twilio's edge stands: two Record-Routes (r2=on), UDP inside, a private Contact behind it.

Whatever we send inside a dialog has to go to the first Route, with the private Contact untouched in the Request-URI.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
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
from sip.header import NameAddr
from sip.session.uac import ClientSession
from sip.transport.endpoint import Listener, SipEndpoint
from sip.transport.flow import Address
from sip.transport.stream import TcpListener
from sip.transport.tls import TlsListener, client_context
from sip.transport.udp import UdpListener
from sip.uri import Uri
from tests.helpers.certificate import CertificateFiles
from tests.helpers.gateway_process import BRIEF, SILENT
from tests.helpers.kamailio import KamailioEdge
from tests.helpers.peer_process import free_ports
from tests.helpers.sipp import LOOPBACK, free_udp_ports
from tests.integration.conftest import ReachableGateway

pytestmark = [pytest.mark.peer("kamailio"), pytest.mark.process]

PRIVATE_HOST = "172.25.75.240"  # as in a trace of Twilio's; nothing here answers at it
PATIENCE_S = 15.0
E = TypeVar("E", bound=AgentEvent)
TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REFER", "NOTIFY")


def description(port: int, version: int = 1, direction: str = "sendrecv") -> bytes:
    lines = (
        "v=0", f"o=- 7 {version} IN IP4 {LOOPBACK}", "s=-", f"c=IN IP4 {LOOPBACK}", "t=0 0",
        f"m=audio {port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", f"a={direction}",
    )  # fmt: skip
    return "".join(f"{line}\r\n" for line in lines).encode()


class Party:
    """A user agent on real sockets that keeps its events, and answers re-INVITEs."""

    def __init__(self, listener: Listener, contact: Address, authority: Path | None = None) -> None:
        transport = {UdpListener: "udp", TcpListener: "tcp", TlsListener: "tls"}[type(listener)]
        configuration = AgentConfiguration(advertised={transport: contact}, allow=METHODS)
        self.agent = UserAgent(configuration, token=lambda: secrets.token_hex(8))
        trust = client_context(authority) if authority is not None else None
        self.endpoint = SipEndpoint(self.agent, listeners=[listener], on_event=self._on_event, trust=trust)
        self.events: list[AgentEvent] = []
        self.on_event: Callable[[AgentEvent], object] = lambda event: None
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Party"]:
        await self.endpoint.start()
        try:
            yield self
        finally:
            await self.endpoint.aclose(patience=2.0)

    def call(self, edge: KamailioEdge, number: str, offer: bytes) -> ClientSession:
        target = Uri.parse(f"sip:{number}@{edge.inner[0]}:{edge.inner[1]}")
        caller = NameAddr.parse("<sip:+15552223333@mytrunk.pstn.twilio.com>")
        call: ClientSession = self.endpoint.perform(self.agent.invite, target=target, from_=caller, offer=offer)
        return call

    async def first(self, kind: type[E]) -> E:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        return event
                self._changed.clear()
                await self._changed.wait()

    def _on_event(self, event: AgentEvent) -> None:
        self.events.append(event)
        self._changed.set()
        self.on_event(event)


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
            call = caller.call(edge, BRIEF, description(media_port))
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
            call = caller.call(edge, SILENT, description(media_port))
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
            caller.call(edge, BRIEF, description(media_port))
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
