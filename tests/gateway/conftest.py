"""A leg's surroundings: the media plane whose time is told, and the far end."""

from collections.abc import Iterator

import pytest

from tests.helpers.leg import Peer, Plane


@pytest.fixture
def plane() -> Iterator[Plane]:
    with Plane() as plane:
        yield plane


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()
