"""`trunkline call` against the real gateway process: what it hears and what it says of the call."""

import re
import subprocess
import sys
import wave
from pathlib import Path

from tests.helpers.gateway_process import TALK, GatewayProcess, Record
from tests.helpers.sipp import LOOPBACK

# An address of the loopback network that the gateway tells and does not send from: what a machine with an interface of
# its own does when it is called by 127.0.0.1.
TOLD_ADDRESS = "127.0.0.2"


def tell_another_address(configuration: Record) -> None:
    network = configuration["network"]
    network["sip"][0]["public_address"] = LOOPBACK
    network["public_address"] = TOLD_ADDRESS
    network["rtp"]["bind"] = "0.0.0.0"  # as the shipped configuration has it


def test_a_call_is_heard_and_counted_though_media_comes_from_another_address_than_was_told(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    with GatewayProcess(tmp_path, adapt=tell_another_address) as gateway:
        host, port = gateway.sip_address
        target = f"sip:{TALK}@{host}:{port}"
        options = ("--bind", host, "--duration", "2", "--record", str(heard))
        run = subprocess.run(
            [sys.executable, "-m", "gateway", "call", target, *options],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert run.returncode == 0, run.stderr
    counts = re.search(r"received (\d+) packets \(\d+ lost\), sent (\d+)", run.stdout)
    assert counts is not None
    assert int(counts[1]) > 0
    assert int(counts[2]) > 0
    with wave.open(str(heard)) as recording:
        assert any(recording.readframes(recording.getnframes()))
