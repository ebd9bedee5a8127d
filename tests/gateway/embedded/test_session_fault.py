"""What a model session makes of each fault that the embedded server acts out: what it tells, and what is kept.

What a caller hears of a fault follows from this: speech that was told is spoken, and `SessionFailed` is the moment at
which a call goes on to the next session.
"""

import asyncio
import base64
from pathlib import Path
from typing import get_args

import pytest

from gateway.backends.openai.backend import OpenAiBackend, OpenAiEndpoint
from gateway.embedded.audio import WireFormat
from gateway.embedded.fault import Fault
from gateway.embedded.load import talk_pieces
from gateway.embedded.process import EmbeddedServer
from gateway.realtime import errors
from gateway.realtime.event import (
    AudioDelta,
    BackendError,
    FailureReason,
    RealtimeEvent,
    ResponseDone,
    ResponseStatus,
    SessionFailed,
)
from gateway.realtime.session import RealtimeSession
from gateway.realtime.settings import SessionSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")
SPEECH = b"".join(base64.b64decode(piece) for piece in talk_pieces(WireFormat.PCMU))
SOURCE = Path(__file__).read_text()
GREETING = 'Say exactly these words: "Good evening."'


class Caller:
    """A session with a server that suffers from a fault."""

    def __init__(self, server: EmbeddedServer, fault: str, mode: str = "talk") -> None:
        endpoint = OpenAiEndpoint(
            url=f"{server.url}?fault={fault}",
            model=f"embedded-{mode}",
            settings_timeout_s=2,
            close_timeout_s=0.2,
            ping_interval_s=0.5,
            ping_timeout_s=0.5,
            write_stall_s=0.5,
        )
        self.events: list[RealtimeEvent] = []
        self._arrival = asyncio.Event()
        self.session: RealtimeSession = OpenAiBackend("b", endpoint).create_session(self._take)

    def _take(self, event: RealtimeEvent) -> None:
        self.events.append(event)
        self._arrival.set()

    async def open(self) -> None:
        await self.session.open(SessionSettings(turn_detection=None))

    async def told(self, kind: type[RealtimeEvent]) -> RealtimeEvent:
        async with asyncio.timeout(15):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        return event
                self._arrival.clear()
                await self._arrival.wait()

    async def failure(self) -> SessionFailed:
        event = await self.told(SessionFailed)
        assert isinstance(event, SessionFailed)
        await self.session.aclose()
        assert self.events[-1] is event
        return event

    def heard(self) -> bytes:
        return b"".join(event.audio for event in self.events if isinstance(event, AudioDelta))

    def statuses(self) -> list[ResponseStatus]:
        return [event.status for event in self.events if isinstance(event, ResponseDone)]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (401, errors.ModelUnauthorisedError),
        (403, errors.ModelForbiddenError),
        (404, errors.ModelNotFoundError),
        (429, errors.ModelRateLimitError),
        (503, errors.ModelUpgradeError),
    ],
)
async def test_status_says_why_no_session_is_to_be_had(
    server: EmbeddedServer, code: int, error: type[errors.ModelError]
) -> None:
    caller = Caller(server, f"status,code={code}")
    with pytest.raises(error):
        await caller.open()
    assert caller.events == []


@pytest.mark.parametrize(
    "fault",
    [
        "stall,after_ms=300,for_ms=600",
        "burst",
        "delta_storm",
        "malformed,every=2",
        "unknown,every=2",
        "big_frame,after_ms=200",
        "mute,type=response.output_audio.done",
        "mute,type=response.created",
        "mute,type=conversation.item.added",
        "mute,type=response.output_item.added",
        "beta_names",
    ],
)
async def test_fault_that_costs_not_a_word(server: EmbeddedServer, fault: str) -> None:
    caller = Caller(server, fault)
    await caller.open()
    caller.session.create_response()
    await caller.told(ResponseDone)
    await caller.session.aclose()
    # The next response may have begun: it speaks without end.
    assert caller.heard()[: len(SPEECH)] == SPEECH
    assert caller.statuses()[0] is ResponseStatus.COMPLETED
    assert not any(isinstance(event, SessionFailed | BackendError) for event in caller.events)


async def test_reordered_speech_is_all_there(server: EmbeddedServer) -> None:
    caller = Caller(server, "reorder,every=5")
    await caller.open()
    caller.session.create_response()
    await caller.told(ResponseDone)
    await caller.session.aclose()
    whole = {event.audio for event in caller.events if isinstance(event, AudioDelta)}
    assert whole >= {base64.b64decode(piece) for piece in talk_pieces(WireFormat.PCMU)}


