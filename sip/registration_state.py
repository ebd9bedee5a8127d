"""The states of a registration, as a table: RFC 3261 §10.2."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class RegistrationState(Enum):
    """Where a registration stands. The values stand in logs."""

    IDLE = "idle"
    REGISTERING = "registering"
    REGISTERED = "registered"
    REFRESHING = "refreshing"  # bound, and asking for more time
    WAITING = "waiting"  # refused, or met with silence; it is tried again
    STOPPING = "stopping"  # to be let go, once the REGISTER under way has its response
    UNREGISTERING = "unregistering"
    ENDED = "ended"

    @property
    def has_request(self) -> bool:
        """Whether a REGISTER is under way."""
        return self in _UNDER_WAY


class RegistrationInput(Enum):
    """What may happen to it."""

    START = auto()
    DUE = auto()  # the time to refresh, or to try again, has come
    GRANTED = auto()  # a 2xx
    RETRY = auto()  # a challenge that can be answered, or 423 with a time that can be asked for
    REFUSED = auto()  # any other final response, silence, or a transport that failed
    STOP = auto()  # of our user, while a binding may exist
    ABANDON = auto()  # of our user, where there is none


class RegistrationAct(Enum):
    """What a step asks for."""

    NOTHING = auto()
    REGISTER = auto()
    UNREGISTER = auto()
    ARM_REFRESH = auto()
    BACK_OFF = auto()


@dataclass(frozen=True, slots=True)
class RegistrationStep:
    """What an input leads to."""

    state: RegistrationState
    act: RegistrationAct = RegistrationAct.NOTHING


_S = RegistrationState
_I = RegistrationInput
_A = RegistrationAct
_UNDER_WAY: Final = frozenset({_S.REGISTERING, _S.REFRESHING, _S.STOPPING, _S.UNREGISTERING})

# RFC 3261 §10.2: "UAs MUST NOT send a new registration ... until they have received a final response from the registrar
# for the previous one or the previous REGISTER request has timed out": hence STOPPING. An input that is not listed
# changes nothing.
REGISTRATION: Final[Mapping[RegistrationState, Mapping[RegistrationInput, RegistrationStep]]] = {
    _S.IDLE: {
        _I.START: RegistrationStep(_S.REGISTERING, _A.REGISTER),
        _I.ABANDON: RegistrationStep(_S.ENDED),
    },
    _S.REGISTERING: {
        _I.GRANTED: RegistrationStep(_S.REGISTERED, _A.ARM_REFRESH),
        _I.RETRY: RegistrationStep(_S.REGISTERING, _A.REGISTER),
        _I.REFUSED: RegistrationStep(_S.WAITING, _A.BACK_OFF),
        _I.STOP: RegistrationStep(_S.STOPPING),
        _I.ABANDON: RegistrationStep(_S.STOPPING),
    },
    _S.REGISTERED: {
        _I.DUE: RegistrationStep(_S.REFRESHING, _A.REGISTER),
        _I.STOP: RegistrationStep(_S.UNREGISTERING, _A.UNREGISTER),
        _I.ABANDON: RegistrationStep(_S.ENDED),
    },
    _S.REFRESHING: {
        _I.GRANTED: RegistrationStep(_S.REGISTERED, _A.ARM_REFRESH),
        _I.RETRY: RegistrationStep(_S.REFRESHING, _A.REGISTER),
        _I.REFUSED: RegistrationStep(_S.WAITING, _A.BACK_OFF),
        _I.STOP: RegistrationStep(_S.STOPPING),
        _I.ABANDON: RegistrationStep(_S.STOPPING),
    },
    _S.WAITING: {
        _I.DUE: RegistrationStep(_S.REGISTERING, _A.REGISTER),
        _I.STOP: RegistrationStep(_S.UNREGISTERING, _A.UNREGISTER),
        _I.ABANDON: RegistrationStep(_S.ENDED),
    },
    _S.STOPPING: {
        _I.GRANTED: RegistrationStep(_S.UNREGISTERING, _A.UNREGISTER),
        _I.RETRY: RegistrationStep(_S.UNREGISTERING, _A.UNREGISTER),
        _I.REFUSED: RegistrationStep(_S.ENDED),
    },
    _S.UNREGISTERING: {
        _I.GRANTED: RegistrationStep(_S.ENDED),
        _I.RETRY: RegistrationStep(_S.UNREGISTERING, _A.UNREGISTER),
        _I.REFUSED: RegistrationStep(_S.ENDED),
    },
    _S.ENDED: {},
}
