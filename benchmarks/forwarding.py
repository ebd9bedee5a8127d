"""What packets cost rtpengine, which forwards them in C: a yardstick for `benchmarks.media_calls` on the same machine.

    python -m benchmarks.forwarding [--calls 200 400] [--seconds 6]

A call has two far ends here; each sends and hears fifty packets of PCMU a second, and rtpengine (Debian's
`rtpengine-daemon`, user space, one media thread, one core) passes them on: a hundred packets in and a hundred out for
each call-second, of which nothing is read but the addresses. A call of the gateway has fifty in and fifty out, and
fifty messages of a WebSocket. Run both within the same minutes: virtual machines change their speed.
"""

import argparse
import os
import re
import secrets
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.media_calls import HOST, Usage, end_process, free_port
from benchmarks.processor import on_core

PACKET: Final = struct.Struct("!BBHII")
PAYLOAD: Final = b"\xff" * 160
STEP_S: Final = 0.005
PHASES: Final = 4
SETTLE_S: Final = 2.0
FIRST_PORT: Final = 30_000
LAST_PORT: Final = 39_999
Bencoded = str | dict[str, "Bencoded"]


def bencode(value: Bencoded) -> bytes:
    """Texts and dictionaries, as rtpengine's `ng` protocol has them."""
    if isinstance(value, str):
        return b"%d:%s" % (len(value.encode()), value.encode())
    return b"d" + b"".join(bencode(key) + bencode(one) for key, one in sorted(value.items())) + b"e"


class Engine:
    """rtpengine, as a process on one core."""

    def __init__(self, core: int, niceness: int, folder: Path) -> None:
        port = free_port()
        pid_file = folder / "pid"
        options = (
            f"--config-file=none --table=-1 --num-threads=1 --foreground --log-level=3 --log-stderr "
            f"--interface={HOST} --port-min={FIRST_PORT} --port-max={LAST_PORT} "
            f"--listen-ng={HOST}:{port} --pidfile={pid_file}"
        )
        self._process = subprocess.Popen(  # noqa: S603 - a fixed command
            ["nice", "-n", str(niceness), "taskset", "-c", str(core), "rtpengine", *options.split()],  # noqa: S607
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._control.connect((HOST, port))
        self._control.settimeout(1)
        for _ in range(100):
            time.sleep(0.1)
            if pid_file.exists():
                break
        else:
            raise SystemExit("rtpengine does not start")
        self.pid = int(pid_file.read_text())

    def connect(self, first: socket.socket, second: socket.socket) -> tuple[int, int]:
        """Puts itself between two far ends; returns the ports to which each of them sends."""
        call_id = secrets.token_hex(8)
        common: dict[str, Bencoded] = {"call-id": call_id, "from-tag": "first", "ICE": "remove"}
        to_second = self._ask({**common, "command": "offer", "sdp": description(first)})
        to_first = self._ask({**common, "command": "answer", "to-tag": "second", "sdp": description(second)})
        return to_first, to_second

    def _ask(self, order: dict[str, Bencoded]) -> int:
        cookie = secrets.token_hex(6).encode()
        self._control.send(cookie + b" " + bencode(order))
        answer = b""
        while not answer.startswith(cookie):
            answer = self._control.recv(65536)
        media = re.search(rb"m=audio (\d+)", answer)
        if media is None:
            raise SystemExit(f"rtpengine refuses: {answer!r}")
        return int(media[1])

    def end(self) -> None:
        """Stops it."""
        self._control.close()
        self._process.terminate()
        end_process(self._process, 10)


def description(end: socket.socket) -> str:
    """PCMU, 20 ms."""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        f"m=audio {end.getsockname()[1]} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
    )


class FarEnds:
    """Both ends of all calls."""

    def __init__(self) -> None:
        self.sent = self.heard = 0
        self._ends: list[tuple[socket.socket, tuple[str, int], int]] = []
        self._by_descriptor: dict[int, socket.socket] = {}
        self._epoll = select.epoll()

    def place(self, engine: Engine) -> None:
        """One more call."""
        first, second = self._open(), self._open()
        for end, port in zip((first, second), engine.connect(first, second), strict=True):
            self._ends.append((end, (HOST, port), len(self._ends) + 1))

    def _open(self) -> socket.socket:
        end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        end.bind((HOST, 0))
        self._epoll.register(end.fileno(), select.EPOLLIN)
        self._by_descriptor[end.fileno()] = end
        return end

    def speak(self, origin: float, first_step: int, seconds: float) -> int:
        """Lets all speak for so long; returns the next step."""
        last = first_step + int(seconds / STEP_S)
        for step in range(first_step, last):
            while (left_s := origin + step * STEP_S - time.monotonic()) > 0:
                self._epoll.poll(left_s)
                self._read()
            frame = step // PHASES
            for end, to, ssrc in self._ends[step % PHASES :: PHASES]:
                end.sendto(PACKET.pack(0x80, 0, frame & 0xFFFF, frame * 160, ssrc) + PAYLOAD, to)
                self.sent += 1
        return last

    def _read(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            end = self._by_descriptor[descriptor]
            while True:
                try:
                    end.recv(400)
                except BlockingIOError:
                    break
                self.heard += 1

    def close(self) -> None:
        """Hangs up."""
        for end in self._by_descriptor.values():
            end.close()
        self._epoll.close()


def measure(calls: int, seconds: float, niceness: int, folder: Path) -> tuple[float, float, float]:
    """CPU in ms a call-second, what of it is the kernel's, and the share of packets that were passed on, in percent."""
    cores = sorted(os.sched_getaffinity(0))
    engine, far_ends = Engine(cores[0], niceness, folder), FarEnds()
    try:
        with on_core(cores[-1]):
            for _ in range(calls):
                far_ends.place(engine)
            origin = time.monotonic()
            step = far_ends.speak(origin, 0, SETTLE_S)
            before, sent, heard, began = Usage.of(engine.pid), far_ends.sent, far_ends.heard, time.monotonic()
            far_ends.speak(origin, step, seconds)
            call_seconds = calls * (time.monotonic() - began)
            after = Usage.of(engine.pid)
    finally:
        far_ends.close()
        engine.end()
    user_s, system_s = after.user_s - before.user_s, after.system_s - before.system_s
    passed = (far_ends.heard - heard) * 100 / (far_ends.sent - sent)
    return (user_s + system_s) * 1000 / call_seconds, system_s * 1000 / call_seconds, passed


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[200, 400])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--nice", type=int, default=0, help="below 0 (root only): before others on the same machine")
    arguments = parser.parse_args()
    for program in ("rtpengine", "taskset"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not there (Debian: rtpengine-daemon, util-linux)")
    table = Table("calls", "CPU ms/call-s", "of it kernel", "passed on %")
    for calls in arguments.calls:
        with tempfile.TemporaryDirectory() as folder:
            cpu_ms, system_ms, passed = measure(calls, arguments.seconds, arguments.nice, Path(folder))
        table.add_row(str(calls), f"{cpu_ms:.2f}", f"{system_ms:.2f}", f"{passed:.2f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
