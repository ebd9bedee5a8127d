"""A conference of real callers with different codecs, against the real gateway process.

Each caller sings a note of its own; what the others hear is looked at note by note.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.audio_file import read_wav, write_wav
from gateway.caller import Caller, CallFailedError, PlacedCall
from gateway.config.trunk import Codec, TrunkSettings
from gateway.media_policy import MediaPolicy
from tests.helpers.baresip import TONE_HZ, Baresip
from tests.helpers.gateway_process import GatewayProcess, Record
from tests.helpers.raw_caller import RawCaller, described, status_of
from tests.helpers.sipp import LOOPBACK, run_sipp

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]

SPEAKER, HOST, LISTENER, COACH, LOUD, DUET, LOUNGE, MEETING, STUDIO = (str(number) for number in range(3000, 3009))
NOTES_HZ: Final = {"pcmu": 520.0, "g722": 880.0, "opus": 1360.0}
JOIN_HZ: Final = 2000.0
MUSIC_HZ: Final = 300.0
RATE_HZ: Final = 8000
WINDOW: Final = RATE_HZ // 10
FULL_SCALE: Final = 32_767
Samples = NDArray[np.int16]


def note(hertz: float, seconds: float, amplitude: float = 6000) -> Samples:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.int16)


def windows_of(heard: Samples) -> NDArray[np.float64]:
    """Stretches of 100 ms. A busy machine spoils some of them, and what is asked of all is their median."""
    size = min(WINDOW, len(heard))
    return heard[: len(heard) // size * size].reshape(-1, size).astype(np.float64)


def levels(heard: Samples, hertz: float) -> NDArray[np.float64]:
    """The amplitude of one note in each stretch, in the samples' own unit."""
    windows = windows_of(heard)
    shape = np.hanning(windows.shape[1])
    turns = np.exp(-2j * np.pi * hertz * np.arange(windows.shape[1]) / RATE_HZ)
    return np.asarray(2 * np.abs((windows * shape) @ turns) / shape.sum())


def level(heard: Samples, hertz: float) -> float:
    """The amplitude of one note."""
    return float(np.median(levels(heard, hertz)))


def policy(codec: str) -> MediaPolicy:
    return MediaPolicy.of(TrunkSettings(numbers={"*": "nobody"}, anyone=True, codecs=(Codec(codec),)))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("conference")
    write_wav(folder / "joined.wav", note(JOIN_HZ, 0.4), RATE_HZ)
    write_wav(folder / "music.wav", note(MUSIC_HZ, 1.0), RATE_HZ)

    def adapt(configuration: Record) -> None:
        configuration["trunks"]["loopback"]["codecs"] = ["pcmu", "pcma", "g722", "opus"]
        configuration["recording"] = {"enabled": True, "directory": str(folder / "recordings")}
        seats = [
            {"number": SPEAKER},
            {"number": HOST, "role": "host"},
            {"number": LISTENER, "role": "listener"},
            {"number": COACH, "role": "coach"},
            {"number": LOUD, "gain_db": 6},
        ]
        lounge = {"join_announcement": str(folder / "joined.wav"), "music": str(folder / "music.wav")}
        configuration["conferences"] = {
            "stage": {"seats": seats},
            "duet": {"seats": [{"number": DUET}], "legs": 2},
            "lounge": {"seats": [{"number": LOUNGE}]} | lounge,
            "studio": {"seats": [{"number": STUDIO}]},
            "meeting": {"seats": [{"number": MEETING}], "agent": "echo"},
        }

    with GatewayProcess(folder, adapt=adapt) as process:
        yield process


@pytest.fixture
async def caller(gateway: GatewayProcess) -> AsyncIterator[Caller]:
    async with Caller(LOOPBACK) as caller:
        yield caller
    gateway.wait_until_state(lambda state: all(state[kind] == 0 for kind in ("calls", "dialogs", "ports")))


@asynccontextmanager
async def seats(
    caller: Caller, gateway: GatewayProcess, numbers: Mapping[str, str]
) -> AsyncIterator[dict[str, PlacedCall]]:
    """One call for each codec, in the room that its number leads to."""
    calls: dict[str, PlacedCall] = {}
    async with AsyncExitStack() as stack:
        for codec, number in numbers.items():
            call = calls[codec] = caller.place(uri(gateway, number), caller=codec, policy=policy(codec))
            await call.answered()
            stack.push_async_callback(gone, call)
        yield calls


