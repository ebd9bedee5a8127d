"""The call record: one JSON document a call, written whatever happened.

Times of day are UTC in ISO 8601; spans are milliseconds; `at_ms` counts from the answer.
"""

import logging
import os
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from gateway.call.conversation import Conversation, Turn, Utterance
from gateway.identity.verdict import Verdict

_log = logging.getLogger(__name__)

# What the umask of the process leaves of it.
FILE_MODE: Final = 0o666


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class EndRecord(_Value):
    """How the call ended."""

    reason: str
    by: str = Field(description="caller, agent, gateway or carrier")
    sip_status: int | None = Field(default=None, description="the final status, where the call was refused")
    detail: str | None = None


class UtteranceRecord(_Value):
    """What one side said."""

    speaker: str
    at_ms: int
    text: str
    heard_text: str | None = Field(default=None, description="agent only: the part that left the socket")
    generated_ms: int | None = None
    heard_ms: int | None = None
    interrupted: bool = False
    withheld: bool = Field(default=False, description="said while the recording was paused: the text is not kept")

    @classmethod
    def of(cls, utterance: Utterance) -> "UtteranceRecord":
        """The record of an utterance; the agent's carries what was heard of it."""
        text = "" if utterance.withheld else utterance.text
        if utterance.speaker.value == "caller":
            return cls(speaker="caller", at_ms=utterance.at_ms, text=text, withheld=utterance.withheld)
        return cls(
            speaker="agent",
            at_ms=utterance.at_ms,
            text=text,
            heard_text="" if utterance.withheld else utterance.heard_text,
            generated_ms=utterance.generated_ms,
            heard_ms=utterance.heard_ms,
            interrupted=utterance.interrupted,
            withheld=utterance.withheld,
        )


class TurnRecord(_Value):
    """The latency of one answer: the whole, and its parts in order."""

    at_ms: int
    kind: str = Field(description="greeting or reply")
    latency_ms: int | None = Field(default=None, description="caller's last word to first RTP packet")
    detection_ms: int | None = Field(default=None, description="caller's last word to speech_stopped")
    response_ms: int | None = Field(default=None, description="speech_stopped to response.created")
    generation_ms: int | None = Field(default=None, description="response.created to first delta")
    playout_ms: int | None = Field(default=None, description="first delta to first RTP packet")
    interrupted: bool = False

    @classmethod
    def of(cls, turn: Turn, started: float) -> "TurnRecord":
        """The record of a turn; `started` is the answer in the same monotonic seconds as the turn's marks."""
        return cls(
            at_ms=turn.span_ms(started, turn.response_created) or 0,
            kind="reply" if turn.is_reply else "greeting",
            latency_ms=turn.latency_ms,
            detection_ms=turn.span_ms(turn.caller_stopped, turn.speech_stopped),
            response_ms=turn.span_ms(turn.speech_stopped, turn.response_created),
            generation_ms=turn.span_ms(turn.response_created, turn.first_delta),
            playout_ms=turn.span_ms(turn.first_delta, turn.first_rtp),
            interrupted=turn.interrupted,
        )


class DigitRecord(_Value):
    """One key that the caller pressed."""

    digit: str
    at_ms: int
    duration_ms: int
    withheld: bool = Field(default=False, description="pressed while the recording was paused: the key is not kept")


class ToolCallRecord(_Value):
    """One tool that the model called; what it was given and what it gave are not kept."""

    name: str
    at_ms: int
    duration_ms: int = 0
    outcome: str


class TransferKind(StrEnum):
    """Whose wish a transfer was."""

    SENT = "sent"  # the agent's, carried out by the far end
    FOLLOWED = "followed"  # the far end's REFER, carried out by us
    REPLACED = "replaced"  # an INVITE with Replaces


class TransferRecord(_Value):
    """One transfer of the caller, or of the conversation to another far end."""

    kind: TransferKind = Field(
        default=TransferKind.SENT,
        description="a REFER of ours, one of the far end, or an INVITE with Replaces",
    )
    destination: str = Field(description="who was called, or who called in the far end's place")
    at_ms: int
    accepted: bool = Field(default=False, description="whether it was tried")
    status: int | None = Field(default=None, description="its last word; None where the call ended before")
    reason: str | None = None


