"""A running leg changes what it hears and speaks to, and the far end notices nothing but the sound."""

from itertools import pairwise

import numpy as np
import pytest

from gateway.config.trunk import Codec
from gateway.leg import AudioLeg
from gateway.realtime.capability import AudioFormat
from rtp.packet import RtpPacket
from rtp.playout import PlayedItem
from tests.helpers.leg import Peer, Plane, Sink, policy, port_of, tone


def turn(plane: Plane, leg: AudioLeg, peer: Peer) -> RtpPacket:
    """One packet time; what the peer is sent in it."""
    plane.sockets.drain(plane.now)
    leg.tick(plane.now)
    plane.now += 0.02
    return RtpPacket.parse(peer.rtp.recv(2000))


@pytest.mark.parametrize("codec", [Codec.PCMU, Codec.PCMA, Codec.G722])
def test_a_redirected_leg_goes_on_as_one_stream(plane: Plane, peer: Peer, codec: Codec) -> None:
    number = {Codec.PCMU: 0, Codec.PCMA: 8, Codec.G722: 9}[codec]
    leg, first, second = plane.leg(policy(codec)), Sink(), Sink()
    port = port_of(leg.answer(peer.offer(f"{number} 101", "a=rtpmap:101 telephone-event/8000")))
    leg.start(first)
    leg.resume()
    packets = []
    for sink, format_in in ((second, AudioFormat.PCM16_16K), (first, AudioFormat.PCMU), (second, AudioFormat.PCMA)):
        for _ in range(5):
            peer.speak(bytes(160), port, number)
            packets.append(turn(plane, leg, peer))
        leg.redirect(sink, input_format=format_in, output_format=format_in)
    numbers = [packet.sequence_number for packet in packets]
    assert numbers == [(numbers[0] + step) & 0xFFFF for step in range(len(numbers))]
    assert len({packet.ssrc for packet in packets}) == 1
    stamps = [packet.timestamp for packet in packets]
    assert {(later - earlier) & 0xFFFF_FFFF for earlier, later in pairwise(stamps)} == {160}
    leg.close()


def test_who_is_redirected_to_hears_and_who_was_before_hears_no_more(plane: Plane, peer: Peer) -> None:
    leg, first, second = plane.leg(), Sink(), Sink()
    port = port_of(leg.answer(peer.offer("0 101", "a=rtpmap:101 telephone-event/8000")))
    leg.start(first)
    peer.speak(b"\x10" * 160, port)
    plane.sockets.drain(plane.now)
    leg.redirect(second)
    peer.speak(b"\x20" * 160, port)
    peer.speak(b"\x05\x8a\x01\x40", port, 101)
    plane.sockets.drain(plane.now)
    assert bytes(first.heard) == b"\x10" * 160
    assert first.digits == []
    assert bytes(second.heard) == b"\x20" * 160
    assert second.digits == ["5"]
    leg.close()


def test_lost_packets_are_concealed_for_the_sink_of_the_moment(plane: Plane, peer: Peer) -> None:
    leg, first, second = plane.leg(), Sink(), Sink()
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(first)
    peer.speak(b"\x10" * 160, port)
    plane.sockets.drain(plane.now)
    leg.redirect(second)
    peer.number += 1
    peer.speak(b"\x20" * 160, port)
    for _ in range(5):
        plane.sockets.drain(plane.now)
        leg.tick(plane.now)
        plane.now += 0.02
    assert len(first.heard) == 160
    assert len(second.heard) == 320
    leg.close()


def test_speech_that_waited_is_dropped_and_accounted_for(plane: Plane, peer: Peer) -> None:
    leg = plane.leg()
    leg.answer(peer.offer("0"))
    leg.start(Sink())
    leg.resume()
    leg.enqueue("words", bytes(160 * 10))
    for _ in range(3):
        turn(plane, leg, peer)
    dropped = leg.redirect(Sink(), output_format=AudioFormat.PCM16_16K)
    assert dropped == [PlayedItem("words", 60, 140)]
    assert turn(plane, leg, peer).payload == b"\xff" * 160
    leg.enqueue("other", tone(40, 16_000).astype("<i2").tobytes())
    assert np.ptp(np.frombuffer(turn(plane, leg, peer).payload, dtype=np.uint8)) > 50
    leg.close()


def test_a_leg_that_is_not_started_or_closed_is_redirected_without_harm(plane: Plane, peer: Peer) -> None:
    leg = plane.leg()
    assert leg.redirect(Sink()) == []
    leg.answer(peer.offer("0"))
    leg.start(Sink())
    leg.close()
    assert leg.redirect(Sink()) == []
