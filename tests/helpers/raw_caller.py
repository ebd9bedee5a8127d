"""A caller that writes its messages by hand, over a UDP socket of its own: what no stack would send can be sent."""

import re
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from tests.helpers.sipp import LOOPBACK, Address

PATIENCE_S: Final = 10.0  # for a response: it comes within milliseconds, and machines have bad moments
QUIET_S: Final = 0.3  # after which nothing more is taken to come

_HEAD: Final = re.compile(r"SIP/2\.0 (\d{3}) ")
_TO_TAG: Final = re.compile(r"^To:[^\r]*?;tag=([^\s;]+)", re.MULTILINE)
_CONTACT: Final = re.compile(r"^Contact: <([^>]+)>", re.MULTILINE)


def described(
    *, version: int = 1, host: str = LOOPBACK, port: int = 40000, formats: str = "0 101", more: str = ""
) -> str:
    """A session description of one audio stream."""
    return (
        f"v=0\r\no=- 1 {version} IN IP4 {LOOPBACK}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {formats}\r\na=rtpmap:101 telephone-event/8000\r\n{more}"
    )


class RawCaller(AbstractContextManager["RawCaller"]):
    """One dialog, or what would be one."""

    def __init__(self, gateway: Address, number: str) -> None:
        self._gateway = gateway
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))
        self._port = self._socket.getsockname()[1]
        self._tag = secrets.token_hex(4)
        self._to_tag = ""
        self._target = f"sip:{number}@{LOOPBACK}"
        self._to = f"<sip:{number}@{LOOPBACK}>"
        self.sip_call_id = f"raw-{secrets.token_hex(6)}"
        self.branch = ""
        self.cseq = 0

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def write(
        self, method: str, body: str = "", *, headers: str = "", cseq: int | None = None, branch: str | None = None
    ) -> str:
        """A request as it should be. Tests spoil it afterwards."""
        if cseq is None and method not in {"ACK", "CANCEL"}:
            self.cseq += 1
        if branch is None:
            self.branch = f"z9hG4bK{secrets.token_hex(6)}"
        lines = [
            f"{method} {self._target} SIP/2.0",
            f"Via: SIP/2.0/UDP {LOOPBACK}:{self._port};branch={branch or self.branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:+15551230000@{LOOPBACK}>;tag={self._tag}",
            f"To: {self._to}{self._to_tag}",
            f"Call-ID: {self.sip_call_id}",
            f"CSeq: {cseq or self.cseq} {method}",
            f"Contact: <sip:me@{LOOPBACK}:{self._port}>",
        ]
        typed = "Content-Type: application/sdp\r\n" if body and "Content-Type" not in headers else ""
        return "\r\n".join(lines) + f"\r\n{headers}{typed}Content-Length: {len(body.encode())}\r\n\r\n{body}"

    def send(self, message: str) -> None:
        """Sends what was written."""
        self._socket.sendto(message.encode(), self._gateway)

    def receive(self, wanted: Callable[[str], bool]) -> str:
        """The first message that is wanted; others are passed over."""
        deadline = time.monotonic() + PATIENCE_S
        seen: list[str] = []
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                message = self._socket.recv(65535).decode("utf-8", "replace")
            except TimeoutError:
                break
            seen.append(message.partition("\r\n")[0])
            if wanted(message):
                return message
        raise AssertionError(f"What was wanted did not come; these did: {seen}")

    def final(self, method: str, cseq: int | None = None) -> str:
        """The final response to the last request of a method."""
        number = cseq or self.cseq

        def is_it(message: str) -> bool:
            return (status_of(message) or 0) >= 200 and f"CSeq: {number} {method}\r\n" in message

        return self.receive(is_it)

    def is_quiet(self) -> bool:
        """Whether nothing comes for a moment."""
        self._socket.settimeout(QUIET_S)
        try:
            self._socket.recv(65535)
        except TimeoutError:
            return True
        return False

    def ask(self, method: str, body: str = "", *, headers: str = "") -> str:
        """Sends a request and gives its final response; an INVITE gets its ACK."""
        self.send(self.write(method, body, headers=headers))
        response = self.final(method)
        if method == "INVITE":
            self.acknowledge(response)
        return response

    def acknowledge(self, response: str, body: str = "") -> None:
        """The ACK for a final response to the last INVITE; a 2xx makes the dialog."""
        if (status_of(response) or 0) < 300:
            tag, contact = _TO_TAG.search(response), _CONTACT.search(response)
            assert tag is not None
            assert contact is not None
            self._to_tag, self._target = f";tag={tag[1]}", contact[1]
            self.send(self.write("ACK", body, branch=f"z9hG4bK{secrets.token_hex(6)}"))
        else:
            self.send(self.write("ACK", branch=self.branch))

    def hang_up(self) -> None:
        """Ends the call."""
        assert status_of(self.ask("BYE")) == 200


def status_of(message: str) -> int | None:
    """The status of a response; None for requests."""
    match = _HEAD.match(message)
    return int(match[1]) if match else None