class ModelChangeRecord(_Value):
    """A session that took over from another."""

    at_ms: int
    from_backend: str
    to_backend: str
    reason: str
    took_ms: int


class DeadAirRecord(_Value):
    """What was done about a model that owed an answer and did not speak."""

    nudges: int = Field(default=0, description="it was asked once more")
    fillers: int = Field(default=0, description="stored words bridged the silence")
    replacements: int = Field(default=0, description="its session was given up")


class ModelRecord(_Value):
    """The model session of the call."""

    backend: str = Field(description="the one that spoke last")
    model: str | None = None
    opened_ms: int | None = Field(default=None, description="from the INVITE to the configured session")
    dropped_input_ms: int = 0
    usage: dict[str, int] = Field(default_factory=dict)
    cost: float | None = Field(default=None, description="by the prices of the backends, where they have some")
    changes: tuple[ModelChangeRecord, ...] = Field(default=(), description="sessions that took over in mid-call")
    dead_air: DeadAirRecord = DeadAirRecord()


class MediaRecord(_Value):
    """RTP as received and sent, and what RTCP told of it."""

    codec: str
    codec_changes: int = Field(
        default=0, description="how often the far end went over to another agreed codec, or back, without a re-INVITE"
    )
    ptime_ms: int = 20
    encrypted: str | None = Field(default=None, description="the SRTP suite, where the media was encrypted")
    packets_rx: int = 0
    packets_tx: int = 0
    lost: int = 0
    concealed_ms: int = 0
    concealed_share: float = Field(default=0.0, description="of all audio that was heard: 0 to 1")
    jitter_ms: float = 0.0
    peak_jitter_ms: float = 0.0
    round_trip_ms: float | None = Field(default=None, description="mean, by RTCP")
    remote_lost: int | None = Field(default=None, description="of our packets, by the far end's last report")
    remote_jitter_ms: float | None = None
    reports_rx: int = 0
    reports_tx: int = 0
    mos: float | None = Field(default=None, description="estimate of what the caller's audio sounded like: 1 to 4.41")
    discarded: dict[str, int] = Field(default_factory=dict, description="packets not played, by cause")


class UploadState(StrEnum):
    """How far a recording is on its way to the store."""

    WAITING = "waiting"
    STORED = "stored"


class RecordedPart(StrEnum):
    """What of a call is in a file of its own; the value is the field of the record that tells of it."""

    RECORDING = "recording"
    VOICEMAIL = "voicemail"


class UploadRecord(_Value):
    """What became of a recording or a message that was to be brought to a store."""

    state: UploadState
    url: str | None = Field(default=None, description="where the store has it")
    fault: str | None = Field(default=None, description="why the last attempt came to nothing")


class SideRecord(_Value):
    """One of several far ends that had the conversation one after another."""

    sip_call_id: str
    party: str
    from_ms: int
    media: MediaRecord


class RecordingRecord(_Value):
    """Where the recording is."""

    path: str = Field(description="here; where it was stored, the file may be gone")
    duration_ms: int
    paused_ms: int = 0
    layout: str = Field(default="stereo", description="stereo: caller left, agent right; mixed: one channel")
    encrypted: bool = False
    upload: UploadRecord | None = Field(default=None, description="None where recordings stay here")
    fault: str | None = None


class VoicemailRecord(_Value):
    """A message that the caller was asked for when no model could be had any more."""

    path: str | None = Field(
        default=None, description="None where nothing came after the tone; where it was stored, the file may be gone"
    )
    duration_ms: int = 0
    ended_by: str = Field(description="silence, limit, key (#), or call_ended: the caller hung up")
    upload: UploadRecord | None = Field(default=None, description="None where messages stay here")
    fault: str | None = None


