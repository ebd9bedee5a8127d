"""The same scenarios over TCP and over IPv6: one connection or socket a run, all else the same (RFC 3261 §18)."""

from collections.abc import Iterator

import pytest

from tests.helpers.doors import Doors, open_doors
from tests.helpers.gateway_process import BRIEF, ECHO, SILENT, STALLED
from tests.helpers.sipp import IPV6_LOOPBACK, LOOPBACK, run_sipp
from tests.sipp.conftest import assert_nothing_is_left

pytestmark = [pytest.mark.sipp, pytest.mark.process]

SCENES = [
    ("uac-basic-call-rtp", ECHO),
    ("uac-cancel", STALLED),
    ("uac-reinvite-hold", ECHO),
    ("uac-reinvite-without-sdp", ECHO),
    ("uac-late-offer", ECHO),
    ("uac-compact-headers", SILENT),
    ("uac-options-in-dialog", SILENT),
    ("uac-gateway-bye", BRIEF),
    ("uac-several-media", SILENT),
]


@pytest.fixture(scope="module", params=[LOOPBACK, IPV6_LOOPBACK], ids=["ipv4", "ipv6"])
def doors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    with open_doors(tmp_path_factory.mktemp("doors"), str(request.param)) as opened:
        yield opened


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(("scenario", "number"), SCENES, ids=[scenario for scenario, _ in SCENES])
def test_scenarios_go_alike_over_every_transport__rfc3261_18(
    doors: Doors, tmp_path_factory: pytest.TempPathFactory, scenario: str, number: str, transport: str
) -> None:
    folder = tmp_path_factory.mktemp(scenario)
    run = run_sipp(scenario, (doors.host, doors.ports[transport]), folder, number=number, transport=transport)
    run.assert_clean()
    vias = {message.header("Via") for message in run.messages if not message.is_sent and message.status is None}
    assert all(f"SIP/2.0/{transport.upper()} " in (via or "") for via in vias)
    assert_nothing_is_left(doors.process)
