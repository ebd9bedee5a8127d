"""Which core a process has, before whom it goes, and what others take from it, on a machine that is not ours alone."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.helpers.gateway_process import GatewayProcess

GATEWAY_CORE: Final = 0
LOAD_CORE: Final = 1
PRIORITY: Final = -15
# Of the session among others.
FIRST: Final = "-20"
AS_OTHERS: Final = "0"
PACKET_OCTETS: Final = 172
COST_ROUNDS: Final = 5
COST_PACKETS: Final = 2000


def pin(gateway: GatewayProcess) -> None:
    """The gateway on one core; this process, its children and the model server on the other.

    Where the machine has other work, all of them come before it, if the system allows that.
    """
    for process in [os.getpid(), gateway.pid, *_children(gateway.pid)]:
        for task in Path(f"/proc/{process}/task").iterdir():
            os.sched_setaffinity(int(task.name), {GATEWAY_CORE if process == gateway.pid else LOAD_CORE})
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, int(task.name), PRIORITY)


@contextmanager
def before_others(is_wanted: bool) -> Iterator[None]:
    """Lets this process and its children go before all others on a busy machine, where the system allows it (root).

    The kernel shares the cores out between sessions first (sched(7), "The autogroup feature"): priorities of single
    processes do nothing against other sessions.
    """
    group = Path("/proc/self/autogroup")
    if is_wanted:
        group.write_text(FIRST)
    try:
        yield
    finally:
        if is_wanted:
            group.write_text(AS_OTHERS)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This process runs on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def waited_seconds(pid: int) -> float:
    """How long a process was ready to run and had no core: what others on the machine took from it."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def datagram_cost_us(core: int) -> float:
    """What one `sendto` over loopback costs on a core now, in a Python loop of its own: the least of a few rounds.

    It says how fast the machine is at this moment: virtual machines are not always equally fast, and what they cost in
    the kernel and in waiting for memory can differ by half from one minute to the next.
    """
    with (
        on_core(core),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        far.bind(("127.0.0.1", 0))
        address, packet = far.getsockname(), bytes(PACKET_OCTETS)
        rounds = []
        for _ in range(COST_ROUNDS):
            begin = time.process_time()
            for _ in range(COST_PACKETS):
                near.sendto(packet, address)
            rounds.append(time.process_time() - begin)
    return min(rounds) / COST_PACKETS * 1e6


def _children(parent: int) -> Iterator[int]:
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from _children(int(child))
