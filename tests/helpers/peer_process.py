"""Real SIP programs as child processes: started, watched and ended by the test that wants them."""

import random
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Self

from tests.helpers.sipp import LOOPBACK

ENDED_WITHIN_S: Final = 5.0
# Below the kernel's ephemeral ports, and below those that the tests give to media.
PORTS_FROM: Final = 10_000
PORTS_BELOW: Final = 19_000


def is_installed(*programs: str) -> bool:
    """Whether all these programs are on the path."""
    return all(shutil.which(program, path=SEARCH_PATH) is not None for program in programs)


# Debian puts daemons where an ordinary user's path does not lead.
SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def free_ports(count: int) -> list[int]:
    """Ports that are free at this moment for UDP and for TCP, and that no outgoing connection will be given."""
    ports: list[int] = []
    randomness = random.Random()
    while len(ports) < count:
        port = randomness.randrange(PORTS_FROM, PORTS_BELOW)
        if port not in ports and all(_is_free(kind, port) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            ports.append(port)
    return ports


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


class PeerProcess(AbstractContextManager["PeerProcess"]):
    """One program that runs while the context lasts. What it prints is kept in `folder`/console.log."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._environment = {"PATH": SEARCH_PATH, "HOME": str(folder), **(environment or {})}
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "console.log").open("wb") as console:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL,
                stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(ENDED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def has_ended(self) -> bool:
        """Whether the program is gone."""
        return self._process is None or self._process.poll() is not None

    @property
    def console(self) -> str:
        """What it has printed so far."""
        return (self.folder / "console.log").read_text(errors="replace")
