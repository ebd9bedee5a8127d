"""RTCP sessions: two peers that report to each other."""

import random

import pytest

from rtp.mos import G711_CONCEALED, G711_PLAIN, G722, mean_opinion_score, rating
from rtp.parameters import StreamParameters
from rtp.report import INTERVAL_S, RtcpSession
from rtp.rtcp import Bye, Report, ReportBlock, SenderInfo, parse_compound
from rtp.srtp import SrtpKey, SrtpKeys, SrtpSuite
from rtp.statistics import Discard
from rtp.stream import RtpStream
from tests.helpers.rtp_peer import FAR_END, STRANGER, TICK_S, FarEnd, RecordingSink, make_stream

RTCP_PORT = (FAR_END[0], FAR_END[1] + 1)


def session(stream: RtpStream, seed: int = 1, now: float = 0.0) -> RtcpSession:
    return RtcpSession(
        stream, cname="gateway", choose=random.Random(seed).uniform, wall_offset_s=1_800_000_000.0, now=now
    )


class Pair:
    """Two streams with their reports, a one-way delay and every `drop`th packet lost on the way to the second."""

    def __init__(self, delay_s: float = 0.0, drop: int = 0, secure: tuple[SrtpKeys, SrtpKeys] | None = None) -> None:
        keys = secure if secure is not None else (None, None)
        self.streams = [
            make_stream(RecordingSink(), StreamParameters(remote=FAR_END, secure=keys[side])) for side in (0, 1)
        ]
        self.sessions = [session(stream, seed) for seed, stream in enumerate(self.streams)]
        self.delay_s, self.drop = delay_s, drop
        self.reports = 0

    def talk(self, seconds: float) -> None:
        wire: list[tuple[float, int, bool, bytes]] = []
        for turn in range(int(seconds / TICK_S)):
            now = turn * TICK_S
            for arrival in [entry for entry in wire if entry[0] <= now]:
                wire.remove(arrival)
                _, side, is_report, data = arrival
                if is_report:
                    self.sessions[side].receive_datagram(data, RTCP_PORT, arrival[0])
                else:
                    self.streams[side].receive_datagram(data, FAR_END, arrival[0])
            for side, (stream, reports) in enumerate(zip(self.streams, self.sessions, strict=True)):
                packet = stream.tick(now)
                if packet is not None and not (side == 0 and self.drop and turn % self.drop == 0):
                    wire.append((now + self.delay_s, 1 - side, False, packet))
                report = reports.poll(now)
                if report is not None:
                    self.reports += 1
                    wire.append((now + self.delay_s, 1 - side, True, report))


def test_round_trip_time_is_measured_both_ways() -> None:
    pair = Pair(delay_s=0.045)
    pair.talk(40)
    for reports in pair.sessions:
        quality = reports.quality()
        assert quality.round_trip_ms == pytest.approx(90, abs=1)
        assert quality.mean_round_trip_ms == pytest.approx(90, abs=1)
        assert quality.reports_received >= 5


def test_reports_come_about_every_five_seconds() -> None:
    pair = Pair()
    pair.talk(200)
    assert pair.reports == pytest.approx(2 * 200 / INTERVAL_S, rel=0.2)


def test_the_far_end_tells_what_it_lost() -> None:
    pair = Pair(drop=10)
    pair.talk(60)
    quality = pair.sessions[0].quality()
    assert quality.remote_loss_ratio == pytest.approx(0.1, abs=0.02)
    assert quality.remote_cumulative_lost == pytest.approx(300, abs=40)
    assert pair.sessions[1].quality().remote_loss_ratio == 0


def test_a_secure_pair_reports_in_srtcp() -> None:
    one, two = (SrtpKey(SrtpSuite.AES_CM_128_HMAC_SHA1_80, bytes([fill]) * 30) for fill in (1, 2))
    pair = Pair(secure=(SrtpKeys(one, two), SrtpKeys(two, one)))
    pair.talk(20)
    assert pair.sessions[0].quality().reports_received >= 2
    pair.sessions[0].receive_datagram(bytes(Report(1, None)), RTCP_PORT, 20.0)
    assert pair.streams[0].statistics().rx.discards[Discard.AUTHENTICATION] == 1


def test_the_last_report_says_bye() -> None:
    stream = make_stream(RecordingSink())
    stream.tick(0.0)
    report, bye = parse_compound(session(stream).goodbye(1.0) or b"")
    assert isinstance(report, Report)
    assert report.sender is not None
    assert (report.sender.packets, report.blocks) == (1, ())
    assert bye == Bye((stream.ssrc,))


def test_who_never_sent_anything_leaves_without_a_word__rfc3550_6_3_7() -> None:
    assert session(make_stream(RecordingSink())).goodbye(1.0) is None
    reported = session(make_stream(RecordingSink()))
    assert reported.poll(10.0) is not None
    assert reported.goodbye(11.0) is not None


def test_a_bye_is_noted_and_ends_nothing() -> None:
    stream = make_stream(RecordingSink())
    reports = session(stream)
    reports.receive_datagram(bytes(Bye((1,))), RTCP_PORT, 0.0)
    assert reports.quality().bye_received
    assert stream.tick(0.02) is not None


def test_strangers_and_nonsense_are_counted() -> None:
    reports = session(make_stream(RecordingSink()))
    reports.receive_datagram(bytes(Bye((1,))), STRANGER, 0.0)
    reports.receive_datagram(b"\x80", RTCP_PORT, 0.0)
    quality = reports.quality()
    assert (quality.strangers, quality.malformed, quality.bye_received) == (1, 1, False)
    assert quality.round_trip_ms is None


