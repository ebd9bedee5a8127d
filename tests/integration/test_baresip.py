"""Calls from baresip: another family of SIP stack (libre), over every transport, plain and encrypted."""

import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.baresip import TONE_HZ, Baresip, tone_share
from tests.helpers.certificate import CertificateFiles
from tests.helpers.gateway_process import BRIEF, ECHO, UNKNOWN_NUMBER, GatewayProcess, Record
from tests.helpers.sipp import LOOPBACK
from tests.integration.conftest import ReachableGateway

pytestmark = [pytest.mark.peer("baresip"), pytest.mark.process]

TALK_S = 2.0
HOLD_S = 1.1  # the softphone names its recordings by the second
FRAMES_A_SECOND = 50
SETTLING_SAMPLES = 8000  # a second: the echo's way through the gateway and the softphone's jitter buffer
LOUD = 1000


@pytest.mark.parametrize(
    ("transport", "parameters", "suite"),
    [
        ("udp", "", None),
        ("tcp", "", None),
        ("tls", "", None),
        ("udp", ";mediaenc=srtp-mand", "AES_CM_128_HMAC_SHA1_80"),
        ("tls", ";mediaenc=srtp-mand", "AES_CM_128_HMAC_SHA1_80"),
    ],
    ids=["udp", "tcp", "tls", "udp-srtp", "tls-srtp"],
)
def test_tone_comes_back_from_the_echo__rfc3261_18_rfc4568_6(
    gateway: ReachableGateway,
    certificates: CertificateFiles,
    tmp_path: Path,
    transport: str,
    parameters: str,
    suite: str | None,
) -> None:
    phone = Baresip(
        tmp_path,
        transport=transport,
        parameters=parameters,
        authority=certificates.authority,
        bundle=certificates.bundle,
    )
    with phone:
        sip_call_id = phone.dial(gateway.uri(ECHO, transport))
        time.sleep(TALK_S)
        phone.hang_up()

    record = gateway.process.wait_for_record(sip_call_id)
    assert record["end"]["reason"] == "caller_hung_up"
    media = record["media"]
    assert media["codec"] == "PCMU"
    assert media["encrypted"] == suite
    assert media["packets_rx"] >= TALK_S * FRAMES_A_SECOND * 0.8
    assert media["packets_tx"] >= TALK_S * FRAMES_A_SECOND * 0.8
    heard = phone.heard()[SETTLING_SAMPLES:]
    assert np.abs(heard).max(initial=0) > LOUD
    assert tone_share(heard, TONE_HZ) > 0.8, "what comes back is the tone that was sent"


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_bye_of_the_gateway_reaches_the_phone__rfc3261_15_1_1(
    gateway: ReachableGateway, certificates: CertificateFiles, tmp_path: Path, transport: str
) -> None:
    phone = Baresip(tmp_path, transport=transport, authority=certificates.authority, bundle=certificates.bundle)
    with phone:
        sip_call_id = phone.dial(gateway.uri(BRIEF, transport))
        phone.wait_for("CALL_CLOSED")

    assert gateway.process.wait_for_record(sip_call_id)["end"]["reason"] == "duration_limit"


def test_hold_and_resume_keep_the_call__rfc3264_8_4(gateway: ReachableGateway, tmp_path: Path) -> None:
    with Baresip(tmp_path) as phone:
        sip_call_id = phone.dial(gateway.uri(ECHO))
        time.sleep(HOLD_S)
        phone.command("hold")
        time.sleep(HOLD_S)
        phone.command("resume")
        time.sleep(TALK_S)
        phone.hang_up()

    record = gateway.process.wait_for_record(sip_call_id)
    assert record["end"]["reason"] == "caller_hung_up"
    assert "a=recvonly" in phone.console, "a hold is answered with the mirrored direction"
    assert tone_share(phone.heard()[-SETTLING_SAMPLES:], TONE_HZ) > 0.8, "the tone is back after the hold"


def test_unknown_number_is_refused__rfc3261_21_4_5(gateway: ReachableGateway, tmp_path: Path) -> None:
    with Baresip(tmp_path) as phone:
        phone.command("dial", gateway.uri(UNKNOWN_NUMBER))
        assert phone.wait_for("CALL_CLOSED")["param"].startswith("404")


def test_transfer_by_the_phone_is_declined__rfc3515_2_4_2(gateway: ReachableGateway, tmp_path: Path) -> None:
    with Baresip(tmp_path) as phone:
        sip_call_id = phone.dial(gateway.uri(ECHO))
        phone.command("transfer", "sip:+15557778888@premium.example.net")
        refused = gateway.process.wait_for_event("refer_refused")
        record = gateway.process.wait_for_record(sip_call_id)  # this phone gives up a call that it cannot transfer

    assert record["end"]["reason"] == "caller_hung_up"
    assert refused["rule"] == "far ends do not transfer calls"
    assert "SIP/2.0 603" in phone.console


def test_transfer_by_the_phone_is_followed_to_another_phone__rfc3515_2_4(tmp_path: Path) -> None:
    """The conversation goes on with the second phone: it hears its own tone from the echo."""
    desk = Baresip(tmp_path / "desk", parameters=";answermode=auto")

    def adapt(configuration: Record) -> None:
        configuration["trunks"]["loopback"]["refer"] = {"allow": [desk.uri]}

    with GatewayProcess(tmp_path / "gateway", calls=4, adapt=adapt) as gateway:
        with Baresip(tmp_path / "phone") as phone, desk:
            sip_call_id = phone.dial(f"sip:{ECHO}@{LOOPBACK}:{gateway.sip_address[1]}")
            phone.command("transfer", desk.uri)
            desk.wait_for("CALL_ESTABLISHED")
            phone.wait_for("CALL_CLOSED")
            time.sleep(TALK_S)
            desk.hang_up()
        record = gateway.wait_for_record(sip_call_id)

    assert [(transfer["kind"], transfer["status"]) for transfer in record["transfers"]] == [("followed", 200)]
    assert [side["media"]["codec"] for side in record["sides"]] == ["PCMU", "PCMU"]
    assert record["end"]["reason"] == "caller_hung_up"
    assert tone_share(desk.heard()[SETTLING_SAMPLES:], TONE_HZ) > 0.8
