"""One call's check: who is believed, how long it may take, and what follows."""

import asyncio
import json

import pytest

from gateway.carrier import Carrier
from gateway.config.agent import AgentSettings
from gateway.config.trunk import TrunkSettings
from gateway.identity.certificate import TrustList
from gateway.identity.check import IdentityCheck, IdentityDesk, is_twilio
from gateway.identity.fetch import CertificateSource
from gateway.identity.verdict import IdentityStatus
from gateway.roster import AgentEdition, Roster
from sip.message import Request
from tests.helpers.stir import NOW, GatedFetcher, Provider, invite

TWILIO_HOST = "54.172.60.1"
CAREFUL = AgentSettings(backends=("model",), instructions="Be careful.")


def trunk(carrier: Carrier = Carrier.TWILIO, **identity: object) -> TrunkSettings:
    settings = {
        "carrier": carrier.value,
        "allow": ["192.0.2.0/24"],
        "numbers": {"*": "reception"},
        "identity": identity,
    }
    return TrunkSettings.model_validate(json.loads(json.dumps(settings)))


def desk(fetcher: GatedFetcher, roots: TrustList, timeout_seconds: float = 1.5) -> IdentityDesk:
    source = CertificateSource(fetcher, lambda: 0.0)
    return IdentityDesk(roots, source, lambda: NOW, timeout_seconds, Roster([AgentEdition("careful", CAREFUL)]))


def begun(desk: IdentityDesk, settings: TrunkSettings, request: Request, host: str = TWILIO_HOST) -> IdentityCheck:
    check = desk.begin(settings, request, host, "+15550001111")
    assert check is not None
    return check


@pytest.fixture
def fetcher(provider: Provider) -> GatedFetcher:
    return GatedFetcher(provider.pem)


async def test_trunk_that_asks_for_nothing_gets_nothing(fetcher: GatedFetcher, trusted: TrustList) -> None:
    assert desk(fetcher, trusted).begin(trunk(), invite(), TWILIO_HOST, "") is None


@pytest.mark.parametrize(
    ("carrier", "host", "status"),
    [
        (Carrier.TWILIO, TWILIO_HOST, IdentityStatus.PASSED),
        (Carrier.TWILIO, f"::ffff:{TWILIO_HOST}", IdentityStatus.PASSED),
        (Carrier.TWILIO, "192.0.2.9", IdentityStatus.UNVERIFIED),  # in the trunk's own list, but not Twilio's
        (Carrier.CUSTOM, TWILIO_HOST, IdentityStatus.UNVERIFIED),
        (Carrier.TELNYX, "192.76.120.10", IdentityStatus.UNVERIFIED),
    ],
)
async def test_carriers_header_is_believed_from_twilios_addresses_only(
    fetcher: GatedFetcher, trusted: TrustList, carrier: Carrier, host: str, status: IdentityStatus
) -> None:
    request = invite("X-Twilio-VerStat: TN-Validation-Passed-A")
    check = begun(desk(fetcher, trusted), trunk(carrier, verify="carrier"), request, host)
    assert check.verdict is not None  # at once: nothing has to be asked
    assert check.verdict.status is status


async def test_carriers_header_does_not_count_where_the_signature_is_asked_for(
    fetcher: GatedFetcher, trusted: TrustList
) -> None:
    check = begun(desk(fetcher, trusted), trunk(verify="passport"), invite("X-Twilio-VerStat: TN-Validation-Passed-A"))
    assert check.verdict is not None
    assert check.verdict.status is IdentityStatus.NO_SIGNATURE


async def test_certificate_is_fetched_while_others_work_and_known_the_next_time(
    fetcher: GatedFetcher, trusted: TrustList, provider: Provider
) -> None:
    counter = desk(fetcher, trusted)
    request = invite(f"Identity: {provider.identity()}")
    check = begun(counter, trunk(verify="passport"), request)
    assert check.verdict is None
    settling = asyncio.create_task(check.settle())
    await asyncio.sleep(0)
    assert not settling.done()
    fetcher.gate.set()
    assert (await settling).status is IdentityStatus.PASSED
    again = begun(counter, trunk(verify="passport"), request)
    assert again.verdict is not None
    assert again.verdict.status is IdentityStatus.PASSED


async def test_check_is_bounded_and_what_comes_late_serves_the_next_call(
    fetcher: GatedFetcher, trusted: TrustList, provider: Provider
) -> None:
    counter = desk(fetcher, trusted, timeout_seconds=0.01)
    request = invite(f"Identity: {provider.identity()}")
    check = begun(counter, trunk(verify="passport", refuse=["unavailable"]), request)
    assert (await check.settle()).status is IdentityStatus.UNAVAILABLE
    assert check.is_refused
    fetcher.gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    later = begun(counter, trunk(verify="passport"), request)
    assert later.verdict is not None
    assert later.verdict.status is IdentityStatus.PASSED


async def test_policy_refuses_with_a_final_status_and_says_why(fetcher: GatedFetcher, trusted: TrustList) -> None:
    settings = trunk(verify="carrier", refuse=["failed"], route={"no_signature": "careful"})
    check = begun(desk(fetcher, trusted), settings, invite("X-Twilio-VerStat: TN-Validation-Failed-A"))
    assert check.is_refused
    assert check.refusal == (603, (("Reason", 'STIR;cause=438;text="Invalid Identity Header"'),))
    assert check.agent is None


async def test_policy_routes_to_another_agent(fetcher: GatedFetcher, trusted: TrustList) -> None:
    settings = trunk(verify="carrier", refuse=["failed"], route={"no_signature": "careful"})
    check = begun(desk(fetcher, trusted), settings, invite())
    assert not check.is_refused
    assert check.chooses_agent
    assert check.agent == AgentEdition("careful", CAREFUL)


async def test_agent_is_told_only_where_the_trunk_says_so(fetcher: GatedFetcher, trusted: TrustList) -> None:
    request = invite("X-Twilio-VerStat: TN-Validation-Passed-A")
    silent = begun(desk(fetcher, trusted), trunk(verify="carrier"), request)
    told = begun(desk(fetcher, trusted), trunk(verify="carrier", tell_agent=True), request)
    assert silent.sentence is None
    assert told.sentence is not None
    assert "verified" in told.sentence


@pytest.mark.parametrize(
    ("host", "expected"),
    [("54.172.60.3", True), ("54.172.60.4", False), ("177.71.206.192", True), ("::1", False), ("fe80::1%eth0", False)],
)
def test_twilios_addresses(host: str, expected: bool) -> None:
    assert is_twilio(host) is expected