async def gone(call: PlacedCall) -> None:
    call.hang_up()
    await call.ended()


def uri(gateway: GatewayProcess, number: str) -> str:
    host, port = gateway.sip_address
    return f"sip:{number}@{host}:{port}"


async def sing(calls: Mapping[str, PlacedCall], seconds: float, amplitude: float = 6000) -> dict[str, Samples]:
    """Everybody sings at once; what each heard in the midst of it."""
    singing = [
        asyncio.create_task(call.say(note(NOTES_HZ[codec], seconds, amplitude))) for codec, call in calls.items()
    ]
    await asyncio.sleep(seconds - 0.3)
    heard = {codec: call.heard()[-int((seconds - 1.3) * RATE_HZ) :] for codec, call in calls.items()}
    await asyncio.gather(*singing)
    return heard


def notes_heard(heard: Samples) -> set[str]:
    return {codec for codec, hertz in NOTES_HZ.items() if level(heard, hertz) > 1500}


async def records_of(gateway: GatewayProcess, conference: str, count: int) -> list[dict[str, Any]]:
    """The records of a room, once there are so many."""
    async with asyncio.timeout(10):
        while len(found := [one for one in gateway.records() if one["conference"] == conference]) < count:
            await asyncio.sleep(0.05)
    assert len(found) == count
    return found


async def test_three_callers_with_three_codecs_hear_the_others_and_not_themselves(
    gateway: GatewayProcess, caller: Caller
) -> None:
    async with seats(caller, gateway, dict.fromkeys(NOTES_HZ, SPEAKER)) as calls:
        heard = await sing(calls, 4.0)
        codecs = {codec: call.statistics().codec for codec, call in calls.items()}
    assert codecs == {"pcmu": "PCMU", "g722": "G722", "opus": "opus"}
    for codec, samples in heard.items():
        assert notes_heard(samples) == set(NOTES_HZ) - {codec}
        assert level(samples, NOTES_HZ[codec]) < 60, "its own note is 40 dB below those of the others"
        for other in set(NOTES_HZ) - {codec}:
            assert 5000 < level(samples, NOTES_HZ[other]) < 7000


async def test_loud_voices_together_are_bent_and_not_cut(gateway: GatewayProcess, caller: Caller) -> None:
    async with seats(caller, gateway, dict.fromkeys(NOTES_HZ, SPEAKER)) as calls:
        heard = await sing(calls, 4.0, amplitude=24_000)
    for codec, samples in heard.items():
        wide = samples.astype(np.int32)
        flat = (np.abs(wide[1:]) > FULL_SCALE * 0.97) & (np.diff(wide) == 0)
        assert not flat.any(), "no two neighbours stand at the rail"
        wanted = sum(levels(samples, NOTES_HZ[other]) ** 2 / 2 for other in set(NOTES_HZ) - {codec})
        power = np.mean(windows_of(samples) ** 2, axis=1)
        assert np.median((power - wanted) / power) < 0.03, "what is neither note is 15 dB below them"


async def test_a_coach_is_heard_by_the_host_alone_and_a_listener_by_nobody(
    gateway: GatewayProcess, caller: Caller
) -> None:
    numbers = {"pcmu": HOST, "g722": COACH, "opus": SPEAKER}
    async with seats(caller, gateway, numbers) as calls:
        heard = await sing(calls, 4.0)
    assert notes_heard(heard["pcmu"]) == {"g722", "opus"}
    assert notes_heard(heard["g722"]) == {"pcmu", "opus"}
    assert notes_heard(heard["opus"]) == {"pcmu"}
    async with seats(caller, gateway, {"pcmu": LISTENER, "g722": SPEAKER, "opus": SPEAKER}) as calls:
        heard = await sing(calls, 4.0)
    assert notes_heard(heard["pcmu"]) == {"g722", "opus"}
    assert notes_heard(heard["g722"]) == {"opus"}
    assert notes_heard(heard["opus"]) == {"g722"}


async def test_a_seat_may_be_louder_than_others(gateway: GatewayProcess, caller: Caller) -> None:
    async with seats(caller, gateway, {"pcmu": LOUD, "g722": SPEAKER, "opus": SPEAKER}) as calls:
        heard = await sing(calls, 4.0, amplitude=4000)
    assert level(heard["opus"], NOTES_HZ["pcmu"]) == pytest.approx(8000, rel=0.1)
    assert level(heard["opus"], NOTES_HZ["g722"]) == pytest.approx(4000, rel=0.1)


