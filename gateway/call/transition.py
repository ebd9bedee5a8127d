"""The life of an inbound call as a table.

Every input that a call can meet stands here with what it leads to. An input that is not listed for a state is late news
about something already settled (a CANCEL that crosses the 200, a model that fails while the call is being released): it
changes nothing. The table is pure; `gateway.call.call.Call` carries out the acts, and releases everything once a call
has ENDED.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final


@unique
class CallState(Enum):
    """Where a call stands."""

    OPENING = "opening"  # 180 sent, the model session is being opened
    ANSWERING = "answering"  # 200 sent, the ACK is awaited
    TALKING = "talking"
    ENDING = "ending"  # we have hung up (before the ACK the BYE waits for it, RFC 3261 §15)
    ENDED = "ended"


@unique
class CallInput(Enum):
    """What a call can be told."""

    MODEL_READY = "model_ready"
    MODEL_REFUSED = "model_refused"
    SETUP_EXPIRED = "setup_expired"
    IDENTITY_REFUSED = "identity_refused"
    CANCELLED = "cancelled"
    ACKNOWLEDGED = "acknowledged"
    NOT_ACKNOWLEDGED = "not_acknowledged"
    CALLER_HUNG_UP = "caller_hung_up"
    AGENT_HUNG_UP = "agent_hung_up"
    TRANSFERRED = "transferred"  # the far end has the caller with somebody else, and waits for our BYE
    MODEL_LOST = "model_lost"
    MESSAGE_LEFT = "message_left"  # the model is lost, and the caller has left a message instead
    MEDIA_LOST = "media_lost"
    LIMIT_REACHED = "limit_reached"
    SILENCE_REACHED = "silence_reached"
    COST_REACHED = "cost_reached"
    STOPPED = "stopped"
    DIALOG_ENDED = "dialog_ended"
    RELEASE_EXPIRED = "release_expired"


@unique
class CallAct(Enum):
    """What a step asks the call to do, in order."""

    ANSWER = "answer"
    REFUSE = "refuse"
    GREET = "greet"
    HANG_UP = "hang_up"


@unique
class EndReason(Enum):
    """Why a call ended; the value is the call record's `end.reason` and a metric label."""

    CALLER_HUNG_UP = "caller_hung_up"
    AGENT_HUNG_UP = "agent_hung_up"
    TRANSFERRED = "transferred"
    CANCELLED = "cancelled"
    NOT_ACKNOWLEDGED = "not_acknowledged"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_LOST = "model_lost"
    VOICEMAIL = "voicemail"
    MEDIA_LOST = "media_lost"
    SETUP_EXPIRED = "setup_expired"
    IDENTITY_REFUSED = "identity_refused"
    DURATION_LIMIT = "duration_limit"
    SILENCE_LIMIT = "silence_limit"
    COST_LIMIT = "cost_limit"
    GATEWAY_STOPPED = "gateway_stopped"
    DIALOG_LOST = "dialog_lost"
    ROOM_FULL = "room_full"  # of a conference; such calls have no table


@dataclass(frozen=True, slots=True)
class CallStep:
    """What an input leads to: the next state, the acts in order, and why the call ends where it does."""

    state: CallState
    acts: tuple[CallAct, ...] = ()
    reason: EndReason | None = None


def _refused(reason: EndReason) -> CallStep:
    return CallStep(CallState.ENDED, (CallAct.REFUSE,), reason)


def _released(reason: EndReason) -> CallStep:
    return CallStep(CallState.ENDED, reason=reason)


def _hung_up(reason: EndReason) -> CallStep:
    return CallStep(CallState.ENDING, (CallAct.HANG_UP,), reason)


CALL_TABLE: Final[Mapping[CallState, Mapping[CallInput, CallStep]]] = {
    CallState.OPENING: {
        CallInput.MODEL_READY: CallStep(CallState.ANSWERING, (CallAct.ANSWER,)),
        CallInput.MODEL_REFUSED: _refused(EndReason.MODEL_UNAVAILABLE),
        CallInput.MODEL_LOST: _refused(EndReason.MODEL_UNAVAILABLE),
        CallInput.SETUP_EXPIRED: _refused(EndReason.SETUP_EXPIRED),
        CallInput.IDENTITY_REFUSED: _refused(EndReason.IDENTITY_REFUSED),
        CallInput.CANCELLED: _released(EndReason.CANCELLED),
        CallInput.CALLER_HUNG_UP: _released(EndReason.CALLER_HUNG_UP),
        CallInput.STOPPED: _refused(EndReason.GATEWAY_STOPPED),
        CallInput.DIALOG_ENDED: _released(EndReason.DIALOG_LOST),
    },
    CallState.ANSWERING: {
        CallInput.ACKNOWLEDGED: CallStep(CallState.TALKING, (CallAct.GREET,)),
        CallInput.NOT_ACKNOWLEDGED: _released(EndReason.NOT_ACKNOWLEDGED),
        CallInput.CALLER_HUNG_UP: _released(EndReason.CALLER_HUNG_UP),
        CallInput.MODEL_LOST: _hung_up(EndReason.MODEL_LOST),
        CallInput.MEDIA_LOST: _hung_up(EndReason.MEDIA_LOST),
        CallInput.STOPPED: _hung_up(EndReason.GATEWAY_STOPPED),
        CallInput.DIALOG_ENDED: _released(EndReason.DIALOG_LOST),
    },
    CallState.TALKING: {
        CallInput.CALLER_HUNG_UP: _released(EndReason.CALLER_HUNG_UP),
        CallInput.AGENT_HUNG_UP: _hung_up(EndReason.AGENT_HUNG_UP),
        CallInput.TRANSFERRED: _hung_up(EndReason.TRANSFERRED),
        CallInput.MODEL_LOST: _hung_up(EndReason.MODEL_LOST),
        CallInput.MESSAGE_LEFT: _hung_up(EndReason.VOICEMAIL),
        CallInput.MEDIA_LOST: _hung_up(EndReason.MEDIA_LOST),
        CallInput.LIMIT_REACHED: _hung_up(EndReason.DURATION_LIMIT),
        CallInput.SILENCE_REACHED: _hung_up(EndReason.SILENCE_LIMIT),
        CallInput.COST_REACHED: _hung_up(EndReason.COST_LIMIT),
        CallInput.STOPPED: _hung_up(EndReason.GATEWAY_STOPPED),
        CallInput.DIALOG_ENDED: _released(EndReason.DIALOG_LOST),
    },
    # The reason was fixed when the hanging-up began; whatever ends the wait only ends it.
    CallState.ENDING: {
        CallInput.DIALOG_ENDED: CallStep(CallState.ENDED),
        CallInput.CALLER_HUNG_UP: CallStep(CallState.ENDED),
        CallInput.NOT_ACKNOWLEDGED: CallStep(CallState.ENDED),
        CallInput.RELEASE_EXPIRED: CallStep(CallState.ENDED),
    },
    CallState.ENDED: {},
}