class IdentityRecord(_Value):
    """What is known of the right to the caller's number."""

    status: str
    source: str = Field(description="passport: verified here; carrier: what the carrier said")
    attestation: str | None = Field(
        default=None, description="A, B or C as claimed; it counts where the status is passed"
    )
    number: str | None = Field(default=None, description="the number that was signed for, digits only")
    diverted: bool = False
    detail: str | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> "IdentityRecord":
        """The record of a verdict."""
        return cls(
            status=verdict.status.value,
            source=verdict.source.value,
            attestation=verdict.attestation,
            number=verdict.number,
            diverted=verdict.diverted,
            detail=verdict.detail or None,
        )


class CallRecord(_Value):
    """All that is kept of one call."""

    call_id: str
    sip_call_id: str
    carrier_call_id: str | None = Field(default=None, description="the carrier's own id, such as Twilio's CallSid")
    direction: str = "inbound"
    trunk: str
    agent: str | None = Field(default=None, description="None where the number led to nobody")
    agent_version: str | None = Field(default=None, description="a hash of what it was, behind the version's name")
    candidate_of: str | None = Field(default=None, description="whose call it was, where a candidate answered it")
    conference: str | None = Field(default=None, description="the room, where the number led to one")
    caller: str
    dialled: str
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime
    set_up_ms: int | None = Field(default=None, description="from the INVITE to the 200")
    duration_ms: int = Field(default=0, description="from the answer to the end")
    end: EndRecord
    identity: IdentityRecord | None = Field(
        default=None, description="None where the trunk does not ask, or no verdict came"
    )
    transcript: Annotated[tuple[UtteranceRecord, ...], Field()] = ()
    summary: str | None = Field(default=None, description="the model's own, where the agent asks for one")
    turns: tuple[TurnRecord, ...] = ()
    digits: tuple[DigitRecord, ...] = ()
    tool_calls: tuple[ToolCallRecord, ...] = ()
    transfers: tuple[TransferRecord, ...] = ()
    sides: tuple[SideRecord, ...] = Field(
        default=(), description="the far ends one after another, where there were several; `media` is the last one's"
    )
    model: ModelRecord | None = None
    media: MediaRecord | None = None
    recording: RecordingRecord | None = None
    voicemail: VoicemailRecord | None = None

    def write(self, directory: Path) -> Path:
        """Writes the record as `<call_id>.json` in one step, so that a reader never meets half of it.

        Raises:
            OSError: the directory cannot be written.
        """
        path = directory / f"{self.call_id}.json"
        partial, document = f"{path}.partial", self.model_dump_json(indent=2).encode() + b"\n"
        try:
            _write_whole(partial, document)
        except FileNotFoundError:  # only then, for to look for the folder costs as much as to write a record
            directory.mkdir(parents=True, exist_ok=True)
            _write_whole(partial, document)
        os.replace(partial, path)  # noqa: PTH105 - the atomicity of os.replace is the point
        return path


def _write_whole(path: str, document: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        while document:
            document = document[os.write(descriptor, document) :]
    finally:
        os.close(descriptor)


def note_upload(
    directory: Path, call_id: str, upload: UploadRecord, part: RecordedPart = RecordedPart.RECORDING
) -> bool:
    """Writes what became of a file into its call's record; False where there is no such record (yet)."""
    try:
        record = CallRecord.model_validate_json((directory / f"{call_id}.json").read_text(encoding="utf-8"))
        told = record.recording if part is RecordedPart.RECORDING else record.voicemail
        if told is not None and told.upload != upload:
            record.model_copy(update={part.value: told.model_copy(update={"upload": upload})}).write(directory)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        _log.error("upload not noted in the call record", extra={"call_id": call_id, "fault": str(error)})
        return False
    return True


def transcript_of(conversation: Conversation) -> tuple[UtteranceRecord, ...]:
    """The utterances that hold words, in the order in which they began."""
    return tuple(UtteranceRecord.of(utterance) for utterance in conversation.utterances if utterance.text)


def turns_of(conversation: Conversation) -> tuple[TurnRecord, ...]:
    """The turns in which the agent spoke."""
    return tuple(
        TurnRecord.of(turn, conversation.started) for turn in conversation.turns if turn.first_delta is not None
    )
