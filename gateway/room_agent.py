"""An agent in a room: a model session that hears what everybody says and is heard by everybody.

It comes with the first caller and goes with the last. What the room says is cut into frames by the mixer; what the
model says waits in a playout as it does for a telephone, so an interruption ends it at once.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.admission import Route
from gateway.bridge import Bridge
from gateway.call.account import Account
from gateway.call.agent import CallAgent
from gateway.call.environment import CallEnvironment
from gateway.call.record import CallRecord, EndRecord, ModelRecord, transcript_of, turns_of
from gateway.call.timer import Timers
from gateway.call.transition import CallInput
from gateway.conference import Clock, Seat
from gateway.config.conference import SeatSettings
from gateway.log import ContextLogger
from gateway.realtime.errors import ModelError
from gateway.realtime.settings import SessionSettings
from gateway.room import AGENT, Room, RoomEntry
from gateway.roster import AgentEdition
from gateway.tools.tool import TransferOutcome
from gateway.transcoding import Ear, Mouth, ear_for, mouth_for
from rtp.codec.format import PCMU, PayloadFormat
from rtp.mixer import FRAME_MS
from rtp.playout import PlayedItem, Playout
from sip.message import Request

CALL_ID_BYTES: Final = 8
# What a seat's number would be, for one that nobody dials.
_SEAT: Final = SeatSettings(number=AGENT)

_log = logging.getLogger(__name__)


class RoomEar:
    """What the mixer speaks to: it passes on to the bridge what the room says (gateway.conference.ConferenceLeg)."""

    payload_format: PayloadFormat = PCMU
    queued_ms = 0

    def __init__(self, bridge: Bridge, settings: SessionSettings, clock: Callable[[], float]) -> None:
        self._bridge = bridge
        self._clock = clock
        self._convert: Ear | None = ear_for(PCMU, FRAME_MS, settings.input_format)

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """The next frame of the room."""
        heard = audio if self._convert is None else self._convert(audio)
        if heard:
            self._bridge.on_audio(heard, False)

    def finish(self, item_id: str) -> None:
        """The room is left."""

    @property
    def audio_arrived_at(self) -> float:
        """What the agent says comes from no network: now."""
        return self._clock()

    def hurry(self) -> None:
        """Nothing waits."""


class RoomVoice:
    """What the bridge speaks with: a playout whose frames go into the room (gateway.bridge.Voice, rtp.clock.Media)."""

    payload_format: PayloadFormat = PCMU

    def __init__(self) -> None:
        self._playout: Playout | None = None
        self._mouth: Mouth | None = None
        self._bridge: Bridge | None = None
        self._seat: Seat | None = None

    def start(self, bridge: Bridge, settings: SessionSettings, seat: Seat) -> None:
        """Speaks from now on."""
        self._bridge, self._seat = bridge, seat
        self._mouth = mouth_for(PCMU, FRAME_MS, settings.output_format)
        self._playout = Playout(PCMU, FRAME_MS, bridge)

    def stop(self) -> None:
        """Speaks no more, and holds nothing."""
        self._playout = self._mouth = self._bridge = self._seat = None

    @property
    def queued_ms(self) -> int:
        """Speech that waits."""
        return 0 if self._playout is None else self._playout.queued_ms

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends speech in the model's format."""
        if self._playout is not None:
            self._playout.enqueue(item_id, audio if self._mouth is None else self._mouth.speak(audio))

    def finish(self, item_id: str) -> None:
        """No more speech of this item will come."""
        if self._playout is not None:
            if self._mouth is not None:
                self._mouth.reset()
            self._playout.finish(item_id)

    def flush(self) -> list[PlayedItem]:
        """Drops what waits and says what was heard."""
        if self._mouth is not None:
            self._mouth.reset()
        return [] if self._playout is None else self._playout.flush()

    def hold(self) -> None:
        """Says nothing from the next frame on."""
        if self._playout is not None:
            self._playout.hold()

    def release(self) -> None:
        """Speaks on where `hold` stopped it."""
        if self._playout is not None:
            self._playout.release()

    def sent_ms(self, item_id: str) -> int:
        """Milliseconds of an item that the room was given."""
        return 0 if self._playout is None else self._playout.sent_ms(item_id)

    def tick(self, now: float) -> None:
        """One packet time (rtp.clock.Media)."""
        playout, seat, bridge = self._playout, self._seat, self._bridge
        if playout is None or seat is None or bridge is None:
            return
        frame = playout.next_frame()
        bridge.on_frame_sent(frame or playout.silence_frame, None if frame is None else playout.current_item_id)
        seat.on_audio(frame or playout.silence_frame, False)

    def skip(self, turns: int) -> None:
        """The clock missed some: what was to be said is said later."""