def test_an_echo_that_cannot_be_true_is_no_round_trip() -> None:
    stream = make_stream(RecordingSink())
    reports = session(stream)
    block = ReportBlock(stream.ssrc, 0, 0, 0, 0, 12345, 0)
    reports.receive_datagram(bytes(Report(1, None, (block,))), RTCP_PORT, 0.0)
    assert reports.quality().round_trip_ms is None
    assert reports.quality().remote_loss_ratio == 0


@pytest.mark.parametrize("secure", [False, True])
def test_multiplexed_reports_reach_the_session__rfc5761(secure: bool) -> None:
    key = SrtpKey(SrtpSuite.AES_CM_128_HMAC_SHA1_80, bytes(30))
    keys = SrtpKeys(key, key) if secure else None
    here = make_stream(RecordingSink(), StreamParameters(remote=FAR_END, secure=keys))
    there = make_stream(RecordingSink(), StreamParameters(remote=FAR_END, secure=keys))
    reports = session(here)
    packet = there.tick(0.0)
    report = session(there).goodbye(0.0)
    assert packet is not None
    assert report is not None
    here.receive_datagram(report, FAR_END, 0.0)
    assert reports.quality().reports_received == 0
    here.accept_multiplexed_rtcp(reports.receive_datagram)
    here.receive_datagram(packet, FAR_END, 0.0)
    again = session(there).goodbye(0.0)
    assert again is not None
    here.receive_datagram(again, FAR_END, 0.0)
    assert reports.quality().reports_received == 1


def test_the_score_falls_with_loss_and_delay_and_stays_in_range() -> None:
    assert mean_opinion_score(G711_CONCEALED, 0.0, 20.0) == pytest.approx(4.4, abs=0.02)
    scores = [mean_opinion_score(G711_CONCEALED, loss / 100, 50.0) for loss in range(0, 101, 5)]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 1.0
    assert mean_opinion_score(G711_PLAIN, 0.03, 50) < mean_opinion_score(G711_CONCEALED, 0.03, 50) - 0.5
    assert mean_opinion_score(G711_CONCEALED, 0.0, 400) < mean_opinion_score(G711_CONCEALED, 0.0, 150) - 0.4
    assert rating(G722, 0.0, 0.0) == pytest.approx(80.2)


def block_of(reports: RtcpSession, now: float) -> ReportBlock:
    report = parse_compound(reports.poll(now) or b"")[0]
    assert isinstance(report, Report)
    (block,) = report.blocks
    return block


def test_duplicates_make_the_cumulative_loss_negative__rfc3550_6_4_1() -> None:
    stream, far_end = make_stream(RecordingSink()), FarEnd()
    reports = session(stream)
    for index, datagram in enumerate(far_end.packets(100)):
        stream.receive_datagram(datagram, FAR_END, index * TICK_S)
        stream.receive_datagram(datagram, FAR_END, index * TICK_S)
    block = block_of(reports, 10.0)
    assert (block.cumulative_lost, block.fraction_lost) == (-100, 0)
    for index, datagram in enumerate(far_end.packets(100)):
        if index % 4:
            stream.receive_datagram(datagram, FAR_END, 2 + index * TICK_S)
        stream.tick(2 + index * TICK_S)
    stream.receive_datagram(far_end.audio(), FAR_END, 4.0)
    stream.tick(4.2)
    block = block_of(reports, 20.0)
    assert (block.cumulative_lost, block.fraction_lost) == (-75, 256 * 25 // 101)


def test_the_account_of_a_source_begins_with_it__rfc3550_6_4_1() -> None:
    stream, first, second = make_stream(RecordingSink()), FarEnd(), FarEnd(ssrc=99, sequence_number=5)
    reports = session(stream)
    for index, datagram in enumerate(first.packets(102)):
        if index % 4 != 3:
            stream.receive_datagram(datagram, FAR_END, index * TICK_S)
        stream.tick(index * TICK_S)
    block = block_of(reports, 10.0)
    assert (block.ssrc, block.cumulative_lost) == (first.ssrc, 25)
    for index, datagram in enumerate(second.packets(50)):
        stream.receive_datagram(datagram, FAR_END, 12 + index * TICK_S)
    block = block_of(reports, 20.0)
    assert (block.ssrc, block.cumulative_lost, block.fraction_lost) == (99, 0, 0)
    assert block.extended_highest_sequence == 54


def test_the_last_sender_report_is_that_of_the_source__rfc3550_6_4_1() -> None:
    stream, far_end = make_stream(RecordingSink()), FarEnd()
    reports = session(stream)
    stream.receive_datagram(far_end.audio(), FAR_END, 0.0)
    info = SenderInfo(0x1122_3344_5566_7788, 0, 1, 160)
    reports.receive_datagram(bytes(Report(far_end.ssrc + 1, info)), RTCP_PORT, 1.0)
    block = block_of(reports, 10.0)
    assert (block.last_sender_report, block.delay_since_last) == (0, 0)
    reports.receive_datagram(bytes(Report(far_end.ssrc, info)), RTCP_PORT, 11.0)
    block = block_of(reports, 20.0)
    assert block.last_sender_report == 0x3344_5566
    assert block.delay_since_last == 9 * 65536


def test_who_sends_nothing_any_more_sends_receiver_reports__rfc3550_6_4() -> None:
    stream = make_stream(RecordingSink())
    reports = session(stream)
    stream.tick(0.0)
    kinds = []
    for turn in range(1, 5):
        if turn == 2:
            stream.pause()
        stream.tick(turn * 10.0)
        report = parse_compound(reports.poll(turn * 10.0) or b"")[0]
        assert isinstance(report, Report)
        kinds.append(report.sender is not None)
    assert kinds == [True, True, False, False]
