"""The far ends of many calls in one process: SIP, RTP both ways, and the model. Driven by lines of JSON on stdin.

    {"dial": N}      places calls until N run, and answers {"calls": N, "refused": COUNT, "status": STATUS}
    {"settle": 1}    lets every model interrupt itself, so that nothing waits any more, and answers when that is over
    {"measure": S}   measures for S seconds, and answers with the figures
    {"end": true}    hangs up, and ends

Packets leave in four phases of 5 ms by absolute deadlines; how late they left is among the figures, and so is the CPU
that this process used. Arrivals are stamped by the kernel (SO_TIMESTAMPNS), so a late reader makes no gap.
"""

import argparse
import asyncio
import base64
import json
import re
import secrets
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import uvloop
from pylibsrtp import Policy, Session

from benchmarks.plane_model import ModelConnection, interrupt_all, serve_model

HOST: Final = "127.0.0.1"
SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; Python has no name for it
STEP_S: Final = 0.005
PHASES: Final = 4
DIAL_INTERVAL_S: Final = 0.025
SILENCE: Final = b"\xff" * 160
TONE: Final = bytes((0x0A, 0x8A)) * 80  # loud, and nothing that silence could become
SETTLE_S: Final = 1.0
TONE_FRAMES: Final = 4
TONE_EVERY_FRAMES: Final = 50
_SUITE: Final = "AES_CM_128_HMAC_SHA1_80"
_PROFILE: Final = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
_HEADER: Final = struct.Struct("!BBHII")
_STAMP: Final = struct.Struct("@qq")
_ANCILLARY: Final = socket.CMSG_SPACE(_STAMP.size)


@dataclass
class FarEnd:
    """One caller."""

    number: int
    rtp: socket.socket
    call_id: str = field(default_factory=lambda: secrets.token_hex(8))
    remote: tuple[str, int] | None = None
    to: str = ""
    target: str = ""
    sequence: int = 0
    key: bytes = b""
    protect: Callable[[bytes], bytes] = bytes
    unprotect: Callable[[bytes], bytes] = bytes
    arrivals: list[float] = field(default_factory=list)
    tone_at: float = 0.0
    delays_ms: list[float] = field(default_factory=list)

    def packet(self, payload: bytes) -> bytes:
        """The next packet."""
        self.sequence += 1
        return self.protect(self._plain(payload))

    def _plain(self, payload: bytes) -> bytes:
        return _HEADER.pack(0x80, 0, self.sequence & 0xFFFF, self.sequence * 160, self.number + 1) + payload

    def offer(self, *, secure: bool) -> str:
        """PCMU and telephone-events, as carriers offer them, with a key of our own or in the clear."""
        crypto = ""
        if secure:
            self.key = secrets.token_bytes(30)
            self.protect = Session(Policy(self.key, Policy.SSRC_ANY_OUTBOUND, srtp_profile=_PROFILE)).protect
            crypto = f"a=crypto:1 {_SUITE} inline:{base64.b64encode(self.key).decode()}\r\n"
        return (
            f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
            f"m=audio {self.rtp.getsockname()[1]} RTP/{'SAVP' if secure else 'AVP'} 0 101\r\n"
            f"a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n{crypto}"
        )

    def take_answer(self, text: str) -> None:
        """Learns where to send, and the gateway's key."""
        media = re.search(r"^m=audio (\d+)", text, re.MULTILINE)
        key = re.search(r"^a=crypto:1 \S+ inline:([^|\s]+)", text, re.MULTILINE)
        if key is not None:
            policy = Policy(base64.b64decode(key[1]), Policy.SSRC_ANY_INBOUND, srtp_profile=_PROFILE)
            self.unprotect = Session(policy).unprotect
        if media is not None:
            self.remote = (HOST, int(media[1]))