async def test_keys_mute_and_unmute_and_are_not_heard(gateway: GatewayProcess, caller: Caller) -> None:
    async with seats(caller, gateway, {"pcmu": SPEAKER, "g722": SPEAKER}) as calls:
        assert calls["pcmu"].press("*6")
        await asyncio.to_thread(gateway.wait_for_event, "muted")
        heard = await sing(calls, 3.0)
        assert notes_heard(heard["g722"]) == set()
        assert notes_heard(heard["pcmu"]) == {"g722"}
        assert calls["pcmu"].press("*6")
        await asyncio.to_thread(gateway.wait_for_event, "unmuted")
        heard = await sing(calls, 3.0)
        assert notes_heard(heard["g722"]) == {"pcmu"}


async def test_keys_make_louder_and_softer_and_let_a_coach_speak_up(gateway: GatewayProcess, caller: Caller) -> None:
    async with seats(caller, gateway, {"pcmu": COACH, "g722": SPEAKER}) as calls:
        assert calls["pcmu"].press("*5*7*9*9")
        async with asyncio.timeout(10):
            while [line["gain_db"] for line in gateway.log_events if line.get("event") == "gain"] != [-3, 0, 3]:
                await asyncio.sleep(0.05)
        heard = await sing(calls, 3.0, amplitude=3000)
        assert level(heard["g722"], NOTES_HZ["pcmu"]) == pytest.approx(3000 * 10 ** (3 / 20), rel=0.1)
        assert calls["pcmu"].press("*5")
        await asyncio.to_thread(gateway.wait_for_event, "aside")
        heard = await sing(calls, 3.0)
        assert notes_heard(heard["g722"]) == set()


