"""A telephone over real sockets: an endpoint that keeps its events and answers what rings."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.event import AgentEvent, IncomingInvite
from sip.header import NameAddr
from sip.session.uac import ClientSession
from sip.transport.endpoint import Listener, SipEndpoint
from sip.transport.flow import Address, Target
from sip.transport.resolver import SystemResolver
from sip.transport.stream import TcpListener
from sip.transport.tls import TlsListener
from sip.uri import Uri
from tests.helpers.sip import ANSWER, OFFER
from tests.helpers.tls_authority import Credentials

E = TypeVar("E", bound=AgentEvent)


class Book(SystemResolver):
    """A resolver with its names in a dictionary."""

    def __init__(self, **names: Sequence[Address]) -> None:
        self.names = {name.replace("_", "."): list(addresses) for name, addresses in names.items()}

    async def resolve(self, target: Target) -> list[Address]:
        if target.host not in self.names:
            return [Address(target.host, target.port or 5060)]
        return list(self.names[target.host])


class Phone:
    """An endpoint that keeps its events, and answers what rings unless it is told not to."""

    def __init__(
        self,
        *listeners: Listener,
        configuration: AgentConfiguration | None = None,
        answers: bool = True,
        **options: object,
    ) -> None:
        tokens = itertools.count()
        self.answers = answers
        self.agent = UserAgent(configuration or AgentConfiguration(), token=lambda: f"{id(self):x}-{next(tokens)}")
        self.events: list[AgentEvent] = []
        self._changed = asyncio.Event()
        self.endpoint = SipEndpoint(
            self.agent,
            listeners=listeners,
            on_event=self._keep,
            **options,  # type: ignore[arg-type]
        )

    def _keep(self, event: AgentEvent) -> None:
        self.events.append(event)
        if isinstance(event, IncomingInvite) and self.answers:
            self.endpoint.perform(event.session.ring)
            self.endpoint.perform(event.session.answer, ANSWER)
        self._changed.set()

    async def wait_for(self, kind: type[E]) -> E:
        async with asyncio.timeout(10):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        return event
                self._changed.clear()
                await self._changed.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    @property
    def address(self) -> Address:
        return self.endpoint.addresses[0]

    @property
    def port(self) -> int:
        return self.address.port

    def call(self, uri: str) -> ClientSession:
        return self.endpoint.perform(
            self.agent.invite, target=Uri.parse(uri), from_=NameAddr.parse("<sip:alice@127.0.0.1>"), offer=OFFER
        )


@asynccontextmanager
async def started(*phones: Phone) -> AsyncIterator[None]:
    for phone in phones:
        await phone.endpoint.start()
    try:
        yield
    finally:
        for phone in phones:
            await phone.endpoint.aclose()


def tcp(host: str = "127.0.0.1") -> TcpListener:
    return TcpListener(host, 0)


def tls(credentials: Credentials, **more: object) -> TlsListener:
    return replace(TlsListener("127.0.0.1", 0, credentials.certificate, credentials.key), **more)  # type: ignore[arg-type]
