"""Token buckets, and a bounded table of them for sources that nobody vouches for."""

from collections import OrderedDict
from typing import Final

from gateway.config.overload import RateSettings


class TokenBucket:
    """`per_second` tokens a second, `burst` of them at most; full at first.

    Args:
        rate: how fast it fills and how much it holds.
        now: monotonic seconds.
    """

    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, rate: RateSettings, now: float) -> None:
        self._per_second = rate.per_second
        self._burst = float(rate.burst)
        self._tokens = self._burst
        self._at = now

    def take(self, now: float) -> bool:
        """Takes one token; False where there is none. Time that goes backwards fills nothing."""
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
            self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class BucketTable:
    """A bucket for each source, of at most `limit` sources.

    The one that came first is forgotten for a new one. Who is forgotten has a full bucket when it comes again, so
    whoever can forge more sources than `limit` is held by a bucket over all of them, which belongs beside this table.
    """

    def __init__(self, rate: RateSettings, limit: int) -> None:
        self._rate: Final = rate
        self._limit: Final = limit
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, source: str, now: float) -> bool:
        """Takes one token of a source."""
        bucket = self._buckets.get(source)
        if bucket is None:
            if len(self._buckets) >= self._limit:
                self._buckets.popitem(last=False)
            bucket = self._buckets[source] = TokenBucket(self._rate, now)
        return bucket.take(now)
