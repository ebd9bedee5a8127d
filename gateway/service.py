"""The gateway as one process: endpoint, media, backends, and the switchboard between them.

What stands here is composition. `Service.run` starts everything, answers until it is told to stop, lets running calls
end within the drain time, and leaves nothing behind.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gateway.access import TrunkAccess
from gateway.address import media_host, signalling_host
from gateway.admission import Admission
from gateway.call.archive import RecordArchive
from gateway.call.environment import CallEnvironment
from gateway.carrier import certified_domains
from gateway.collector import spare_the_collector
from gateway.config.model import GatewayConfiguration
from gateway.config.network import RtpSettings
from gateway.config.recording import Layout
from gateway.dialler import Dialler
from gateway.dialling import DialCaps
from gateway.fast import flush_shortcuts, is_compiled, step_shortcuts
from gateway.identity.certificate import TrustList
from gateway.identity.check import IdentityDesk
from gateway.identity.fetch import CertificateSource, HttpsFetcher
from gateway.leg import MediaPlane
from gateway.media_policy import MediaPolicy
from gateway.message_archive import MessageArchive
from gateway.model_supply import ModelSupply, create_supply, say_availability
from gateway.overload.gate import Gate
from gateway.overload.load import LoopLoad
from gateway.overload.pulse import Pulse
from gateway.realtime.session import RealtimeBackend
from gateway.recording_archive import Deliveries, RecordingArchive, RecordingStyle
from gateway.recording_spool import Spool
from gateway.recording_store import S3Store
from gateway.registration import TrunkRegistrations
from gateway.reload import Reload
from gateway.room import create_rooms
from gateway.room_agent import RoomAttendance
from gateway.roster import Roster, create_editions
from gateway.signalling import TOKEN_BYTES, create_agent_configuration, create_listener, create_token
from gateway.silence_watch import MediaTimeouts
from gateway.stream_parameters import formats_of
from gateway.switchboard import Switchboard
from gateway.tools.catalog import ToolCatalog
from gateway.transcoding import prepare
from rtp.clock import MediaClock
from rtp.codec.format import PayloadFormat
from rtp.path import Media
from rtp.socket import MediaSockets, random_port_pool
from sip.agent import UserAgent
from sip.event import AgentEvent
from sip.transport.endpoint import SipEndpoint
from sip.transport.flow import Address
from sip.transport.tls import client_context

# How long a stopping process waits for the answers to its last BYEs: three transmissions of each at T1 of 500 ms. With
# the wait for ACKs before, a process is gone 2 s after the drain time-out; a container's grace is often 10 s in all.
BYE_PATIENCE_SECONDS: Final = 1.6

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What a running gateway holds. Everything returns to its idle value after calls."""

    calls: int
    dialogs: int
    transactions: int
    ports: int
    tasks: int
    sockets: int


@dataclass(frozen=True, slots=True)
class _Running:
    """The parts of a started gateway."""

    agent: UserAgent
    endpoint: SipEndpoint
    clock: MediaClock
    sockets: MediaSockets
    switchboard: Switchboard
    registrations: TrunkRegistrations
    gate: Gate
    pulse: Pulse
    caps: DialCaps
    records: RecordArchive
    reload: Reload | None
    models: ModelSupply
    environment: CallEnvironment
    roster: Roster

    def counters(self) -> dict[str, int]:
        """All that is counted since the start."""
        counters = {**self.agent.counters, **self.switchboard.counters, **self.gate.counters}
        for part in (
            self.records,
            self.caps,
            self.reload,
            self.models,
            self.environment.recordings,
            self.environment.messages,
        ):
            if part is not None:
                counters |= part.counters
        return counters

    def tool_servers(self) -> list[dict[str, object]]:
        """What is known of each server of tools that an agent uses."""
        servers = dict.fromkeys(server for edition in self.roster for server in edition.equipment.servers)
        return [server.state() for server in servers]

    def clock_lag(self) -> dict[str, float]:
        """How late the media clock's steps were since this was asked last, in milliseconds."""
        lag = self.clock.lag
        figures = {"p50_ms": lag.percentile_ms(50), "p99_ms": lag.percentile_ms(99), "max_ms": round(lag.max_ms, 2)}
        turns = float(lag.missed_turns)
        lag.reset()
        return figures | {"missed_turns": turns}

    def state(self) -> ServiceState:
        return ServiceState(
            calls=self.switchboard.call_count,
            dialogs=self.agent.session_count,
            transactions=len(self.agent.transactions),
            ports=self.sockets.open_ports,
            tasks=len(asyncio.all_tasks()),
            sockets=len(self.endpoint.addresses) + 2 * self.sockets.open_ports,
        )


