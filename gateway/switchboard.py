"""Takes every event of the user agent: admits new calls or refuses them, and hands the rest to their calls."""

import asyncio
import logging
import secrets
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.access import TrunkAccess
from gateway.admission import Admission, RefusalReason, Route
from gateway.call.call import Call
from gateway.call.environment import CallEnvironment
from gateway.call.record import CallRecord, EndRecord, IdentityRecord
from gateway.config.model import LimitsSettings
from gateway.config.outbound import ReplacesPolicy
from gateway.config.trunk import TrunkSettings
from gateway.identity.check import IdentityCheck, IdentityDesk
from gateway.leg import AudioLeg, MediaPlane
from gateway.media_policy import MediaPolicy
from gateway.overload.gate import Gate
from gateway.room import RoomEntry, Rooms
from gateway.room_call import Attendance, RoomCall
from gateway.warning import warnings_of
from rtp.errors import PortsExhaustedError
from sip.errors import SipError
from sip.event import AgentEvent, Ended, IncomingInvite
from sip.message import Request
from sip.reception import Refusal
from sip.session.session import InviteSession
from sip.session.uas import ServerSession
from sip.transport.flow import Flow

CALL_ID_BYTES: Final = 8
# Said with every 503: a carrier that comes back sooner finds the same.
RETRY_AFTER_SECONDS: Final = 5
# How long a stopping process waits for the ACK of a call that was answered a moment ago: one round trip, RFC 3261's T1.
ACK_PATIENCE_SECONDS: Final = 0.5
# How long it then waits for calls that are hung up on: the model's connection is closed, the recording is written. What
# an agent's `summary` may take comes on top.
RELEASE_PATIENCE_SECONDS: Final = 4.0
# Calls that are hung up on in one turn of the event loop: each is half a millisecond of work and more, and whoever else
# wants an answer (OPTIONS of a dispatcher, callers whose call ends a moment later) waits for all of them.
STOPPED_AT_ONCE: Final = 8
# What a call that is cancelled may take to write its record.
CANCEL_PATIENCE_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Refused:
    """A call that is not taken, and all that is known of why."""

    reason: RefusalReason
    trunk_name: str
    route: Route | RoomEntry | None = None
    sip_status: int | None = None
    detail: str | None = None
    identity: IdentityCheck | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def status(self) -> int:
        """The final status: the negotiation's own where it has one."""
        return self.sip_status or self.reason.sip_status


