"""Plays the demo: starts the gateway, places the call, speaks the caller's lines, and collects what is left behind."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.audio_file import Samples, write_wav
from gateway.call.record import CallRecord
from gateway.caller import SAMPLE_RATE_HZ, Caller, PlacedCall
from gateway.demo.gateway_process import LOOPBACK, NUMBER, DemoError, GatewayProcess, free_udp_port, write_configuration
from gateway.demo.screenplay import CALLER_PITCH, PATIENCE_MS, PAUSE_MS, SCREENPLAY, Line
from gateway.demo.verdict import Check, check_agent, check_caller
from gateway.embedded.audio import resample
from gateway.embedded.voice import Voice

CALL_SECONDS: Final = 50.0
# After the last line the agent says goodbye and hangs up.
FAREWELL_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 10.0

Narrate = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Performance:
    """What the demo left behind, and whether both sides understood each other."""

    record: CallRecord
    record_path: Path
    recording_path: Path
    captured_path: Path
    checks: tuple[Check, ...]

    @property
    def is_good(self) -> bool:
        """Whether every line arrived."""
        return bool(self.checks) and all(check.is_good for check in self.checks)


async def perform(directory: Path, narrate: Narrate, screenplay: Sequence[Line] = SCREENPLAY) -> Performance:
    """Plays the whole demo into `directory`; `narrate` is given the gateway's log entries as they come.

    Raises:
        DemoError: the gateway did not start, or the call left no record or recording.
        CallFailedError: the call was refused.
    """
    lines = await asyncio.to_thread(_speak_all, screenplay)
    port = free_udp_port()
    configuration = write_configuration(directory, port)
    async with GatewayProcess(configuration, directory / "gateway.log", narrate), Caller(LOOPBACK) as caller:
        call = caller.place(f"sip:{NUMBER}@{LOOPBACK}:{port}")
        async with asyncio.timeout(ANSWER_SECONDS):
            await call.answered()
        # Past the time the call is left; the verdict will say what was not understood.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALL_SECONDS):
                await _converse(call, screenplay, lines)
        call.hang_up()
        await call.ended()
    return await asyncio.to_thread(_collect, directory, call.heard(), screenplay)


async def _converse(call: PlacedCall, screenplay: Sequence[Line], lines: Sequence[Samples]) -> None:
    for line, samples in zip(screenplay, lines, strict=True):
        await call.heard_speech(PATIENCE_MS if line.interrupts else 100)
        if not line.interrupts:
            await call.heard_pause(PAUSE_MS)
        if call.is_over:
            return
        await call.say(samples)
        await call.heard_pause(PAUSE_MS)
    # An agent that does not hang up is left by the caller.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_SECONDS):
            await call.ended()


def _speak_all(screenplay: Sequence[Line]) -> list[Samples]:
    voice = Voice(pitch=CALLER_PITCH)
    return [resample(voice.speak(line.text), voice.rate_hz, SAMPLE_RATE_HZ) for line in screenplay]


def _collect(directory: Path, captured: Samples, screenplay: Sequence[Line]) -> Performance:
    captured_path = directory / "heard-by-the-caller.wav"
    write_wav(captured_path, captured, SAMPLE_RATE_HZ)
    records = sorted(directory.glob("*.json"))
    if len(records) != 1:
        raise DemoError(f"The call left {len(records)} records in {directory}, not one; see gateway.log there")
    record = CallRecord.model_validate(json.loads(records[0].read_text(encoding="utf-8")))
    if record.recording is None:
        raise DemoError(f"The call left no recording in {directory}; see gateway.log there")
    checks = (*check_agent(record, [line.text for line in screenplay]), *check_caller(record, captured))
    return Performance(record, records[0], Path(record.recording.path), captured_path, checks)