class Service:
    """One gateway process.

    Args:
        configuration: checked by gateway.config.load.
        path: where it was read from, so that its changes can be; None for one that stays as it is.
    """

    def __init__(self, configuration: GatewayConfiguration, path: Path | None = None) -> None:
        self.configuration = configuration
        self._path = path
        self.addresses: tuple[Address, ...] = ()
        self._stopping = asyncio.Event()
        self._running: _Running | None = None

    def stop(self) -> None:
        """Asks `run` to drain and to return."""
        self._stopping.set()

    def reload(self) -> None:
        """Reads the configuration again; what can be taken over holds for calls that begin afterwards."""
        if self._running is not None and self._running.reload is not None:
            self._running.reload.ask()

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Serves until `stop`. `ready` is set once calls are taken.

        Raises (in a group):
            OSError: an address or port cannot be bound.
            EmbeddedError: the embedded server does not start.
        """
        _prepare_codecs(self.configuration)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            running = self._running = await self._start(stack, tasks)
            self.addresses = tuple(running.endpoint.addresses)
            spare_the_collector()
            running.pulse.start()  # now: the work of starting is no sign of load
            addresses = [f"{host}:{port}" for host, port in self.addresses]
            _log.info("ready", extra={"event": "ready", "sip": addresses, "compiled": is_compiled})
            if ready is not None:
                ready.set()
            await self._stopping.wait()
            _log.info("draining", extra={"event": "draining", "calls": running.switchboard.call_count})
            if running.reload is not None:
                running.reload.stop()
            running.registrations.stop()  # before the drain: whoever keeps registrations sends new calls elsewhere
            await running.switchboard.drain(self.configuration.limits.drain_timeout_seconds)
        self._running = None
        _log.info("stopped", extra={"event": "stopped"})

    def state(self) -> ServiceState | None:
        """What is held at this moment; None before the start and after the end."""
        return None if self._running is None else self._running.state()

    def log_state(self) -> None:
        """Writes `state` and every counter into the log, for an operator who asks with SIGUSR1."""
        if (running := self._running) is not None:
            recordings = running.environment.recordings
            _log.info(
                "state",
                extra={
                    "event": "state",
                    **asdict(running.state()),
                    "uploads_waiting": 0 if recordings is None else recordings.uploads_waiting,
                    "counters": running.counters(),
                    "registrations": running.registrations.state(),
                    "tool_servers": running.tool_servers(),
                    "media_clock": running.clock_lag(),
                },
            )

    async def _start(self, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> _Running:
        configuration = self.configuration
        say_availability(configuration)
        loop = asyncio.get_running_loop()
        models = await create_supply(configuration.backends, stack)

        clock, sockets = open_media(configuration.network.rtp, loop, stack)
        public_host = media_host(configuration.network)
        roster = Roster()
        admission = Admission(configuration.trunks, roster)
        overload = configuration.limits.overload
        load = LoopLoad(overload.lag_ms / 1000, overload.occupancy)
        gate = Gate(admission, configuration.trunks, configuration.limits, load)
        pulse = Pulse(load, gate.beat)
        stack.callback(pulse.stop)
        agent = UserAgent(create_agent_configuration(configuration, public_host), token=create_token)

        def on_event(event: AgentEvent) -> None:
            switchboard.on_event(event)

        endpoint = SipEndpoint(
            agent,
            listeners=[
                create_listener(listener, signalling_host(configuration.network, listener))
                for listener in configuration.network.sip
            ],
            on_event=on_event,
            admit=gate.admits,
            sift=gate.sift,
            trust=client_context(configuration.network.tls_ca),
            domains_of=certified_domains,
        )
        catalog = await _muster(configuration, roster, stack)
        records = RecordArchive(configuration.records.directory)
        records.start()
        stack.push_async_callback(asyncio.to_thread, records.close)
        limits = configuration.limits
        timeouts = MediaTimeouts(limits.media_start_timeout_seconds, limits.media_timeout_seconds)
        hosts = frozenset(
            str(one.public_address) for one in configuration.network.sip if one.public_address is not None
        )
        plane = MediaPlane(clock, sockets, public_host, time.monotonic, timeouts, hosts)
        dialler = Dialler(agent, endpoint.perform, plane, DialCaps(limits.dialling, time.monotonic))
        environment = _create_environment(configuration, models.backends, endpoint, dialler, records, stack)
        access = TrunkAccess(configuration.trunks, public_host, secrets.token_bytes(TOKEN_BYTES), time.monotonic)
        identity = _create_identity_desk(configuration, roster, stack)
        rooms = create_rooms(configuration.conferences, clock)
        attendance = RoomAttendance(roster.get, environment, clock, tasks.create_task)
        switchboard = Switchboard(
            admission, plane, environment, configuration.limits, tasks, access, identity, gate, rooms, attendance
        )
        agent.screen = switchboard.screen
        await endpoint.start()
        stack.push_async_callback(endpoint.aclose, BYE_PATIENCE_SECONDS)
        registrations = TrunkRegistrations(agent, endpoint.perform, configuration.trunks, loop.time)
        registrations.start()
        stack.callback(registrations.stop)
        reload: Reload | None = None
        if self._path is not None:
            reload = Reload(self._path, configuration, roster, catalog, models.backends, admission.take_numbers)
            reload.start(tasks)
        return _Running(
            agent,
            endpoint,
            clock,
            sockets,
            switchboard,
            registrations,
            gate,
            pulse,
            dialler.caps,
            records,
            reload,
            models,
            environment,
            roster,
        )


def open_media(
    rtp: RtpSettings, loop: asyncio.AbstractEventLoop, stack: AsyncExitStack
) -> tuple[MediaClock, MediaSockets]:
    """The media clock, and the sockets that it drains: those of calls, and those of models that need no transport."""
    clock = MediaClock(_on_media_fault)
    clock.start(loop)
    stack.callback(clock.stop)
    ports = random_port_pool(rtp.first_port, rtp.last_port)
    # Before the sockets' own hooks: what the callers' packets lead to is written with all else of the step. Where the
    # clock serves nobody no step follows, and the loop must read.
    clock.add_step_hook(lambda _: step_shortcuts(loop, sockets.waits_for_clock and clock.media_count > 0))
    clock.add_flush_hook(lambda: flush_shortcuts(loop))
    sockets = MediaSockets(str(rtp.bind), ports, clock, _on_receiver_fault)
    sockets.start(loop)
    stack.callback(sockets.close)
    return clock, sockets


async def _muster(configuration: GatewayConfiguration, roster: Roster, stack: AsyncExitStack) -> ToolCatalog:
    """Makes the agents and their tools, and waits a while for those that servers have to list."""
    catalog = await stack.enter_async_context(ToolCatalog())
    roster.replace(create_editions(configuration, catalog))
    for edition in roster:
        catalog.connect(edition.equipment)
    await catalog.listed()
    return catalog


def _prepare_codecs(configuration: GatewayConfiguration) -> None:
    """Loads and warms what the trunks' codecs need while nobody can hear the loop stand still, some 10 ms in all."""
    policies = map(MediaPolicy.of, configuration.trunks.values())
    for payload_format in frozenset[PayloadFormat]().union(*map(formats_of, policies)):
        prepare(payload_format)


