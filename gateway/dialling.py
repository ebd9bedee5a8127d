"""Counts what is dialled, and says where it has been enough (promise 15)."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import unique
from typing import Final

from gateway.config.dialling import DiallingSettings
from gateway.config.transfer import number_in
from gateway.refusal import RefusalRule
from sip.uri import Uri

WINDOW_SECONDS: Final = 60.0


@unique
class DialRule(RefusalRule):
    """What speaks against dialling: (label, in words for logs, records and agents)."""

    MINUTE = ("per_minute", "the gateway has dialled enough for this minute")
    PREFIX = ("per_prefix", "the gateway has dialled numbers like this one often enough for this minute")
    FORBIDDEN = ("forbidden_prefix", "numbers like this one are never dialled")


@dataclass(frozen=True, slots=True)
class _Group:
    """Destinations that are counted together."""

    name: str
    cap: int


class DialCaps:
    """The caps of a process. It keeps one moment for each destination that was dialled in the last minute.

    Args:
        settings: the caps.
        clock: monotonic seconds.
    """

    def __init__(self, settings: DiallingSettings, clock: Callable[[], float]) -> None:
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._clock = clock
        self._dialled: deque[tuple[float, str]] = deque()
        self._by_group: Counter[str] = Counter()

    def take(self, destination: Uri) -> DialRule | None:
        """Counts a destination that is about to be dialled; the rule that forbids it where there is one.

        What was forbidden does not count: it cost nothing.
        """
        self._forget()
        group = self._group_of(destination)
        rule = self._rule(group)
        if rule is not None:
            self.counters[f"not_dialled_{rule.label}"] += 1
            return rule
        self.counters["dialled"] += 1
        self._dialled.append((self._clock(), group.name))
        self._by_group[group.name] += 1
        return None

    def _rule(self, group: _Group) -> DialRule | None:
        if group.cap == 0:
            return DialRule.FORBIDDEN
        if len(self._dialled) >= self._settings.per_minute:
            return DialRule.MINUTE
        return DialRule.PREFIX if self._by_group[group.name] >= group.cap else None

    def _group_of(self, destination: Uri) -> _Group:
        settings = self._settings
        number = number_in(destination.decoded_user or "")
        if number is None:
            return _Group(destination.host.lower(), settings.per_prefix)
        fitting = [prefix for prefix in settings.prefixes if number.startswith(prefix)]
        if fitting:
            longest = max(fitting, key=len)
            return _Group(longest, settings.prefixes[longest])
        return _Group(number[: settings.prefix_digits + 1], settings.per_prefix)

    def _forget(self) -> None:
        horizon = self._clock() - WINDOW_SECONDS
        while self._dialled and self._dialled[0][0] <= horizon:
            _, name = self._dialled.popleft()
            self._by_group[name] -= 1
            if not self._by_group[name]:
                del self._by_group[name]
