"""RTCP of a leg: when reports go out, and where to. Real sockets on loopback, virtual time."""

import contextlib
import os
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from gateway.config.trunk import MediaSource, TrunkSettings
from gateway.leg import AudioLeg
from gateway.media_policy import MediaPolicy
from rtp.packet import RtpPacket
from rtp.rtcp import Report, ReportBlock, SenderInfo, parse_compound
from rtp.srtp import SrtpKey, SrtpProtector, SrtpSuite
from sip.sdp.description import SessionDescription
from tests.helpers.leg import HOST, SSRC, Peer, Plane, Sink, port_of, run

DESCRIBED: Final = "127.0.0.9"
"""What a far end behind NAT writes of itself: a place where nobody hears."""
STRANGER: Final = "127.0.0.3"
SUITE: Final = SrtpSuite.AES_CM_128_HMAC_SHA1_80
KEY: Final = os.urandom(SUITE.material_octets)


def nat_policy(source: MediaSource = MediaSource.ANY) -> MediaPolicy:
    return MediaPolicy.of(TrunkSettings(numbers={"*": "agent"}, anyone=True, media_source=source))


def behind_nat(offer: bytes, host: str = DESCRIBED) -> bytes:
    return offer.replace(f"c=IN IP4 {HOST}".encode(), f"c=IN IP4 {host}".encode())


def sender_report(ssrc: int = SSRC, *blocks: ReportBlock) -> bytes:
    return bytes(Report(ssrc, SenderInfo(1 << 32, 160, 4, 640), blocks))


def received(half: socket.socket) -> list[bytes]:
    """What has come: on loopback a datagram is there when it has been sent."""
    half.setblocking(False)
    datagrams = []
    with contextlib.suppress(BlockingIOError):
        while True:
            datagrams.append(half.recv(2000))
    return datagrams


def latch(plane: Plane, peer: Peer, port: int) -> None:
    for _ in range(4):
        peer.speak(bytes(160), port)
        plane.sockets.drain(plane.now)


def begin(plane: Plane, peer: Peer, *, source: MediaSource = MediaSource.ANY) -> tuple[AudioLeg, int]:
    """A leg that has latched a far end whose description names another host."""
    leg = plane.leg(nat_policy(source))
    port = port_of(leg.answer(behind_nat(peer.offer("0"))))
    leg.start(Sink())
    leg.resume()
    latch(plane, peer, port)
    return leg, port


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as half:
        half.bind((STRANGER, 0))
        yield half