async def test_one_alone_hears_music_and_company_announces_itself(gateway: GatewayProcess, caller: Caller) -> None:
    async with seats(caller, gateway, {"pcmu": LOUNGE}) as calls:
        await asyncio.sleep(1.5)
        alone = calls["pcmu"].heard()[-RATE_HZ // 2 :]
        async with seats(caller, gateway, {"g722": LOUNGE}):
            await asyncio.sleep(0.2)
            before = len(calls["pcmu"].captured)
            await asyncio.sleep(1.5)
            company = calls["pcmu"].heard()
        joined = max(
            level(company[start : start + 800], JOIN_HZ) for start in range(before - 4000, len(company) - 800, 400)
        )
    assert level(alone, MUSIC_HZ) > 4000
    assert joined > 4000
    assert level(company[-RATE_HZ // 2 :], MUSIC_HZ) < 100


async def test_a_full_room_is_busy_and_its_seats_are_free_again_afterwards(
    gateway: GatewayProcess, caller: Caller
) -> None:
    async with seats(caller, gateway, {"pcmu": DUET, "g722": DUET}):
        with pytest.raises(CallFailedError, match="486"):
            await caller.place(uri(gateway, DUET), caller="third").answered()
    async with seats(caller, gateway, {"pcmu": DUET}):
        pass


async def test_the_record_names_the_room_and_the_recording_holds_both_sides(
    gateway: GatewayProcess, caller: Caller
) -> None:
    async with seats(caller, gateway, {"pcmu": STUDIO, "g722": STUDIO}) as calls:
        await sing(calls, 3.0)
    records = await records_of(gateway, "studio", 2)
    assert {record["end"]["reason"] for record in records} == {"caller_hung_up"}
    for record in records:
        samples, rate_hz = read_wav(Path(record["recording"]["path"]))
        own = "pcmu" if record["caller"] == "pcmu" else "g722"
        other = "g722" if own == "pcmu" else "pcmu"
        step = rate_hz // RATE_HZ
        middle = slice(len(samples) // 2 - RATE_HZ // 2, len(samples) // 2 + RATE_HZ // 2)
        left, right = (samples[::step][middle if step == 1 else slice(None), side] for side in (0, 1))
        assert level(left, NOTES_HZ[own]) > 3 * level(left, NOTES_HZ[other])
        assert level(right, NOTES_HZ[other]) > 3 * level(right, NOTES_HZ[own])


async def test_an_agent_in_the_room_hears_and_is_heard(gateway: GatewayProcess, caller: Caller) -> None:
    """The echo says what it hears, so a caller who sings alone hears its own note from the agent."""
    async with seats(caller, gateway, {"pcmu": MEETING, "g722": MEETING}) as calls:
        await asyncio.to_thread(gateway.wait_for_event, "agent_joined", 10.0)
        singing = asyncio.create_task(calls["pcmu"].say(note(NOTES_HZ["pcmu"], 3.0)))
        await asyncio.sleep(2.7)
        heard = {codec: call.heard()[-RATE_HZ:] for codec, call in calls.items()}
        await singing
    assert notes_heard(heard["pcmu"]) == {"pcmu"}
    assert notes_heard(heard["g722"]) == {"pcmu"}
    records = await records_of(gateway, "meeting", 3)
    (agent,) = (record for record in records if record["direction"] == "conference")
    assert (agent["agent"], agent["end"]["reason"]) == ("echo", "room_empty")


@pytest.mark.peer("baresip")
async def test_a_softphone_of_another_family_sits_beside_us(
    gateway: GatewayProcess, caller: Caller, tmp_path: Path
) -> None:
    with Baresip(tmp_path / "phone") as phone:
        await asyncio.to_thread(phone.dial, uri(gateway, SPEAKER))
        async with seats(caller, gateway, {"g722": SPEAKER}) as calls:
            heard = await sing(calls, 4.0)
        await asyncio.to_thread(phone.hang_up)
        softphone = phone.heard()
    assert level(heard["g722"], TONE_HZ) > 1500
    assert notes_heard(heard["g722"]) == set()
    loud = max(
        range(0, len(softphone) - RATE_HZ, RATE_HZ),
        key=lambda start: level(softphone[start:][:RATE_HZ], NOTES_HZ["g722"]),
    )
    second = softphone[loud : loud + RATE_HZ]
    assert level(second, NOTES_HZ["g722"]) > 1500, "it hears the other"
    assert level(second, TONE_HZ) < 100, "and not itself"


def test_keys_that_come_before_the_ack_are_those_of_nobody_in_the_room(gateway: GatewayProcess) -> None:
    with RawCaller(gateway.sip_address, SPEAKER) as early:
        early.send(early.write("INVITE", described()))
        tag = re.search(r"^To:[^\r]*?;tag=(\S+)", early.final("INVITE"), re.MULTILINE)
        assert tag is not None
        early._to_tag = f";tag={tag[1]}"
        for key in "*6":
            info = early.ask("INFO", f"Signal={key}\r\n", headers="Content-Type: application/dtmf-relay\r\n")
            assert status_of(info) == 200
        early.send(early.write("ACK", cseq=1))
        early.hang_up()
    record = gateway.wait_for_record(early.sip_call_id)
    assert (record["end"]["reason"], [one["digit"] for one in record["digits"]]) == ("caller_hung_up", ["*", "6"])
    assert "Traceback" not in gateway.log


@pytest.mark.sipp
@pytest.mark.peer("sipp")
@pytest.mark.parametrize(
    "scenario",
    ["uac-late-offer", "uac-reinvite-hold", "uac-reinvite-without-sdp", "uac-cancel-after-answer", "uac-dtmf"],
)
def test_sipp_calls_into_a_room_as_it_calls_an_agent(gateway: GatewayProcess, tmp_path: Path, scenario: str) -> None:
    run = run_sipp(scenario, gateway.sip_address, tmp_path, number=SPEAKER)
    run.assert_clean()
    assert gateway.wait_for_record(run.sip_call_id)["conference"] == "stage"
    gateway.wait_until_state(lambda state: all(state[kind] == 0 for kind in ("calls", "dialogs", "ports")))


async def test_the_delay_between_two_callers(gateway: GatewayProcess, caller: Caller) -> None:
    """From a word's first packet to its first at the other: two packet times, the playout buffer, the mixer.

    What is asked is that each word arrives; the figures are printed, for docs/media.md.
    """
    async with seats(caller, gateway, {"pcmu": DUET, "g722": DUET}) as calls:
        listener = calls["g722"]
        delays_ms = []
        for _ in range(5):
            await asyncio.sleep(1.0)
            begun, start = time.monotonic(), len(listener.captured)
            saying = asyncio.create_task(calls["pcmu"].say(note(NOTES_HZ["pcmu"], 0.3)))
            while not np.abs(listener.heard()[start:].astype(np.int32)).max(initial=0) > 2000:
                assert time.monotonic() - begun < 3, "the word was not heard"
                await asyncio.sleep(0.002)
            delays_ms.append((time.monotonic() - begun) * 1000)
            await saying
    print(f"delay between two callers: {sorted(round(delay) for delay in delays_ms)} ms")
    assert len(delays_ms) == 5
