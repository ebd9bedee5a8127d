"""What a call's sessions cost, by the price table of the configuration."""

from collections.abc import Mapping

from gateway.config.price import PriceSettings
from gateway.realtime.event import Usage


class Bill:
    """The cost of one call so far, in the currency of the table.

    Args:
        prices: by the backend's name.
    """

    def __init__(self, prices: Mapping[str, PriceSettings]) -> None:
        self._prices = prices
        self._cost = 0.0

    def has_prices(self, backend_name: str) -> bool:
        """Whether a backend's sessions can be charged."""
        return backend_name in self._prices

    def add_usage(self, backend_name: str, usage: Usage) -> None:
        """One response's tokens."""
        if (prices := self._prices.get(backend_name)) is not None:
            self._cost += prices.cost_of(usage)

    def add_time(self, backend_name: str, seconds: float | None) -> None:
        """A session that is over; None: it was never opened."""
        self._cost += self._time_cost(backend_name, seconds)

    def cost(self, backend_name: str, seconds: float | None) -> float:
        """All so far, with the time of the present session."""
        return self._cost + self._time_cost(backend_name, seconds)

    def _time_cost(self, backend_name: str, seconds: float | None) -> float:
        prices = self._prices.get(backend_name)
        return 0.0 if prices is None or seconds is None else prices.cost_of_time(seconds)
