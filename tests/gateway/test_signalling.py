"""What the gateway is as a SIP user agent, as its configuration has it."""

from pathlib import Path

import pytest

from gateway.config.model import GatewayConfiguration
from gateway.config.network import ListenerSettings
from gateway.signalling import create_agent_configuration, create_listener, create_token
from sip.transport.flow import Address
from sip.transport.stream import TcpListener
from sip.transport.tls import TlsListener
from sip.transport.udp import UdpListener


@pytest.mark.parametrize(("transport", "kind"), [("udp", UdpListener), ("tcp", TcpListener), ("tls", TlsListener)])
def test_a_listener_is_bound_where_it_was_told_to_be(transport: str, kind: type[object]) -> None:
    files = {"certificate": Path("/gateway.pem"), "key": Path("/gateway.key")} if transport == "tls" else {}
    settings = ListenerSettings.model_validate({"transport": transport, "bind": "192.0.2.1", "port": 5070, **files})
    listener = create_listener(settings, "203.0.113.9")
    assert type(listener) is kind
    assert (listener.host, listener.port, listener.advertised) == ("192.0.2.1", 5070, "203.0.113.9")


def test_timers_and_limits_are_those_of_the_configuration() -> None:
    settings = {"network": {"sip_timers": {"t1_ms": 20, "t2_ms": 80, "t4_ms": 40}}, "limits": {"calls": 7}}
    agent = create_agent_configuration(GatewayConfiguration.model_validate(settings), "203.0.113.9")
    assert (agent.timers.t1, agent.timers.t2, agent.timers.t4) == (0.02, 0.08, 0.04)
    assert agent.max_sessions == 14
    assert set(agent.advertised.values()) == {Address("203.0.113.9", 0)}


def test_tokens_are_of_128_bits_and_none_comes_twice() -> None:
    tokens = {create_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {32}
