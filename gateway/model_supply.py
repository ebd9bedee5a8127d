"""The models that one process can use: its backends, and what runs for them, embedded servers and warm sockets."""

import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from gateway.backends.catalog import create_backend
from gateway.backends.openai.backend import OpenAiBackend
from gateway.backends.warm import WarmPool
from gateway.config.availability import availability, obstacle
from gateway.config.backend import BackendValue, EmbeddedSettings, OpenAiSettings
from gateway.config.model import GatewayConfiguration
from gateway.embedded.process import EmbeddedServer
from gateway.realtime.session import RealtimeBackend

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSupply:
    """The backends that can be used, by their names in the configuration, and the pools of their warm sockets."""

    backends: Mapping[str, RealtimeBackend]
    pools: tuple[WarmPool, ...]

    @property
    def counters(self) -> Counter[str]:
        """What the pools have counted."""
        return sum((pool.counters for pool in self.pools), Counter())


async def create_supply(settings: Mapping[str, BackendValue], stack: AsyncExitStack) -> ModelSupply:
    """Makes the backends, and starts one embedded server for each script that is in use. The stack ends all.

    Raises:
        EmbeddedError: an embedded server does not start.
    """
    servers: dict[Path | None, EmbeddedServer] = {}
    backends: dict[str, RealtimeBackend] = {}
    pools: list[WarmPool] = []
    for name, one in settings.items():
        if obstacle(one) is not None:
            continue
        url = ""
        if isinstance(one, EmbeddedSettings):
            server = servers.get(one.script)
            if server is None:
                server = servers[one.script] = EmbeddedServer(script=one.script)
                await stack.enter_async_context(server)
            url = server.url
        backend = backends[name] = create_backend(name, one, embedded_url=url)
        if isinstance(one, OpenAiSettings | EmbeddedSettings) and isinstance(backend, OpenAiBackend):
            pool = backend.keep_warm(one.warm) if one.warm else None
            if pool is not None:
                pool.start()
                stack.push_async_callback(pool.aclose)
                pools.append(pool)
    return ModelSupply(backends, tuple(pools))


def say_availability(configuration: GatewayConfiguration) -> None:
    """Logs which agent speaks with which backend, and which of its backends cannot be used."""
    for name, agent in availability(configuration).items():
        for backend in agent.unavailable:
            _log.warning(
                "backend not available", extra={"agent": name, "backend": backend.name, "reason": backend.reason}
            )
        if agent.usable:
            _log.info("agent", extra={"agent": name, "backend": agent.usable[0]})
        else:
            _log.error("agent has no backend: its calls are refused with 503", extra={"agent": name})
