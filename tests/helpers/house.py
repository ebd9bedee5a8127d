"""A whole gateway in the test's process, on real sockets of loopback, which must leave nothing behind; and calls to it.

Where the gateway has to be a process of its own: tests/helpers/gateway_process.py.
"""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import CodeType
from typing import Any, Final

from gateway.caller import Caller, PlacedCall
from gateway.config.model import GatewayConfiguration
from gateway.embedded.process import EmbeddedServer
from gateway.media_policy import MediaPolicy
from gateway.service import Service
from tests.fakes.realtime_server import Peer, Script, realtime_server
from tests.helpers.gateway_process import Record, free_rtp_range
from tests.helpers.patience import SETTLE_SECONDS, until
from tests.helpers.sipp import LOOPBACK, free_udp_ports

NUMBER: Final = "1000"
BRIEF: Final = "1001"  # the gateway hangs up after a second
CALLER: Final = "+15552223333"
UNREACHABLE: Final = "ws://127.0.0.1:9"

Adapt = Callable[[Record], None]
"""Changes a configuration before it is checked."""


class House:
    """A running gateway and how to look into it."""

    def __init__(self, service: Service, folder: Path, port: int) -> None:
        self.service = service
        self.folder = folder
        self.port = port
        self.target = self.uri(NUMBER)

    def uri(self, number: str) -> str:
        """Where to call a number."""
        return f"sip:{number}@{LOOPBACK}:{self.port}"

    def records(self) -> list[Record]:
        return [json.loads(path.read_text()) for path in sorted((self.folder / "records").glob("*.json"))]

    async def record(self) -> Record:
        """The one record, once it is written."""
        await until(self.records)
        (record,) = self.records()
        return record

    async def empty(self) -> None:
        """Waits until nothing of any call is held."""
        await until(
            lambda: (state := self.service.state()) and not (state.calls or state.dialogs or state.transactions)
        )
        state = self.service.state()
        assert state is not None
        assert state.ports == 0

    async def settled(self) -> None:
        """Waits until nothing of any call is held, but for refused INVITEs, which timer D keeps for 32 s."""
        await until(lambda: (held := self.service.state()) and not (held.calls or held.dialogs or held.ports))


def house_configuration(folder: Path, url: str, sip_port: int, limits: Mapping[str, object]) -> Record:
    """One trunk, and an agent on two numbers, whose model is at this URL."""
    first_port, last_port = free_rtp_range(4)
    agent: Record = {"backends": ["model"], "instructions": "Be brief.", "greeting": "Hello."}
    return {
        "network": {
            "sip": [{"bind": LOOPBACK, "port": sip_port}],
            "public_address": LOOPBACK,
            "rtp": {"bind": LOOPBACK, "first_port": first_port, "last_port": last_port},
            "sip_timers": {"t1_ms": 20, "t2_ms": 80, "t4_ms": 20},
        },
        "trunks": {"loop": {"allow": [f"{LOOPBACK}/32"], "numbers": {NUMBER: "agent", BRIEF: "brief"}}},
        "agents": {"agent": agent, "brief": {**agent, "max_duration_seconds": 1}},
        "backends": {"model": {"type": "openai", "dialect": "compatible", "url": url, "model": "fake"}},
        "recording": {"enabled": True, "directory": str(folder / "recordings")},
        "records": {"directory": str(folder / "records")},
        "limits": {"drain_timeout_seconds": 0, "overload": {"lag_ms": 1000}, **limits},
    }


@asynccontextmanager
async def house(
    folder: Path, url: str = UNREACHABLE, *, adapt: Adapt = lambda configuration: None, **limits: object
) -> AsyncIterator[House]:
    """Runs a gateway, and holds it to leaving nothing behind when it has stopped."""
    (port,) = free_udp_ports(1)
    tasks_before, descriptors_before = gateway_tasks(), open_descriptors()
    configuration = house_configuration(folder, url, port, limits)
    adapt(configuration)
    service = Service(GatewayConfiguration.model_validate(configuration))
    ready = asyncio.Event()
    running = asyncio.create_task(service.run(ready))
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            await ready.wait()
        yield House(service, folder, port)
    finally:
        service.stop()
        async with asyncio.timeout(SETTLE_SECONDS):
            await running
    assert gateway_tasks() <= tasks_before
    await until(lambda: open_descriptors() <= descriptors_before)


@asynccontextmanager
async def calling(gateway: House, policy: MediaPolicy | None = None) -> AsyncIterator[PlacedCall]:
    """A call that is answered, and hung up on at the end where it is not over; then nothing of it is held."""
    async with Caller(LOOPBACK) as phone:
        call = phone.place(gateway.target, caller=CALLER, policy=policy)
        await call.answered()
        yield call
        if not call.is_over:
            call.hang_up()
        await call.ended()
    await gateway.empty()


@asynccontextmanager
async def called(
    folder: Path, backends: Mapping[str, object], **agent: object
) -> AsyncIterator[tuple[House, PlacedCall]]:
    """A call to an agent with these settings, which has these backends, the first one first."""

    def adapt(configuration: Record) -> None:
        configuration["backends"] = dict(backends)
        settings = {**configuration["agents"]["agent"], "backends": list(backends), **agent}
        configuration["agents"] = {"agent": settings}
        configuration["trunks"]["loop"]["numbers"] = {NUMBER: "agent"}

    async with house(folder, adapt=adapt) as gateway, calling(gateway) as call:
        yield gateway, call


@asynccontextmanager
async def scripted_call(
    folder: Path, script: Script, *, backend: Mapping[str, object] | None = None, **agent: object
) -> AsyncIterator[tuple[House, PlacedCall]]:
    """A call to an agent with these settings, whose model server does as the script says."""
    async with realtime_server(script) as model:
        settings = {"type": "openai", "dialect": "compatible", "url": model.url, "model": "fake", "api_key": "key"}
        async with called(folder, {"model": {**settings, **(backend or {})}}, **agent) as (gateway, call):
            yield gateway, call


def embedded_backend(server: EmbeddedServer, model: str = "embedded-talk") -> Record:
    """A backend whose model is a server of ours, reached as any other."""
    return {"type": "openai", "dialect": "compatible", "url": server.url, "model": model}


async def obliging(peer: Peer) -> None:
    """A model that takes everything and says nothing."""
    await peer.greet()
    await peer.drain()


def gateway_tasks() -> set[asyncio.Task[Any]]:
    """The tasks that run, without those of the fake model server's library."""
    return {task for task in asyncio.all_tasks() if "/websockets/" not in inspect.getfile(code_of(task))}


def code_of(task: asyncio.Task[Any]) -> CodeType:
    code: CodeType = task.get_coro().cr_code  # type: ignore[union-attr]
    return code


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
