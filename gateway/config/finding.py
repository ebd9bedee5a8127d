"""What rules judge, and what they say."""

from dataclasses import dataclass

from gateway.config.errors import FaultLevel
from gateway.config.model import GatewayConfiguration
from gateway.config.source import TreePath


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule. `at_key` places it at the key rather than at the value."""

    path: TreePath
    reason: str
    level: FaultLevel = FaultLevel.ERROR
    at_key: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged, and what is known beside it."""

    configuration: GatewayConfiguration
    agent_names: frozenset[str] | None  # None where the section is no mapping, so that nothing can be said of names
    backend_names: frozenset[str] | None
    ephemeral_ports: tuple[int, int] | None  # first and last; None where the kernel does not say
