"""What a user agent is told about itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sip.transaction.timer import TimerValues
from sip.transport.flow import Address


@dataclass(frozen=True, slots=True)
class AgentConfiguration:
    """Identity, capabilities and limits of a user agent. All durations in seconds."""

    # What Contact and Via say, by transport. Behind 1:1 NAT this is the public address. What is absent is filled in
    # with the address that the endpoint listens on; port 0 stands for the port it listens on.
    advertised: Mapping[str, Address] = field(default_factory=lambda: MappingProxyType({}))
    # Sent as Server and User-Agent to those who passed admission; None sends neither.
    product: str | None = None
    allow: tuple[str, ...] = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO")
    supported: tuple[str, ...] = ()
    info_types: tuple[str, ...] = ("application/dtmf-relay", "application/dtmf")
    timers: TimerValues = field(default_factory=TimerValues)

    # RFC 4028, in seconds, where "timer" is among `supported`: the interval that we ask for, and the least we take.
    session_expires: int = 1800
    min_se: int = 90

    max_sessions: int = 2000  # live sessions of both roles
    max_half_open: int = 500  # inbound sessions without ACK: what a flood can pile up before admission slows it
    max_transactions: int = 20_000  # at 32 s a transaction this is a steady 600 requests a second
    max_early_dialogs: int = 16  # of one outbound INVITE; more forks than this are an attack or a loop

    answer_limit: float = 180.0  # an inbound INVITE that our user neither answers nor rejects gets 480
    ring_limit: float = 180.0  # an outbound INVITE that rings on is cancelled (proxies' timer C is just above 3 min)
    provisional_interval: float = 60.0  # RFC 3261 §13.3.1.1: "every minute" a ringing UAS repeats its 1xx
    # RFC 3263 §4.3: a server of a name that sends no response at all is followed by the next one, while there is one.
    # Timers B and F (32 s) are longer than any caller waits; carriers themselves go on after 3 to 4 s.
    next_server_after: float = 4.0
    reinvite_limit: float = 10.0  # a re-INVITE that our user does not answer gets 500
    retry_after: int = 5  # seconds, in 503 for what does not fit the limits
