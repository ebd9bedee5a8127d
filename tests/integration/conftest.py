"""A gateway on UDP, TCP and TLS, and the real programs that call it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.certificate import CertificateFiles, make_certificates
from tests.helpers.gateway_process import GatewayProcess, Record
from tests.helpers.peer_process import free_ports, is_installed
from tests.helpers.sipp import LOOPBACK

# Debian's package names, since that is what a reader of the skipped test's line has to install.
PACKAGES = {"sipsak": "sipsak", "baresip": "baresip-core", "kamailio": "kamailio", "sipp": "sip-tester"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "peer(program): needs this program as the other side")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for program in (str(mark.args[0]) for mark in item.iter_markers("peer")):
            if not is_installed(program):
                reason = f"left out: there is no {program} program (Debian: {PACKAGES[program]})"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """An authority that everybody in these tests trusts, and a certificate for 127.0.0.1."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


class ReachableGateway:
    """A running gateway and the URIs under which its numbers are reached."""

    def __init__(self, process: GatewayProcess, tcp_port: int, tls_port: int) -> None:
        self.process = process
        self._ports = {"udp": process.sip_address[1], "tcp": tcp_port, "tls": tls_port}

    def port(self, transport: str) -> int:
        """The port that listens on a transport."""
        return self._ports[transport]

    def uri(self, number: str, transport: str = "udp") -> str:
        """Where to call a number. The transport is left to the caller, whose softphone adds it by itself."""
        return f"sip:{number}@{LOOPBACK}:{self.port(transport)}"


@pytest.fixture(scope="session")
def gateway_for_all(
    tmp_path_factory: pytest.TempPathFactory, certificates: CertificateFiles
) -> Iterator[ReachableGateway]:
    """One gateway for all of these tests; at the end it must stop cleanly."""
    tcp_port, tls_port = free_ports(2)

    def adapt(configuration: Record) -> None:
        network = configuration["network"]
        network["sip"] += [
            {"transport": "tcp", "bind": LOOPBACK, "port": tcp_port},
            {
                "transport": "tls",
                "bind": LOOPBACK,
                "port": tls_port,
                "certificate": str(certificates.certificate),
                "key": str(certificates.key),
            },
        ]
        network["tls_ca"] = str(certificates.authority)

    folder: Path = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, calls=20, adapt=adapt) as process:
        yield ReachableGateway(process, tcp_port, tls_port)


@pytest.fixture
def gateway(gateway_for_all: ReachableGateway) -> Iterator[ReachableGateway]:
    """A gateway that carries nothing when the test begins, and must carry nothing after it."""
    yield gateway_for_all
    gateway_for_all.process.wait_until_state(
        lambda state: all(state[kind] == 0 for kind in ("calls", "dialogs", "ports"))
    )
