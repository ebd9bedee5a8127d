"""Rules about what callers hear and what is kept of it: sound files, conferences, recordings."""

from collections.abc import Iterator
from pathlib import Path

from gateway.config.availability import S3_IS_MISSING, has_s3
from gateway.config.conference import ConferenceSettings
from gateway.config.errors import FaultLevel
from gateway.config.finding import Finding, Subject
from gateway.config.source import TreePath
from gateway.config.tool import BuiltInTool
from gateway.config.value import suggestion
from gateway.recording_seal import SealError


def files_can_be_played(subject: Subject) -> Iterator[Finding]:
    """Who may play files names some, and they are there."""
    for name, agent in subject.configuration.agents.items():
        path = ("agents", name)
        tools = agent.built_in_tools
        if BuiltInTool.HOLD_CALLER in tools and agent.hold is None:
            yield Finding((*path, "built_in_tools"), "hold_caller needs music; name a file under hold")
        if BuiltInTool.PLAY_ANNOUNCEMENT in tools and not agent.announcements:
            yield Finding((*path, "built_in_tools"), "play_announcement needs files; list them under announcements")
        if agent.announcements and BuiltInTool.PLAY_ANNOUNCEMENT not in tools:
            reason = "has no effect without play_announcement among the agent's built_in_tools"
            yield Finding((*path, "announcements"), reason, FaultLevel.WARNING, at_key=True)
        files: dict[TreePath, Path] = {
            (*path, "announcements", key, "file"): one.file for key, one in agent.announcements.items()
        }
        if agent.hold is not None:
            files[(*path, "hold", "music")] = agent.hold.music
        yield from (Finding(key, f"there is no file {file}") for key, file in files.items() if not file.is_file())


def rooms_have_doors_of_their_own(subject: Subject) -> Iterator[Finding]:
    """A number leads into one room and to no agent, on a trunk that exists, and an agent in a room exists too."""
    doors: dict[tuple[str, str], str] = {}
    trunks = subject.configuration.trunks
    for name, room in subject.configuration.conferences.items():
        if room.agent is not None and subject.agent_names is not None and room.agent not in subject.agent_names:
            reason = f"there is no agent {room.agent!r}{suggestion(room.agent, subject.agent_names)}"
            yield Finding(("conferences", name, "agent"), reason)
        for key in ("join_announcement", "leave_announcement", "music"):
            file: Path | None = getattr(room, key)
            if file is not None and not file.is_file():
                yield Finding(("conferences", name, key), f"there is no file {file}")
        for index, seat in enumerate(room.seats):
            path = ("conferences", name, "seats", index)
            if seat.trunk is not None and seat.trunk not in trunks:
                yield Finding((*path, "trunk"), f"there is no trunk {seat.trunk!r}{suggestion(seat.trunk, trunks)}")
            for trunk in trunks if seat.trunk is None else (seat.trunk,):
                owner = doors.setdefault((trunk, seat.number), f"the conference {name!r}")
                if trunk in trunks and seat.number in trunks[trunk].numbers:
                    owner = f"the agent {trunks[trunk].numbers[seat.number]!r}"
                elif owner == f"the conference {name!r}" and not _is_repeated(room, index):
                    continue
                yield Finding((*path, "number"), f"leads to {owner} already, on the trunk {trunk!r}")
                break


def _is_repeated(room: ConferenceSettings, index: int) -> bool:
    """Whether a seat of the room has the number of one before it."""
    seat = room.seats[index]
    return any(
        one.number == seat.number and (one.trunk is None or seat.trunk is None or one.trunk == seat.trunk)
        for one in room.seats[:index]
    )


def recordings_can_be_kept(subject: Subject) -> Iterator[Finding]:
    """What a recording needs is there before the first call, and has an effect."""
    settings = subject.configuration.recording
    if settings.upload is not None and not has_s3():
        yield Finding(("recording", "upload"), S3_IS_MISSING)
    if settings.encryption is not None:
        try:
            settings.encryption.load()
        except SealError as error:
            yield Finding(("recording", "encryption"), str(error))
    endpoint = "" if settings.upload is None else settings.upload.endpoint or ""
    if endpoint.startswith("http:") and settings.encryption is None:
        reason = "recordings would go over the network in the clear; use https, or seal them with recording.encryption"
        yield Finding(("recording", "upload", "endpoint"), reason, FaultLevel.WARNING)
    for name, section in (("encryption", settings.encryption), ("upload", settings.upload)):
        if section is not None and not settings.enabled:
            reason = "has no effect, since recording.enabled is false"
            yield Finding(("recording", name), reason, FaultLevel.WARNING, at_key=True)
