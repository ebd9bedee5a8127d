"""RTCP of one leg: its reports, and where they go.

A far end is told where it said that it listens. Where its media does not come from where its description says, it
stands behind a NAT that knows its RTCP port by what came through it: there it is told where its own reports came from.
"""

import random
import secrets
import time
from typing import Final

from rtp.errors import AddressRefusedError
from rtp.report import QualityReport, RtcpSession
from rtp.socket import MediaPort
from rtp.source_lock import Address, validated_address
from rtp.stream import RtpStream
from sip.sdp.agreement import NegotiatedAudio

# RFC 7022 §4.2: a name of its own for each session, of 96 random bits, says nothing about the host.
CNAME_BYTES: Final = 12


class Reporting:
    """The reports of a stream that runs.

    Args:
        stream: what is reported of.
        port: the sockets of the leg.
        now: monotonic seconds.
    """

    def __init__(self, stream: RtpStream, port: MediaPort, now: float) -> None:
        self._stream = stream
        self._port = port
        self._session = RtcpSession(
            stream,
            cname=secrets.token_urlsafe(CNAME_BYTES),
            choose=random.uniform,
            wall_offset_s=time.time() - now,
            now=now,
        )
        self._is_multiplexed = False
        self._media: Address | None = None
        self._described: Address | None = None

    def agree(self, audio: NegotiatedAudio) -> None:
        """Goes on as was agreed."""
        self._is_multiplexed = audio.rtcp_mux
        self._media, self._described = _validated(audio.remote_address), _validated(audio.remote_rtcp)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Takes a datagram of the RTCP port, or one that was multiplexed."""
        self._session.receive_datagram(data, source, now)

    def poll(self, now: float) -> float:
        """Sends a report when one is due. Returns when the next one is."""
        if (report := self._session.poll(now)) is not None:
            self._send(report)
        return self._session.due_at

    def say_goodbye(self, now: float) -> None:
        """Sends the last report."""
        if (bye := self._session.goodbye(now)) is not None:
            self._send(bye)

    def quality(self) -> QualityReport:
        """What has been learnt so far."""
        return self._session.quality()

    def _send(self, report: bytes) -> None:
        remote = self._stream.remote
        if remote is None:
            return
        if self._is_multiplexed:
            self._port.rtp.send(report, remote)
        elif (address := self._address(remote)) is not None:
            self._port.rtcp.send(report, address)

    def _address(self, remote: Address) -> Address | None:
        """Where the reports go of a stream that is sent to `remote`; never to another host than that.

        RFC 4961 §4: a symmetric far end sends its RTCP from the port on which it wants RTCP.
        """
        if remote != self._media and (came_from := self._session.came_from) is not None:
            return came_from
        described = self._described
        return described if described is not None and described[0] == remote[0] else None


def _validated(address: Address | None) -> Address | None:
    try:
        return None if address is None else validated_address(*address)
    except AddressRefusedError:
        return None  # without reports the call still speaks
