"""Conferences of legs, with a clock and legs that are told what time it is."""

import pytest

from gateway.conference import MAX_WAITING_MS, Conference, seat_format
from gateway.realtime.capability import AudioFormat
from rtp.codec.format import G722, OPUS, PCMA, PCMU, PayloadFormat
from rtp.path import Media


class Clock:
    def __init__(self) -> None:
        self.media: list[Media] = []

    def register(self, media: Media, period_ms: int) -> None:
        assert period_ms == 20
        self.media.append(media)

    def unregister(self, media: Media) -> None:
        self.media.remove(media)


class Leg:
    payload_format = PCMU
    audio_arrived_at = 0.0

    def hurry(self) -> None:
        """Nothing waits anywhere."""

    def __init__(self, octets_per_ms: int) -> None:
        self.octets_per_ms = octets_per_ms
        self.waiting = self.played = b""
        self.finished: list[str] = []

    @property
    def queued_ms(self) -> int:
        return len(self.waiting) // self.octets_per_ms

    def enqueue(self, item_id: str, audio: bytes) -> None:
        self.waiting += audio

    def finish(self, item_id: str) -> None:
        self.finished.append(item_id)

    def play(self) -> None:
        self.played += self.waiting[: 20 * self.octets_per_ms]
        self.waiting = self.waiting[20 * self.octets_per_ms :]


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock()
        self.conference = Conference(self.clock)

    def turn(self) -> None:
        for media in self.clock.media:
            media.tick(self.now)
        self.now += 0.02
        Leg.audio_arrived_at = self.now


def test_two_legs_hear_each_other_to_the_octet() -> None:
    scene = Scene()
    a, b = Leg(8), Leg(8)
    seat = scene.conference.join("a", a, PCMU)
    scene.conference.join("b", b, PCMU)
    for number in range(50):
        seat.on_audio(bytes([number % 100]) * 160, False)
        scene.turn()
        b.play()
    assert bytes([20]) * 160 + bytes([21]) * 160 + bytes([22]) * 160 in b.played
    assert len(b.played) == 50 * 160


@pytest.mark.parametrize(
    ("payload_format", "audio_format"),
    [(PCMU, AudioFormat.PCMU), (PCMA, AudioFormat.PCMA), (G722, AudioFormat.PCM16_16K), (OPUS, AudioFormat.PCM16_16K)],
)
def test_a_leg_sits_in_the_format_nearest_to_its_codec(
    payload_format: PayloadFormat, audio_format: AudioFormat
) -> None:
    assert seat_format(payload_format) is audio_format


def test_a_wide_leg_is_given_samples() -> None:
    scene = Scene()
    wide, narrow = Leg(32), Leg(8)
    scene.conference.join("wide", wide, G722)
    seat = scene.conference.join("narrow", narrow, PCMA)
    for _ in range(10):
        seat.on_audio(b"\xd5" * 160, False)
        scene.turn()
        wide.play()
        narrow.play()
    assert (len(wide.played), len(narrow.played)) == (10 * 640, 10 * 160)


def test_a_leg_that_does_not_play_is_not_given_more_and_more() -> None:
    scene = Scene()
    held = Leg(8)
    scene.conference.join("held", held, PCMU)
    for _ in range(100):
        scene.turn()
    assert held.queued_ms <= MAX_WAITING_MS


def test_it_takes_turns_only_while_somebody_is_there() -> None:
    scene = Scene()
    leg = Leg(8)
    assert scene.clock.media == []
    scene.conference.join("a", leg, PCMU)
    assert scene.clock.media == [scene.conference]
    scene.conference.leave("a")
    scene.conference.leave("a")
    assert scene.clock.media == []
    scene.conference.join("a", leg, PCMU)
    scene.conference.close()
    scene.conference.close()
    assert scene.clock.media == []
    assert leg.finished == ["conference-1", "conference-2"]


def test_keys_go_to_who_acts_on_them() -> None:
    scene = Scene()
    keys: list[str] = []
    seat = scene.conference.join("a", Leg(8), PCMU, lambda digit, duration_ms: keys.append(digit))
    seat.on_digit("5", 100)
    assert keys == ["5"]


def test_a_name_that_is_taken_leaves_the_conference_as_it_was() -> None:
    scene = Scene()
    scene.conference.join("a", Leg(8), PCMU)
    with pytest.raises(ValueError, match="already"):
        scene.conference.join("a", Leg(8), PCMU)
    assert scene.conference.mixer.names == ["a"]