class RoomAgent:
    """One agent's stay in one room. It is the host of its `CallAgent`; what acts on a caller's line is declined.

    Args:
        room: where it sits.
        edition: who it is.
        entry: how the first caller came in.
        invite: the first caller's; texts may be filled in from it.
        environment: what the process gives.
        clock: the media clock.
    """

    def __init__(
        self,
        room: Room,
        edition: AgentEdition,
        entry: RoomEntry,
        invite: Request,
        environment: CallEnvironment,
        clock: Clock,
    ) -> None:
        self.call_id = secrets.token_hex(CALL_ID_BYTES)
        self.route = Route(entry.trunk_name, entry.trunk, edition, entry.dialled, entry.caller)
        self._room = room
        self._invite = invite
        self._environment = environment
        self._clock = clock
        self._logger = ContextLogger(_log, {"call_id": self.call_id, "conference": room.name})
        self._timers = Timers()
        self._account = Account(self.call_id, environment.clock)
        self._voice = RoomVoice()
        self._dismissed = asyncio.Event()
        self._tasks: asyncio.TaskGroup
        self._reason = "room_empty"

    async def run(self) -> None:
        """Opens the model, sits in the room until it is dismissed, and leaves a record."""
        started_at = datetime.now(UTC)
        agent = CallAgent(self, self._invite, self._environment, self._account, self._timers, self._spawn, self._logger)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._sit(agent)
        finally:
            self._timers.cancel_all()
            await agent.aclose()
            self._keep(agent, started_at)
            agent.let_go()

    async def _sit(self, agent: CallAgent) -> None:
        try:
            async with asyncio.timeout(self._environment.setup_timeout_seconds):
                await agent.open(self._voice, None, None)
        except (ModelError, TimeoutError) as error:
            self._reason, self._account.detail = "model_unavailable", str(error)
            self._logger.error("no agent in the conference", extra={"event": "agent_missing", "detail": str(error)})
            agent.stop()
            return
        if (opened := agent.opened) is not None and not self._dismissed.is_set():
            self._account.answer()
            ear = RoomEar(opened.bridge, opened.settings, self._environment.clock)
            seat = self._room.join(AGENT, ear, _SEAT)
            self._voice.start(opened.bridge, opened.settings, seat)
            self._clock.register(self._voice, FRAME_MS)
            self._logger.info("agent in the conference", extra={"event": "agent_joined"})
            agent.greet()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.route.agent.max_duration_seconds):
                    await self._dismissed.wait()
            self._clock.unregister(self._voice)
            self._room.leave(AGENT)
        for played in self._voice.flush():
            self._account.conversation.agent_interrupted(played.item_id, played.sent_ms)
        self._voice.stop()
        self._account.end()
        agent.stop()

    def dismiss(self) -> None:
        """The last caller has gone."""
        self._dismissed.set()

    @property
    def is_leaving(self) -> bool:
        """Whether it was dismissed, or goes by itself."""
        return self._dismissed.is_set()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return self._tasks.create_task(work, name=f"conference-{self.call_id}-work")

    def _keep(self, agent: CallAgent, started_at: datetime) -> None:
        route, opened, ended_at = self.route, agent.opened, datetime.now(UTC)
        conversation = self._account.conversation
        model = None
        if opened is not None:
            model = ModelRecord(
                backend=opened.model.backend_name,
                usage=opened.bridge.usage,
                cost=None if (cost := opened.model.cost) is None else round(cost, 6),
            )
        self._environment.keep(
            CallRecord(
                call_id=self.call_id,
                sip_call_id="",
                direction="conference",
                trunk=route.trunk_name,
                agent=route.agent_name,
                agent_version=route.edition.version,
                conference=self._room.name,
                caller="",
                dialled=route.dialled,
                started_at=started_at,
                ended_at=ended_at,
                duration_ms=round((ended_at - started_at).total_seconds() * 1000),
                end=EndRecord(reason=self._reason, by="gateway", detail=self._account.detail),
                transcript=transcript_of(conversation),
                turns=turns_of(conversation),
                model=model,
            )
        )

    # gateway.call.agent.AgentHost, as far as there is a call.

    @property
    def line(self) -> "RoomAgent":
        """What tools may do here."""
        return self

    @property
    def is_speaking(self) -> bool:
        """Whether speech waits to be heard."""
        return self._voice.queued_ms > 0

    @property
    def is_being_transferred(self) -> bool:
        """Nobody is."""
        return False

    def post(self, news: CallInput) -> None:
        """What would end a call (its cost, its silence) ends the agent's stay; the callers talk on."""
        self._reason = news.value
        self.dismiss()

    def on_spoken(self) -> None:
        """All was heard."""

    def on_model_lost(self, detail: str) -> None:
        """No backend goes on: the callers talk on without an agent."""
        self._reason, self._account.detail = "model_lost", detail
        self.dismiss()

    # gateway.tools.tool.Line.

    def end_call(self) -> None:
        """The agent leaves; the callers talk on."""
        self._reason = "agent_left"
        self.dismiss()

    def send_digits(self, digits: str) -> bool:
        """There is no line of its own to send them on."""
        return False

    async def transfer_call(self, uri: str) -> TransferOutcome:
        """Nobody is transferred out of a room."""
        return TransferOutcome(403, "callers are not transferred out of a conference")

    async def hold_caller(self, music: Path, max_seconds: float) -> bool:
        """There is nobody to be put on hold."""
        return False

    async def play_announcement(self, file: Path) -> bool:
        """What everybody is to hear is the room's own."""
        return False

    def pause_recording(self) -> bool:
        """The callers' recordings are their own; what the agent hears stands in its own record no more."""
        self._account.withhold()
        return False

    async def resume_recording(self) -> bool:
        """See `pause_recording`."""
        self._account.unveil()
        return False


