"""The whole configuration as one frozen value. Each section has its own module; this is where they meet."""

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gateway.config.agent import AgentSettings
from gateway.config.backend import BackendSettings
from gateway.config.conference import ConferenceSettings
from gateway.config.dialling import DiallingSettings
from gateway.config.identity import IdentitySettings
from gateway.config.network import NetworkSettings
from gateway.config.overload import OverloadSettings
from gateway.config.recording import RecordingSettings
from gateway.config.tool import ToolName, ToolSettings
from gateway.config.trunk import TrunkSettings
from gateway.config.value import InputPath, Name, OutputPath, Settings


class LogLevel(enum.StrEnum):
    """From which weight on a line is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """What a log line looks like."""

    JSON = "json"
    CONSOLE = "console"


class RecordsSettings(Settings):
    """Call records: one is written for every call, whatever happened to it."""

    directory: OutputPath = Path("records")
    """Folder for the call records, one JSON file a call; relative to the working directory."""


class LimitsSettings(Settings):
    """What the gateway takes on at most. What is over is refused with 503, and the carrier goes elsewhere."""

    calls: Annotated[int, Field(ge=1, le=10000)] = 100
    """Most calls at once, on all trunks together."""
    setup_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 6.0
    """Longest time from the INVITE until the agent is ready to be heard; then the call is refused. Carriers give up on
    a gateway that rings and does not answer, so this stays well below 8 s."""
    media_start_timeout_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Longest wait for the caller's first audio after the answer; then the call is ended. 0: for ever."""
    media_timeout_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """Longest time without a packet in mid-call, except on hold; then the call is ended. 0: for ever."""
    drain_timeout_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """How long running calls may go on when the gateway is told to stop; then they are ended with BYE, the ones whose
    200 was never acknowledged too, and 2 s later the process is gone: give it that much more before it is killed."""
    dialling: DiallingSettings = DiallingSettings()
    """How much may be dialled in a minute."""
    overload: OverloadSettings = OverloadSettings()
    """What holds when somebody, by fault or by intent, sends too much."""


class LoggingSettings(Settings):
    """What is logged, and how."""

    level: LogLevel = LogLevel.INFO
    """From which weight on lines are logged."""
    format: LogFormat = LogFormat.JSON
    """`json` for machines, `console` for people."""
    personal: bool = False
    """Whether numbers, spoken words, digits and tool arguments stand in the log in clear."""


class GatewayConfiguration(Settings):
    """A gateway: where it listens, who may call, who answers, and on which model."""

    network: NetworkSettings = NetworkSettings()
    """Where the gateway listens, and the address that it gives to others."""
    trunks: Mapping[Name, TrunkSettings] = Field(default={}, json_schema_extra={"minProperties": 1})
    """Carriers and PBXes that send calls, by a name of your choice."""
    agents: Mapping[Name, AgentSettings] = {}
    """Agents that answer, by a name of your choice. Agents can also stand in files of their own: `agents_directory`."""
    agents_directory: InputPath | None = None
    """Folder in which each YAML file is one agent, named after the file; relative to this file."""
    agents_watch_seconds: Annotated[float, Field(ge=0, le=3600)] = 2.0
    """How often this file and the agents' files are looked at for changes, which then hold for new calls; 0: never.
    SIGHUP reads them again at any time. A file with faults changes nothing."""
    tools: Mapping[ToolName, ToolSettings] = {}
    """Tools for several agents, by name: those that an agent lists under `shared_tools`."""
    conferences: Mapping[Name, ConferenceSettings] = {}
    """Rooms in which callers meet, by a name of your choice."""
    backends: Mapping[Name, BackendSettings] = Field(default={}, json_schema_extra={"minProperties": 1})
    """Model services, by a name of your choice."""
    identity: IdentitySettings = IdentitySettings()
    """What all trunks share that verify callers' numbers."""
    recording: RecordingSettings = RecordingSettings()
    """Recordings of calls."""
    records: RecordsSettings = RecordsSettings()
    """Call records."""
    limits: LimitsSettings = LimitsSettings()
    """What the gateway takes on at most."""
    logging: LoggingSettings = LoggingSettings()
    """What is logged, and how."""
