"""The next server for a request that met silence or 503 (RFC 3263 §4.3): the seam that the agent uses."""

import asyncio
import socket

from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.transport.endpoint import SipEndpoint
from sip.transport.flow import Address, Target, Transmit
from sip.transport.resolver import SystemResolver
from sip.transport.udp import UdpListener


async def test_an_attempt_after_another_goes_to_the_next_address_and_ends_behind_the_last__rfc3263_4_3() -> None:
    failed: list[Transmit] = []
    agent = UserAgent(AgentConfiguration(), token=lambda: "t")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
    ):
        for bound in (first, second):
            bound.bind(("127.0.0.1", 0))
            bound.setblocking(False)

        class Book(SystemResolver):
            async def resolve(self, target: Target) -> list[Address]:
                return [Address(*first.getsockname()), Address(*second.getsockname())]

        endpoint = SipEndpoint(
            agent, listeners=[UdpListener("127.0.0.1", 0)], on_event=lambda event: None, resolver=Book()
        )
        await endpoint.start()
        delivery = endpoint._delivery
        delivery._failed = failed.append
        loop = asyncio.get_running_loop()
        target = Target("udp", "trunk.example.net")
        async with asyncio.timeout(10):
            for data in (b"one", b"one"):  # the second is its retransmission
                delivery.deliver(Transmit(data, target, branch="b1"))
                assert await loop.sock_recv(first, 100) == b"one"
            delivery.deliver(Transmit(b"two", Target("udp", "trunk.example.net", after="b1"), branch="b2"))
            assert await loop.sock_recv(second, 100) == b"two"
            delivery.deliver(Transmit(b"three", Target("udp", "trunk.example.net", after="b2"), branch="b3"))
            while not failed:
                await asyncio.sleep(0)
        assert [transmit.data for transmit in failed] == [b"three"]
        await endpoint.aclose()
