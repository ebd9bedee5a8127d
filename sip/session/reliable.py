"""Reliable provisional responses: RFC 3262, as sent and as received."""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from sip.grammar import parse_number
from sip.message import Request, Response
from sip.session.received import HeaderFields, ReceivedInvite
from sip.transaction.timer import TimerValues

RELIABLE: Final = "100rel"
RSEQ_LIMIT: Final = 2**32 - 1
FIRST_RSEQ_LIMIT: Final = 2**31 - 1  # §3: "chosen uniformly between 1 and 2**31 - 1"
QUEUE_LIMIT: Final = 8  # provisional responses that wait for the PRACK of the one before


class _Waiting(NamedTuple):
    status: int
    reason: str | None
    headers: HeaderFields
    body: bytes


class ReliableProvisionals:
    """The provisional responses of one INVITE that each wait for a PRACK, one at a time (§3).

    "The reliable provisional response is passed to the transaction layer periodically with an interval that starts
    at T1 seconds and doubles for each retransmission"; after 64*T1 without PRACK `on_expired` is called.
    """

    def __init__(
        self, invite: ReceivedInvite, values: TimerValues, first_rseq: int, on_expired: Callable[[float], None]
    ) -> None:
        self._invite = invite
        self._values = values
        self._rseq = first_rseq - 1
        self._on_expired = on_expired
        self._outstanding: Response | None = None
        self._queue: deque[_Waiting] = deque(maxlen=QUEUE_LIMIT)
        self._interval = 0.0
        self._resend_at: float | None = None
        self._give_up_at: float | None = None

    @property
    def delays_answer(self) -> bool:
        """Whether a session description waits for its PRACK: until then no 2xx may go out (§3)."""
        is_described = self._outstanding is not None and bool(self._outstanding.body)
        return is_described or any(waiting.body for waiting in self._queue)

    def send(self, status: int, reason: str | None, headers: HeaderFields, body: bytes, now: float) -> None:
        """Sends a response, or queues it: "the UAS MUST NOT send a second reliable provisional ... until the first"."""
        waiting = _Waiting(status, reason, tuple(headers), body)
        if self._outstanding is not None:
            self._queue.append(waiting)
        else:
            self._send(waiting, now)

    def acknowledge(self, prack: Request, now: float) -> Response | None:
        """Takes a PRACK whose RAck names the outstanding response, and gives that response; None for any other."""
        parts = (prack.headers.get("RAck") or "").split()
        cseq = self._invite.request.cseq
        if self._outstanding is None or len(parts) != 3:
            return None
        if parts[2] != "INVITE" or [parse_number(part, RSEQ_LIMIT) for part in parts[:2]] != [self._rseq, cseq.number]:
            return None
        acknowledged = self._outstanding
        self._settle()
        if self._queue:
            self._send(self._queue.popleft(), now)
        return acknowledged

    def next_timer(self) -> float | None:
        """When to send again, or to give up."""
        if self._resend_at is None or self._give_up_at is None:
            return None
        return min(self._resend_at, self._give_up_at)

    def handle_timer(self, now: float) -> None:
        """Sends again, or gives up."""
        if self._give_up_at is not None and self._give_up_at <= now:
            self.stop()
            self._on_expired(now)
        elif self._resend_at is not None and self._resend_at <= now and self._outstanding is not None:
            self._invite.repeat(self._outstanding, now)
            self._interval *= 2
            self._resend_at = now + self._interval

    def stop(self) -> None:
        """The INVITE has its final response."""
        self._settle()
        self._queue.clear()

    def _settle(self) -> None:
        self._outstanding = self._resend_at = self._give_up_at = None

    def _send(self, waiting: _Waiting, now: float) -> None:
        self._rseq += 1
        fields = [("Require", RELIABLE), ("RSeq", str(self._rseq)), *waiting.headers]
        self._outstanding = self._invite.respond(waiting.status, waiting.reason, fields, waiting.body, now)
        self._interval = self._values.t1
        self._resend_at = now + self._interval
        self._give_up_at = now + self._values.timeout


class ReceivedProvisionals:
    """The order of the reliable provisional responses of one INVITE, for each early dialog by its tag (§4)."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def rack_for(self, response: Response) -> tuple[bool, str | None]:
        """Whether a response is to be processed, and the RAck of the PRACK that it wants.

        A copy, or one that outran another, is not: "the UAC MUST NOT acknowledge" what is not next in order.
        """
        if RELIABLE not in response.require:
            return True, None
        rseq = parse_number(response.headers.get("RSeq") or "", RSEQ_LIMIT)
        tag = response.to.tag
        if not rseq or tag is None:
            return False, None
        last = self._last.get(tag)
        if last is not None and rseq != last + 1:
            return False, None
        self._last[tag] = rseq
        return True, f"{rseq} {response.cseq}"
