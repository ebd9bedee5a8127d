"""The states of an INVITE session, as tables: RFC 3261 §13 and §15 for the caller's and the called side."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from sip.errors import SipError


class SessionState(Enum):
    """Where an INVITE session stands. What follows a BYE of ours is its transaction's business, not a state."""

    INVITED = auto()  # UAS: 100 sent
    CALLING = auto()  # UAC: INVITE sent
    EARLY = auto()  # a provisional response with a To tag was sent or received
    ANSWERED = auto()  # UAS: 2xx sent, ACK awaited
    CONFIRMED = auto()
    CANCELLING = auto()  # UAC: the user gave up, the final response is awaited
    ENDED = auto()


class SessionInput(Enum):
    """What moves an INVITE session. Local ones are calls of its user, the others come from the wire or a timer."""

    RING = auto()  # local: a provisional response
    ANSWER = auto()  # local: a 2xx
    REJECT = auto()  # local: a 3xx to 6xx
    CANCEL = auto()  # local
    HANG_UP = auto()  # local: BYE
    ACKNOWLEDGED = auto()
    UNACKNOWLEDGED = auto()  # 64*T1 without ACK
    CANCELLED = auto()  # a CANCEL came
    PROVISIONAL = auto()
    ACCEPTED = auto()
    REFUSED = auto()  # 3xx to 6xx, timeout or transport failure
    BYE_RECEIVED = auto()
    LOST = auto()  # the peer knows nothing of the dialog, or is silent


LOCAL_INPUTS: Final = frozenset(
    {SessionInput.RING, SessionInput.ANSWER, SessionInput.REJECT, SessionInput.CANCEL, SessionInput.HANG_UP}
)

_S = SessionState
_I = SessionInput

_UAS_UNANSWERED: Final = {
    _I.RING: _S.EARLY,
    _I.ANSWER: _S.ANSWERED,
    _I.REJECT: _S.ENDED,
    _I.CANCELLED: _S.ENDED,
    _I.BYE_RECEIVED: _S.ENDED,
    _I.LOST: _S.ENDED,
}
_CONFIRMED: Final = {_I.HANG_UP: _S.ENDED, _I.BYE_RECEIVED: _S.ENDED, _I.LOST: _S.ENDED}

# RFC 3261 §13.3, §15. "The callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK for its
# 2xx response or until the server transaction times out": so HANG_UP is not listed under ANSWERED.
SERVER_SESSION: Final[Mapping[SessionState, Mapping[SessionInput, SessionState]]] = {
    _S.INVITED: _UAS_UNANSWERED,
    _S.EARLY: _UAS_UNANSWERED,
    _S.ANSWERED: {
        _I.ACKNOWLEDGED: _S.CONFIRMED,
        _I.UNACKNOWLEDGED: _S.ENDED,
        _I.BYE_RECEIVED: _S.ENDED,
        _I.LOST: _S.ENDED,
    },
    _S.CONFIRMED: {**_CONFIRMED, _I.UNACKNOWLEDGED: _S.ENDED},
    _S.ENDED: {},
}

# RFC 3261 §13.2, §9.1, §15. A 2xx that crosses the CANCEL makes a dialog, which is ended with BYE at once.
CLIENT_SESSION: Final[Mapping[SessionState, Mapping[SessionInput, SessionState]]] = {
    _S.CALLING: {
        _I.PROVISIONAL: _S.EARLY,
        _I.ACCEPTED: _S.CONFIRMED,
        _I.REFUSED: _S.ENDED,
        _I.CANCEL: _S.CANCELLING,
    },
    _S.EARLY: {
        _I.PROVISIONAL: _S.EARLY,
        _I.ACCEPTED: _S.CONFIRMED,
        _I.REFUSED: _S.ENDED,
        _I.CANCEL: _S.CANCELLING,
        _I.BYE_RECEIVED: _S.EARLY,  # of one early dialog: the others may still be answered
    },
    _S.CANCELLING: {_I.ACCEPTED: _S.ENDED, _I.REFUSED: _S.ENDED, _I.PROVISIONAL: _S.CANCELLING},
    _S.CONFIRMED: {**_CONFIRMED, _I.UNACKNOWLEDGED: _S.ENDED},
    _S.ENDED: {},
}


class EndCause(Enum):
    """Why a session is over."""

    REMOTE_BYE = "remote_bye"
    LOCAL_BYE = "local_bye"
    CANCELLED = "cancelled"  # by the caller, whichever side that is
    REJECTED = "rejected"  # by our user
    REFUSED = "refused"  # by the peer, or by silence
    NOT_ACKNOWLEDGED = "not_acknowledged"
    LOST = "lost"  # the dialog is unknown to the peer, or the peer is silent
    EXPIRED = "expired"  # no answer from our user, or no session refresh, in time


class SessionStateError(SipError):
    """A method of a session was called in a state that has no use for it: a fault of the caller, not of the peer."""

    status = 500
    label = "session_state"