class Peers(asyncio.DatagramProtocol):
    """All callers, and their signalling over one socket. `secure`: all of them speak SRTP."""

    def __init__(self, gateway_port: int, dialled: str, *, secure: bool) -> None:
        self._gateway = (HOST, gateway_port)
        self._secure = secure
        self._dialled = dialled
        self._peers: list[FarEnd] = []
        self._by_call_id: dict[str, FarEnd] = {}
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, FarEnd] = {}
        self.refused_with: list[int] = []
        self.lateness_ms: list[float] = []
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._sip = transport
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._read)

    # Signalling: as little of it as a call needs.

    def _send(self, text: str) -> None:
        self._sip.sendto(text.encode(), self._gateway)  # type: ignore[attr-defined]

    def _request(self, peer: FarEnd, method: str, number: int, body: str = "") -> str:
        host, port = self._sip.get_extra_info("sockname")[:2]
        target = peer.target or f"sip:{self._dialled}@{HOST}:{self._gateway[1]}"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(6)}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:+15550002222@{host}>;tag={peer.call_id}\r\n"
            f"To: {peer.to or f'<sip:{self._dialled}@{HOST}>'}\r\nCall-ID: {peer.call_id}\r\n"
            f"CSeq: {number} {method}\r\nContact: <sip:peer@{host}:{port}>\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )

    async def dial(self, calls: int) -> int:
        """Places calls until so many run."""
        first = len(self._peers)
        for number in range(first, calls):
            rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            rtp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            rtp.bind((HOST, 0))
            peer = FarEnd(number, rtp)
            self._by_call_id[peer.call_id] = peer
            self._by_descriptor[rtp.fileno()] = peer
            self._epoll.register(rtp.fileno(), select.EPOLLIN)
            self._peers.append(peer)
            self._send(self._request(peer, "INVITE", 1, peer.offer(secure=self._secure)))
            await asyncio.sleep(DIAL_INTERVAL_S)
        for _ in range(100):
            if all(peer.remote is not None for peer in self._peers):
                break
            await asyncio.sleep(0.05)
        return sum(peer.remote is not None for peer in self._peers)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answers and requests of the gateway."""
        text = data.decode()
        head = {name.lower(): value for name, value in re.findall(r"^([A-Za-z-]+): *(.*?)\r$", text, re.MULTILINE)}
        peer = self._by_call_id.get(head.get("call-id", ""))
        if peer is None:
            return
        if text.startswith("SIP/2.0 200") and head["cseq"].endswith("INVITE"):
            peer.to = head["to"]
            contact = re.search(r"<([^>]+)>", head["contact"])
            peer.target = "" if contact is None else contact[1]
            self._send(self._request(peer, "ACK", 1))
            peer.take_answer(text)
        elif text.startswith("SIP/2.0 ") and text[8] in "3456" and head["cseq"].endswith("INVITE"):
            self.refused_with.append(int(text[8:11]))
        elif text.startswith("BYE"):
            raise SystemExit(f"the gateway hung up:\n{text}")

    def hang_up(self) -> None:
        """Ends all calls."""
        for peer in self._peers:
            peer.remote = None
            self._send(self._request(peer, "BYE", 2))

    # Media.

    async def speak(self) -> None:
        """Sends every caller's packets, for ever."""
        origin, step = time.monotonic(), 0
        while True:
            step += 1
            due = origin + step * STEP_S
            delay_s = due - time.monotonic()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            self.lateness_ms.append(max(0.0, time.monotonic() - due) * 1000)
            for peer in self._peers[step % PHASES :: PHASES]:
                if peer.remote is not None:
                    self._speak(peer, step // PHASES)

    def _speak(self, peer: FarEnd, frame: int) -> None:
        place = (frame + peer.number * 7) % TONE_EVERY_FRAMES
        if place == 0:
            peer.tone_at = time.time()
        peer.rtp.sendto(peer.packet(TONE if place < TONE_FRAMES else SILENCE), peer.remote or ("", 0))
        self.sent += 1

    def _read(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            peer = self._by_descriptor[descriptor]
            while True:
                try:
                    data, ancillary, _, _ = peer.rtp.recvmsg(400, _ANCILLARY)
                except BlockingIOError:
                    break
                seconds, nanoseconds = _STAMP.unpack(ancillary[0][2])
                arrived = seconds + nanoseconds * 1e-9
                peer.arrivals.append(arrived)
                # On a secure stream only what may hold the tone is worth the deciphering: this core is the other's.
                if peer.tone_at and TONE[:2] in peer.unprotect(data)[12:]:
                    peer.delays_ms.append((arrived - peer.tone_at) * 1000)
                    peer.tone_at = 0.0

    async def measure(self, seconds: float) -> dict[str, float]:
        """The figures of a while."""
        for peer in self._peers:
            peer.tone_at = 0.0
            peer.arrivals.clear()
            peer.delays_ms.clear()
        self.lateness_ms.clear()
        cpu, sent = time.process_time(), self.sent
        heard, messages = ModelConnection.heard_octets, ModelConnection.messages
        began = time.monotonic()
        await asyncio.sleep(seconds)
        elapsed_s = time.monotonic() - began
        gaps_ms = sorted(
            (later - earlier) * 1000
            for peer in self._peers
            for earlier, later in zip(peer.arrivals, peer.arrivals[1:], strict=False)
        )
        delays_ms = sorted(delay for peer in self._peers for delay in peer.delays_ms)
        sent = self.sent - sent
        return {
            "calls": len(self._peers),
            "seconds": elapsed_s,
            "received_percent": sum(len(peer.arrivals) for peer in self._peers) * 100 / max(1, sent),
            "heard_percent": (ModelConnection.heard_octets - heard) / 160 * 100 / max(1, sent),
            "append_ms": (ModelConnection.heard_octets - heard) / 8 / max(1, ModelConnection.messages - messages),
            "gap_p99_ms": _percentile(gaps_ms, 99),
            "gap_p999_ms": _percentile(gaps_ms, 99.9),
            "delay_p50_ms": _percentile(delays_ms, 50),
            "delay_p99_ms": _percentile(delays_ms, 99),
            "delays": len(delays_ms),
            "generator_cpu_percent": (time.process_time() - cpu) * 100 / elapsed_s,
            "generator_late_p99_ms": _percentile(sorted(self.lateness_ms), 99),
            "generator_sent_percent": sent * 100 / (len(self._peers) * 50 * elapsed_s),
        }


def _percentile(values: list[float], percent: float) -> float:
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else 0.0


async def run(dialled: str, *, secure: bool) -> None:
    """Says where the model is, learns where the gateway is, and does what it is told."""
    loop = asyncio.get_running_loop()

    async def told() -> dict[str, float]:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        return dict(json.loads(line or '{"end": 1}'))

    def say(value: object) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    say({"model_port": await serve_model()})
    port = int((await told())["sip_port"])
    _, peers = await loop.create_datagram_endpoint(lambda: Peers(port, dialled, secure=secure), local_addr=(HOST, 0))
    speaking = asyncio.create_task(peers.speak())
    while True:
        order = await told()
        if "dial" in order:
            calls = await peers.dial(int(order["dial"]))
            say({"calls": calls, "refused": len(peers.refused_with), "status": (peers.refused_with or [0])[-1]})
        elif "settle" in order:
            await interrupt_all()
            await asyncio.sleep(SETTLE_S)
            say({})
        elif "measure" in order:
            say(await peers.measure(order["measure"]))
        else:
            break
    speaking.cancel()
    peers.hang_up()
    await asyncio.sleep(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialled", default="1000")
    parser.add_argument("--srtp", action="store_true")
    arguments = parser.parse_args()
    uvloop.run(run(arguments.dialled, secure=arguments.srtp))
