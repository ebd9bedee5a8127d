"""A gateway process on one address, IPv4 or IPv6, with a listener for UDP and one for TCP."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.gateway_process import GatewayProcess, Record
from tests.helpers.peer_process import free_ports
from tests.helpers.sipp import free_udp_ports


@dataclass(frozen=True)
class Doors:
    """The running process, and the ports by transport."""

    process: GatewayProcess
    host: str
    ports: dict[str, int]

    def uri(self, number: str, transport: str) -> str:
        """Where to call a number."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sip:{number}@{host}:{self.ports[transport]}"


@contextmanager
def open_doors(folder: Path, host: str) -> Iterator[Doors]:
    """Runs the gateway; at the end it must stop cleanly."""
    ports = {"udp": free_udp_ports(1, host)[0], "tcp": free_ports(1)[0]}

    def adapt(configuration: Record) -> None:
        network = configuration["network"]
        network["sip"] = [{"transport": kind, "bind": host, "port": port} for kind, port in ports.items()]
        network["public_address"] = network["rtp"]["bind"] = host
        configuration["trunks"]["loopback"]["allow"] = [host]

    with GatewayProcess(folder, calls=20, adapt=adapt) as process:
        yield Doors(process, host, ports)
