"""What a stream counts of its sources, through `RtpStream`."""

import pytest

from rtp.packet import RtpPacket
from rtp.statistics import Discard
from tests.helpers.rtp_peer import (
    FAR_END,
    TICK_S,
    FarEnd,
    RecordingSink,
    discards,
    feed,
    make_stream,
    payload_of,
)


def test_late_duplicate_and_stray_packets_are_counted_by_cause() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    datagrams = far_end.packets(6)
    stray = bytes(RtpPacket(0, 40_000, 0, far_end.ssrc, b"\x01" * 160))
    now = feed(stream, [datagrams[0], datagrams[2], datagrams[3]])
    stream.tick(now)
    for datagram in (datagrams[1], datagrams[0], stray):
        stream.receive_datagram(datagram, FAR_END, now)
    feed(stream, datagrams[4:], now)
    assert discards(stream) == {Discard.LATE: 1, Discard.DUPLICATE: 1, Discard.STRAY: 1}
    assert sink.genuine[-1] == payload_of(datagrams[5])
    assert stream.statistics().rx.late == 1


def test_a_sender_that_restarted_its_sequence_is_followed() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    now = feed(stream, far_end.packets(5))
    far_end.sequence_number, far_end.timestamp = 40_000, 77
    second_life = far_end.packets(5)
    feed(stream, second_life, now)
    assert sink.genuine[5:] == [payload_of(datagram) for datagram in second_life[1:]]
    statistics = stream.statistics().rx
    assert (statistics.restarts, statistics.discards[Discard.STRAY]) == (1, 1)
    assert statistics.extended_highest_sequence == 40_004


def test_jitter_is_measured_as_rfc_3550_says() -> None:
    stream, far_end = make_stream(RecordingSink()), FarEnd()
    estimate, last = 0.0, None
    for index, datagram in enumerate(far_end.packets(300)):
        delay = 0.004 * (index * 7 % 5)
        stream.receive_datagram(datagram, FAR_END, index * TICK_S + delay)
        if last is not None:
            estimate += (abs(delay - last) - estimate) / 16
        last = delay
    assert stream.statistics().rx.jitter_ms == pytest.approx(estimate * 1000, rel=0.02)
