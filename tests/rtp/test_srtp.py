"""SRTP with SDES keys: authentic or not heard, and never the end of a call."""

import random

import pytest

from rtp.codec.format import L16_16K
from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from rtp.rtcp import Report
from rtp.srtp import (
    FORMER_KEY_PACKETS,
    SrtpError,
    SrtpKey,
    SrtpKeyError,
    SrtpKeys,
    SrtpProtector,
    SrtpSuite,
    SrtpUnprotector,
)
from rtp.statistics import Discard
from rtp.stream import RtpStream
from tests.helpers.rtp_peer import FAR_END, STRANGER, TICK_S, FarEnd, RecordingSink, make_stream, payload_of

CHANCE = random.Random(42)
KEYS = {suite: SrtpKey(suite, CHANCE.randbytes(suite.material_octets)) for suite in SrtpSuite}
SHA1_80 = KEYS[SrtpSuite.AES_CM_128_HMAC_SHA1_80]
OTHER = SrtpKey(SrtpSuite.AES_CM_128_HMAC_SHA1_80, CHANCE.randbytes(30))


def secure_stream(sink: RecordingSink, keys: SrtpKeys) -> RtpStream:
    return make_stream(sink, StreamParameters(remote=FAR_END, secure=keys))


@pytest.mark.parametrize("suite", list(SrtpSuite))
def test_two_secure_streams_hear_each_other_bit_exact_over_the_wrap(suite: SrtpSuite) -> None:
    here, there = RecordingSink(), RecordingSink()
    speaker = RtpStream(
        StreamParameters(remote=FAR_END, secure=SrtpKeys(KEYS[suite], OTHER)),
        here,
        ssrc=5,
        sequence_number=65_500,
        timestamp=0,
        now=0.0,
    )
    listener = secure_stream(there, SrtpKeys(OTHER, KEYS[suite]))
    speech = random.Random(1).randbytes(160 * 100)
    speaker.playout.enqueue("a", speech)
    for turn in range(100):
        packet = speaker.tick(turn * TICK_S)
        assert packet is not None
        assert speech[turn * 160 : turn * 160 + 160] not in packet
        listener.receive_datagram(packet, FAR_END, turn * TICK_S)
    assert there.heard == speech
    assert dict(listener.statistics().rx.discards) == {}


def test_plain_forged_and_replayed_packets_are_counted_and_not_heard__rfc3711() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = secure_stream(sink, SrtpKeys(OTHER, SHA1_80))
    protector, forger = SrtpProtector(SHA1_80), SrtpProtector(OTHER)
    datagrams = far_end.packets(50)
    for index, datagram in enumerate(datagrams):
        protected = protector.protect(datagram)
        forged = forger.protect(bytes(RtpPacket(0, 2000 + index, 0, far_end.ssrc, b"\x01" * 160)))
        for packet in (forged, datagram, protected, protected):
            stream.receive_datagram(packet, FAR_END, index * TICK_S)
    assert sink.audio == [(payload_of(datagram), False) for datagram in datagrams]
    assert dict(stream.statistics().rx.discards) == {Discard.AUTHENTICATION: 100, Discard.REPLAY: 50}


def test_who_lacks_the_key_never_becomes_the_source() -> None:
    stream = secure_stream(RecordingSink(), SrtpKeys(OTHER, SHA1_80))
    for datagram in FarEnd().packets(10):
        stream.receive_datagram(datagram, STRANGER, 0.1)
    assert stream.remote == FAR_END
    protector = SrtpProtector(SHA1_80)
    for datagram in FarEnd().packets(4):
        stream.receive_datagram(protector.protect(datagram), STRANGER, 0.1)
    assert stream.remote == STRANGER


