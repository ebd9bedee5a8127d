"""OPTIONS from sipsak, as monitoring scripts send them."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.gateway_process import ECHO
from tests.helpers.peer_process import SEARCH_PATH
from tests.helpers.sipp import LOOPBACK, free_udp_ports
from tests.integration.conftest import ReachableGateway

pytestmark = [pytest.mark.peer("sipsak"), pytest.mark.process]

ANSWERED_WITHIN_S = 10


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_options_are_answered_with_what_we_can__rfc3261_11_2(
    gateway: ReachableGateway, tmp_path: Path, transport: str
) -> None:
    (local_port,) = free_udp_ports(1)
    command = [
        "sipsak",
        "-vvv",
        "-H",
        LOOPBACK,
        "-l",
        str(local_port),
        "-E",
        transport,
        "-s",
        gateway.uri(ECHO, transport),
    ]
    outcome = subprocess.run(
        command, cwd=tmp_path, env={"PATH": SEARCH_PATH}, capture_output=True, text=True,
        timeout=ANSWERED_WITHIN_S, check=False,
    )  # fmt: skip

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    answer = outcome.stdout.partition("SIP/2.0 200 OK")[2]
    fields = {line.partition(":")[0] for line in answer.splitlines()}
    assert {"Allow", "Accept", "Accept-Encoding", "Supported"} <= fields
