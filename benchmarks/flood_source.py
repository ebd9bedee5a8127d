"""Sends one kind of flood from one process, paced, bounded in time and count, and counts what comes back.

Used by `benchmarks.flood`; prints one line of JSON at its end. Loopback only.
"""

import argparse
import json
import os
import random
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

STEP_SECONDS: Final = 0.002
SECONDS_LIMIT: Final = 15.0
COUNT_LIMIT: Final = 250_000
ANSWER_LIMIT: Final = 65_535
SDP: Final = (
    "v=0\r\no=- 20518 0 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)


def request(method: str, number: str, source: tuple[str, int], serial: int) -> bytes:
    """A request with a Call-ID of its own: outside a dialog, or a BYE of a dialog that nobody knows."""
    host, port = source
    body = SDP.format(host=host) if method == "INVITE" else ""
    to_tag = ";tag=unknown" if method == "BYE" else ""
    content = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{method} sip:{number}@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bKflood{serial}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:+15559990000@{host}>;tag=f{serial}\r\nTo: <sip:{number}@127.0.0.1>{to_tag}\r\n"
        f"Call-ID: flood-{serial}@{host}\r\nCSeq: 1 {method}\r\nContact: <sip:flood@{host}:{port}>\r\n"
        f"User-Agent: flood\r\n{content}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class Source:
    """The sockets of a flood, and what comes back to them."""

    def __init__(self, first_host: str, count: int, target: tuple[str, int]) -> None:
        network, _, first = first_host.rpartition(".")
        self.sockets = [_bound(f"{network}.{int(first) + number}") for number in range(count)]
        self.addresses: list[tuple[str, int]] = [one.getsockname() for one in self.sockets]
        self._target = target
        self._epoll = select.epoll()
        self._by_descriptor = {one.fileno(): one for one in self.sockets}
        for descriptor in self._by_descriptor:
            self._epoll.register(descriptor, select.EPOLLIN)
        self.sent = 0
        self.answers: Counter[str] = Counter()
        self.bytes_by_call: Counter[str] = Counter()
        self.largest_request = 0

    def send(self, data: bytes, number: int) -> None:
        """Sends from one of the sockets."""
        self.sockets[number % len(self.sockets)].sendto(data, self._target)
        self.sent += 1
        self.largest_request = max(self.largest_request, len(data))

    def drain(self, seconds: float) -> list[bytes]:
        """Takes what came within `seconds`."""
        taken = []
        for descriptor, _ in self._epoll.poll(seconds, 256):
            try:
                data = self._by_descriptor[descriptor].recv(ANSWER_LIMIT)
            except (BlockingIOError, ConnectionRefusedError):
                continue
            taken.append(data)
            self.answers[_name(data)] += 1
            self.bytes_by_call[_call_id(data)] += len(data)
        return taken


def _bound(host: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    bound.bind((host, 0))
    return bound


def _name(data: bytes) -> str:
    words = data[:32].split(b" ")
    return (words[1] if words[0] == b"SIP/2.0" else words[0]).decode(errors="replace")


def _call_id(data: bytes) -> str:
    _, _, rest = data.partition(b"\r\nCall-ID: ")
    return rest.partition(b"\r\n")[0].decode(errors="replace")


def prove(source: Source, number: str) -> None:
    """One call that is acknowledged and ended, so that the source is known for a real one."""
    invite = request("INVITE", number, source.addresses[0], 0)
    source.send(invite, 0)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for data in source.drain(0.05):
            if _name(data) == "200":
                text = invite.decode().partition("\r\n\r\n")[0]
                to = next(line for line in data.decode().split("\r\n") if line.startswith("To:"))
                for cseq, method in ((1, "ACK"), (2, "BYE")):
                    lines = [
                        f"{method} sip:{number}@127.0.0.1 SIP/2.0",
                        *[
                            to if line.startswith("To:") else line
                            for line in text.split("\r\n")[1:]
                            if not line.startswith(("CSeq", "Content"))
                        ],
                        f"CSeq: {cseq} {method}",
                        "Content-Length: 0",
                    ]
                    source.send(("\r\n".join(lines).replace("flood0", f"flood0{method}", 1) + "\r\n\r\n").encode(), 0)
                return


def flood(source: Source, make: Callable[[int], bytes], rate: float, seconds: float) -> float:
    """Sends `rate` datagrams a second; returns the rate that was reached."""
    began = time.monotonic()
    serial = 0
    while (elapsed := time.monotonic() - began) < seconds and serial < COUNT_LIMIT:
        while serial < elapsed * rate:
            serial += 1
            source.send(make(serial), serial)
        source.drain(0)
        time.sleep(STEP_SECONDS)
    return serial / (time.monotonic() - began)


def main() -> int:
    """Floods, listens for a while, and tells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["INVITE", "OPTIONS", "BYE", "noise"])
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default="127.0.2.1", help="first source address; must be on loopback")
    parser.add_argument("--sources", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--listen", type=float, default=0, help="seconds to listen on after the flood")
    parser.add_argument("--number", default="1002")
    parser.add_argument("--prove", action="store_true", help="acknowledge one call first")
    parser.add_argument("--core", type=int)
    arguments = parser.parse_args()
    if not arguments.host.startswith("127."):
        parser.error("floods stay on loopback")
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    source = Source(arguments.host, arguments.sources, ("127.0.0.1", arguments.port))
    if arguments.prove:
        prove(source, arguments.number)
    randomness = random.Random(1)
    noise = [randomness.randbytes(randomness.randrange(1, 600)) for _ in range(256)]

    def make(serial: int) -> bytes:
        if arguments.kind == "noise":
            return noise[serial % len(noise)]
        address = source.addresses[serial % len(source.addresses)]
        return request(arguments.kind, arguments.number, address, serial)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    rate = flood(source, make, arguments.rate, min(arguments.seconds, SECONDS_LIMIT))
    sys.stdout.write("over\n")
    sys.stdout.flush()
    deadline = time.monotonic() + arguments.listen
    while time.monotonic() < deadline:
        source.drain(0.1)
    most = max(source.bytes_by_call.values(), default=0)
    result = {
        "sent": source.sent,
        "rate": round(rate),
        "answers": dict(source.answers),
        "largest_request": source.largest_request,
        "amplification": round(most / max(1, source.largest_request), 2),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
