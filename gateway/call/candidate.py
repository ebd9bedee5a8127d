"""A far end that is to take the place of another."""

from dataclasses import dataclass

from gateway.call.record import TransferKind, TransferRecord
from gateway.call.side import Side
from gateway.dialler import DialOrder


@dataclass(slots=True)
class Candidate:
    """One handover. `referrer` is the side that asked for it and is told of it; `at_ms` counts from the answer."""

    kind: TransferKind
    destination: str
    at_ms: int
    side: Side | None = None
    referrer: Side | None = None
    order: DialOrder | None = None
    redirections: int = 0
    is_accepted: bool = True
    is_referrer_gone: bool = False
    status: int | None = None
    reason: str | None = None
    told: int = 100

    def tell(self, status: int) -> None:
        """Tells the referrer how it goes, once for each status (RFC 3515 §2.4.4)."""
        if self.referrer is not None and status != self.told and not self.is_referrer_gone:
            self.told = status
            self.referrer.notify_refer(status)

    def dismiss(self) -> None:
        """Hangs up on the side, or stops calling it."""
        if self.side is not None:
            self.side.hang_up()
            self.side.close()
            self.side = None

    def record(self) -> TransferRecord:
        """What became of it."""
        return TransferRecord(
            kind=self.kind,
            destination=self.destination,
            at_ms=self.at_ms,
            accepted=self.is_accepted,
            status=self.status,
            reason=self.reason,
        )
