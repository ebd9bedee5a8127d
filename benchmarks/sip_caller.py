"""A plain SIP caller that costs little: INVITE, ACK and BYE as text, retransmitted until they are answered."""

import asyncio
import os
import re
import time
from contextlib import suppress
from typing import Any, Final, cast

from tests.helpers.gateway_process import SILENT

GOOD: Final = "127.0.0.1"
ANSWER_WITHIN: Final = 5.0
T1: Final = 0.5
TO_TAG: Final = re.compile(rb"\r\nTo:[^\r]*;tag=([^\s;]+)", re.IGNORECASE)


class Caller(asyncio.DatagramProtocol):
    """A plain SIP caller: INVITE, ACK, BYE, and retransmissions after T1, 2*T1, 4*T1."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._waiting: dict[tuple[bytes, bytes], asyncio.Future[bytes]] = {}
        self._serial = 0
        self.byes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answers a BYE; gives final responses to whoever waits."""
        if data.startswith(b"BYE "):
            self.byes += 1
            head = [
                line for line in data.split(b"\r\n") if line.startswith((b"Via", b"From", b"To", b"Call-ID", b"CSeq"))
            ]
            self._transport.sendto(b"SIP/2.0 200 OK\r\n" + b"\r\n".join(head) + b"\r\nContent-Length: 0\r\n\r\n", addr)
            return
        if not data.startswith(b"SIP/2.0 ") or data[8:9] == b"1":
            return
        key = (_field(data, b"Call-ID"), _field(data, b"CSeq"))
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(data)

    async def place(self, rtp_port: int, hold: float = 0.0) -> "PlacedCall":
        """Calls and acknowledges; raises TimeoutError without an answer, CallError with a refusal."""
        self._serial += 1
        call = PlacedCall(self, f"good-{os.getpid()}-{self._serial}", self._port, rtp_port)
        await call.set_up()
        if hold:
            await asyncio.sleep(hold)
            await call.end()
        return call

    async def ask(self, data: bytes, call_id: str, cseq: str, within: float = ANSWER_WITHIN) -> bytes:
        """Sends a request until its final response."""
        key = (call_id.encode(), cseq.encode())
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        interval = T1
        try:
            async with asyncio.timeout(within):
                while True:
                    self.send(data)
                    with suppress(TimeoutError):
                        return await asyncio.wait_for(asyncio.shield(answer), interval)
                    interval *= 2
        finally:
            del self._waiting[key]

    def send(self, data: bytes) -> None:
        """Sends to the gateway."""
        self._transport.sendto(data, self._target)


class CallError(Exception):
    """A call was refused."""


class PlacedCall:
    """One call of ours."""

    def __init__(self, caller: Caller, call_id: str, port: int, rtp_port: int) -> None:
        self._caller = caller
        self._call_id = call_id
        self._port = port
        self._rtp_port = rtp_port
        self._to_tag = ""
        self.set_up_ms = 0.0

    def _request(self, method: str, cseq: int, body: str = "") -> bytes:
        content = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"{method} sip:{SILENT}@127.0.0.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {GOOD}:{self._port};rport;branch=z9hG4bK{self._call_id}{method}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:+15550002222@{GOOD}>;tag={self._call_id}\r\nTo: <sip:{SILENT}@127.0.0.1>{self._to_tag}\r\n"
            f"Call-ID: {self._call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:good@{GOOD}:{self._port}>\r\n"
            f"{content}Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    async def set_up(self) -> None:
        """INVITE, final response, ACK."""
        body = (
            f"v=0\r\no=- 1 1 IN IP4 {GOOD}\r\ns=-\r\nc=IN IP4 {GOOD}\r\nt=0 0\r\n"
            f"m=audio {self._rtp_port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        )
        began = time.monotonic()
        answer = await self._caller.ask(self._request("INVITE", 1, body), self._call_id, "1 INVITE")
        self.set_up_ms = (time.monotonic() - began) * 1000
        if (tag := TO_TAG.search(answer)) is not None:
            self._to_tag = f";tag={tag[1].decode()}"
        self._caller.send(self._request("ACK", 1))
        if not answer.startswith(b"SIP/2.0 200"):
            raise CallError(answer[:60].decode(errors="replace"))

    async def end(self) -> bool:
        """Hangs up; whether the gateway still knew the call."""
        with suppress(TimeoutError):
            answer = await self._caller.ask(self._request("BYE", 2), self._call_id, "2 BYE")
            return answer.startswith(b"SIP/2.0 200")
        return False


def _field(data: bytes, name: bytes) -> bytes:
    _, _, rest = data.partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0]
