"""Rates and caps that hold when somebody, by fault or by intent, sends more than a gateway should take."""

import enum
from typing import Annotated

from pydantic import Field

from gateway.config.value import Settings


class StrangerPolicy(enum.StrEnum):
    """What a request from an address of no trunk gets."""

    SILENCE = "silence"
    REFUSE = "refuse"


class RateSettings(Settings):
    """A rate with room for a burst."""

    per_second: Annotated[float, Field(gt=0, le=100000)]
    """How many in a second, on average."""
    burst: Annotated[int, Field(ge=1, le=1000000)]
    """How many at once after a pause."""


class OverloadSettings(Settings):
    """What keeps running calls well when too much comes in."""

    trunk_rate: RateSettings = RateSettings(per_second=50, burst=200)
    """New calls on each trunk that has no `rate` of its own; one more is answered 503 with Retry-After."""
    strangers: StrangerPolicy = StrangerPolicy.SILENCE
    """What requests from addresses of no trunk get: `silence`, so that scanners learn nothing, or `refuse` (403), for
    finding out why a new trunk does not come through."""
    stranger_rate: RateSettings = RateSettings(per_second=8, burst=16)
    """Requests of one address that is not known to be a trunk's: where strangers are refused, and where a trunk for
    `anyone` asks for credentials. What is over meets silence."""
    half_open: Annotated[int, Field(ge=1, le=10000)] | None = None
    """Most calls at once that their callers have not acknowledged; half of `calls` when absent. One source address, and
    all sources together that never acknowledged a call, have half of that."""
    lag_ms: Annotated[float, Field(gt=0, le=1000)] = 20.0
    """New calls are answered 503 while the process is served this much too late, so that running ones stay well."""
    occupancy: Annotated[float, Field(gt=0, le=1)] = 0.95
    """New calls are answered 503 while the event loop has less than the rest of its time free; 1 for never. Half a
    second counts, so one busy moment is no reason."""
