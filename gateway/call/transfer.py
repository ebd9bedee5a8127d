"""Blind transfer of a call by its agent: REFER in its dialog, followed to the final NOTIFY (RFC 3515, RFC 3892)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.call.record import TransferRecord
from gateway.dialling import DialCaps
from gateway.log import ContextLogger
from gateway.tools.tool import TransferOutcome
from sip.event import ReferAccepted, ReferEnded, ReferProgress
from sip.session.session import InviteSession
from sip.uri import Uri

# REFERs in one call: a model that tries on and on would keep somebody's telephone ringing.
ATTEMPTS_LIMIT: Final = 5

TransferEvent = ReferAccepted | ReferProgress | ReferEnded


@dataclass(slots=True)
class _Attempt:
    uri: str
    at_ms: int
    settled: asyncio.Future[TransferOutcome]
    is_accepted: bool = False
    outcome: TransferOutcome | None = None


class Transfers:
    """The transfers that the agent of one call asks for, one after another.

    A REFER cannot be taken back. So a transfer goes on when the tool that began it is cancelled or out of time, and its
    success ends the call all the same.

    Args:
        session: the far end's; another one where the call changes its side.
        perform: runs a method of the session at the endpoint's `now`.
        caps: count what is dialled: whatever a REFER makes the far end dial is paid for as if we had dialled it.
        logger: the call's.
    """

    def __init__(
        self,
        session: InviteSession,
        perform: Callable[..., object],
        caps: DialCaps,
        logger: ContextLogger,
    ) -> None:
        self.session = session
        self._caps = caps
        self._perform = perform
        self._logger = logger
        self._attempts: list[_Attempt] = []

    @property
    def is_under_way(self) -> bool:
        """Whether the far end has not yet said what became of the last one."""
        return bool(self._attempts) and self._attempts[-1].outcome is None

    async def transfer(self, uri: str, at_ms: int) -> TransferOutcome:
        """Asks the far end to call `uri`, and waits for what becomes of it. `at_ms` counts from the answer."""
        if self.is_under_way:
            return TransferOutcome(491, "a transfer is under way already")
        if len(self._attempts) >= ATTEMPTS_LIMIT:
            return TransferOutcome(403, "too many transfers were tried in this call")
        attempt = _Attempt(uri, at_ms, asyncio.get_running_loop().create_future())
        self._attempts.append(attempt)
        self._logger.info("transfer", extra={"event": "transfer", "destination": uri})
        if (rule := self._caps.take(Uri.parse(uri))) is not None:
            self._settle(attempt, TransferOutcome(503, rule.words))
            return await attempt.settled
        self._perform(self._refer, attempt)
        return await asyncio.shield(attempt.settled)

    def _refer(self, attempt: _Attempt, *, now: float) -> None:
        dialog = self.session.dialog
        # RFC 3892 §3: who asks for it. It is the address under which the caller reached us, without its tag.
        headers = [] if dialog is None else [("Referred-By", f"<{dialog.local.uri}>")]
        if not self.session.refer(f"<{attempt.uri}>", headers=headers, now=now):
            self._settle(attempt, TransferOutcome(481, "the call cannot be transferred at this moment"))

    def on_event(self, event: TransferEvent) -> bool:
        """Takes what the far end says of it; True where it has succeeded.

        The BYE must follow at once then: Twilio lets the caller hear nothing before it, and ends the call after 32 s.
        """
        if not self.is_under_way:
            return False
        attempt = self._attempts[-1]
        match event:
            case ReferAccepted():
                attempt.is_accepted = True
            case ReferProgress(status=status, reason=reason):
                self._logger.info("transfer goes on", extra={"status": status, "reason": reason})
            case ReferEnded(status=status, reason=reason, is_accepted=is_accepted):
                attempt.is_accepted = is_accepted
                # A 2xx to the REFER says only that it is tried; the subscription's last word counts (RFC 3515 §2.4.5).
                self._settle(attempt, TransferOutcome(status, reason))
                return 200 <= status < 300
        return False

    def close(self) -> None:
        """The call is over: nobody waits for a word any more."""
        for attempt in self._attempts:
            attempt.settled.cancel()

    def records(self) -> tuple[TransferRecord, ...]:
        """What became of each; one that the call's end overtook has no status."""
        return tuple(
            TransferRecord(
                destination=attempt.uri,
                at_ms=attempt.at_ms,
                accepted=attempt.is_accepted,
                status=None if attempt.outcome is None else attempt.outcome.status,
                reason=None if attempt.outcome is None else attempt.outcome.reason,
            )
            for attempt in self._attempts
        )

    def _settle(self, attempt: _Attempt, outcome: TransferOutcome) -> None:
        attempt.outcome = outcome
        self._logger.info(
            "transfer ended",
            extra={
                "event": "transfer_ended",
                "destination": attempt.uri,
                "status": outcome.status,
                "reason": outcome.reason,
            },
        )
        if not attempt.settled.done():
            attempt.settled.set_result(outcome)