def test_new_keys_start_afresh_and_the_old_ones_are_void() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = secure_stream(sink, SrtpKeys(OTHER, SHA1_80))
    old = SrtpProtector(SHA1_80)
    stream.receive_datagram(old.protect(far_end.audio()), FAR_END, 0.0)
    fresh = SrtpKey(SrtpSuite.AES_CM_128_HMAC_SHA1_32, bytes(range(30)))
    stream.update(StreamParameters(remote=FAR_END, secure=SrtpKeys(fresh, fresh)), 0.0)
    new = SrtpProtector(fresh)
    stream.receive_datagram(new.protect(far_end.audio()), FAR_END, 0.02)
    stream.receive_datagram(old.protect(far_end.audio()), FAR_END, 0.04)
    assert len(sink.genuine) == 2
    packet = stream.tick(0.04)
    assert packet is not None
    assert SrtpUnprotector(fresh).unprotect(packet)[12:] == b"\xff" * 160


def test_giants_and_scraps_are_refused() -> None:
    unprotector = SrtpUnprotector(SHA1_80)
    with pytest.raises(SrtpError) as giant:
        unprotector.unprotect(bytes(60_000))
    assert giant.value.discard is Discard.OVERSIZED
    for scrap in (b"", b"\x80", bytes(11)):
        with pytest.raises(SrtpError):
            unprotector.unprotect(scrap)
        with pytest.raises(SrtpError):
            unprotector.unprotect_rtcp(scrap)


def test_keys_never_show_in_text() -> None:
    shown = repr(SrtpKeys(SHA1_80, OTHER)) + str(SHA1_80)
    assert "hidden" in shown
    assert repr(SHA1_80.material)[2:8] not in shown


def test_material_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(SrtpKeyError, match="AEAD_AES_256_GCM takes 44 octets of key and salt, not 30"):
        SrtpKey(SrtpSuite.AEAD_AES_256_GCM, bytes(30))


def test_a_new_key_of_the_far_end_leaves_our_own_packets_in_their_index__rfc3711_3_3_1() -> None:
    """The sequence has wrapped: a session that began anew would be refused, and use its key stream twice."""
    first = SrtpKeys(SHA1_80, OTHER)
    stream = make_stream(RecordingSink(), StreamParameters(remote=FAR_END, secure=first), sequence_number=65_530)
    listener = SrtpUnprotector(SHA1_80)
    for turn in range(30):
        if turn == 20:
            renewed = SrtpKeys(SHA1_80, KEYS[SrtpSuite.AEAD_AES_128_GCM])
            stream.update(StreamParameters(remote=FAR_END, secure=renewed), turn * TICK_S)
        packet = stream.tick(turn * TICK_S)
        assert packet is not None
        assert RtpPacket.parse(listener.unprotect(packet)).sequence_number == (65_530 + turn) & 0xFFFF


def test_a_new_key_of_ours_leaves_the_far_ends_packets_in_their_index__rfc3711_3_3_1() -> None:
    sink, far_end = RecordingSink(), FarEnd(sequence_number=65_530)
    stream = secure_stream(sink, SrtpKeys(OTHER, SHA1_80))
    protector = SrtpProtector(SHA1_80)
    for turn in range(40):
        if turn == 20:
            renewed = SrtpKeys(KEYS[SrtpSuite.AES_CM_128_HMAC_SHA1_32], SHA1_80)
            stream.update(StreamParameters(remote=FAR_END, secure=renewed), turn * TICK_S)
        stream.receive_datagram(protector.protect(far_end.audio()), FAR_END, turn * TICK_S)
    assert len(sink.genuine) == 40


@pytest.mark.parametrize("suite", list(SrtpSuite))
def test_packets_of_the_old_key_are_heard_until_the_new_one_comes(suite: SrtpSuite) -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = secure_stream(sink, SrtpKeys(OTHER, SHA1_80))
    renewed = SrtpKey(suite, random.Random(3).randbytes(suite.material_octets))
    old, new = SrtpProtector(SHA1_80), SrtpProtector(renewed)
    stream.receive_datagram(old.protect(far_end.audio()), FAR_END, 0.0)
    stream.update(StreamParameters(remote=FAR_END, secure=SrtpKeys(KEYS[suite], renewed)), 0.01)
    for turn, protector in enumerate((old, old, new, old, new), 1):
        stream.receive_datagram(protector.protect(far_end.audio()), FAR_END, turn * TICK_S)
    stream.tick(0.5)
    assert len(sink.genuine) == 5
    assert dict(stream.statistics().rx.discards) == {Discard.AUTHENTICATION: 1}


