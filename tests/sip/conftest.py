"""A virtual network, and on it a caller played by hand and an agent that is called."""

import pytest

from tests.helpers.sip import AgentHost, Network, WireHost


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def alice(network: Network) -> WireHost:
    return network.wire("192.0.2.1")


@pytest.fixture
def bob(network: Network) -> AgentHost:
    return network.agent("192.0.2.2")
