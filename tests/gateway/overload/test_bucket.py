"""Token buckets in virtual time."""

import pytest

from gateway.config.overload import OverloadSettings, RateSettings
from gateway.overload.bucket import BucketTable, TokenBucket


def taken(bucket: TokenBucket, times: list[float]) -> int:
    return sum(bucket.take(now) for now in times)


def test_a_full_bucket_gives_its_burst_and_no_more() -> None:
    assert taken(TokenBucket(RateSettings(per_second=50, burst=200), 0.0), [0.0] * 1000) == 200


def test_a_bucket_fills_at_its_rate_up_to_its_burst() -> None:
    bucket = TokenBucket(RateSettings(per_second=50, burst=200), 0.0)
    taken(bucket, [0.0] * 200)
    assert taken(bucket, [1.0] * 1000) == 50
    assert taken(bucket, [3600.0] * 1000) == 200


@pytest.mark.parametrize("per_second", [0.5, 8, 50, 333])
def test_over_a_long_flood_the_rate_holds(per_second: float) -> None:
    bucket = TokenBucket(RateSettings(per_second=per_second, burst=10), 0.0)
    flood = [number / 2000 for number in range(20_000)]
    assert taken(bucket, flood) == pytest.approx(10 * per_second + 10, abs=1)


def test_a_clock_that_goes_backwards_fills_nothing() -> None:
    bucket = TokenBucket(RateSettings(per_second=1, burst=1), 100.0)
    assert bucket.take(100.0)
    assert not bucket.take(0.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


def test_strangers_have_sixteen_requests_in_two_seconds_by_default() -> None:
    table = BucketTable(OverloadSettings().stranger_rate, 10)
    assert sum(table.take("203.0.113.1", number / 100) for number in range(100)) == 16 + 7  # a second, and its refill
    assert table.take("203.0.113.2", 1.0)  # another source is not concerned


def test_the_table_keeps_its_bound_under_forged_sources() -> None:
    table = BucketTable(RateSettings(per_second=1, burst=1), 100)
    for number in range(10_000):
        table.take(f"10.0.{number >> 8}.{number & 255}", 0.0)
    assert len(table) == 100
