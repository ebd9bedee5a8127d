"""Sockets that are opened before a call wants them: connected, upgraded, and not told anything yet.

What a call saves is the way there: the look-up, TCP, TLS and the upgrade, and the service's greeting. No agent's
settings go over a socket before its call takes it, and one that a call had is never given to another.

Each socket is closed before it has rested for longer than the service lets it, and replaced. Opening is the work of one
task beside the calls, and waits a moment after a call has taken a socket, so that the call goes first.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.opening import open_wire
from gateway.backends.wire import Closure, Wire, WireReceiver
from gateway.realtime.errors import ModelError

# How often the sockets are looked after: pings, age.
CHECK_SECONDS: Final = 1.0
# After a socket was taken, or lost, before the next one is opened: a call's own set-up is over by then.
REFILL_SECONDS: Final = 0.5
# Between two attempts at a service that refuses, from the first to the last.
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
# What a service says before it is told anything: a greeting or two. One that says more is not left to rest.
GREETING_MESSAGES: Final = 8
GREETING_BYTES: Final = 256 * 1024

_log = logging.getLogger(__name__)


class WarmSocket:
    """One socket at rest. It is its wire's receiver until somebody takes it."""

    def __init__(self, on_lost: Callable[["WarmSocket"], None], opened: float) -> None:
        self.opened = opened
        self.greetings: list[bytes] = []
        self.wire: Wire | None = None
        self._on_lost = on_lost
        self._greeting_bytes = 0
        self._talks_too_much = False

    @property
    def is_usable(self) -> bool:
        """Whether a session can begin on it."""
        return self.wire is not None and self.wire.is_open and not self._talks_too_much

    def message_received(self, message: bytes) -> None:
        """Keeps what the service says by itself, for the session that comes."""
        self.greetings.append(message)
        self._greeting_bytes += len(message)
        if len(self.greetings) > GREETING_MESSAGES or self._greeting_bytes > GREETING_BYTES:
            self._talks_too_much = True
            self.greetings.clear()
            self.abort()
            self._on_lost(self)

    def writing_resumed(self) -> None:
        """Nothing is written."""

    def wire_closed(self, closure: Closure) -> None:
        """The service has ended it, or the way there is gone."""
        self._on_lost(self)

    def abort(self) -> None:
        """Ends it without a word."""
        if self.wire is not None:
            self.wire.abort()


class WarmPool:
    """The warm sockets of one backend.

    Args:
        name: the backend's, for the log.
        endpoint: where they lead.
        size: how many rest at once.
        rest_seconds: how long one may rest.
    """

    def __init__(self, name: str, endpoint: WireEndpoint, size: int, rest_seconds: float) -> None:
        self.counters: Counter[str] = Counter()
        self._name = name
        self._endpoint = endpoint
        self._size = size
        self._rest_seconds = rest_seconds
        self._sockets: deque[WarmSocket] = deque()
        self._taken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def resting(self) -> int:
        """How many sockets wait for a call."""
        return len(self._sockets)

    def start(self) -> None:
        """Opens them, in a task of its own."""
        self._task = asyncio.create_task(self._run(), name=f"warm-{self._name}")

    async def aclose(self) -> None:
        """Closes what rests."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        sockets, self._sockets = list(self._sockets), deque()
        await asyncio.gather(*(socket.wire.close() for socket in sockets if socket.wire is not None))

    def take(self, receiver: WireReceiver) -> tuple[Wire, list[bytes]] | None:
        """The socket that has rested longest, for one session; None where there is none.

        Returns:
            The wire, which tells `receiver` from now on, and what the service has said on it so far.
        """
        while self._sockets:
            socket = self._sockets.popleft()
            if socket.is_usable and socket.wire is not None and not self._is_old(socket):
                self.counters["warm_taken"] += 1
                self._taken.set()
                socket.wire.hand_over(receiver)
                return socket.wire, socket.greetings
            self._drop(socket, "warm_aged")
        self.counters["warm_missed"] += 1
        return None

    def _is_old(self, socket: WarmSocket) -> bool:
        return asyncio.get_running_loop().time() - socket.opened >= self._rest_seconds

    def _drop(self, socket: WarmSocket, why: str) -> None:
        self.counters[why] += 1
        socket.abort()

    def _lost(self, socket: WarmSocket) -> None:
        """A socket ended while it rested."""
        with contextlib.suppress(ValueError):
            self._sockets.remove(socket)
            self.counters["warm_lost"] += 1

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        may_open_at = loop.time()
        while True:
            self._look_after(loop.time())
            if len(self._sockets) < self._size and loop.time() >= may_open_at:
                if await self._open():
                    pause, may_open_at = FIRST_PAUSE_SECONDS, loop.time()
                    continue
                may_open_at = loop.time() + pause
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._taken.wait()
            if self._taken.is_set():
                self._taken.clear()
                await asyncio.sleep(REFILL_SECONDS)

    def _look_after(self, now: float) -> None:
        for socket in list(self._sockets):
            if socket.wire is not None:
                socket.wire.check(now)
        while self._sockets and self._is_old(self._sockets[0]):
            self._drop(self._sockets.popleft(), "warm_aged")

    async def _open(self) -> bool:
        """Opens one more socket; False where the service does not let us."""
        socket = WarmSocket(self._lost, asyncio.get_running_loop().time())
        try:
            socket.wire = await open_wire(self._endpoint, socket)
        except ModelError as error:
            self.counters["warm_refused"] += 1
            _log.warning("no warm socket", extra={"backend": self._name, "reason": error.label, "detail": str(error)})
            return False
        if not socket.is_usable:  # it greeted beyond all measure, or was closed in the same breath
            self.counters["warm_lost"] += 1
            socket.abort()
            return False
        self.counters["warm_opened"] += 1
        self._sockets.append(socket)
        return True