def test_an_old_key_does_not_serve_for_ever() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = secure_stream(sink, SrtpKeys(OTHER, SHA1_80))
    old = SrtpProtector(SHA1_80)
    stream.update(StreamParameters(remote=FAR_END, secure=SrtpKeys(OTHER, OTHER)), 0.0)
    for turn in range(FORMER_KEY_PACKETS + 20):
        stream.receive_datagram(old.protect(far_end.audio()), FAR_END, turn * TICK_S)
    assert len(sink.genuine) == FORMER_KEY_PACKETS
    assert dict(stream.statistics().rx.discards) == {Discard.AUTHENTICATION: 20}


@pytest.mark.parametrize("suite", list(SrtpSuite))
def test_the_longest_packets_are_protected_too(suite: SrtpSuite) -> None:
    sink = RecordingSink()
    parameters = StreamParameters(
        remote=FAR_END, payload_format=L16_16K, ptime_ms=60, secure=SrtpKeys(KEYS[suite], KEYS[suite])
    )
    stream = make_stream(sink, parameters)
    packet = stream.tick(0.0)
    assert packet is not None
    assert len(RtpPacket.parse(SrtpUnprotector(KEYS[suite]).unprotect(packet)).payload) == 1920
    longest = random.Random(5).randbytes(200 * 32)  # 200 ms, RFC 3551 section 4.2
    stream.receive_datagram(SrtpProtector(KEYS[suite]).protect(bytes(RtpPacket(0, 1, 0, 5, longest))), FAR_END, 0.0)
    assert sink.genuine == [longest]


def named(data: bytes, mki: bytes, tag_octets: int) -> bytes:
    end = len(data) - tag_octets
    return data[:end] + mki + data[end:]


@pytest.mark.parametrize("suite", list(SrtpSuite))
@pytest.mark.parametrize("mki", [b"\x01", b"\0\0\0\1", bytes(range(128))])
def test_packets_that_name_their_key_are_heard__rfc3711_3_1_rfc7714_8_2(suite: SrtpSuite, mki: bytes) -> None:
    rtp_tag = {SrtpSuite.AES_CM_128_HMAC_SHA1_80: 10, SrtpSuite.AES_CM_128_HMAC_SHA1_32: 4}.get(suite, 0)
    rtcp_tag = 10 if rtp_tag else 0
    sink, far_end, protector = RecordingSink(), FarEnd(), SrtpProtector(KEYS[suite])
    key = SrtpKey(suite, KEYS[suite].material, mki)
    stream = secure_stream(sink, SrtpKeys(OTHER, key))
    datagrams = far_end.packets(3)
    protected = [protector.protect(datagram) for datagram in datagrams]
    stream.receive_datagram(named(protected[0], mki, rtp_tag), FAR_END, 0.0)
    stream.receive_datagram(protected[1], FAR_END, 0.02)  # which a far end forgot to name
    stream.receive_datagram(named(protected[2], bytes(len(mki)), rtp_tag), FAR_END, 0.04)
    assert sink.genuine == [payload_of(datagram) for datagram in datagrams[:2]]
    assert dict(stream.statistics().rx.discards) == {Discard.AUTHENTICATION: 1}
    report = bytes(Report(5, None))
    assert stream.unprotect_rtcp(named(protector.protect_rtcp(report), mki, rtcp_tag)) == report
    for length in range(160):
        stream.receive_datagram(protected[0][:length], FAR_END, 0.06)
