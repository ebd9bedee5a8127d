"""What the garbage collector is spared, in a process that has begun to serve."""

import gc
from collections.abc import Iterator

import pytest

from gateway.collector import GENERATION_THRESHOLDS, spare_the_collector


@pytest.fixture
def collector() -> Iterator[None]:
    """The collector as it was, afterwards."""
    thresholds = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
def test_what_has_lived_until_now_is_visited_no_more() -> None:
    lasting = [[number] for number in range(100)]
    spare_the_collector()
    visited = {id(one) for one in gc.get_objects()}
    assert gc.get_freeze_count() > len(lasting)
    assert not visited & {id(one) for one in lasting}
    assert gc.get_threshold() == GENERATION_THRESHOLDS
