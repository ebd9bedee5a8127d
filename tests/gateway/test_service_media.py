"""The media clock of the process, and what it reads beside the calls' packets."""

import asyncio
from contextlib import AsyncExitStack
from ipaddress import IPv4Address

import pytest

from gateway import fast
from gateway.config.network import RtpSettings
from gateway.service import open_media
from rtp.socket import COALESCE_FROM
from tests.helpers.far_wire import Far, wired
from tests.helpers.patience import until


class Idle:
    """A call that does nothing in its turns."""

    def tick(self, now: float) -> None:
        """Sends nothing."""

    def skip(self, turns: int) -> None:
        """Misses nothing."""


@pytest.mark.skipif(not fast.is_compiled, reason="nothing is compiled: transports read by themselves")
async def test_models_are_heard_also_when_all_of_many_calls_end_at_once() -> None:
    async def script(far: Far) -> None:
        await far.frames(1)
        far.say(b"heard by the clock")
        await far.frames(1)
        far.say(b"heard at once")
        await far.frames(1)

    async with AsyncExitStack() as stack, wired(script) as (wire, receiver):
        rtp = RtpSettings(bind=IPv4Address("127.0.0.1"))
        clock, sockets = open_media(rtp, asyncio.get_running_loop(), stack)
        calls = [Idle() for _ in range(COALESCE_FROM)]
        for call in calls:
            clock.register(call)
        await until(lambda: sockets.waits_for_clock)
        wire.send(b"one")
        await until(lambda: receiver.messages == [b"heard by the clock"])
        for call in calls:
            clock.unregister(call)
        await until(lambda: not sockets.waits_for_clock)
        wire.send(b"two")
        await until(lambda: len(receiver.messages) == 2)
