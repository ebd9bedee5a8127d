"""What a connection drives, whatever protocol its session speaks."""

from collections import deque
from typing import Any, Protocol

from gateway.embedded.session import Closure, Work


class ServedSession(Protocol):
    """One session, sans-I/O: gateway.embedded.session says how it is driven."""

    transmits: deque[bytes]
    """Messages to send, in order."""
    work: deque[Work]
    """Hearing and speaking for the worker."""
    closure: Closure | None
    """How to close the connection, once it is set."""

    def start(self, now: float) -> None:
        """The connection is open."""
        ...

    def receive_message(self, data: bytes, now: float) -> None:
        """Takes one message of the client."""
        ...

    def finish_work(self, work: Work, result: Any, now: float) -> None:
        """Takes the worker's result."""
        ...

    def next_timer(self) -> float | None:
        """When `handle_timer` is due, in the clock of `now`."""
        ...

    def handle_timer(self, now: float) -> None:
        """Does what is due."""
        ...

    def fail_response(self, response_id: str, code: str) -> None:
        """Ends a response as the service does when it fails."""
        ...
