"""Our own SIP stack over real sockets, as the other side of what is tested, or as both sides."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.event import AgentEvent
from sip.header import NameAddr
from sip.session.uac import ClientSession
from sip.transport.endpoint import Listener, SipEndpoint
from sip.transport.flow import Address
from sip.transport.stream import TcpListener
from sip.transport.tls import TlsListener, client_context
from sip.transport.udp import UdpListener
from sip.uri import Uri
from tests.helpers.sipp import LOOPBACK

PATIENCE_S: Final = 15.0
METHODS: Final = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REFER", "NOTIFY")
E = TypeVar("E", bound=AgentEvent)


def description(port: int, version: int = 1, direction: str = "sendrecv") -> bytes:
    lines = (
        "v=0", f"o=- 7 {version} IN IP4 {LOOPBACK}", "s=-", f"c=IN IP4 {LOOPBACK}", "t=0 0",
        f"m=audio {port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", f"a={direction}",
    )  # fmt: skip
    return "".join(f"{line}\r\n" for line in lines).encode()


class Party:
    """A user agent on real sockets that keeps its events. `options` go into its AgentConfiguration."""

    def __init__(self, listener: Listener, contact: Address, authority: Path | None = None, **options: Any) -> None:
        transport = {UdpListener: "udp", TcpListener: "tcp", TlsListener: "tls"}[type(listener)]
        configuration = AgentConfiguration(advertised={transport: contact}, **{"allow": METHODS, **options})
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

    def call(self, at: tuple[str, int], number: str, offer: bytes) -> ClientSession:
        target = Uri.parse(f"sip:{number}@{at[0]}:{at[1]}")
        caller = NameAddr.parse("<sip:+15552223333@mytrunk.pstn.twilio.com>")
        call: ClientSession = self.endpoint.perform(self.agent.invite, target=target, from_=caller, offer=offer)
        return call

    async def first(self, kind: type[E]) -> E:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        return event
                await self.changed()

    async def changed(self) -> None:
        """Waits for the next event."""
        self._changed.clear()
        await self._changed.wait()

    def _on_event(self, event: AgentEvent) -> None:
        self.events.append(event)
        self._changed.set()
        self.on_event(event)