async def test_duplicated_events_end_nothing(server: EmbeddedServer) -> None:
    caller = Caller(server, "duplicate,every=3")
    await caller.open()
    caller.session.create_response()
    await caller.told(ResponseDone)
    assert len(caller.heard()) >= len(SPEECH)
    assert not any(isinstance(event, SessionFailed) for event in caller.events)
    await caller.session.aclose()


async def test_server_that_does_not_read_for_a_moment_loses_nothing(server: EmbeddedServer) -> None:
    caller = Caller(server, "stop_reading,for_ms=300", mode="echo")
    await caller.open()
    for number in range(50):
        caller.session.append_audio(bytes([number]) * 160)
    async with asyncio.timeout(10):
        while len(caller.heard()) < 50 * 160:
            await asyncio.sleep(0.01)
    await caller.session.aclose()
    assert caller.heard() == b"".join(bytes([number]) * 160 for number in range(50))
    assert caller.session.dropped_input_ms == 0


async def test_server_that_reads_no_more_is_given_up_and_old_audio_dropped(server: EmbeddedServer) -> None:
    caller = Caller(server, "stop_reading,after_ms=200,for_ms=60000", mode="silent")
    await caller.open()
    await asyncio.sleep(0.3)
    async with asyncio.timeout(15):
        while not caller.events:  # the loopback takes some hundred kB before it stalls
            for _ in range(200):
                caller.session.append_audio(b"\x7f" * 160)
            await asyncio.sleep(0.005)
    failure = await caller.failure()
    assert (failure.reason, failure.retryable) == (FailureReason.WRITE_STALLED, True)
    assert caller.session.dropped_input_ms > 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("half_open,after_ms=300", FailureReason.UNRESPONSIVE),
        ("close_at_byte,byte=40000", FailureReason.CONNECTION_LOST),
        ("close,after_ms=300,code=1011", FailureReason.SERVER_FAULT),
        ("close,after_ms=300,code=1000", FailureReason.CLOSED),
        ("reset,after_ms=300", FailureReason.CONNECTION_LOST),
        ("expire,after_ms=300", FailureReason.EXPIRED),
    ],
)
async def test_lost_session_is_told_with_its_reason_and_what_was_heard_is_whole(
    server: EmbeddedServer, fault: str, reason: FailureReason
) -> None:
    caller = Caller(server, fault)
    await caller.open()
    caller.session.create_response()
    failure = await caller.failure()
    assert (failure.reason, failure.retryable) == (reason, True)
    assert len(caller.heard()) > 0
    assert (SPEECH + SPEECH).startswith(caller.heard())


async def test_settings_that_nobody_confirms_are_a_session_that_is_not_had(server: EmbeddedServer) -> None:
    caller = Caller(server, "mute,type=session.updated")
    with pytest.raises(errors.ModelTimeoutError):
        await caller.open()


async def test_race_for_a_response_is_no_error_and_the_words_are_said(server: EmbeddedServer) -> None:
    caller = Caller(server, "response_race", mode="agent")
    await caller.open()
    caller.session.create_response(GREETING)
    async with asyncio.timeout(15):
        while len(caller.statuses()) < 2:
            await asyncio.sleep(0.01)
    await caller.session.aclose()
    assert caller.statuses() == [ResponseStatus.COMPLETED] * 2
    assert not any(isinstance(event, BackendError) for event in caller.events)


async def test_response_that_fails_before_its_first_word_is_asked_for_again(server: EmbeddedServer) -> None:
    caller = Caller(server, "fail_response", mode="agent")
    await caller.open()
    caller.session.create_response(GREETING)
    async with asyncio.timeout(15):
        while ResponseStatus.COMPLETED not in caller.statuses():
            await asyncio.sleep(0.01)
    await caller.session.aclose()
    assert caller.statuses() == [ResponseStatus.FAILED, ResponseStatus.COMPLETED]
    assert caller.heard()


async def test_quota_that_is_used_up_ends_the_session_for_good(server: EmbeddedServer) -> None:
    caller = Caller(server, "fail_response,code=insufficient_quota", mode="agent")
    await caller.open()
    caller.session.create_response(GREETING)
    failure = await caller.failure()
    assert (failure.reason, failure.retryable) == (FailureReason.QUOTA, False)


async def test_every_fault_has_its_test() -> None:
    kinds = [get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(Fault)]
    assert [kind for kind in kinds if f'"{kind}' not in SOURCE] == []
