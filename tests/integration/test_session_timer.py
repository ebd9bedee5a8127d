"""A call that lives by its session timer, on real sockets and in real time. 35 minutes of it stand in tests/sip."""

import asyncio
from typing import Any

from sip.event import AgentEvent, Answered, Ended, IncomingInvite, ReinviteAnswered, ReinviteReceived, SessionRefreshed
from sip.session.state import EndCause
from sip.transport.flow import Address
from sip.transport.udp import UdpListener
from tests.helpers.party import METHODS, Party, description
from tests.helpers.peer_process import free_ports
from tests.helpers.sipp import LOOPBACK

INTERVAL_S = 3


async def test_call_lives_by_its_refreshes_and_ends_without_them__rfc4028_10() -> None:
    ports = free_ports(2)
    options: dict[str, Any] = {
        "supported": ("timer",),
        "session_expires": INTERVAL_S,
        "min_se": 1,
        "allow": (*METHODS, "UPDATE"),
    }
    caller, callee = (Party(UdpListener(LOOPBACK, port), Address(LOOPBACK, port), **options) for port in ports)

    def answer(event: AgentEvent) -> None:
        if isinstance(event, IncomingInvite):
            callee.endpoint.perform(event.session.answer, description(9000))
        elif isinstance(event, ReinviteReceived):
            callee.endpoint.perform(event.session.answer_reinvite, description(9000, 2))

    callee.on_event = answer
    async with caller.running():
        async with callee.running():
            call = caller.call((LOOPBACK, ports[1]), "bob", description(9002))
            await caller.first(Answered)
            async with asyncio.timeout(6 * INTERVAL_S):
                while sum(isinstance(event, SessionRefreshed) for event in caller.events) < 2:
                    await caller.changed()
            caller.endpoint.perform(call.reinvite, description(9002, 2))
            await caller.first(ReinviteAnswered)
            assert not any(isinstance(event, Ended) for event in (*caller.events, *callee.events))
        # The callee is gone without a word: the next refresh fails, and the call with it.
        ended = await caller.first(Ended)
    assert ended.cause in {EndCause.LOST, EndCause.EXPIRED}
