"""One caller's stay in a room: answered at once, in the room from the ACK on, out of it when the call ends."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

from gateway.call.entry import KeypadEntry
from gateway.call.environment import CallEnvironment
from gateway.call.record import CallRecord, EndRecord, IdentityRecord, MediaRecord
from gateway.call.side import CallerSide
from gateway.call.tape import Tape
from gateway.call.transition import EndReason
from gateway.conference import seat_format
from gateway.identity.check import IdentityCheck
from gateway.leg import AudioLeg
from gateway.log import ContextLogger
from gateway.room import Room, RoomEntry, RoomFullError
from rtp.codec.format import PayloadFormat
from sip.event import (
    Acknowledged,
    ByeReceived,
    Cancelled,
    Ended,
    InfoReceived,
    NotAcknowledged,
    ReferReceived,
    ReinviteReceived,
    SessionEvent,
)
from sip.message import Request
from sip.session.uas import ServerSession

GAIN_STEP_DB: Final = 3.0
"""Less is hardly heard."""
BUSY_HERE: Final = 486
# A BYE is answered within a round trip; 64*T1 of retransmissions (RFC 3261 timer F) is the session's own limit.
RELEASE_SECONDS: Final = 33.0

_log = logging.getLogger(__name__)


class Attendance(Protocol):
    """gateway.room_agent.RoomAttendance."""

    def attend(self, room: Room, entry: RoomEntry, invite: Request) -> None:
        """Somebody came into the room."""


class RoomCall:
    """One call into a room.

    Args:
        call_id: ours, unique; its name in the room.
        session: the INVITE session, not yet answered.
        leg: has already agreed to the caller's offer.
        answer: the session description that goes into the 200.
        route: trunk, room and seat.
        environment: what the process gives.
        identity: the check of the caller's number, where the trunk asks for one.
        attendance: sends the room's agent.
    """

    def __init__(
        self,
        call_id: str,
        session: ServerSession,
        leg: AudioLeg,
        answer: bytes,
        route: RoomEntry,
        environment: CallEnvironment,
        identity: IdentityCheck | None,
        attendance: Attendance,
    ) -> None:
        self.call_id = call_id
        self.route = route
        self._environment = environment
        self._identity = identity
        self._attendance = attendance
        self._logger = ContextLogger(_log, {"call_id": call_id, "trunk": route.trunk_name})
        self._caller = CallerSide(session, leg, answer, environment.perform, self._logger)
        self._tape = Tape(call_id, environment, self._logger)
        self._started_at = datetime.now(UTC)
        self._invited = environment.clock()
        self._answered: float | None = None
        self._answered_at: datetime | None = None
        self._is_over = asyncio.Event()
        self._is_released = asyncio.Event()
        self._reason: EndReason | None = None
        self._by = "gateway"
        self._detail: str | None = None
        self._status: int | None = None
        self._sits_as: PayloadFormat | None = None
        self._keys = KeypadEntry()

    async def run(self) -> None:
        """Lives the call to its end. Whatever happens, everything is released and one record is written."""
        self._log_start()
        try:
            if await self._is_welcome():
                self._answer()
                await self._stay()
        finally:
            await self._release()

    def stop(self) -> None:
        """Asks the call to end because the gateway does."""
        self._end(EndReason.GATEWAY_STOPPED)

    async def _is_welcome(self) -> bool:
        identity = self._identity
        if identity is not None:
            await identity.settle()
            if identity.is_refused:
                self._end(EndReason.IDENTITY_REFUSED, detail=identity.detail)
                self._status, headers = identity.refusal
                self._caller.reject(self._status, headers)
        if not self._is_over.is_set() and self.route.room.is_full:
            self._end(EndReason.ROOM_FULL)
            self._status = BUSY_HERE
            self._caller.reject(BUSY_HERE)
        return not self._is_over.is_set()

    def _answer(self) -> None:
        self._caller.answer()
        self._answered = self._environment.clock()
        self._answered_at = datetime.now(UTC)

    async def _stay(self) -> None:
        try:
            async with asyncio.timeout(self.route.room.settings.max_duration_seconds):
                await self._is_over.wait()
        except TimeoutError:
            self._end(EndReason.DURATION_LIMIT)
        self.route.room.leave(self.call_id)
        if not self._caller.session.is_ended:
            self._caller.hang_up()
            with suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._is_released.wait()

    def _end(self, reason: EndReason, by: str = "gateway", detail: str | None = None) -> None:
        """The first reason counts."""
        if self._reason is None:
            self._reason, self._by, self._detail = reason, by, detail
        self._is_over.set()

    # What SIP says.

    def on_session_event(self, event: SessionEvent) -> None:
        """Takes an event of the SIP session."""
        match event:
            case Acknowledged(body=body):
                self._take_acknowledgement(body)
            case NotAcknowledged():
                self._end(EndReason.NOT_ACKNOWLEDGED, "carrier")
            case Cancelled(reason=reason):
                self._end(EndReason.CANCELLED, "caller", reason)
            case ByeReceived(reason=reason):
                self._end(EndReason.CALLER_HUNG_UP, "caller", reason)
            case ReinviteReceived(offer=offer):
                if self._caller.answer_reinvite(offer):
                    self._follow_codec()
            case InfoReceived(content_type=content_type, body=body):
                if self._keys.read(content_type, body, self._at_ms) is not None:
                    self._take_key()
            case ReferReceived():
                self._caller.refuse_refer(603)
            case Ended():
                self._is_released.set()
                self._end(EndReason.DIALOG_LOST, "carrier")
            case _:
                pass  # what only informs

    def _take_acknowledgement(self, body: bytes | None) -> None:
        """Of the INVITE, or of a re-INVITE: what was agreed is known now at the latest."""
        if not self._caller.leg.complete(body):
            self._end(EndReason.MEDIA_LOST, detail="the ACK brought no session description that could be used")
        elif self._sits_as is None:
            self._enter()
        else:
            self._follow_codec()

    def _enter(self) -> None:
        leg, room = self._caller.leg, self.route.room
        if self._is_over.is_set():
            return
        try:
            seat = room.join(self.call_id, leg, self.route.seat, self._on_digit, self._tape.recorder())
        except RoomFullError as error:
            self._end(EndReason.ROOM_FULL, detail=str(error))
            return
        self._sits_as = leg.payload_format
        spoken = seat_format(leg.payload_format)
        self._tape.take_formats(spoken, leg.playout_format)
        leg.start(seat, input_format=spoken, output_format=spoken, on_lost=self._on_media_lost)
        leg.resume()
        self._attendance.attend(room, self.route, self._caller.session.request)

    def _follow_codec(self) -> None:
        """Another codec is another kind of seat; the stream runs on."""
        leg = self._caller.leg
        if self._sits_as is None or self._is_over.is_set() or leg.payload_format == self._sits_as:
            return
        self._sits_as = leg.payload_format
        spoken = seat_format(leg.payload_format)
        seat = self.route.room.reseat(self.call_id, leg)
        self._tape.take_formats(spoken, leg.playout_format)
        leg.redirect(seat, input_format=spoken, output_format=spoken)

    def _on_media_lost(self) -> None:
        self._end(EndReason.MEDIA_LOST, detail="no media came from the far end")

    @property
    def _at_ms(self) -> int:
        return round((self._environment.clock() - (self._answered or self._invited)) * 1000)

    def _on_digit(self, digit: str, duration_ms: int) -> None:
        self._keys.press(digit, duration_ms, self._at_ms)
        self._take_key()

    def _take_key(self) -> None:
        act = _ACTS.get("".join(press.digit for press in self._keys.digits[-2:]))
        if act is not None and self._sits_as is not None and not self._is_over.is_set():
            act(self)

    def _mute(self) -> None:
        is_muted = self.route.room.toggle_mute(self.call_id)
        self._logger.info("conference mute", extra={"event": "muted" if is_muted else "unmuted"})

    def _turn_aside(self) -> None:
        is_aside = self.route.room.toggle_aside(self.call_id)
        self._logger.info("conference aside", extra={"event": "aside" if is_aside else "aloud"})

    def _change_gain(self, change_db: float) -> None:
        gain_db = self.route.room.change_gain(self.call_id, change_db)
        self._logger.info("conference gain", extra={"event": "gain", "gain_db": gain_db})

    # The end.

    async def _release(self) -> None:
        ended_at, clock = datetime.now(UTC), self._environment.clock()
        self.route.room.leave(self.call_id)
        self._caller.hang_up()
        media = self._caller.leg.statistics()
        self._caller.leg.close()
        await self._tape.aclose()
        duration_ms = 0 if self._answered is None else round((clock - self._answered) * 1000)
        record = self._record(ended_at, duration_ms, media)
        self._environment.keep(record)
        self._logger.info(
            "call ended", extra={"event": "ended", "reason": record.end.reason, "duration_ms": duration_ms}
        )

    def _record(self, ended_at: datetime, duration_ms: int, media: MediaRecord) -> CallRecord:
        session, route = self._caller.session, self.route
        reason = self._reason or EndReason.GATEWAY_STOPPED
        verdict = None if self._identity is None else self._identity.verdict
        return CallRecord(
            call_id=self.call_id,
            sip_call_id=session.sip_call_id,
            carrier_call_id=session.request.headers.get("X-Twilio-CallSid"),
            trunk=route.trunk_name,
            conference=route.room.name,
            caller=route.caller,
            dialled=route.dialled,
            started_at=self._started_at,
            answered_at=self._answered_at,
            ended_at=ended_at,
            set_up_ms=None if self._answered is None else round((self._answered - self._invited) * 1000),
            duration_ms=duration_ms,
            end=EndRecord(reason=reason.value, by=self._by, sip_status=self._status, detail=self._detail),
            identity=None if verdict is None else IdentityRecord.of(verdict),
            digits=tuple(self._keys.digits),
            media=media,
            recording=self._tape.record(),
        )

    def _log_start(self) -> None:
        self._logger.info(
            "call",
            extra={
                "event": "call",
                "sip_call_id": self._caller.session.sip_call_id,
                "conference": self.route.room.name,
                "caller": self.route.caller,
                "dialled": self.route.dialled,
            },
        )


# *6 as in every conference service that people know, *7 and *9 as in the menu of Asterisk's.
_ACTS: Final[Mapping[str, Callable[[RoomCall], None]]] = {
    "*5": RoomCall._turn_aside,
    "*6": RoomCall._mute,
    "*7": lambda call: call._change_gain(-GAIN_STEP_DB),
    "*9": lambda call: call._change_gain(GAIN_STEP_DB),
}
