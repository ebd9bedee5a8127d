"""What the process gives to its calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.announcement import AnnouncementLibrary
from gateway.call.record import CallRecord
from gateway.config.price import PriceSettings
from gateway.dialler import Dialler
from gateway.message_archive import MessageArchive
from gateway.realtime.session import RealtimeBackend
from gateway.recording_archive import RecordingArchive

# Runs a method of a SIP session at the endpoint's `now` and sends what comes of it.
Perform = Callable[..., None]


@dataclass(frozen=True, slots=True)
class CallEnvironment:
    """What every call of a process has in common: SIP, backends, folders, clock, tools."""

    perform: Perform
    dialler: Dialler
    backends: Mapping[str, RealtimeBackend]
    keep: Callable[[CallRecord], None]
    recordings: RecordingArchive | None
    setup_timeout_seconds: float
    clock: Callable[[], float]
    prices: Mapping[str, PriceSettings] = field(default_factory=dict)
    announcements: AnnouncementLibrary = field(default_factory=AnnouncementLibrary)
    messages: MessageArchive | None = None
