"""What a conversation has cost."""

import pytest
from pydantic import ValidationError

from gateway.config.price import PriceSettings
from gateway.realtime.event import Usage

PRICES = PriceSettings(input_text=4, input_audio=32, cached_audio=0.4, output_text=24, output_audio=64)


def test_every_kind_of_token_has_its_price() -> None:
    usage = Usage(input_text_tokens=1_000_000, output_text_tokens=500_000, output_audio_tokens=250_000)
    assert PRICES.cost_of(usage) == pytest.approx(4 + 12 + 16)


def test_cached_tokens_are_counted_once_and_at_their_own_price() -> None:
    usage = Usage(input_audio_tokens=1_000_000, cached_audio_tokens=500_000)
    assert PRICES.cost_of(usage) == pytest.approx(16 + 0.2)


def test_cached_tokens_without_a_price_of_their_own_cost_what_fresh_ones_do() -> None:
    assert PRICES.cost_of(Usage(input_text_tokens=1_000_000, cached_text_tokens=1_000_000)) == pytest.approx(4)


def test_more_cached_tokens_than_tokens_never_pay_anything_back() -> None:
    assert PRICES.cost_of(Usage(cached_text_tokens=1_000_000)) == pytest.approx(4)


def test_time_is_charged_by_the_second() -> None:
    assert PriceSettings(session_minute=0.05).cost_of_time(90) == pytest.approx(0.075)
    assert PRICES.cost_of_time(90) == 0


def test_service_pays_nobody() -> None:
    with pytest.raises(ValidationError):
        PriceSettings.model_validate({"input_text": -1})
