"""A leg whose far end falls silent. Real sockets on loopback, virtual time."""

from collections.abc import Iterator

import pytest

from gateway.leg import AudioLeg
from gateway.silence_watch import MediaTimeouts
from tests.helpers.leg import Peer, Plane, Sink, port_of, run


@pytest.fixture
def plane() -> Iterator[Plane]:
    with Plane(MediaTimeouts(start_s=5, running_s=10)) as plane:
        yield plane


def watched(plane: Plane, peer: Peer, *, speaks: bool) -> tuple[AudioLeg, list[float]]:
    """A leg that has heard one packet of its peer or none, and when it lost it."""
    leg, lost = plane.leg(), list[float]()
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(Sink(), on_lost=lambda: lost.append(plane.now))
    if speaks:
        peer.speak(bytes(160), port)
        plane.sockets.drain(plane.now)
    return leg, lost


@pytest.mark.parametrize(
    ("speaks", "patient_s", "more_s"), [(False, 4.5, 10), (True, 9, 2)], ids=["from the start", "in mid call"]
)
def test_a_silent_caller_is_lost_once_and_not_before_its_time(
    plane: Plane, peer: Peer, speaks: bool, patient_s: float, more_s: float
) -> None:
    leg, lost = watched(plane, peer, speaks=speaks)
    run(plane, leg, patient_s)
    assert lost == []
    run(plane, leg, more_s)
    assert len(lost) == 1
    leg.close()


def test_hold_is_no_loss_and_its_end_begins_the_wait_anew(plane: Plane, peer: Peer) -> None:
    leg, lost = watched(plane, peer, speaks=True)
    leg.answer(peer.offer("0", "a=inactive", version=2))
    run(plane, leg, 60)
    assert lost == []
    leg.answer(peer.offer("0", "a=sendrecv", version=3))
    run(plane, leg, 4)
    assert lost == []
    run(plane, leg, 8)
    assert len(lost) == 1
    leg.close()