class Switchboard:
    """The calls of a process, by their SIP sessions.

    Args:
        admission: trunks and numbers.
        plane: the media that legs are made of.
        environment: what every call is given.
        limits: how many calls at once.
        tasks: owns the task of every call; it must outlive them.
        access: challenges callers on trunks with credentials.
        identity: checks callers' numbers.
        gate: keeps rates and caps.
        rooms: conferences, and the numbers that lead into them.
        attendance: sends agents into rooms that want one.
    """

    def __init__(
        self,
        admission: Admission,
        plane: MediaPlane,
        environment: CallEnvironment,
        limits: LimitsSettings,
        tasks: asyncio.TaskGroup,
        access: TrunkAccess,
        identity: IdentityDesk,
        gate: Gate,
        rooms: Rooms,
        attendance: Attendance,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._admission = admission
        self._plane = plane
        self._environment = environment
        self._limits = limits
        self._tasks = tasks
        self._access = access
        self._identity = identity
        self._gate = gate
        self._rooms = rooms
        self._attendance = attendance
        self._calls: dict[InviteSession, Call | RoomCall] = {}
        self._lives: dict[InviteSession, asyncio.Task[None]] = {}
        self._joined: dict[InviteSession, Call] = {}
        self._calls_by_trunk: Counter[str] = Counter()
        self._is_draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def call_count(self) -> int:
        """Calls that are not released yet."""
        return len(self._calls)

    async def drain(self, patience_seconds: float) -> None:
        """Refuses new calls from now on, lets running ones end by themselves for a while, and then hangs up on them.

        A call that was never acknowledged would wait for its ACK for 64*T1, whatever patience there is, and whoever
        stops the process would kill it first: without a BYE, and without the records of all calls. For the same reason
        a call that does not end, whatever holds it, is cancelled.
        """
        self._is_draining = True
        if await self._is_idle_within(patience_seconds):
            return
        await self._stop_calls()
        if await self._is_idle_within(ACK_PATIENCE_SECONDS):
            return
        for session in [*self._calls, *self._joined]:
            self._environment.perform(session.forgo_ack)
        await self._stop_calls()  # an inbox that was full has lost the first word
        summary_seconds = max(
            map(_summary_seconds, self._calls.values()), default=0.0
        )  # the last call may just have gone
        if await self._is_idle_within(RELEASE_PATIENCE_SECONDS + summary_seconds):
            return
        for session, life in list(self._lives.items()):
            self.counters["calls_cancelled"] += 1
            _log.error("call does not end", extra={"event": "call_cancelled", "call_id": self._calls[session].call_id})
            life.cancel()
        await self._is_idle_within(CANCEL_PATIENCE_SECONDS)

    async def _stop_calls(self) -> None:
        calls = list(self._calls.values())
        for first in range(0, len(calls), STOPPED_AT_ONCE):
            for call in calls[first : first + STOPPED_AT_ONCE]:
                call.stop()
            await asyncio.sleep(0)

    async def _is_idle_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._idle.is_set()

    def screen(self, request: Request, flow: Flow) -> Refusal | None:
        """OPTIONS gets what an INVITE would (RFC 3261 §11.2): 503 of a gateway that drains or is full, so that a
        dispatcher sends its calls elsewhere.

        Trunks with credentials have every request outside a dialog show them. What is over a rate or a cap goes no
        further, statelessly.
        """
        trunk_name = self._admission.trunk_of_flow(flow)
        if trunk_name is not None and (challenge := self._access.challenge(trunk_name, request)) is not None:
            return challenge
        if request.method == "OPTIONS" and trunk_name is not None:
            reason = self._fullness(trunk_name, self._admission.trunk(trunk_name).calls)
            if reason is not None:
                headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),)
                return Refusal(reason.sip_status, reason.label, headers=headers)
        return self._gate.screen(request, flow)

    def on_event(self, event: AgentEvent) -> None:
        """Takes an event of the user agent, synchronously."""
        self._gate.on_event(event)
        if isinstance(event, IncomingInvite):
            self._on_invite(event.session, event.offer, event.replaces)
        elif (call := self._call_of(event.session)) is not None:
            call.on_session_event(event)
        if isinstance(event, Ended):
            self._joined.pop(event.session, None)

    def _call_of(self, session: InviteSession) -> Call | RoomCall | None:
        return self._calls.get(session) or self._joined.get(session)

    def _join(self, session: InviteSession, call: Call) -> None:
        """A call has a further session: of somebody who is to take its far end's place."""
        self._joined[session] = call

    def _on_invite(self, session: ServerSession, offer: bytes | None, replaces: InviteSession | None) -> None:
        flow = session.flow
        trunk_name = None if flow is None else self._admission.trunk_of_flow(flow)
        if flow is None or trunk_name is None:
            # The datagram was admitted, so this is a trunk that a reload has just taken away.
            self._environment.perform(session.reject, 403)
            return
        if replaces is not None:
            self._replace(session, offer, replaces, trunk_name)
            return
        request = session.request
        route = self._admission.entry(trunk_name, request, self._rooms) or self._admission.route(trunk_name, request)
        if route is None:
            self._refuse(session, _Refused(RefusalReason.UNKNOWN_NUMBER, trunk_name))
            return
        if (reason := self._obstacle(route)) is not None:
            self._refuse(session, _Refused(reason, trunk_name, route))
            return
        identity = self._identity.begin(route.trunk, session.request, flow.remote.host, route.dialled)
        if identity is not None and identity.is_refused:
            refused = RefusalReason.IDENTITY_REFUSED
            self._refuse(session, _Refused(refused, trunk_name, route, detail=identity.detail, identity=identity))
            return
        agreed = self._agree(session, offer, route.trunk, trunk_name, route)
        if agreed is not None:
            leg, answer = agreed
            self._begin(session, leg, answer, route, identity)

    def _replace(self, session: ServerSession, offer: bytes | None, replaces: InviteSession, trunk_name: str) -> None:
        """An INVITE with Replaces: not a further call, so that neither numbers nor caps of calls are asked."""
        trunk, call = self._admission.trunk(trunk_name), self._call_of(replaces)
        if not isinstance(call, Call):
            self._refuse(session, _Refused(RefusalReason.REPLACES_UNKNOWN, trunk_name))
            return
        is_allowed = trunk.replaces is ReplacesPolicy.ANY_TRUNK or (
            trunk.replaces is ReplacesPolicy.SAME_TRUNK and call.route.trunk_name == trunk_name
        )
        if not is_allowed:
            self._refuse(session, _Refused(RefusalReason.REPLACES_FORBIDDEN, trunk_name, call.route))
            return
        agreed = self._agree(session, offer, trunk, trunk_name, call.route)
        if agreed is None:
            return
        leg, answer = agreed
        if not call.replace_side(replaces, session, leg, answer):
            leg.close()
            self._refuse(session, _Refused(RefusalReason.REPLACES_PENDING, trunk_name, call.route))

    def _agree(
        self,
        session: ServerSession,
        offer: bytes | None,
        trunk: TrunkSettings,
        trunk_name: str,
        route: Route | RoomEntry,
    ) -> tuple[AudioLeg, bytes] | None:
        """A leg and its answer to the offer; None where the call had to be refused."""
        try:
            leg = AudioLeg(self._plane, MediaPolicy.of(trunk), self._plane.host_for(session))
        except PortsExhaustedError as error:
            self._refuse(session, _Refused(RefusalReason.NO_PORT, trunk_name, route, detail=str(error)))
            return None
        try:
            return leg, leg.answer(offer)
        except SipError as error:
            leg.close()
            reason, headers = RefusalReason.BAD_OFFER, warnings_of(session, error)
            self._refuse(session, _Refused(reason, trunk_name, route, error.status, str(error), headers=headers))
            return None

    def _fullness(self, trunk_name: str, most: int | None) -> RefusalReason | None:
        """Why no further call of a trunk can be taken, whatever was dialled."""
        if self._is_draining:
            return RefusalReason.DRAINING
        if len(self._calls) >= self._limits.calls:
            return RefusalReason.GATEWAY_FULL
        if most is not None and self._calls_by_trunk[trunk_name] >= most:
            return RefusalReason.TRUNK_FULL
        return None

    def _obstacle(self, route: Route | RoomEntry) -> RefusalReason | None:
        """Why no further call can be taken on this route at this moment."""
        if (reason := self._fullness(route.trunk_name, route.trunk.calls)) is not None:
            return reason
        if isinstance(route, Route) and not any(name in self._environment.backends for name in route.agent.backends):
            return RefusalReason.NO_BACKEND
        return None

    def _begin(
        self,
        session: ServerSession,
        leg: AudioLeg,
        answer: bytes,
        route: Route | RoomEntry,
        identity: IdentityCheck | None,
    ) -> None:
        call_id, environment = secrets.token_hex(CALL_ID_BYTES), self._environment
        call: Call | RoomCall
        if isinstance(route, Route):
            call = Call(call_id, session, leg, answer, route, environment, identity, self._join)
        else:
            call = RoomCall(call_id, session, leg, answer, route, environment, identity, self._attendance)
        self._calls[session] = call
        self._calls_by_trunk[route.trunk_name] += 1
        self._idle.clear()
        self.counters["calls"] += 1
        self._lives[session] = self._tasks.create_task(self._live(session, call), name=f"call-{call.call_id}")

    async def _live(self, session: ServerSession, call: Call | RoomCall) -> None:
        """The supervised edge of a call: its faults end it and nothing else."""
        try:
            await call.run()
        except Exception:  # noqa: BLE001 - one call's fault must not end the others; it is counted and logged whole
            self.counters["call_faults"] += 1
            _log.exception("call failed", extra={"call_id": call.call_id})
        finally:
            del self._calls[session], self._lives[session]
            for joined in [joined for joined, owner in self._joined.items() if owner is call]:
                del self._joined[joined]
            self._calls_by_trunk[call.route.trunk_name] -= 1
            if not self._calls:
                self._idle.set()

    def _refuse(self, session: ServerSession, refused: _Refused) -> None:
        headers = refused.headers
        if refused.identity is not None:
            _, headers = refused.identity.refusal
        elif refused.status == 503:
            headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),)
        self._environment.perform(session.reject, refused.status, headers=headers)
        self.counters[f"refused_{refused.reason.label}"] += 1
        request = session.request
        caller, dialled = request.from_.uri.user or "anonymous", request.uri.user or ""
        _log.warning(
            "call refused",
            extra={
                "event": "refused",
                "reason": refused.reason.label,
                "status": refused.status,
                "trunk": refused.trunk_name,
                "caller": caller,
                "dialled": dialled,
                "sip_call_id": session.sip_call_id,
                "detail": refused.detail,
            },
        )
        now = datetime.now(UTC)
        record = CallRecord(
            call_id=secrets.token_hex(CALL_ID_BYTES),
            sip_call_id=session.sip_call_id,
            carrier_call_id=request.headers.get("X-Twilio-CallSid"),
            trunk=refused.trunk_name,
            agent=route.agent_name if isinstance(route := refused.route, Route) else None,
            conference=route.room.name if isinstance(route, RoomEntry) else None,
            agent_version=route.edition.version if isinstance(route, Route) else None,
            candidate_of=route.edition.candidate_of if isinstance(route, Route) else None,
            caller=caller,
            dialled=dialled,
            started_at=now,
            ended_at=now,
            end=EndRecord(reason=refused.reason.label, by="gateway", sip_status=refused.status, detail=refused.detail),
            identity=_identity_record(refused.identity),
        )
        self._environment.keep(record)


def _summary_seconds(call: Call | RoomCall) -> float:
    """How long a call may ask its model for words about itself when it has ended."""
    summary = call.route.agent.summary if isinstance(call.route, Route) else None
    return 0.0 if summary is None else summary.timeout_seconds


def _identity_record(identity: IdentityCheck | None) -> IdentityRecord | None:
    return None if identity is None or identity.verdict is None else IdentityRecord.of(identity.verdict)
