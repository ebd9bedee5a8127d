"""A process that answers every call at once, with the gateway's SIP stack and its gate and nothing behind them.

Used by `benchmarks.signalling`; prints the port that it listens on, and ends when its input does.
"""

import asyncio
import sys

import uvloop

from gateway.admission import Admission
from gateway.collector import spare_the_collector
from gateway.config.model import LimitsSettings
from gateway.config.trunk import TrunkSettings
from gateway.overload.gate import Gate
from gateway.overload.load import LoopLoad
from gateway.overload.pulse import Pulse
from gateway.roster import Roster
from gateway.signalling import create_token
from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.event import AgentEvent, IncomingInvite
from sip.transport.endpoint import SipEndpoint
from sip.transport.udp import UdpListener

ANSWER = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
)


async def answer_calls() -> None:
    """Answers until standard input ends."""
    trunks = {
        "loopback": TrunkSettings.model_validate(
            {"allow": ["127.0.0.1/32"], "numbers": {"*": "none"}, "rate": {"per_second": 10_000, "burst": 10_000}}
        )
    }
    limits = LimitsSettings(calls=1000)
    load = LoopLoad(limits.overload.lag_ms / 1000)
    gate = Gate(Admission(trunks, Roster()), trunks, limits, load)
    agent = UserAgent(AgentConfiguration(), token=create_token, screen=gate.screen)

    def on_event(event: AgentEvent) -> None:
        gate.on_event(event)
        if isinstance(event, IncomingInvite):
            endpoint.perform(event.session.ring)
            endpoint.perform(event.session.answer, ANSWER)

    endpoint = SipEndpoint(
        agent, listeners=[UdpListener("127.0.0.1", 0)], on_event=on_event, admit=gate.admits, sift=gate.sift
    )
    await endpoint.start()
    pulse = Pulse(load, gate.beat)
    pulse.start()
    spare_the_collector()
    sys.stdout.write(f"{endpoint.addresses[0].port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    pulse.stop()
    await endpoint.aclose()
    sys.stdout.write(f"{dict(agent.counters)}\n")


if __name__ == "__main__":
    uvloop.run(answer_calls())
