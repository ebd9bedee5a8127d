"""Room: a conference with a name, in which callers meet who dialled its numbers.

What a seat may do follows from its number: who is heard by whom is worked out anew whenever somebody comes or goes.
"""

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.announcement import AnnouncementLibrary, SampleLoop
from gateway.bridge import Recorder
from gateway.conference import Clock, Conference, ConferenceLeg, Seat
from gateway.config.conference import LEAST_GAIN_DB, MOST_GAIN_DB, ConferenceSettings, Role, SeatSettings
from gateway.config.trunk import TrunkSettings
from gateway.errors import GatewayError
from rtp.mixing_port import PCM_16K

AGENT: Final = "agent"
"""Whose name no call has: these are hexadecimal."""
MUSIC: Final = "sound:music"
_SOUND_HZ: Final = 16_000

_log = logging.getLogger(__name__)


class RoomFullError(GatewayError):
    """The room has no seat left."""

    label = "room_full"


@dataclass(frozen=True, slots=True)
class RoomSounds:
    """What is played in a room, as samples at 16 kHz; None: nothing."""

    join: bytes | None = None
    leave: bytes | None = None
    music: bytes | None = None

    @classmethod
    def load(cls, settings: ConferenceSettings, library: AnnouncementLibrary) -> "RoomSounds":
        """Reads the files; blocks. Raises AnnouncementError."""
        files = (settings.join_announcement, settings.leave_announcement, settings.music)
        return cls(*(None if file is None else library.payload(file, PCM_16K) for file in files))


@dataclass(slots=True)
class _Member:
    seat: SeatSettings
    on_digit: Callable[[str, int], None]
    recorder: Recorder | None
    gain_db: float
    is_muted: bool
    is_aside: bool
    """What is said is for hosts and coaches alone."""

    @classmethod
    def of(cls, seat: SeatSettings, on_digit: Callable[[str, int], None], recorder: Recorder | None) -> "_Member":
        """As the number has it; keys change it."""
        role = seat.role
        return cls(seat, on_digit, recorder, seat.gain_db, role is Role.LISTENER, role is Role.COACH)


class Dismissible(Protocol):
    """gateway.room_agent.RoomAgent, as far as a room knows it."""

    def dismiss(self) -> None:
        """The last caller has gone."""

    @property
    def is_leaving(self) -> bool:
        """Whether it has not gone yet, and will."""


