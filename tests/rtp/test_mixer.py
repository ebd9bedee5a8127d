"""Conferences in virtual time: legs say tones, and each leg's ear is asked which tones it hears."""

from collections.abc import Collection

import numpy as np
import pytest
from numpy.typing import NDArray

from rtp.codec import g711
from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, PayloadFormat
from rtp.mixer import Mixer
from rtp.mixing_port import PCM_16K, PCM_24K

FRAME_S = 0.02
RATES = {PCMU: 8000, PCMA: 8000, L16_8K: 8000, L16_16K: 16000, G722: 16000, OPUS: 24000, PCM_16K: 16000, PCM_24K: 24000}


class Person:
    """A leg that says one tone and keeps what it hears."""

    def __init__(
        self, mixer: Mixer, name: str, payload_format: PayloadFormat, hertz: float, level: float = 4000
    ) -> None:
        self.name, self.format, self.hertz, self.level = name, payload_format, hertz, level
        self.rate_hz = RATES[payload_format]
        self.heard: list[bytes] = []
        self.said: list[bytes] = []
        self.frames = 0
        self.mixer = mixer
        native = payload_format in {PCM_16K, PCM_24K}
        self.encode = None if native else encoder_of(payload_format).encode
        mixer.join(name, payload_format, self.heard.append)

    def speak(self, now: float) -> None:
        size = self.rate_hz // 50
        time = (np.arange(size) + self.frames * size) / self.rate_hz
        self.frames += 1
        samples = (self.level * np.sin(2 * np.pi * self.hertz * time)).astype(np.int16)
        payload = samples.tobytes() if self.encode is None else self.encode(samples)
        self.said.append(payload)
        self.mixer.receive(self.name, payload, False, now)

    def sound(self) -> NDArray[np.float64]:
        """What was heard in the last half second, as samples."""
        if self.format in {OPUS, G722, PCM_16K, PCM_24K}:
            samples = np.frombuffer(b"".join(self.heard), dtype=np.int16)
        else:
            decoder = decoder_of(self.format)
            samples = np.concatenate([decoder.decode(payload) for payload in self.heard])
        return samples[-self.rate_hz // 2 :].astype(np.float64)

    def level_of(self, hertz: float) -> float:
        sound = self.sound()
        window = np.hanning(len(sound))
        turn = np.exp(-2j * np.pi * hertz * np.arange(len(sound)) / self.rate_hz)
        return float(2 * abs(np.sum(sound * window * turn)) / np.sum(window))


def talk(mixer: Mixer, people: Collection[Person], seconds: float = 1.5, start_s: float = 0.0) -> None:
    for number in range(round(seconds / FRAME_S)):
        now = start_s + number * FRAME_S
        for person in people:
            person.speak(now)
        mixer.tick(now + 0.004)


def assert_hears(listener: Person, speakers: Collection[Person], all_people: Collection[Person]) -> None:
    for person in all_people:
        level = listener.level_of(person.hertz)
        if person in speakers:
            assert level == pytest.approx(person.level, rel=0.12), f"{listener.name} hears {person.name} at {level:.0f}"
        else:
            assert level < 0.01 * person.level, f"{listener.name} hears {person.name} at {level:.0f}"


def test_each_hears_all_others_and_never_itself_whatever_its_codec() -> None:
    mixer = Mixer()
    formats = [PCMU, PCMA, L16_8K, L16_16K, G722, OPUS, PCM_16K]
    people = [Person(mixer, payload_format.name + str(n), payload_format, 410.0 + 310 * n)
              for n, payload_format in enumerate(formats)]  # fmt: skip
    talk(mixer, people)
    for listener in people:
        assert_hears(listener, [person for person in people if person is not listener], people)


def test_wide_legs_hear_each_other_above_the_telephone_band() -> None:
    mixer = Mixer()
    people = [Person(mixer, "a", G722, 6000), Person(mixer, "b", L16_16K, 5000), Person(mixer, "c", PCMU, 900)]
    talk(mixer, people)
    assert_hears(people[0], people[1:], people)
    assert_hears(people[1], [people[0], people[2]], people)
    assert_hears(people[2], [], people)


def test_two_ulaw_legs_are_handed_each_others_octets_undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = Mixer()
    a, b = Person(mixer, "a", PCMU, 440), Person(mixer, "b", PCMU, 660)
    talk(mixer, [a, b], 0.2)
    monkeypatch.setattr(mixer, "_mix", pytest.fail)
    talk(mixer, [a, b], 1.0, start_s=0.2)
    assert b"".join(a.said[5:40]) in b"".join(b.heard)
    assert b"".join(b.said[5:40]) in b"".join(a.heard)


def test_between_the_laws_octets_are_translated_by_table() -> None:
    mixer = Mixer()
    a, b = Person(mixer, "a", PCMU, 440), Person(mixer, "b", PCMA, 660)
    talk(mixer, [a, b], 1.0)
    assert b"".join(a.said[5:40]).translate(g711.ULAW_TO_ALAW) in b"".join(b.heard)


def test_a_sum_of_ulaw_legs_is_exact() -> None:
    mixer = Mixer()
    people = [Person(mixer, str(number), PCMU, 300 + 200 * number, 3000) for number in range(3)]
    talk(mixer, people, 1.0)
    voices = [g711.decode_ulaw(b"".join(person.said)).astype(np.int32) for person in people]
    expected = g711.encode_ulaw((voices[1] + voices[2]).astype(np.int16))
    assert expected[800:4000] in b"".join(people[0].heard)


def test_twelve_loud_legs_do_not_clip() -> None:
    mixer = Mixer()
    people = [Person(mixer, str(number), PCMU, 350 + 100 * number, 15000) for number in range(12)]
    talk(mixer, people)
    sound = people[0].sound()
    assert np.abs(sound).max() < 32767
    assert np.count_nonzero(np.abs(sound) > 32000) < 0.02 * len(sound)
    levels = [people[0].level_of(person.hertz) for person in people[1:]]
    assert min(levels) > 0.7 * max(levels)


def test_gain_is_heard_by_the_others() -> None:
    mixer = Mixer()
    people = [Person(mixer, "a", PCMU, 440), Person(mixer, "b", PCMA, 660), Person(mixer, "c", G722, 880)]
    mixer.set_gain("a", 0.5)
    talk(mixer, people)
    assert people[1].level_of(440) == pytest.approx(2000, rel=0.1)
    assert people[2].level_of(440) == pytest.approx(2000, rel=0.1)
    assert people[2].level_of(660) == pytest.approx(4000, rel=0.1)


def test_the_muted_hear_and_are_not_heard() -> None:
    mixer = Mixer()
    people = [Person(mixer, "a", PCMU, 440), Person(mixer, "b", PCMU, 660), Person(mixer, "c", PCMU, 880)]
    mixer.mute("a")
    talk(mixer, people)
    assert_hears(people[0], people[1:], people)
    assert_hears(people[1], [people[2]], people)
    mixer.mute("a", False)
    talk(mixer, people, start_s=1.5)
    assert_hears(people[1], [people[0], people[2]], people)


def test_a_whisper_is_heard_by_one_and_not_by_the_others() -> None:
    mixer = Mixer()
    caller, agent, coach = people = (
        Person(mixer, "caller", PCMU, 440), Person(mixer, "agent", PCMU, 660), Person(mixer, "coach", G722, 880)
    )  # fmt: skip
    mixer.whisper("coach", ["agent"])
    talk(mixer, people)
    assert_hears(agent, [caller, coach], people)
    assert_hears(caller, [agent], people)
    assert_hears(coach, [caller, agent], people)


def test_who_listens_in_is_not_heard_and_leaves_the_passthrough_of_the_others_alone() -> None:
    mixer = Mixer()
    caller, agent, ear = people = (
        Person(mixer, "caller", PCMU, 440), Person(mixer, "agent", PCMU, 660), Person(mixer, "ear", PCMA, 880)
    )  # fmt: skip
    mixer.whisper("ear", ())
    talk(mixer, people)
    assert_hears(ear, [caller, agent], people)
    assert b"".join(caller.said[5:40]) in b"".join(agent.heard)


def test_the_deaf_hear_silence_and_are_heard() -> None:
    mixer = Mixer()
    people = [Person(mixer, "a", PCMU, 440), Person(mixer, "b", PCMU, 660)]
    mixer.deafen("a")
    talk(mixer, people)
    assert set(people[0].heard) == {b"\xff" * 160}
    assert_hears(people[1], [people[0]], people)


def test_alone_is_silent_and_every_leg_gets_one_frame_a_turn() -> None:
    mixer = Mixer()
    alone = Person(mixer, "a", PCMU, 440)
    talk(mixer, [alone], 0.5)
    assert set(alone.heard) == {b"\xff" * 160}
    opus = Person(mixer, "b", OPUS, 660)
    talk(mixer, [alone, opus], 0.5, start_s=0.5)
    assert {len(frame) for frame in opus.heard} == {960}
    assert (len(alone.heard), len(opus.heard)) == (50, 25)


def test_coming_and_going_makes_no_gap_for_those_who_stay() -> None:
    mixer = Mixer()
    a, b = Person(mixer, "a", PCMU, 440), Person(mixer, "b", PCMU, 660)
    talk(mixer, [a, b], 0.5)
    c = Person(mixer, "c", G722, 880)
    talk(mixer, [a, b, c], 0.5, start_s=0.5)
    mixer.leave("c")
    mixer.leave("c")
    mixer.receive("c", b"\xff" * 160, False, 1.0)
    talk(mixer, [a, b], 0.5, start_s=1.0)
    assert len(a.heard) == 75
    sound = g711.decode_ulaw(b"".join(a.heard[5:])).astype(np.int32)
    assert np.abs(np.diff(sound)).max() < 2 * (4000 * 2 * np.pi * (660 + 880) / 8000)


def unheard(payload: bytes) -> None:
    """Nobody is there."""


class Jingle:
    """A sound of half a second."""

    def __init__(self, sample_rate_hz: int, hertz: float = 1500) -> None:
        self.sample_rate_hz = sample_rate_hz
        time = np.arange(sample_rate_hz // 2) / sample_rate_hz
        self.rest = (4000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)

    def take(self, count: int) -> NDArray[np.int16] | None:
        piece, self.rest = self.rest[:count], self.rest[count:]
        return piece if len(piece) else None


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_a_sound_is_played_to_its_audience_until_its_end(rate_hz: int) -> None:
    mixer = Mixer()
    people = [Person(mixer, "a", PCMU, 440), Person(mixer, "b", PCMU, 660), Person(mixer, "c", G722, 880)]
    mixer.play("jingle", Jingle(rate_hz), audience=["a", "c"])
    talk(mixer, people, 0.5)
    assert people[0].level_of(1500) == pytest.approx(4000, rel=0.15)
    assert people[1].level_of(1500) < 40
    assert people[2].level_of(1500) == pytest.approx(4000, rel=0.15)
    talk(mixer, people, 0.6, start_s=0.5)
    assert mixer.playing == []
    assert_hears(people[1], [people[0], people[2]], people)


def test_a_lost_frame_of_a_codec_with_memory_is_concealed() -> None:
    mixer = Mixer()
    people = [Person(mixer, "a", G722, 440), Person(mixer, "b", L16_16K, 660)]
    for number in range(50):
        now = number * FRAME_S
        for person in people:
            if number == 30:
                mixer.receive(person.name, b"", True, now)
            else:
                person.speak(now)
        mixer.tick(now + 0.004)
    assert {len(frame) for frame in people[1].heard} == {640}
    assert mixer.statistics("a").late_ms == 0
    assert mixer.names == ["a", "b"]


def test_mistakes_are_refused() -> None:
    mixer = Mixer()
    mixer.join("a", PCMU, unheard)
    with pytest.raises(ValueError, match="'a' in this conference already"):
        mixer.join("a", PCMU, unheard)
    with pytest.raises(ValueError, match="already"):
        mixer.play("a", Jingle(8000))
    with pytest.raises(ValueError, match="0 to 4"):
        mixer.set_gain("a", 5)
    with pytest.raises(KeyError):
        mixer.join("b", PayloadFormat("GSM", 8000, 0, b""), unheard)
