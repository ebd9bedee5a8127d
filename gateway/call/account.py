"""What is kept of a call while it runs, and what becomes its record in the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.admission import Route
from gateway.call.conversation import Conversation
from gateway.call.model import CallModel
from gateway.call.opening import OpenModel
from gateway.call.record import (
    CallRecord,
    DeadAirRecord,
    DigitRecord,
    EndRecord,
    IdentityRecord,
    MediaRecord,
    ModelChangeRecord,
    ModelRecord,
    RecordingRecord,
    SideRecord,
    ToolCallRecord,
    TransferRecord,
    VoicemailRecord,
    transcript_of,
    turns_of,
)
from gateway.call.side import Side
from gateway.call.transition import EndReason
from gateway.identity.check import IdentityCheck
from gateway.tools.desk import ToolWork
from sip.session.uas import ServerSession


@dataclass(frozen=True, slots=True)
class CallParts:
    """What a call had, as far as its record tells of it."""

    session: ServerSession
    side: Side
    route: Route
    media: MediaRecord
    digits: tuple[DigitRecord, ...]
    transfers: tuple[TransferRecord, ...]
    opened: OpenModel | None
    recording: RecordingRecord | None
    identity: IdentityCheck | None
    voicemail: VoicemailRecord | None = None


class Account:
    """When what happened in one call, and why it ended.

    Args:
        call_id: ours.
        clock: monotonic seconds.
    """

    def __init__(self, call_id: str, clock: Callable[[], float]) -> None:
        self.call_id = call_id
        self.reason: EndReason | None = None
        self.detail: str | None = None
        self.summary: str | None = None
        """The model's words about the call, where the agent asks for them."""
        self.sip_status: int | None = None
        """The final status, where the call was refused."""
        self._clock = clock
        self._invited = clock()
        self._started_at = datetime.now(UTC)
        self._answered: float | None = None
        self._answered_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._duration_ms = 0
        self._tool_calls: list[ToolCallRecord] = []
        self._former: list[SideRecord] = []
        self._party = ""
        self._side_since_ms = 0
        self.conversation = Conversation(started=self._invited)

    def answer(self) -> None:
        """The call is answered now: what is told with `at_ms` counts from here."""
        self._answered = self.conversation.started = self._clock()
        self._answered_at = datetime.now(UTC)

    def end(self) -> None:
        """The call has ended now."""
        self._ended_at = datetime.now(UTC)
        self._duration_ms = 0 if self._answered is None else round((self._clock() - self._answered) * 1000)

    @property
    def set_up_ms(self) -> int | None:
        """From the INVITE to the 200."""
        return None if self._answered is None else round((self._answered - self._invited) * 1000)

    @property
    def at_ms(self) -> int:
        """Now, from the answer; before it, from the INVITE."""
        return self._since_start_ms(self._clock())

    def withhold(self) -> None:
        """What is said and keyed from now on is not kept (`gateway.call.discretion`)."""
        self.conversation.withhold()

    def unveil(self) -> None:
        """Everything is kept again."""
        self.conversation.discretion.end(self._clock())

    @property
    def has_secrets(self) -> bool:
        """Whether the model may know what must not be kept: there has been a pause."""
        return self.conversation.discretion.has_been_on

    def withholds_key(self, duration_ms: int) -> bool:
        """Whether a key that was held for so long, until now, must not be kept."""
        return self.conversation.discretion.covers(self._clock() - duration_ms / 1000)

    @property
    def caller_turns(self) -> int:
        """How often the caller has spoken so far."""
        return self.conversation.caller_turns

    def change_side(self, former: Side, media: MediaRecord, party: str) -> None:
        """Another far end has the conversation from now on; what the one before received and sent is kept."""
        if not self._former:
            self._party = _remote_party(former)
        self._former.append(self._side_record(former, media))
        self._party, self._side_since_ms = party, self.at_ms

    def _side_record(self, side: Side, media: MediaRecord) -> SideRecord:
        return SideRecord(
            sip_call_id=side.session.sip_call_id, party=self._party, from_ms=self._side_since_ms, media=media
        )

    def keep_tool_call(self, work: ToolWork) -> None:
        """A tool's work is settled."""
        ended = work.began if work.ended is None else work.ended
        self._tool_calls.append(
            ToolCallRecord(
                name=work.call.name,
                at_ms=self._since_start_ms(work.began),
                duration_ms=round((ended - work.began) * 1000),
                outcome=work.outcome,
            )
        )

    def record(self, parts: CallParts) -> CallRecord:
        """The record of a call that has ended."""
        reason = self.reason or EndReason.GATEWAY_STOPPED
        request, route = parts.session.request, parts.route
        return CallRecord(
            call_id=self.call_id,
            sip_call_id=parts.session.sip_call_id,
            carrier_call_id=request.headers.get("X-Twilio-CallSid"),
            trunk=route.trunk_name,
            agent=route.agent_name,
            agent_version=route.edition.version,
            candidate_of=route.edition.candidate_of,
            caller=route.caller,
            dialled=route.dialled,
            started_at=self._started_at,
            answered_at=self._answered_at,
            ended_at=self._ended_at or datetime.now(UTC),
            set_up_ms=self.set_up_ms,
            duration_ms=self._duration_ms,
            end=EndRecord(reason=reason.value, by=_ENDED_BY[reason], sip_status=self.sip_status, detail=self.detail),
            identity=_identity_record(parts.identity),
            transcript=transcript_of(self.conversation),
            summary=self.summary,
            turns=turns_of(self.conversation),
            digits=parts.digits,
            tool_calls=tuple(self._tool_calls),
            transfers=parts.transfers,
            sides=(*self._former, self._side_record(parts.side, parts.media)) if self._former else (),
            model=None if parts.opened is None else self._model_record(parts.opened),
            media=parts.media,
            recording=parts.recording,
            voicemail=parts.voicemail,
        )

    def _model_record(self, opened: OpenModel) -> ModelRecord:
        model: CallModel = opened.model
        return ModelRecord(
            backend=model.backend_name,
            opened_ms=round((opened.at - self._invited) * 1000),
            dropped_input_ms=model.dropped_input_ms,
            usage=opened.bridge.usage,
            cost=None if (cost := model.cost) is None else round(cost, 6),
            changes=tuple(
                ModelChangeRecord(
                    at_ms=self._since_start_ms(change.at),
                    from_backend=change.from_backend,
                    to_backend=change.to_backend,
                    reason=change.reason,
                    took_ms=round(change.seconds * 1000),
                )
                for change in model.changes
            ),
            dead_air=DeadAirRecord(
                nudges=model.dead_air.nudges,
                fillers=model.dead_air.fillers,
                replacements=model.dead_air.replacements,
            ),
        )

    def _since_start_ms(self, at: float) -> int:
        return round((at - self.conversation.started) * 1000)