@pytest.fixture
def neighbour() -> Iterator[socket.socket]:
    """Another port of the far end's host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as half:
        half.bind((HOST, 0))
        yield half


def test_reports_go_to_the_rtcp_port_and_end_with_a_bye__rfc3550_6(plane: Plane, peer: Peer) -> None:
    leg = plane.leg()
    leg.answer(peer.offer("0"))
    leg.start(Sink())
    run(plane, leg, 5)
    leg.resume()
    run(plane, leg, 5)
    packets = parse_compound(peer.rtcp.recv(2000))
    assert isinstance(packets[0], Report)
    leg.close()
    peer.rtcp.settimeout(0.2)
    names = [type(packet).__name__ for packet in parse_compound(peer.rtcp.recv(2000))]
    while True:
        try:
            names = [type(packet).__name__ for packet in parse_compound(peer.rtcp.recv(2000))]
        except TimeoutError:
            break
    assert names[-1] == "Bye"


def test_multiplexed_reports_go_to_the_rtp_port__rfc5761(plane: Plane, peer: Peer) -> None:
    leg = plane.leg()
    leg.answer(peer.offer("0", "a=rtcp-mux"))
    leg.start(Sink())
    leg.resume()
    run(plane, leg, 5)
    peer.rtp.settimeout(0.2)
    seconds = set()
    while True:
        try:
            seconds.add(peer.rtp.recv(2000)[1])
        except TimeoutError:
            break
    assert 200 in seconds
    leg.close()


def test_a_far_end_behind_nat_is_answered_where_its_reports_came_from__rfc4961_4(plane: Plane, peer: Peer) -> None:
    leg, port = begin(plane, peer)
    run(plane, leg, 10)
    assert received(peer.rtcp) == [], "nobody knows yet what the NAT made of its RTCP port"
    peer.rtcp.sendto(sender_report(), (HOST, port + 1))
    plane.sockets.drain(plane.now)
    assert leg.statistics().reports_rx == 1
    run(plane, leg, 10)
    (report, *_) = (parse_compound(datagram)[0] for datagram in received(peer.rtcp))
    assert isinstance(report, Report)
    assert [block.ssrc for block in report.blocks] == [SSRC]
    leg.close()
    names = [type(packet).__name__ for packet in parse_compound(received(peer.rtcp)[-1])]
    assert names[-1] == "Bye"


def test_who_names_our_ssrc_has_heard_us_and_is_answered(plane: Plane, peer: Peer) -> None:
    leg, port = begin(plane, peer)
    run(plane, leg, 0.1)
    ours = RtpPacket.parse(received(peer.rtp)[-1]).ssrc
    peer.rtcp.sendto(sender_report(SSRC + 1, ReportBlock(ours, 0, 0, 0, 0, 0, 0)), (HOST, port + 1))
    plane.sockets.drain(plane.now)
    run(plane, leg, 10)
    assert received(peer.rtcp)
    leg.close()


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda: sender_report(SSRC + 1), id="another source"),
        pytest.param(lambda: sender_report(SSRC + 1, ReportBlock(SSRC, 0, 0, 0, 0, 0, 0)), id="of another stream"),
        pytest.param(lambda: sender_report()[:-4], id="cut"),
        pytest.param(lambda: b"\x80\xc8", id="noise"),
    ],
)
def test_a_forged_report_draws_no_answer(
    plane: Plane, peer: Peer, neighbour: socket.socket, forge: Callable[[], bytes]
) -> None:
    leg, port = begin(plane, peer)
    neighbour.sendto(forge(), (HOST, port + 1))
    plane.sockets.drain(plane.now)
    run(plane, leg, 10)
    leg.close()
    assert received(neighbour) == []
    assert received(peer.rtcp) == []


@pytest.mark.parametrize("source", [MediaSource.ANY, MediaSource.SAME_HOST, MediaSource.NEGOTIATED])
def test_a_host_that_nobody_latched_is_never_answered(
    plane: Plane, peer: Peer, stranger: socket.socket, source: MediaSource
) -> None:
    leg = plane.leg(nat_policy(source))
    port = port_of(leg.answer(behind_nat(peer.offer("0"))))
    leg.start(Sink())
    leg.resume()
    stranger.sendto(sender_report(), (HOST, port + 1))
    plane.sockets.drain(plane.now)
    run(plane, leg, 1)
    latch(plane, peer, port)
    stranger.sendto(sender_report(), (HOST, port + 1))
    plane.sockets.drain(plane.now)
    run(plane, leg, 10)
    leg.close()
    assert received(stranger) == []


def test_reports_before_the_latch_teach_nothing(plane: Plane, peer: Peer, neighbour: socket.socket) -> None:
    leg = plane.leg(nat_policy())
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(Sink())
    leg.resume()
    run(plane, leg, 0.1)
    ours = RtpPacket.parse(received(peer.rtp)[-1]).ssrc
    neighbour.sendto(sender_report(SSRC, ReportBlock(ours, 0, 0, 0, 0, 0, 0)), (HOST, port + 1))
    plane.sockets.drain(plane.now)
    run(plane, leg, 10)
    leg.close()
    assert received(neighbour) == []
    assert received(peer.rtcp), "the described address"


def test_a_far_end_that_is_where_it_says_is_told_where_it_says(
    plane: Plane, peer: Peer, neighbour: socket.socket
) -> None:
    leg = plane.leg(nat_policy())
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(Sink())
    leg.resume()
    latch(plane, peer, port)
    neighbour.sendto(sender_report(), (HOST, port + 1))
    plane.sockets.drain(plane.now)
    run(plane, leg, 10)
    leg.close()
    assert received(neighbour) == []
    assert received(peer.rtcp)


def test_a_nat_may_change_the_ports_alone(plane: Plane, peer: Peer, neighbour: socket.socket) -> None:
    leg = plane.leg(nat_policy(MediaSource.SAME_HOST))
    with contextlib.closing(Peer()) as inner:
        port = port_of(leg.answer(inner.offer("0")))
        leg.start(Sink())
        leg.resume()
        latch(plane, peer, port)
        run(plane, leg, 10)
        assert received(inner.rtcp), "until more is known"
        neighbour.sendto(sender_report(), (HOST, port + 1))
        plane.sockets.drain(plane.now)
        run(plane, leg, 10)
        leg.close()
        assert received(inner.rtcp) == []
    assert received(neighbour)


def test_what_was_learnt_ends_when_the_far_end_moves(plane: Plane, peer: Peer) -> None:
    leg, port = begin(plane, peer)
    peer.rtcp.sendto(sender_report(), (HOST, port + 1))
    plane.sockets.drain(plane.now)
    run(plane, leg, 10)
    assert received(peer.rtcp)
    with contextlib.closing(Peer()) as moved:
        leg.answer(behind_nat(moved.offer("0", version=2), "127.0.0.10"))
        moved.number = 1000
        run(plane, leg, 1.5)  # the former source is heard for a second longer
        latch(plane, moved, port)
        run(plane, leg, 10)
        assert leg.statistics().packets_rx == 8
        leg.close()
        assert received(peer.rtcp) == []
        assert received(moved.rtcp) == []


@pytest.mark.parametrize("authentic", [True, False])
def test_on_a_secure_stream_only_who_has_the_key_is_answered__rfc3711_3_4(
    plane: Plane, peer: Peer, authentic: bool
) -> None:
    leg = plane.leg(nat_policy())
    offer = peer.offer("0", f"a=crypto:1 {SUITE.value} inline:{b64encode(KEY).decode()}", profile="RTP/SAVP")
    answer = leg.answer(behind_nat(offer))
    assert SessionDescription.parse(answer).media[0].values("crypto")
    port = port_of(answer)
    leg.start(Sink())
    leg.resume()
    protector = SrtpProtector(SrtpKey(SUITE, KEY))
    for number in range(4):
        packet = protector.protect(bytes(RtpPacket(0, number, number * 160, SSRC, bytes(160))))
        peer.rtp.sendto(packet, (HOST, port))
        plane.sockets.drain(plane.now)
    assert leg.statistics().packets_rx == 4
    report = sender_report()
    peer.rtcp.sendto(protector.protect_rtcp(report) if authentic else report, (HOST, port + 1))
    plane.sockets.drain(plane.now)
    run(plane, leg, 10)
    leg.close()
    assert bool(received(peer.rtcp)) is authentic
