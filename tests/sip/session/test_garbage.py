"""A session that is over leaves no cycle of objects: a run of the garbage collector stops the media of every call."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.helpers.garbage import uncollected
from tests.helpers.sip import OFFER, AgentHost, Network, established

# 64*T1 and T4: every transaction and every tombstone is over by then.
OVER = 120.0


@pytest.fixture
def garbage() -> Iterator[Callable[[], Counter[str]]]:
    with uncollected(lambda kind: kind.__module__.startswith("sip.")) as found:
        yield found


def over(network: Network, *hosts: AgentHost) -> None:
    """Lets all that waits run out, and forgets what was told."""
    network.run(OVER)
    for host in hosts:
        host.events.clear()


@pytest.mark.parametrize("hangs_up", ["caller", "called"])
def test_a_call_that_was_talked_is_freed_at_once(hangs_up: str, garbage: Callable[[], Counter[str]]) -> None:
    network = Network()
    alice, bob, call, incoming = established(network)
    alice.do(call.reinvite, OFFER)
    network.run(0.1)
    bob.do(incoming.answer_reinvite, OFFER)
    network.run(0.1)
    if hangs_up == "caller":
        alice.do(call.bye)
    else:
        bob.do(incoming.bye)
    over(network, alice, bob)
    del call, incoming
    assert garbage() == {}


def test_a_call_that_is_cancelled_is_freed_at_once(garbage: Callable[[], Counter[str]]) -> None:
    network = Network()
    alice, bob = network.agent("192.0.2.1"), network.agent("192.0.2.2")
    call = alice.call(bob)
    network.run(0.1)
    bob.do(bob.incoming.ring)
    network.run(0.1)
    alice.do(call.hang_up)
    over(network, alice, bob)
    del call
    assert garbage() == {}


def test_a_call_that_is_refused_is_freed_at_once(garbage: Callable[[], Counter[str]]) -> None:
    network = Network()
    alice, bob = network.agent("192.0.2.1"), network.agent("192.0.2.2")
    call = alice.call(bob)
    network.run(0.1)
    bob.do(bob.incoming.reject, 486)
    over(network, alice, bob)
    del call
    assert garbage() == {}


def test_a_call_whose_peer_is_gone_is_freed_at_once(garbage: Callable[[], Counter[str]]) -> None:
    network = Network()
    alice, bob, call, incoming = established(network)
    network.drop = lambda packet: True
    alice.do(call.bye)
    bob.do(incoming.bye)
    over(network, alice, bob)
    del call, incoming
    assert garbage() == {}


def test_what_waits_for_an_answer_outlives_nothing_that_it_needs(garbage: Callable[[], Counter[str]]) -> None:
    network = Network()
    alice, bob, call, incoming = established(network)
    alice.do(call.reinvite, OFFER)  # it is under way when the call ends, and its answer finds a session that is over
    alice.do(call.bye)
    alice.events.clear()
    bob.events.clear()
    del call, incoming
    over(network, alice, bob)
    assert garbage() == {}
