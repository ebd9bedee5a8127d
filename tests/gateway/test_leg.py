"""A leg: what is negotiated is what runs. Real sockets on loopback, virtual time."""

from typing import Final

import numpy as np
import pytest

from gateway.config.trunk import Codec, Srtp
from gateway.realtime.capability import AudioFormat
from rtp.codec import g711
from rtp.packet import RtpPacket
from rtp.playout import PlayedItem
from rtp.srtp import SrtpKey, SrtpProtector, SrtpSuite, SrtpUnprotector
from sip.errors import SipError
from sip.sdp.crypto import CryptoLine
from sip.sdp.description import SessionDescription
from tests.helpers.leg import HOST, SSRC, Peer, Plane, Sink, loudest_hertz, policy, port_of, tone

INLINE: Final = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"


def test_audio_of_the_same_law_passes_as_it_is(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(), Sink()
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(sink)
    leg.resume()
    payload = bytes(range(160))
    peer.speak(payload, port)
    plane.sockets.drain(plane.now)
    assert bytes(sink.heard) == payload
    leg.enqueue("item", payload)
    leg.tick(plane.now)
    assert RtpPacket.parse(peer.rtp.recv(2000)).payload == payload
    leg.close()


def test_the_first_sequence_number_is_far_from_its_wrap(
    plane: Plane, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a far end that misses the first packets of an SRTP stream may miss a wrap, and hear nothing ever after."""
    monkeypatch.setattr("gateway.leg.secrets.randbits", lambda bits: (1 << bits) - 1)
    leg = plane.leg()
    leg.answer(peer.offer("0"))
    leg.start(Sink())
    leg.resume()
    leg.tick(plane.now)
    assert RtpPacket.parse(peer.rtp.recv(2000)).sequence_number == 0x7FFF
    leg.close()


def test_the_trunk_s_order_of_codecs_decides(plane: Plane, peer: Peer) -> None:
    leg = plane.leg(policy(Codec.PCMA, Codec.PCMU))
    leg.answer(peer.offer("0 8"))
    assert leg.codec == "PCMA"
    leg.close()


def test_a_codec_that_the_trunk_does_not_list_is_refused_with_488(plane: Plane, peer: Peer) -> None:
    leg = plane.leg()
    with pytest.raises(SipError) as refusal:
        leg.answer(peer.offer("9", "a=rtpmap:9 G722/8000"))
    assert refusal.value.status == 488
    leg.close()


@pytest.mark.parametrize(
    ("codec", "formats", "rtpmap", "step"),
    [
        (Codec.PCMU, "0", "a=rtpmap:0 PCMU/8000", 160),
        (Codec.PCMA, "8", "a=rtpmap:8 PCMA/8000", 160),
        (Codec.G722, "9", "a=rtpmap:9 G722/8000", 160),
        (Codec.OPUS, "107", "a=rtpmap:107 opus/48000/2", 960),
        (Codec.L16, "96", "a=rtpmap:96 L16/16000", 320),
    ],
)
def test_a_tone_survives_every_codec_towards_a_model_of_samples(
    plane: Plane, peer: Peer, codec: Codec, formats: str, rtpmap: str, step: int
) -> None:
    leg, sink = plane.leg(policy(codec)), Sink()
    port = port_of(leg.answer(peer.offer(formats, rtpmap)))
    leg.start(sink, input_format=AudioFormat.PCM16_16K, output_format=AudioFormat.PCM16_24K)
    leg.resume()
    said = tone(1000, 24_000)
    leg.enqueue("item", said.astype("<i2").tobytes())
    leg.finish("item")
    # What the leg says comes back to it: both directions in one.
    for _ in range(50):
        leg.tick(plane.now)
        plane.now += 0.02
        packet = RtpPacket.parse(peer.rtp.recv(2000))
        peer.speak(packet.payload, port, packet.payload_type, step)
        plane.sockets.drain(plane.now)
    heard = np.frombuffer(bytes(sink.heard), dtype="<i2")
    assert abs(len(heard) - 16_000) <= 160
    assert loudest_hertz(heard[3200:], 16_000) == pytest.approx(440, abs=5)
    assert np.abs(heard[3200:].astype(np.int32)).max() == pytest.approx(8000, rel=0.2)
    assert leg.sent_ms("item") == pytest.approx(1000, abs=20)
    leg.close()


def test_the_other_law_is_a_table_and_no_resampling(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(policy(Codec.PCMA)), Sink()
    port = port_of(leg.answer(peer.offer("8")))
    leg.start(sink, input_format=AudioFormat.PCMU, output_format=AudioFormat.PCMU)
    payload = bytes(range(160))
    peer.speak(payload, port, 8)
    plane.sockets.drain(plane.now)
    assert bytes(sink.heard) == payload.translate(g711.ALAW_TO_ULAW)
    leg.close()


def test_a_codec_change_in_mid_call_drops_nothing_of_what_waits__rfc3264_8(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(policy(Codec.PCMU, Codec.G722)), Sink()
    dropped: list[PlayedItem] = []
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(sink, on_flushed=dropped.extend)
    leg.resume()
    leg.enqueue("item", bytes(1600))
    leg.tick(plane.now)
    leg.answer(peer.offer("9", "a=rtpmap:9 G722/8000", version=2))
    assert leg.codec == "G722"
    assert dropped == []
    assert leg.sent_ms("item") == 20
    assert leg.queued_ms == pytest.approx(180, abs=2)
    leg.enqueue("item", bytes(1600))
    assert leg.queued_ms == pytest.approx(380, abs=45)  # whole frames of G.722
    peer.speak(bytes(160), port, 9)
    plane.sockets.drain(plane.now)
    assert len(sink.heard) in range(140, 161)  # PCMU again, less what the resampler holds back
    leg.close()


def test_the_far_end_s_packet_time_is_kept_and_followed(plane: Plane, peer: Peer) -> None:
    leg = plane.leg()
    leg.answer(peer.offer("0", "a=ptime:40"))
    leg.start(Sink())
    leg.resume()
    leg.tick(plane.now)
    assert len(RtpPacket.parse(peer.rtp.recv(2000)).payload) == 320
    leg.answer(peer.offer("0", "a=ptime:20", version=2))
    leg.tick(plane.now)
    assert len(RtpPacket.parse(peer.rtp.recv(2000)).payload) == 160
    assert plane.clock.media_count == 1
    leg.close()
    assert plane.clock.media_count == 0


def test_secure_media_is_answered_with_the_offered_tag_and_runs_both_ways__rfc4568(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(), Sink()
    offer = peer.offer("0", f"a=crypto:7 AES_CM_128_HMAC_SHA1_80 {INLINE}", profile="RTP/SAVP")
    answer = leg.answer(offer)
    (value,) = SessionDescription.parse(answer).media[0].values("crypto")
    line = CryptoLine.parse(value)
    assert line is not None
    assert line.tag == 7
    leg.start(sink)
    leg.resume()
    suite = SrtpSuite.AES_CM_128_HMAC_SHA1_80
    theirs = CryptoLine.parse(f"7 AES_CM_128_HMAC_SHA1_80 {INLINE}")
    assert theirs is not None
    plain = bytes(RtpPacket(payload_type=0, sequence_number=1, timestamp=0, ssrc=SSRC, payload=b"\x55" * 160))
    peer.number = 2
    peer.rtp.sendto(SrtpProtector(SrtpKey(suite, theirs.key_and_salt)).protect(plain), (HOST, port_of(answer)))
    peer.speak(b"\x11" * 160, port_of(answer))  # plain, under another number: no replay but a forgery
    plane.sockets.drain(plane.now)
    assert bytes(sink.heard) == b"\x55" * 160
    leg.tick(plane.now)
    sent = SrtpUnprotector(SrtpKey(suite, line.key_and_salt)).unprotect(peer.rtp.recv(2000))
    assert RtpPacket.parse(sent).payload == b"\xff" * 160
    record = leg.statistics()
    assert record.encrypted == "AES_CM_128_HMAC_SHA1_80"
    assert record.discarded == {"authentication": 1}
    leg.close()


@pytest.mark.parametrize(("srtp", "profile"), [(Srtp.REQUIRED, "RTP/AVP"), (Srtp.FORBIDDEN, "RTP/SAVP")])
def test_a_trunk_that_wants_otherwise_gets_488(plane: Plane, peer: Peer, srtp: Srtp, profile: str) -> None:
    leg = plane.leg(policy(srtp=srtp))
    with pytest.raises(SipError) as refusal:
        leg.answer(peer.offer("0", f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {INLINE}", profile=profile))
    assert refusal.value.status == 488
    leg.close()


def test_the_record_says_how_it_sounded(plane: Plane, peer: Peer) -> None:
    leg = plane.leg()
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(Sink())
    for number in range(100):
        if number % 10 == 5:
            peer.number += 1
        else:
            peer.speak(bytes(160), port)
        plane.sockets.drain(plane.now)
        plane.now += 0.02
        leg.tick(plane.now)
    record = leg.statistics()
    assert record.packets_rx == 90
    assert record.lost == 10
    assert record.concealed_share == pytest.approx(0.1, abs=0.02)
    assert record.mos is not None
    assert 2.0 < record.mos < 4.0
    leg.close()