def _create_environment(
    configuration: GatewayConfiguration,
    backends: Mapping[str, RealtimeBackend],
    endpoint: SipEndpoint,
    dialler: Dialler,
    records: RecordArchive,
    stack: AsyncExitStack,
) -> CallEnvironment:
    deliveries = _create_deliveries(configuration, stack)
    return CallEnvironment(
        perform=endpoint.perform,
        dialler=dialler,
        backends=backends,
        keep=records.keep,
        recordings=_create_archive(configuration, deliveries, stack),
        messages=_create_message_archive(configuration, deliveries, stack),
        setup_timeout_seconds=configuration.limits.setup_timeout_seconds,
        clock=time.monotonic,
        prices={name: backend.prices for name, backend in configuration.backends.items() if backend.prices is not None},
    )


def _create_deliveries(configuration: GatewayConfiguration, stack: AsyncExitStack) -> Deliveries | None:
    """What brings recordings and messages to a store, where recordings are brought."""
    settings = configuration.recording
    if not settings.enabled or settings.upload is None:
        return None
    deliveries = Deliveries(
        Spool(settings.directory),
        S3Store(settings.upload),
        configuration.records.directory,
        keep_local=settings.upload.keep_local,
    )
    deliveries.start()
    stack.push_async_callback(deliveries.aclose)
    return deliveries


def _create_archive(
    configuration: GatewayConfiguration, deliveries: Deliveries | None, stack: AsyncExitStack
) -> RecordingArchive | None:
    settings = configuration.recording
    if not settings.enabled:
        return None
    executor = ThreadPoolExecutor(1, thread_name_prefix="recording")
    stack.callback(executor.shutdown)
    settings.directory.mkdir(parents=True, exist_ok=True)
    key = None if settings.encryption is None else settings.encryption.load()
    style = RecordingStyle(settings.directory, settings.format, settings.layout is Layout.MIXED, key)
    return RecordingArchive(style, executor, deliveries)


def _create_message_archive(
    configuration: GatewayConfiguration, deliveries: Deliveries | None, stack: AsyncExitStack
) -> MessageArchive:
    settings = configuration.recording
    executor = ThreadPoolExecutor(1, thread_name_prefix="message")
    stack.callback(executor.shutdown)
    key = None if settings.encryption is None else settings.encryption.load()
    return MessageArchive(settings.directory, settings.format, executor, key, deliveries)


def _create_identity_desk(configuration: GatewayConfiguration, roster: Roster, stack: AsyncExitStack) -> IdentityDesk:
    settings = configuration.identity
    source = CertificateSource(HttpsFetcher(), time.monotonic)
    stack.push_async_callback(source.aclose)
    trust = TrustList() if settings.trust_list is None else TrustList.load(settings.trust_list)
    return IdentityDesk(trust, source, time.time, settings.timeout_seconds, roster)


def _on_media_fault(media: Media, error: Exception) -> None:
    _log.error("a leg's turn failed; it is served no more", exc_info=error)


def _on_receiver_fault(error: Exception) -> None:
    _log.error("a media packet could not be handled", exc_info=error)
