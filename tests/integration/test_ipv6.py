"""Calls from baresip over IPv6, signalling and media, over UDP and TCP (RFC 5118 §4, RFC 6157)."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.baresip import TONE_HZ, Baresip, tone_share
from tests.helpers.doors import Doors, open_doors
from tests.helpers.gateway_process import BRIEF, ECHO
from tests.helpers.sipp import IPV6_LOOPBACK

pytestmark = [pytest.mark.peer("baresip"), pytest.mark.process]

TALK_S = 2.0
SETTLING_SAMPLES = 8000


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    with open_doors(tmp_path_factory.mktemp("doors"), IPV6_LOOPBACK) as opened:
        yield opened


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_tone_comes_back_over_ipv6__rfc6157(doors: Doors, tmp_path: Path, transport: str) -> None:
    phone = Baresip(tmp_path, transport=transport, host=IPV6_LOOPBACK)
    with phone:
        sip_call_id = phone.dial(doors.uri(ECHO, transport))
        time.sleep(TALK_S)
        phone.hang_up()
    record = doors.process.wait_for_record(sip_call_id)
    assert record["end"]["reason"] == "caller_hung_up"
    assert tone_share(phone.heard()[SETTLING_SAMPLES:], TONE_HZ) > 0.8


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_bye_of_the_gateway_reaches_the_phone_over_ipv6__rfc3261_15_1_1(
    doors: Doors, tmp_path: Path, transport: str
) -> None:
    with Baresip(tmp_path, transport=transport, host=IPV6_LOOPBACK) as phone:
        sip_call_id = phone.dial(doors.uri(BRIEF, transport))
        phone.wait_for("CALL_CLOSED")
    assert doors.process.wait_for_record(sip_call_id)["end"]["reason"] == "duration_limit"
