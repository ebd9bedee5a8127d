"""What it costs to read and write SIP messages, beside what merely touching their bytes costs on the same machine.

    python -m benchmarks.sip_message

The bars (docs/reliability.md): parse Twilio's INVITE of 1.4 kB with all that a UAS needs, ≤ 120 µs; build and serialise
its 200, ≤ 60 µs; no message of any kind above 5 ms. Each figure is the best of several rounds, which is what the code
costs when the machine does nothing else. A C stack (GNU oSIP 5.3, Debian's build) parses the same INVITE in 9.4 µs and
serialises it in 4.3 µs on the machine where we measured 65 and 2.4.
"""

import re
import sys
import timeit
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

from sip.errors import SipParseError
from sip.header import REMEMBERED_ADDRESSES
from sip.message import Request, parse_message
from tests.helpers.hostile_sip import HOSTILE
from tests.helpers.vector import load_vectors

ROUNDS = 7
USER = re.compile(rb"(sips?:\+?)(?=[^>;\s]*@)")
DATAGRAM = 65_507
ANSWER = (
    b"v=0\r\no=trunkline 1 1 IN IP4 203.0.113.7\r\ns=-\r\nc=IN IP4 203.0.113.7\r\nt=0 0\r\n"
    b"m=audio 20000 RTP/SAVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)


def microseconds(action: Callable[[], object], repetitions: int = 2_000) -> float:
    """The best time that one call took."""
    return min(timeit.repeat(action, number=repetitions, repeat=ROUNDS)) / repetitions * 1e6


def callers(data: bytes) -> Iterator[bytes]:
    """The message from ever other callers to ever other numbers, for the parser remembers addresses that it has read.

    There are more of them than it remembers. The carrier's own addresses stay the same, as they do in life.
    """
    numbers = range(3 * REMEMBERED_ADDRESSES)
    return cycle([USER.sub(rb"\g<1>%d" % number, data) for number in numbers])


def receive(data: bytes) -> object:
    """What a UAS does with an INVITE before it knows whose it is."""
    message = parse_message(data)
    branch, from_tag, to_tag = message.top_via.branch, message.from_.tag, message.to.tag
    return branch, from_tag, to_tag, message.call_id, message.cseq, message.max_forwards


def answer(invite: Request) -> bytes:
    """The 200 of a gateway, serialised."""
    headers = [
        ("Contact", "<sip:gw.example.net:5061;transport=tls>"),
        ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY"),
        ("Supported", "replaces"),
        ("Content-Type", "application/sdp"),
    ]
    return bytes(invite.create_response(200, to_tag="b7c1f0a2", headers=headers, body=ANSWER))


def refuse(data: bytes) -> None:
    """Parses what is expected to be refused."""
    try:
        parse_message(data)
    except SipParseError:
        return


def print_table(title: str, rows: Sequence[tuple[str, float, float, float]]) -> None:
    """Prints name, cost, bar and the ratio to the baseline."""
    lines = [f"{title:46} {'µs':>9} {'bar µs':>8} {'× split':>8}"]
    for name, cost, bar, ratio in rows:
        verdict = "" if not bar else "  ok" if cost <= bar else "  MISSED"
        lines.append(f"{name:46} {cost:9.2f} {f'{bar:.0f}' if bar else '':>8} {ratio:8.1f}{verdict}")
    sys.stdout.write("\n".join(lines) + "\n\n")


def main() -> None:
    """Measures and prints two tables."""
    vectors = {vector.name: vector.message for vector in load_vectors("field", "rfc4475")}
    data = vectors["twilio-invite"]
    invite = parse_message(data)
    if not isinstance(invite, Request):
        raise SystemExit("the sample is no request")
    others = callers(data)
    ok = answer(invite)
    split = microseconds(lambda: data.split(b"\r\n"), 20_000)
    cases: list[tuple[str, Callable[[], object], float]] = [
        ("copy its bytes (memcpy)", lambda: bytearray(data), 0),
        ("cut its lines (bytes.split)", lambda: data.split(b"\r\n"), 0),
        (f"parse Twilio's INVITE, {len(data)} bytes", lambda: receive(next(others)), 120),
        ("parse it again, from the same caller", lambda: receive(data), 0),
        (f"build and serialise its 200, {len(ok)} bytes", lambda: answer(invite), 60),
        ("serialise the INVITE again", lambda: bytes(invite), 0),
        (f"parse the 200, {len(ok)} bytes", lambda: parse_message(ok), 0),
        ("parse the short tortuous INVITE", lambda: parse_message(vectors["short-tortuous-invite"]), 0),
        ("refuse a CSeq mismatch, with its partial", lambda: refuse(vectors["cseq-counts-another-method"]), 0),
        ("refuse HTTP", lambda: refuse(vectors["http"]), 0),
    ]
    rows = [(name, microseconds(action), bar) for name, action, bar in cases]
    print_table("one message", [(name, cost, bar, cost / split) for name, cost, bar in rows])

    hostile = []
    for name, build in HOSTILE.items():
        datagram = build(DATAGRAM)
        lines = microseconds(lambda datagram=datagram: datagram.split(b"\r\n"), 20)  # type: ignore[misc]
        cost = microseconds(lambda datagram=datagram: refuse(datagram), 5)  # type: ignore[misc]
        hostile.append((name, cost, 5_000.0, cost / lines))
    hostile.sort(key=lambda row: -row[1])
    print_table(f"the worst of {len(hostile)} hostile datagrams", hostile[:10])


if __name__ == "__main__":
    main()
