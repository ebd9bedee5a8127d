"""A leg whose far end falls silent. Real sockets on loopback, virtual time."""

from gateway.silence_watch import MediaTimeouts
from tests.helpers.leg import Peer, Plane, Sink, port_of, run


def test_a_caller_without_media_is_lost_once_and_not_before_its_time(peer: Peer) -> None:
    with Plane(MediaTimeouts(start_s=5, running_s=10)) as plane:
        leg, lost = plane.leg(), list[float]()
        leg.answer(peer.offer("0"))
        leg.start(Sink(), on_lost=lambda: lost.append(plane.now))
        run(plane, leg, 4.5)
        assert lost == []
        run(plane, leg, 10)
        assert len(lost) == 1
        leg.close()


def test_a_caller_that_falls_silent_in_mid_call_is_lost_later(peer: Peer) -> None:
    with Plane(MediaTimeouts(start_s=5, running_s=10)) as plane:
        leg, lost = plane.leg(), list[float]()
        port = port_of(leg.answer(peer.offer("0")))
        leg.start(Sink(), on_lost=lambda: lost.append(plane.now))
        peer.speak(bytes(160), port)
        plane.sockets.drain(plane.now)
        run(plane, leg, 9)
        assert lost == []
        run(plane, leg, 2)
        assert len(lost) == 1
        leg.close()


def test_hold_is_no_loss_and_its_end_begins_the_wait_anew(peer: Peer) -> None:
    with Plane(MediaTimeouts(start_s=5, running_s=10)) as plane:
        leg, lost = plane.leg(), list[float]()
        port = port_of(leg.answer(peer.offer("0")))
        leg.start(Sink(), on_lost=lambda: lost.append(plane.now))
        peer.speak(bytes(160), port)
        plane.sockets.drain(plane.now)
        leg.answer(peer.offer("0", "a=inactive", version=2))
        run(plane, leg, 60)
        assert lost == []
        leg.answer(peer.offer("0", "a=sendrecv", version=3))
        run(plane, leg, 4)
        assert lost == []
        run(plane, leg, 8)
        assert len(lost) == 1
        leg.close()