class Room:
    """One room. It costs nothing while nobody is in it.

    Args:
        name: from the configuration.
        settings: of the room.
        sounds: what is played in it.
        clock: the process's media clock.
    """

    def __init__(self, name: str, settings: ConferenceSettings, sounds: RoomSounds, clock: Clock) -> None:
        self.name = name
        self.settings = settings
        self._sounds = sounds
        self._conference = Conference(clock)
        self._members: dict[str, _Member] = {}
        self._numbers = itertools.count(1)
        self.agent: Dismissible | None = None
        """The agent that sits in it, or is on its way."""

    @property
    def is_full(self) -> bool:
        """Whether one more would be too many. An agent takes no seat from anybody."""
        return self.callers >= self.settings.legs

    @property
    def callers(self) -> int:
        """How many are in it, the agent not counted."""
        return sum(name != AGENT for name in self._members)

    def join(
        self,
        name: str,
        leg: ConferenceLeg,
        seat: SeatSettings,
        on_digit: Callable[[str, int], None] = lambda digit, duration_ms: None,
        recorder: Recorder | None = None,
    ) -> Seat:
        """Lets somebody in; the leg is then to hear and speak through the seat, in `seat_format` both ways.

        Args:
            name: unique in the room.
            leg: what it speaks with.
            seat: what it may do.
            on_digit: is told its keys.
            recorder: takes what it says and what it hears.

        Raises:
            RoomFullError: there is no seat left.
        """
        is_caller = name != AGENT
        if is_caller and self.is_full:
            raise RoomFullError(f"The conference {self.name!r} has {self.settings.legs} callers already")
        taken = self._conference.join(name, leg, leg.payload_format, on_digit, recorder)
        self._members[name] = _Member.of(seat, on_digit, recorder)
        self._arrange()
        if is_caller:
            self._announce(self._sounds.join)
        _log.info("conference joined", extra={"event": "joined", "conference": self.name, "seats": self.callers})
        return taken

    def reseat(self, name: str, leg: ConferenceLeg) -> Seat:
        """Another seat of the same kind for a leg that speaks another codec now. Nobody else notices."""
        member = self._members[name]
        self._conference.leave(name)
        taken = self._conference.join(name, leg, leg.payload_format, member.on_digit, member.recorder)
        self._arrange()
        return taken

    def leave(self, name: str) -> None:
        """Lets somebody go. Idempotent."""
        if self._members.pop(name, None) is None:
            return
        self._conference.leave(name)
        self._arrange()
        if name != AGENT:
            self._announce(self._sounds.leave)
        if self.agent is not None and not self.callers:
            self.agent.dismiss()
        _log.info("conference left", extra={"event": "left", "conference": self.name, "seats": self.callers})

    def toggle_mute(self, name: str) -> bool:
        """Mutes or unmutes somebody; whether nobody hears them now. A listener stays one."""
        member = self._members[name]
        if member.seat.role is not Role.LISTENER:
            member.is_muted = not member.is_muted
            self._conference.mixer.mute(name, member.is_muted)
        return member.is_muted

    def toggle_aside(self, name: str) -> bool:
        """Lets a coach speak to everybody, or a host to hosts and coaches alone, and back; whether not all hear them.

        Nobody else has whom to whisper to: of a speaker and a listener it changes nothing.
        """
        member = self._members[name]
        if member.seat.role in {Role.HOST, Role.COACH}:
            member.is_aside = not member.is_aside
            self._arrange_voices()
        return member.is_aside

    def change_gain(self, name: str, change_db: float) -> float:
        """Makes somebody louder or softer for the others, within what a number may have; by how much in all, in dB."""
        member = self._members[name]
        member.gain_db = min(max(member.gain_db + change_db, LEAST_GAIN_DB), MOST_GAIN_DB)
        self._arrange_voices()
        return member.gain_db

    def _arrange(self) -> None:
        """Who is heard by whom, and whether anybody sits alone with the music."""
        mixer = self._conference.mixer
        self._arrange_voices()
        if self._sounds.music is not None:
            if len(self._members) == 1:
                mixer.play(MUSIC, SampleLoop(self._sounds.music, _SOUND_HZ, is_endless=True))
            else:
                mixer.stop(MUSIC)

    def _arrange_voices(self) -> None:
        mixer = self._conference.mixer
        for name, member in self._members.items():
            mixer.set_gain(name, 10 ** (member.gain_db / 20))
            mixer.mute(name, member.is_muted)
            mixer.whisper(name, self._confidants(member) if member.is_aside else None)

    def _confidants(self, member: _Member) -> list[str]:
        """Whom somebody speaks to who speaks aside: a coach to hosts, a host to coaches and the other hosts."""
        roles = {Role.HOST} if member.seat.role is Role.COACH else {Role.HOST, Role.COACH}
        return [name for name, other in self._members.items() if other.seat.role in roles]

    def _announce(self, sound: bytes | None) -> None:
        if sound is not None and self._members:
            self._conference.mixer.play(f"sound:{next(self._numbers)}", SampleLoop(sound, _SOUND_HZ))


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """How somebody comes into a room."""

    trunk_name: str
    trunk: TrunkSettings
    room: Room
    seat: SeatSettings
    dialled: str
    caller: str


class Rooms:
    """All rooms of a process, and the numbers that lead into them."""

    def __init__(self, rooms: Iterable[Room] = ()) -> None:
        self._doors: dict[tuple[str | None, str], tuple[Room, SeatSettings]] = {
            (seat.trunk, seat.number): (room, seat) for room in rooms for seat in room.settings.seats
        }

    def find(self, trunk_name: str, candidates: Iterable[str]) -> tuple[Room, SeatSettings, str] | None:
        """The room, the seat and the number that was dialled; None where it leads to no room."""
        if not self._doors:
            return None
        for candidate in candidates:
            for number in (candidate, f"+{candidate}"):
                for trunk in (trunk_name, None):
                    if (door := self._doors.get((trunk, number))) is not None:
                        return *door, candidate
        return None


def create_rooms(conferences: Mapping[str, ConferenceSettings], clock: Clock) -> Rooms:
    """The rooms of a configuration; reads their sounds, which blocks. Raises AnnouncementError."""
    library = AnnouncementLibrary()
    return Rooms(
        [Room(name, settings, RoomSounds.load(settings, library), clock) for name, settings in conferences.items()]
    )
