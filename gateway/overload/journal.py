"""Writes refusals into the log without letting a flood of them become a flood of lines."""

import logging
from collections import Counter
from typing import Final

from gateway.config.overload import RateSettings
from gateway.overload.bucket import TokenBucket

# Lines of one reason: enough to read what an ordinary fault does, and no more than an operator can read in a flood.
LINE_RATE: Final = RateSettings(per_second=1, burst=10)
# How long what was left out waits for a line that counts it.
SUMMARY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class RefusalJournal:
    """One line for each refusal up to a rate; what is over is counted and told in a line every few seconds."""

    def __init__(self) -> None:
        self._lines: dict[str, TokenBucket] = {}
        self._left_out: Counter[str] = Counter()
        self._told_at = 0.0

    def allows(self, reason: str, now: float) -> bool:
        """Whether a refusal with this reason may have its own line; where not, it is counted. Reasons are few."""
        lines = self._lines.get(reason)
        if lines is None:
            lines = self._lines[reason] = TokenBucket(LINE_RATE, now)
        if lines.take(now):
            return True
        self._left_out[reason] += 1
        return False

    def refuse(self, reason: str, rule: str, trunk_name: str | None, source: str, status: int, now: float) -> None:
        """Tells of a request that was refused statelessly, with the rule that matched."""
        if self.allows(reason, now):
            _log.warning(
                "request refused",
                extra={
                    "event": "refused",
                    "reason": reason,
                    "rule": rule,
                    "status": status,
                    "trunk": trunk_name,
                    "source": source,
                },
            )

    def count(self, reason: str, count: int) -> None:
        """Counts what is never told one by one, such as datagrams of strangers."""
        self._left_out[reason] += count

    def beat(self, now: float) -> None:
        """Tells what was left out, when it is time."""
        if now - self._told_at < SUMMARY_SECONDS:
            return
        self._told_at = now
        for reason, count in self._left_out.items():
            _log.warning("refused without a line", extra={"event": "refused_many", "reason": reason, "count": count})
        self._left_out.clear()