class RoomAttendance:
    """Sends agents into rooms that want one.

    Args:
        find: an agent by its name.
        environment: what the process gives.
        clock: the media clock.
        start: runs a coroutine as a task that the process owns.
    """

    def __init__(
        self,
        find: Callable[[str], AgentEdition | None],
        environment: CallEnvironment,
        clock: Clock,
        start: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self._find = find
        self._environment = environment
        self._clock = clock
        self._start = start
        self._next: dict[Room, tuple[RoomEntry, Request]] = {}
        """Who came while an agent was on its way out: with whom the next one comes in."""

    def attend(self, room: Room, entry: RoomEntry, invite: Request) -> None:
        """Somebody came into the room: its agent comes too, unless it is there."""
        name = room.settings.agent
        if room.agent is not None and room.agent.is_leaving:
            self._next[room] = (entry, invite)
        if name is None or room.agent is not None or (edition := self._find(name)) is None:
            return
        agent = room.agent = RoomAgent(room, edition, entry, invite, self._environment, self._clock)
        self._start(self._live(room, agent))

    async def _live(self, room: Room, agent: RoomAgent) -> None:
        """The supervised edge: an agent's fault ends its stay and nothing else."""
        try:
            await agent.run()
        except Exception:  # noqa: BLE001 - the callers' calls must not end with it; it is logged whole
            _log.exception("conference agent failed", extra={"conference": room.name})
        finally:
            room.leave(AGENT)
            if room.agent is agent:
                room.agent = None
            if (newcomer := self._next.pop(room, None)) is not None and room.callers:
                self.attend(room, *newcomer)