def _remote_party(side: Side) -> str:
    return "" if side.session.dialog is None else str(side.session.dialog.remote.uri)


def _identity_record(identity: IdentityCheck | None) -> IdentityRecord | None:
    verdict = None if identity is None else identity.verdict
    return None if verdict is None else IdentityRecord.of(verdict)


_ENDED_BY: Final[Mapping[EndReason, str]] = {
    EndReason.CALLER_HUNG_UP: "caller",
    EndReason.CANCELLED: "caller",
    EndReason.AGENT_HUNG_UP: "agent",
    EndReason.TRANSFERRED: "agent",
    EndReason.NOT_ACKNOWLEDGED: "carrier",
    EndReason.DIALOG_LOST: "carrier",
    EndReason.MODEL_UNAVAILABLE: "gateway",
    EndReason.MODEL_LOST: "gateway",
    EndReason.VOICEMAIL: "gateway",
    EndReason.MEDIA_LOST: "gateway",
    EndReason.SETUP_EXPIRED: "gateway",
    EndReason.IDENTITY_REFUSED: "gateway",
    EndReason.DURATION_LIMIT: "gateway",
    EndReason.SILENCE_LIMIT: "gateway",
    EndReason.COST_LIMIT: "gateway",
    EndReason.GATEWAY_STOPPED: "gateway",
}
