"""Real legs in a conference, with a network that loses packets: sockets on loopback, virtual time."""

from collections.abc import Iterator

import numpy as np
import pytest

from gateway.conference import Conference, seat_format
from gateway.config.trunk import Codec
from gateway.leg import AudioLeg
from rtp.codec import g711
from rtp.codec.audio import encoder_of
from rtp.codec.format import G722, PCMU
from rtp.packet import RtpPacket
from rtp.path import Media
from tests.helpers.leg import Peer, Plane, policy, port_of, tone

PACKETS = 500
LOST = (40, 75, 76, 110, 190, 250, 251, 333, 400, 480)


class NoClock:
    """The test turns the conference itself."""

    def register(self, media: Media, period_ms: int) -> None:
        """See the class."""

    def unregister(self, media: Media) -> None:
        """See the class."""


@pytest.fixture
def peers() -> Iterator[tuple[Peer, Peer]]:
    peers = Peer(), Peer()
    yield peers
    for peer in peers:
        peer.close()


def seated(plane: Plane, peer: Peer, conference: Conference, name: str, codec: Codec) -> tuple[AudioLeg, int]:
    leg = plane.leg(policy(codec))
    port = port_of(leg.answer(peer.offer("9" if codec is Codec.G722 else "0")))
    spoken = seat_format(leg.payload_format)
    leg.start(conference.join(name, leg, leg.payload_format), input_format=spoken, output_format=spoken)
    leg.resume()
    return leg, port


@pytest.mark.parametrize("codec", [Codec.PCMU, Codec.G722])
def test_a_lost_packet_is_concealed_for_the_others_and_delays_nobody(
    plane: Plane, peers: tuple[Peer, Peer], codec: Codec
) -> None:
    conference = Conference(NoClock())
    (speaker, port), (listener, _) = (
        seated(plane, peer, conference, name, kind)
        for peer, name, kind in zip(peers, ("speaker", "listener"), (codec, Codec.PCMU), strict=True)
    )
    encoder = encoder_of(G722 if codec is Codec.G722 else PCMU)
    sound, size = tone(PACKETS * 20, encoder.sample_rate_hz), encoder.sample_rate_hz // 50
    heard = bytearray()
    for number in range(PACKETS):
        payload = encoder.encode(sound[number * size : (number + 1) * size])
        if number in LOST:
            peers[0].number += 1
        else:
            peers[0].speak(payload, port, 9 if codec is Codec.G722 else 0)
        plane.sockets.drain(plane.now)
        plane.now += 0.007  # the conference's turn, and the legs', come somewhat later than packets do
        speaker.tick(plane.now)
        conference.tick(plane.now)
        listener.tick(plane.now)
        heard += RtpPacket.parse(peers[1].rtp.recv(2000)).payload
        plane.now += 0.013
    samples = g711.decode_ulaw(bytes(heard)).astype(np.int32)
    loudness = np.abs(samples[8 * 200 :]).reshape(-1, 160).max(axis=1)
    assert loudness.min() > 2000, "nothing is silence"
    statistics = conference.mixer.statistics("speaker")
    assert speaker.statistics().lost == len(LOST)
    assert statistics.late_ms == 0
    assert statistics.concealed_ms == 0, "the leg made it up, and the buffer nothing more"
    assert statistics.target_ms <= 20, "what waited behind a gap says nothing of the network"
    for leg in (speaker, listener):
        leg.close()
