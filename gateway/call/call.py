"""One inbound call as an actor: one inbox, one owner of its state, every slow thing a task of its own.

SIP, the model, the media leg and timers put inputs into the inbox; `run` takes them out one by one and steps through
`gateway.call.transition.CALL_TABLE`. Audio never passes through here: see `gateway.bridge`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Final

from gateway.admission import Route
from gateway.call.account import Account, CallParts
from gateway.call.agent import CallAgent
from gateway.call.environment import CallEnvironment
from gateway.call.handover import Handovers
from gateway.call.line import CallLine
from gateway.call.lobby import check_identity, log_call, open_model
from gateway.call.record import MediaRecord
from gateway.call.side import CallerSide, Side
from gateway.call.tape import Tape
from gateway.call.timer import Timers
from gateway.call.transfer import TransferEvent, Transfers
from gateway.call.transition import CALL_TABLE, CallAct, CallInput, CallState, EndReason
from gateway.identity.check import IdentityCheck
from gateway.leg import AudioLeg
from gateway.log import ContextLogger
from gateway.realtime.session import TextRole
from sip.event import (
    Acknowledged,
    ByeReceived,
    Cancelled,
    Ended,
    InfoReceived,
    NotAcknowledged,
    ReferAccepted,
    ReferEnded,
    ReferProgress,
    ReferReceived,
    ReinviteAnswered,
    ReinviteReceived,
    SessionEvent,
)
from sip.session.session import InviteSession
from sip.session.state import SessionState
from sip.session.uas import ServerSession

# Inputs that may wait. A call meets a few a second; a full inbox means an actor that has stopped taking them out, and
# the input is counted as lost rather than kept without bound.
INBOX_LIMIT: Final = 64
# A BYE is answered within a round trip; 64*T1 of retransmissions (RFC 3261 timer F) is the session's own limit.
RELEASE_SECONDS: Final = 33.0

# How long a far end has for taking us off hold by itself after a transfer that failed.
TAKE_BACK_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)

Join = Callable[[InviteSession, "Call"], None]


class Call:
    """One inbound call.

    Args:
        call_id: ours, unique; the header's is the session's.
        session: the INVITE session, not yet answered.
        leg: the media leg; it has already agreed to the caller's offer.
        answer: the session description that goes into the 200.
        route: trunk, number and agent.
        environment: what the process gives.
        identity: the check of the caller's number, where the trunk asks for one.
        join: is told of further sessions whose events are the call's.
    """

    def __init__(
        self,
        call_id: str,
        session: ServerSession,
        leg: AudioLeg,
        answer: bytes,
        route: Route,
        environment: CallEnvironment,
        identity: IdentityCheck | None,
        join: Join,
    ) -> None:
        self.call_id = call_id
        self.route = route
        self.state = CallState.OPENING
        self.lost_inputs = 0
        self._environment = environment
        self._identity = identity
        self._logger = ContextLogger(_log, {"call_id": call_id, "trunk": route.trunk_name})
        self._caller = CallerSide(session, leg, answer, environment.perform, self._logger)
        self.side: Side = self._caller
        """Who is in conversation with the agent; `gateway.call.handover` changes it."""
        self._join = join
        self._inbox: asyncio.Queue[CallInput] = asyncio.Queue(INBOX_LIMIT)
        self._timers = Timers()
        self._account = Account(call_id, environment.clock)
        self.agent = CallAgent(
            self, session.request, environment, self._account, self._timers, self._spawn, self._logger
        )
        dialler, perform = environment.dialler, environment.perform
        self._transfers = Transfers(session, perform, dialler.caps, self._logger)
        self._handovers = Handovers(self, route.trunk, dialler, perform, self._account, self._timers, self._logger)
        self._tape = Tape(call_id, environment, self._logger)
        self.line = CallLine(
            self, environment, self._account, self._transfers, self._tape, self._timers, self._spawn, self._logger
        )
        self._tasks: asyncio.TaskGroup

    # The life.

    async def run(self) -> None:
        """Lives the call to its end. Whatever happens, everything is released and one record is written."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._live()
        finally:
            await self._release()

    async def _live(self) -> None:
        """Takes the inputs one by one until the call has ended, and then stops what still runs for it."""
        log_call(self, self._caller.session.sip_call_id, self._logger)
        self._arm("setup", self._environment.setup_timeout_seconds, CallInput.SETUP_EXPIRED)
        checking = None
        if self._identity is not None:
            checking = self._spawn(check_identity(self, self._identity, self._account, self._logger))
        opening = self._spawn(open_model(self, self._identity, checking, self._account, self._tape))
        try:
            self._caller.ring()
            while self.state is not CallState.ENDED:
                self._step(await self._inbox.get())
        finally:
            if checking is not None:
                checking.cancel()
            opening.cancel()
            self._handovers.close()
            self.line.stop()
            self.agent.stop()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Starts a task that ends with the call at the latest."""
        return self._tasks.create_task(work, name=f"call-{self.call_id}-work")

    def stop(self) -> None:
        """Asks the call to end because the gateway does."""
        self.post(CallInput.STOPPED)

    def post(self, news: CallInput) -> None:
        """Puts an input into the inbox; never blocks."""
        try:
            self._inbox.put_nowait(news)
        except asyncio.QueueFull:
            self.lost_inputs += 1
            self._logger.error("call inbox is full", extra={"input": news.value})

    def _arm(self, name: str, seconds: float, news: CallInput) -> None:
        self._timers.arm(name, seconds, lambda: self.post(news))

    # Steps and acts.

    def _step(self, news: CallInput) -> None:
        step = CALL_TABLE[self.state].get(news)
        if step is None:
            self._logger.debug("late input", extra={"state": self.state.value, "input": news.value})
            return
        self._logger.debug("step", extra={"from": self.state.value, "input": news.value, "to": step.state.value})
        self.state = step.state
        if step.reason is not None and self._account.reason is None:
            self._account.reason = step.reason
        for act in step.acts:
            _ACTS[act](self)
        if self.state is CallState.ENDING:
            self._arm("release", RELEASE_SECONDS, CallInput.RELEASE_EXPIRED)

    def _act_answer(self) -> None:
        self._timers.cancel("setup")
        self._caller.answer()
        self._account.answer()
        if (opened := self.agent.opened) is not None:  # always: only a model that is ready leads here
            self._tell_recording()
            self.side.start(opened.bridge, opened.settings, self._on_media_lost)
        self._arm("duration", self.route.agent.max_duration_seconds, CallInput.LIMIT_REACHED)
        self._logger.info("answered", extra={"event": "answered", "set_up_ms": self._account.set_up_ms})

    def _on_media_lost(self) -> None:
        self._account.detail = "no media came from the far end"
        self.post(CallInput.MEDIA_LOST)

    def _act_refuse(self) -> None:
        headers: tuple[tuple[str, str], ...] = ()
        status = 503
        if self._account.reason is EndReason.IDENTITY_REFUSED and self._identity is not None:
            status, headers = self._identity.refusal
        self._account.sip_status = status
        self._caller.reject(status, headers)

    def _act_greet(self) -> None:
        self.side.leg.resume()
        self.agent.greet()

    def _act_hang_up(self) -> None:
        self._handovers.close()
        if self.side.session.is_ended:
            self.post(CallInput.DIALOG_ENDED)  # it left the call to a handover that is no more
        self.side.hang_up()

    def _tell_recording(self) -> None:
        """The recording learns what the channels are made of."""
        if (opened := self.agent.opened) is not None:
            self._tape.take_formats(opened.settings.input_format, self.side.leg.playout_format)

    # What SIP says.

    def on_session_event(self, event: SessionEvent) -> None:
        """Takes an event of one of the call's SIP sessions."""
        if event.session is not self.side.session:
            self._handovers.on_event(event)
            return
        match event:
            case Acknowledged(body=body):
                self._take_acknowledgement(body)
            case NotAcknowledged():
                self.post(CallInput.NOT_ACKNOWLEDGED)
            case Cancelled(reason=reason):
                self._account.detail = reason
                self.post(CallInput.CANCELLED)
            case ByeReceived(reason=reason):
                self._lose_side(CallInput.CALLER_HUNG_UP, reason)
            case ReinviteReceived(offer=offer):
                if self.side.answer_reinvite(offer):
                    self._tell_recording()
            case InfoReceived(content_type=content_type, body=body):
                self.agent.on_info(content_type, body)
            case ReferReceived() | ReferAccepted() | ReferProgress() | ReferEnded():
                self._take_transfer_event(event)
            case ReinviteAnswered(body=body):  # ours came after a hold, see `_take_transfer_event`
                self.side.leg.complete(body)
            case Ended():
                self._lose_side(CallInput.DIALOG_ENDED, self._account.detail)
            case _:
                pass  # what only informs

    def _take_acknowledgement(self, body: bytes | None) -> None:
        """Of the INVITE, or of a re-INVITE; with a session description where ours was the offer."""
        usable = self.side.leg.complete(body)
        self._tell_recording()
        if self.state is CallState.ANSWERING and not usable:
            self._account.detail = "the ACK brought no session description that could be used"
            self.post(CallInput.MEDIA_LOST)
        self.post(CallInput.ACKNOWLEDGED)

    def _take_transfer_event(self, event: ReferReceived | TransferEvent) -> None:
        """A transfer of ours that has succeeded ends the call; where it failed the conversation goes on.

        The far end held us while it tried, and should take us back by itself. Where it does not, we ask for that: it
        is free to answer with another hold (RFC 3264 §8.4), and a caller would hear silence otherwise.
        """
        if isinstance(event, ReferReceived):
            self._handovers.refer(event)
        elif self._transfers.on_event(event):
            self.post(CallInput.TRANSFERRED)
        elif isinstance(event, ReferEnded):
            self._timers.arm("take back", TAKE_BACK_SECONDS, self.side.take_back)

    def _lose_side(self, news: CallInput, detail: str | None) -> None:
        """The far end is gone. Where it has asked for a handover the call waits for that one."""
        if not self._handovers.outlives(self.side):
            self._account.detail = detail
            self.post(news)

    # What a handover sees of the call (gateway.call.handover.HandoverHost).

    def replace_side(self, session: InviteSession, fresh: ServerSession, leg: AudioLeg, answer: bytes) -> bool:
        """Lets a new call take the place of one of ours (RFC 3891); False where that cannot be at this moment."""
        side = CallerSide(fresh, leg, answer, self._environment.perform, self._logger)
        return self._handovers.replace(session, side, fresh.request)

    @property
    def may_change_side(self) -> bool:
        """Whether the call is in conversation, and nobody hands the caller over already.

        The session knows of the ACK a moment before the inbox has told the call.
        """
        is_up = self.state in _CONVERSING and self.side.session.state is SessionState.CONFIRMED
        return is_up and not self._transfers.is_under_way and not self.line.is_falling_back

    def join(self, session: InviteSession) -> None:
        """Events of this session are the call's from now on."""
        self._join(session, self)

    def take_over(self, side: Side, party: str) -> None:
        """Another far end goes on with the conversation. What the agent was saying ends, as by an interruption."""
        opened, former = self.agent.opened, self.side
        if opened is None or self.state not in _CONVERSING:
            side.hang_up()
            side.close()
            return
        self.line.end_hold()
        if opened.bridge.on_playout_flushed(former.leg.flush()):
            opened.model.cancel_response()  # its words were for somebody else, and the rest of them is heard by nobody
        self._account.change_side(former, former.close(), party)
        self.side = side
        self._transfers.session = side.session
        opened.attach(side.leg)
        side.start(opened.bridge, opened.settings, self._on_media_lost)
        side.leg.resume()
        self._tell_recording()
        former.hang_up()
        self.agent.tell("Somebody else is on the line now, to whom this call was handed over.", TextRole.SYSTEM)
        self._logger.info("side changed", extra={"event": "side_changed", "party": party})

    def on_referrer_lost(self, detail: str) -> None:
        """Nobody is left: the far end hung up, and the handover that it asked for has failed."""
        self._account.detail = detail
        self.post(CallInput.CALLER_HUNG_UP)

    # What its agent sees of the call (gateway.call.agent.AgentHost).

    @property
    def is_speaking(self) -> bool:
        """Whether speech of the agent waits to be sent."""
        return self.side.is_speaking

    @property
    def is_being_transferred(self) -> bool:
        """Whether the far end is about to hand the caller over."""
        return self._transfers.is_under_way or self._handovers.is_under_way

    def on_spoken(self) -> None:
        """All that the agent had to say has left the socket."""
        self.line.on_spoken()

    def on_model_lost(self, detail: str) -> None:
        """No backend goes on with the conversation."""
        self._account.detail = detail
        self.line.lose_model()

    # The end.

    async def _release(self) -> None:
        """Lets go of everything, in reverse order of its taking. Idempotent."""
        self._timers.cancel_all()
        self._account.end()
        # The actor may end before its session: a fault, or a process that stops. The far end is told.
        self.side.hang_up()
        for played in self.side.leg.flush():
            self._account.conversation.agent_interrupted(played.item_id, played.sent_ms)
        media = self.side.close()
        try:
            async with AsyncExitStack() as stack:  # each in its turn, also where a call that does not end is cancelled
                stack.push_async_callback(self.line.aclose)
                stack.push_async_callback(self._tape.aclose)
                stack.push_async_callback(self.agent.aclose)
        finally:
            self._keep_record(media)

    def _keep_record(self, media: MediaRecord) -> None:
        transfers = (*self._transfers.records(), *self._handovers.records())
        record = self._account.record(
            CallParts(
                session=self._caller.session,
                side=self.side,
                route=self.route,
                media=media,
                digits=tuple(self.agent.entry.digits),
                transfers=tuple(sorted(transfers, key=lambda transfer: transfer.at_ms)),
                opened=self.agent.opened,
                recording=self._tape.record(),
                voicemail=self.line.voicemail(),
                identity=self._identity,
            )
        )
        self._break_cycles()
        self._environment.keep(record)
        self._logger.info(
            "call ended", extra={"event": "ended", "reason": record.end.reason, "duration_ms": record.duration_ms}
        )

    def _break_cycles(self) -> None:
        """Lets the call's parts go by reference count.

        What is left to the garbage collector makes its full runs long, and while one runs nobody is served: with 250
        objects a call in cycles, a run of 80 ms was a gap that every caller heard.
        """
        self.agent.let_go()
        self._handovers.let_go()
        self.line.let_go()
        del self._tasks


_CONVERSING: Final = frozenset({CallState.ANSWERING, CallState.TALKING})

_ACTS: Final[Mapping[CallAct, Callable[[Call], None]]] = {
    CallAct.ANSWER: Call._act_answer,
    CallAct.REFUSE: Call._act_refuse,
    CallAct.GREET: Call._act_greet,
    CallAct.HANG_UP: Call._act_hang_up,
}
