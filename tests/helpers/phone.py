"""A far end on sockets of its own: our SIP stack, which answers re-INVITEs, and a port that counts its media."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from sip.event import AgentEvent, Answered, Ended, IncomingInvite, ReinviteReceived
from sip.header import NameAddr
from sip.session.session import InviteSession
from sip.session.uac import ClientSession
from sip.transport.flow import Address
from sip.transport.udp import UdpListener
from sip.uri import Uri
from tests.helpers.party import METHODS, Party, description
from tests.helpers.patience import until
from tests.helpers.sipp import LOOPBACK, free_udp_ports

E = TypeVar("E", bound=AgentEvent)


class Ear:
    """A media port that counts what comes."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self.packets = 0

    def poll(self) -> int:
        try:
            while self._socket.recv(4096):
                self.packets += 1
        except BlockingIOError:
            pass
        return self.packets

    def close(self) -> None:
        self._socket.close()


class Phone(Party):
    """A far end with an ear of its own."""

    def __init__(self, name: str, host: str = LOOPBACK) -> None:
        (port,) = free_udp_ports(1, host)
        super().__init__(UdpListener(host, port), Address(host, port), allow=METHODS, supported=("replaces",))
        self.name, self.port, self.ear = name, port, Ear()
        self.on_event = self._answer_reinvites

    @property
    def uri(self) -> str:
        return f"sip:{self.name}@{LOOPBACK}:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Phone"]:
        try:
            async with super().running():
                yield self
        finally:
            self.ear.close()

    def _answer_reinvites(self, event: AgentEvent) -> None:
        if isinstance(event, ReinviteReceived):
            self.endpoint.perform(event.session.answer_reinvite, description(self.ear.port, 2))

    def place(self, target: str, *headers: tuple[str, str]) -> ClientSession:
        """Calls a URI."""
        call: ClientSession = self.endpoint.perform(
            self.agent.invite,
            target=Uri.parse(target),
            from_=NameAddr.parse(f"<sip:{self.name}@{LOOPBACK}>"),
            offer=description(self.ear.port),
            headers=headers,
        )
        return call

    async def reach(self, target: str, *headers: tuple[str, str]) -> ClientSession:
        """Calls a URI, and waits for the answer."""
        call = self.place(target, *headers)
        await until(lambda: any(event.session is call for event in self.of(Answered)))
        return call

    async def hears(self, packets: int = 5) -> None:
        """Waits until so much more is heard."""
        before = self.ear.poll()
        await until(lambda: self.ear.poll() >= before + packets)

    async def hang_up(self, session: InviteSession) -> None:
        """Ends a call, and waits for its end."""
        self.endpoint.perform(session.bye)
        await until(lambda: any(event.session is session for event in self.of(Ended)))

    def picks_up(self, event: AgentEvent) -> None:
        """Rings and answers whoever calls."""
        if isinstance(event, IncomingInvite):
            self.endpoint.perform(event.session.ring)
            self.endpoint.perform(event.session.answer, description(self.ear.port))

    def is_busy(self, event: AgentEvent) -> None:
        if isinstance(event, IncomingInvite):
            self.endpoint.perform(event.session.reject, 486)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def refer(self, to: str, *headers: tuple[str, str]) -> None:
        (answered,) = self.of(Answered)
        self.endpoint.perform(answered.session.refer, f"<{to}>", headers=headers)
