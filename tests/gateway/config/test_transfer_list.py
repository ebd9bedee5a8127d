"""The allow-list of transfers: nothing else is ever dialled (RFC 3515 §5.1 leaves it to policy)."""

import pytest
from pydantic import ValidationError

from gateway.config.transfer import TransferSettings

LIST = TransferSettings(
    destinations={"sales": "+15557778888", "desk": "sip:desk@pbx.example.net"},
    allow=("+4989*", "+15550001111", "sip:night@pbx.example.net;transport=tls"),
)


@pytest.mark.parametrize(
    ("wish", "uri"),
    [
        ("sales", "tel:+15557778888"),
        ("desk", "sip:desk@pbx.example.net"),
        ("+1 (555) 000-1111", "tel:+15550001111"),
        ("tel:+498912345", "tel:+498912345"),
        ("sip:night@pbx.example.net;transport=tls", "sip:night@pbx.example.net;transport=tls"),
    ],
)
def test_what_is_listed_has_a_uri(wish: str, uri: str) -> None:
    assert LIST.resolve(wish) == uri


@pytest.mark.parametrize(
    "wish",
    ["+15557778888", "+15550001112", "+49 30 1234567", "+4989*", "+49891234567890123", "+498912345;phone-context=x",
     "sip:night@pbx.example.net", "sip:desk@pbx.example.net", "sip:x@evil.example", "Sales", "", "911",
     "+498912345>, <sip:x@evil.example"],
)  # fmt: skip
def test_what_is_not_listed_leads_nowhere(wish: str) -> None:
    assert LIST.resolve(wish) is None


def test_a_host_makes_sip_uris_of_numbers() -> None:
    settings = TransferSettings(destinations={"sales": "+15557778888"}, sip_host="acme.pstn.twilio.com")
    assert settings.resolve("sales") == "sip:+15557778888@acme.pstn.twilio.com"


@pytest.mark.parametrize(
    "values",
    [{}, {"allow": ["*"]}, {"allow": ["+*"]}, {"allow": ["15550001111"]}, {"destinations": {"911": "+15550001111"}},
     {"destinations": {"x": "sip:a@b?Replaces=c"}}, {"destinations": {"x": "sip:a@b>"}}, {"destinations": {"x": "911"}},
     {"destinations": {"x": "+15550001111"}, "sip_host": "a@b"}],
)  # fmt: skip
def test_a_list_that_says_too_much_or_nothing_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TransferSettings.model_validate(values)
