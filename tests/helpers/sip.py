"""A network in virtual time for user agents and for hand-written peers: delay, loss and reordering, seeded."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.errors import SipParseError
from sip.event import AgentEvent, IncomingInvite
from sip.header import NameAddr
from sip.message import Request, Response, parse_message
from sip.reception import Screen
from sip.session.host import Authenticator
from sip.session.uac import ClientSession
from sip.session.uas import ServerSession
from sip.transport.flow import DEFAULT_PORTS, Address, Flow, Target, Transmit
from sip.uri import Uri

OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = b"v=0\r\no=- 2 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n"

E = TypeVar("E", bound=AgentEvent)
R = TypeVar("R")


@dataclass(frozen=True)
class Packet:
    """One datagram on the way, as the network saw it being sent."""

    time: float
    source: Address
    destination: Address
    data: bytes
    transport: str = "udp"

    @property
    def message(self) -> Request | Response:
        return parse_message(self.data)

    def __str__(self) -> str:
        message = self.message
        what = message.method if isinstance(message, Request) else f"{message.status} ({message.cseq.method})"
        return f"{self.time:.3f} {self.source.host} {what}"


@dataclass
class Network:
    """Carries datagrams between hosts. `drop` decides about single packets; loss and jitter hit any, by the seed."""

    delay: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    seed: int = 1
    transport: str = "udp"
    drop: Callable[[Packet], bool] = lambda packet: False
    names: dict[str, list[Address]] = field(default_factory=dict)  # what DNS says of hosts
    now: float = 0.0
    trace: list[Packet] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._order = itertools.count()
        self._flying: list[tuple[float, int, Packet]] = []
        self._hosts: dict[Address, AgentHost | WireHost] = {}

    def agent(self, host: str, port: int = 5060, *, screen: Screen | None = None, **configuration: Any) -> "AgentHost":
        """A UserAgent at this address."""
        address = Address(host, port)
        advertised = {self.transport: address}
        made = AgentHost(self, address, AgentConfiguration(advertised=advertised, **configuration), screen)
        self._hosts[address] = made
        return made

    def wire(self, host: str, port: int = 5060) -> "WireHost":
        """A peer that a test plays by hand."""
        address = Address(host, port)
        made = self._hosts[address] = WireHost(self, address)
        return made

    def send(self, data: bytes, source: Address, destination: Address) -> None:
        packet = Packet(self.now, source, destination, data, self.transport)
        self.trace.append(packet)
        if self.drop(packet) or self._random.random() < self.loss:
            return
        at = self.now + self.delay + self._random.random() * self.jitter
        heapq.heappush(self._flying, (at, next(self._order), packet))

    def run(self, seconds: float) -> None:
        """Lets virtual time pass: packets and timers in their order."""
        end = self.now + seconds
        while (step := self._next_step()) is not None and step <= end:
            self.now = max(self.now, step)
            while self._flying and self._flying[0][0] <= self.now:
                packet = heapq.heappop(self._flying)[2]
                host = self._hosts.get(packet.destination)
                if host is not None:
                    host.receive(packet)
            for host in list(self._hosts.values()):
                host.handle_timer(self.now)
        self.now = end

    def _next_step(self) -> float | None:
        times = [at for host in self._hosts.values() if (at := host.next_timer()) is not None]
        if self._flying:
            times.append(self._flying[0][0])
        return min(times) if times else None

    def sent(self, by: "AgentHost | WireHost", what: str | int | None = None) -> list[Packet]:
        """What a host sent: requests of a method, or responses of a status."""
        return [
            packet
            for packet in self.trace
            if packet.source == by.address and (what is None or name_of(packet.message) == what)
        ]


def name_of(message: Request | Response) -> str | int:
    """The method of a request, the status of a response."""
    return message.method if isinstance(message, Request) else message.status


class AgentHost:
    """A UserAgent on the network, with all its events kept."""

    def __init__(
        self, network: Network, address: Address, configuration: AgentConfiguration, screen: Screen | None
    ) -> None:
        self.network = network
        self.address = address
        tokens = itertools.count(1)
        self.agent = UserAgent(configuration, token=lambda: f"{address.host[-1]}x{next(tokens):04d}", screen=screen)
        self.events: list[AgentEvent] = []
        self.on_event: Callable[[AgentEvent], object] = lambda event: None
        self.failing = False  # every transmission fails at the socket
        self._ways: dict[str, list[Address]] = {}  # by branch: where it goes, then what is left (RFC 3263 §4.3)

    def do(self, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Calls a method with `now`, as the endpoint's `perform` does."""
        try:
            return function(*args, now=self.network.now, **kwargs)
        finally:
            self.drain()

    def call(
        self,
        peer: "AgentHost | WireHost | str",
        offer: bytes = OFFER,
        *,
        authenticator: Authenticator | None = None,
        route: tuple[str, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> ClientSession:
        """Places a call to another host, or to a name that the network knows."""
        parameter = "" if self.network.transport == "udp" else f";transport={self.network.transport}"
        hostport = peer if isinstance(peer, str) else f"{peer.address.host}:{peer.address.port}"
        uri = Uri.parse(f"sip:bob@{hostport}{parameter}")
        from_ = NameAddr.parse(f"<sip:alice@{self.address.host}>")
        return self.do(
            self.agent.invite,
            target=uri,
            from_=from_,
            offer=offer,
            authenticator=authenticator,
            route=route,
            headers=headers,
        )

    def receive(self, packet: Packet) -> None:
        flow = Flow(packet.transport, self.address, packet.source)
        self.agent.receive_message(packet.data, flow, self.network.now)
        self.drain()

    def next_timer(self) -> float | None:
        return self.agent.next_timer()

    def handle_timer(self, now: float) -> None:
        at = self.agent.next_timer()
        if at is not None and at <= now:
            self.agent.handle_timer(now)
            self.drain()

    def drain(self) -> None:
        while True:
            for transmit in self.agent.transmits():
                self._transmit(transmit)
            event = next(self.agent.events(), None)
            if event is None:
                return
            self.events.append(event)
            self.on_event(event)

    def _transmit(self, transmit: Transmit) -> None:
        if self.failing:
            self.agent.transport_failed(transmit, self.network.now)
            return
        to = transmit.to
        if isinstance(to, Target) and to.host in self.network.names:
            way = self._ways.get(transmit.branch)
            if way is None:
                way = self._ways[to.after][1:] if to.after else list(self.network.names[to.host])
                self._ways[transmit.branch] = way
            if not way:
                self.agent.transport_failed(transmit, self.network.now)
                return
            self.network.send(transmit.data, self.address, way[0])
            return
        self.network.send(transmit.data, self.address, address_of(to))

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def only(self, kind: type[E]) -> E:
        """The one event of this kind."""
        (event,) = self.of(kind)
        return event

    @property
    def incoming(self) -> ServerSession:
        """The session of the only call that came in."""
        return self.only(IncomingInvite).session

    @property
    def names(self) -> list[str]:
        """The names of all events, in order."""
        return [type(event).__name__ for event in self.events]

    def assert_empty(self) -> None:
        """Nothing is left: no session, dialog, transaction or timer."""
        agent = self.agent
        left = (agent.session_count, agent.dialog_count, len(agent.transactions), agent.half_open_count)
        assert left == (0, 0, 0, 0)
        assert agent.next_timer() is None


class WireHost:
    """A peer played by hand: it sends what the test writes and keeps what it gets."""

    def __init__(self, network: Network, address: Address) -> None:
        self.network = network
        self.address = address
        self.inbox: list[Request | Response] = []
        self.garbled: list[bytes] = []  # such as a 400 that quotes a malformed From back

    def receive(self, packet: Packet) -> None:
        try:
            self.inbox.append(packet.message)
        except SipParseError:
            self.garbled.append(packet.data)

    def next_timer(self) -> float | None:
        return None

    def handle_timer(self, now: float) -> None:
        return

    def send(self, message: Request | Response | str | bytes, to: "AgentHost") -> None:
        data = message.encode() if isinstance(message, str) else bytes(message)
        self.network.send(data, self.address, to.address)

    def responses(self) -> list[int]:
        """The status codes received, in order."""
        return [message.status for message in self.inbox if isinstance(message, Response)]

    def requests(self, method: str) -> list[Request]:
        """The requests of one method received, in order."""
        return [message for message in self.inbox if isinstance(message, Request) and message.method == method]

    def last(self, status: int) -> Response:
        """The last response with this status."""
        return [message for message in self.inbox if isinstance(message, Response) and message.status == status][-1]


def address_of(to: Flow | Target) -> Address:
    """Where a virtual transmission goes; targets are IP literals here."""
    if isinstance(to, Flow):
        return to.remote
    return Address(to.host, to.port or DEFAULT_PORTS[to.transport])


def request(
    method: str = "INVITE",
    *,
    uri: str = "sip:bob@192.0.2.2",
    branch: str = "z9hG4bKa1",
    via: str = "SIP/2.0/UDP 192.0.2.1:5060;branch={branch}",
    from_: str = "<sip:alice@example.net>;tag=alice",
    to: str = "<sip:bob@192.0.2.2>",
    call_id: str = "call-1",
    cseq: int = 1,
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes | None = None,
    contact: str | None = "<sip:alice@192.0.2.1:5060>",
) -> Request:
    """A request as a peer would send it, through bytes, so that only what the wire can say gets in."""
    if body is None:
        body = OFFER if method == "INVITE" else b""
    fields = [
        ("Via", via.format(branch=branch)),
        ("Max-Forwards", "70"),
        ("From", from_),
        ("To", to),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
        *([("Contact", contact)] if contact is not None else []),
        *headers,
        *([("Content-Type", "application/sdp")] if body and not any(n == "Content-Type" for n, _ in headers) else []),
        ("Content-Length", str(len(body))),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    parsed = parse_message(f"{method} {uri} SIP/2.0\r\n{head}\r\n".encode() + body)
    assert isinstance(parsed, Request)
    return parsed


def in_dialog(
    invite: Request, response: Response, method: str, *, cseq: int = 2, branch: str = "z9hG4bKb2", **changes: Any
) -> Request:
    """A request of the caller in the dialog that the response made."""
    contacts = response.contacts
    defaults: dict[str, Any] = {
        "uri": str(contacts[0].uri) if contacts else str(invite.uri),
        "from_": invite.headers.get("From"),
        "to": response.headers.get("To"),
        "call_id": invite.call_id,
        "branch": branch,
        "cseq": cseq,
    }
    return request(method, **{**defaults, **changes})


def invited(alice: WireHost, bob: AgentHost, **changes: Any) -> tuple[Request, ServerSession]:
    """A caller played by hand has sent an INVITE, and the agent has it."""
    invite = request(**changes)
    alice.send(invite, bob)
    alice.network.run(0.1)
    return invite, bob.incoming


def answered(
    alice: WireHost, bob: AgentHost, answer: bytes = ANSWER, **changes: Any
) -> tuple[Request, Response, ServerSession]:
    """Its 200 has reached the caller."""
    invite, session = invited(alice, bob, **changes)
    bob.do(session.answer, answer)
    alice.network.run(0.1)
    return invite, alice.last(200), session


def confirmed(alice: WireHost, bob: AgentHost, **changes: Any) -> tuple[Request, Response, ServerSession]:
    """The caller's ACK has reached the agent."""
    invite, ok, session = answered(alice, bob, **changes)
    alice.send(in_dialog(invite, ok, "ACK", cseq=1), bob)
    alice.network.run(0.1)
    return invite, ok, session


def established(network: Network) -> tuple[AgentHost, AgentHost, ClientSession, ServerSession]:
    """Two agents and their sessions, the first having called the second, up to the ACK."""
    alice, bob = network.agent("192.0.2.1"), network.agent("192.0.2.2")
    call = alice.call(bob)
    network.run(0.1)
    bob.do(bob.incoming.answer, ANSWER)
    network.run(0.1)
    return alice, bob, call, bob.incoming
