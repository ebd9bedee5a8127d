"""Rooms: who hears whom follows from the numbers that were dialled."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.conference import Seat
from gateway.config.conference import ConferenceSettings, Role, SeatSettings
from gateway.room import Room, RoomFullError, Rooms, RoomSounds
from rtp.codec.format import G722, PCMU, PayloadFormat
from rtp.codec.g711 import decode_ulaw, encode_ulaw
from rtp.path import Media

STEP_S = 0.02


class Clock:
    def __init__(self) -> None:
        self.media: list[Media] = []

    def register(self, media: Media, period_ms: int) -> None:
        self.media.append(media)

    def unregister(self, media: Media) -> None:
        self.media.remove(media)


class Leg:
    """Keeps what it is to say, and has nothing waiting."""

    audio_arrived_at = 0.0

    def __init__(self, payload_format: PayloadFormat = PCMU) -> None:
        self.payload_format = payload_format
        self.queued_ms = 0
        self.said = b""

    def enqueue(self, item_id: str, audio: bytes) -> None:
        self.said += audio

    def finish(self, item_id: str) -> None:
        """Nothing waits."""

    def hurry(self) -> None:
        """Nothing waits anywhere."""

    def loudest(self) -> int:
        """Of the last 200 ms."""
        return int(np.abs(decode_ulaw(self.said[-1600:]).astype(np.int32)).max(initial=0))


class Scene:
    """A room whose time is told."""

    def __init__(self, sounds: RoomSounds = RoomSounds(), legs: int = 8) -> None:  # noqa: B008 - it is frozen
        self.now = 0.0
        self.clock = Clock()
        settings = ConferenceSettings(seats=(seat(),), legs=legs)
        self.room = Room("stage", settings, sounds, self.clock)

    def speak(self, *names: str, level: int = 4000) -> None:
        """Half a second in which these speak and the others are silent."""
        words = encode_ulaw(np.tile(np.array([level, -level], np.int16), 80))
        for _ in range(25):
            for name, place in self.seats.items():
                place.on_audio(words if name in names else b"\xff" * 160, False)
            for media in list(self.clock.media):
                media.tick(self.now)
            self.now += STEP_S
            Leg.audio_arrived_at = self.now

    seats: dict[str, Seat]


def seat(role: Role = Role.SPEAKER, gain_db: float = 0, number: str = "3000", trunk: str | None = None) -> SeatSettings:
    return SeatSettings(number=number, role=role, gain_db=gain_db, trunk=trunk)


def hears(scene: Scene, legs: dict[str, Leg]) -> dict[str, set[str]]:
    """Who hears whom, each of them speaking by itself."""
    heard: dict[str, set[str]] = {name: set() for name in legs}
    for speaker in legs:
        scene.speak(speaker)
        for name, leg in legs.items():
            if leg.loudest() > 1000:
                heard[name].add(speaker)
        scene.speak()
        scene.speak()
    return heard


def filled(**roles: Role) -> tuple[Scene, dict[str, Leg]]:
    scene, legs = Scene(), {name: Leg() for name in roles}
    scene.seats = {name: scene.room.join(name, legs[name], seat(role)) for name, role in roles.items()}
    return scene, legs


def test_roles_decide_who_hears_whom() -> None:
    scene, legs = filled(host=Role.HOST, guest=Role.SPEAKER, coach=Role.COACH, silent=Role.LISTENER)
    assert hears(scene, legs) == {
        "host": {"guest", "coach"},
        "guest": {"host"},
        "coach": {"host", "guest"},
        "silent": {"host", "guest"},
    }


def test_a_coach_is_heard_by_nobody_while_there_is_no_host_and_by_one_who_comes_later() -> None:
    scene, legs = filled(guest=Role.SPEAKER, coach=Role.COACH)
    assert hears(scene, legs)["guest"] == set()
    legs["host"] = Leg()
    scene.seats["host"] = scene.room.join("host", legs["host"], seat(Role.HOST))
    assert hears(scene, legs)["host"] == {"guest", "coach"}
    scene.room.leave("host")


def test_muting_by_oneself_does_not_unmute_a_listener() -> None:
    scene, legs = filled(guest=Role.SPEAKER, silent=Role.LISTENER)
    assert scene.room.toggle_mute("guest")
    assert scene.room.toggle_mute("silent")
    assert hears(scene, legs) == {"guest": set(), "silent": set()}
    assert not scene.room.toggle_mute("guest")
    assert hears(scene, legs) == {"guest": set(), "silent": {"guest"}}


def test_a_coach_speaks_up_and_whispers_again() -> None:
    scene, legs = filled(host=Role.HOST, guest=Role.SPEAKER, coach=Role.COACH)
    assert not scene.room.toggle_aside("coach")
    assert hears(scene, legs)["guest"] == {"host", "coach"}
    assert scene.room.toggle_aside("coach")
    assert hears(scene, legs)["guest"] == {"host"}


def test_a_host_speaks_aside_to_coaches_and_hosts_also_to_those_who_come_later() -> None:
    scene, legs = filled(host=Role.HOST, guest=Role.SPEAKER, silent=Role.LISTENER)
    assert scene.room.toggle_aside("host")
    for name, role in (("coach", Role.COACH), ("second", Role.HOST)):
        legs[name] = Leg()
        scene.seats[name] = scene.room.join(name, legs[name], seat(role))
    heard = hears(scene, legs)
    assert [name for name in legs if "host" in heard[name]] == ["coach", "second"]
    assert heard["host"] == {"guest", "coach", "second"}
    assert not scene.room.toggle_aside("host")
    assert "host" in hears(scene, legs)["silent"]


def test_who_has_nobody_to_whisper_to_is_heard_as_before() -> None:
    scene, legs = filled(guest=Role.SPEAKER, other=Role.SPEAKER, silent=Role.LISTENER)
    assert not scene.room.toggle_aside("guest")
    assert not scene.room.toggle_aside("silent")
    assert hears(scene, legs) == {"guest": {"other"}, "other": {"guest"}, "silent": {"guest", "other"}}


def test_one_s_loudness_is_changed_within_what_a_number_may_have_and_kept_with_another_codec() -> None:
    scene, legs = filled(guest=Role.SPEAKER, other=Role.SPEAKER)
    scene.speak("guest", level=1000)
    assert legs["other"].loudest() == pytest.approx(1000, rel=0.05)
    assert scene.room.change_gain("guest", 6) == 6
    scene.speak("guest", level=1000)
    assert legs["other"].loudest() == pytest.approx(2000, rel=0.05)
    scene.room.reseat("guest", legs["guest"])
    scene.speak("guest", level=1000)
    assert legs["other"].loudest() == pytest.approx(2000, rel=0.05)
    assert [scene.room.change_gain("guest", change) for change in (9, 3, -30, -3)] == [12, 12, -18, -20]


def test_another_codec_is_another_seat_of_the_same_kind() -> None:
    scene, legs = filled(guest=Role.SPEAKER, silent=Role.LISTENER)
    scene.room.toggle_mute("guest")
    legs["guest"].payload_format = G722
    scene.room.reseat("guest", legs["guest"])
    assert scene.room.callers == 2
    scene.room.toggle_mute("guest")
    assert not scene.room._members["guest"].is_muted
    assert scene.room._conference.mixer._ports["guest"].rate_hz == 16_000


def test_a_full_room_takes_nobody_and_goes_on() -> None:
    scene = Scene(legs=2)
    scene.room.join("a", Leg(), seat())
    scene.room.join("b", Leg(), seat())
    with pytest.raises(RoomFullError, match="'stage' has 2 callers"):
        scene.room.join("c", Leg(), seat())
    scene.room.leave("a")
    scene.room.join("c", Leg(), seat())
    assert scene.room.callers == 2


def test_an_empty_room_takes_no_turns() -> None:
    scene = Scene()
    scene.room.join("a", Leg(), seat())
    assert len(scene.clock.media) == 1
    scene.room.leave("a")
    scene.room.leave("a")
    assert scene.clock.media == []


def sound(level: int, milliseconds: int = 100) -> bytes:
    samples: NDArray[np.int16] = np.tile(np.array([level, level, -level, -level], np.int16), 4 * milliseconds)
    return samples.tobytes()


def test_music_is_for_one_alone() -> None:
    scene, leg = Scene(RoomSounds(music=sound(3000))), Leg()
    scene.seats = {"a": scene.room.join("a", leg, seat())}
    scene.speak()
    assert leg.loudest() > 1000
    scene.room.join("b", Leg(), seat())
    scene.speak()
    scene.speak()
    assert leg.loudest() < 100
    scene.room.leave("b")
    scene.speak()
    assert leg.loudest() > 1000


def test_coming_and_going_are_announced_to_everybody_once() -> None:
    scene, first, second = Scene(RoomSounds(join=sound(3000), leave=sound(6000))), Leg(), Leg()
    scene.seats = {"a": scene.room.join("a", first, seat())}
    scene.speak()
    scene.speak()
    assert first.loudest() < 100
    scene.seats["b"] = scene.room.join("b", second, seat())
    first.said = second.said = b""
    scene.speak()
    for leg in (first, second):
        assert np.abs(decode_ulaw(leg.said).astype(np.int32)).max() > 1000
    scene.seats.pop("b")
    scene.room.leave("b")
    first.said = b""
    scene.speak()
    assert np.abs(decode_ulaw(first.said).astype(np.int32)).max() > 3000


def test_numbers_lead_into_rooms_on_their_trunks() -> None:
    clock = Clock()
    settings = ConferenceSettings(seats=(seat(number="+15550001111"), seat(Role.HOST, number="100", trunk="pbx")))
    room = Room("stage", settings, RoomSounds(), clock)
    rooms = Rooms([room])
    assert rooms.find("any", ["+15550001111"]) == (room, settings.seats[0], "+15550001111")
    assert rooms.find("any", ["x", "15550001111"]) == (room, settings.seats[0], "15550001111")
    assert rooms.find("pbx", ["100"]) == (room, settings.seats[1], "100")
    assert rooms.find("any", ["100"]) is None
    assert Rooms().find("any", ["100"]) is None
