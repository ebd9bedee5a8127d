"""Servers that want to be left alone for a while (RFC 3261 §21.5.4), in virtual time."""

import pytest

from sip.pause import PAUSE_LIMIT, Pauses, ServerPauseError
from sip.transport.flow import Address
from tests.helpers.sip import AgentHost, Network, WireHost


def refuse(network: Network, server: WireHost, caller: AgentHost, *fields: tuple[str, str]) -> None:
    network.run(0.1)
    invite = server.requests("INVITE")[-1]
    server.send(invite.create_response(503, to_tag="x", headers=fields), caller)
    network.run(0.1)


@pytest.mark.parametrize(("value", "seconds"), [("5", 5.0), ("7;duration=60", 7.0), ("99999", 300.0)])
def test_a_server_reached_by_address_has_its_pause_too__rfc3261_20_33(value: str, seconds: float) -> None:
    network = Network()
    alice, bob = network.agent("192.0.2.1"), network.wire("192.0.2.2")
    alice.call(bob)
    refuse(network, bob, alice, ("Retry-After", value))
    began = network.now
    with pytest.raises(ServerPauseError, match="wants no new calls"):
        alice.call(bob)
    network.run(seconds - (network.now - began))
    alice.call(bob)
    assert alice.agent.session_count == 1


@pytest.mark.parametrize("fields", [(), (("Retry-After", "soon"),), (("Retry-After", "0"),)])
def test_without_a_time_there_is_no_pause__rfc3261_21_5_4(fields: tuple[tuple[str, str], ...]) -> None:
    network = Network()
    alice, bob = network.agent("192.0.2.1"), network.wire("192.0.2.2")
    alice.call(bob)
    refuse(network, bob, alice, *fields)
    alice.call(bob)
    assert alice.agent.session_count == 1


def test_a_pause_that_answers_nothing_of_ours_is_not_believed() -> None:
    network = Network()
    alice, bob, mallory = network.agent("192.0.2.1"), network.wire("192.0.2.2"), network.wire("192.0.2.66")
    alice.call(bob)
    network.run(0.1)
    forged = bob.requests("INVITE")[0].create_response(503, to_tag="x", headers=[("Retry-After", "300")])
    mallory.send(bytes(forged).replace(b"branch=z9hG4bK", b"branch=z9hG4bKguess"), alice)
    network.run(0.1)
    alice.call(bob)
    assert alice.agent.counters["stray_response"] == 1


def test_no_more_than_a_bounded_number_of_servers_is_remembered_until_the_first_have_had_their_time() -> None:
    pauses = Pauses[Address]()
    servers = [Address("192.0.2.1", 5060 + number) for number in range(PAUSE_LIMIT + 1)]
    for server in servers:
        pauses.add(server, 10.0, now=0.0)
    assert pauses.without(servers, now=9.0) == servers[PAUSE_LIMIT:]
    pauses.add(servers[-1], 10.0, now=11.0)
    assert pauses.without(servers, now=12.0) == servers[:PAUSE_LIMIT]
    with pytest.raises(ServerPauseError, match="for another 9 s"):
        pauses.check(servers[-1], now=12.0)
