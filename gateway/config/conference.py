"""The conferences section: rooms in which callers meet, and the numbers that lead into them."""

import enum
from typing import Annotated, Final

from pydantic import Field, field_validator

from gateway.config.value import ANY_NUMBER, DialledNumber, InputPath, Name, Settings

LONGEST_STAY_SECONDS: Final = 86_400
MOST_LEGS: Final = 200
LEAST_GAIN_DB: Final = -20
MOST_GAIN_DB: Final = 12


class Role(enum.StrEnum):
    """What who dials a number may do in the room."""

    SPEAKER = "speaker"
    HOST = "host"
    LISTENER = "listener"
    COACH = "coach"


class SeatSettings(Settings):
    """One number that leads into a room."""

    number: DialledNumber
    """The dialled number, in E.164 form or the exact user part of the SIP URI. It leads here before it leads to an
    agent."""
    trunk: Name | None = None
    """The trunk on which it leads here; when absent, on every trunk."""
    role: Role = Role.SPEAKER
    """`speaker`: hears and is heard. `host`: the same, and hears coaches. `listener`: hears only. `coach`: hears
    everybody and is heard by the hosts alone."""
    gain_db: Annotated[float, Field(ge=LEAST_GAIN_DB, le=MOST_GAIN_DB)] = 0.0
    """How much louder the others hear whoever dials this number, in dB."""

    @field_validator("number")
    @classmethod
    def _is_one(cls, value: str) -> str:
        if value == ANY_NUMBER:
            raise ValueError("must be one number; a room is not what all numbers lead to")
        return value


class ConferenceSettings(Settings):
    """One room. Each hears the others and not itself. Keys on the keypad act for whoever presses them: *6 mutes and
    unmutes, *7 is softer and *9 louder for the others, and *5 lets a coach speak to all, or a host to hosts and coaches
    alone, and back.
    """

    seats: Annotated[tuple[SeatSettings, ...], Field(min_length=1)]
    """The numbers that lead into the room."""
    legs: Annotated[int, Field(ge=2, le=MOST_LEGS)] = 32
    """Most callers at once; one more is answered 486."""
    agent: Name | None = None
    """An agent that sits in the room from the first caller's coming to the last one's going. It hears everybody but
    coaches, and everybody hears it. Tools that act on one caller's line do nothing here."""
    join_announcement: InputPath | None = None
    """Sound file of any common format that everybody hears when somebody comes in; relative to this file."""
    leave_announcement: InputPath | None = None
    """The same for somebody who goes."""
    music: InputPath | None = None
    """What a caller hears who is alone in the room, again and again. When absent, silence."""
    max_duration_seconds: Annotated[int, Field(ge=1, le=LONGEST_STAY_SECONDS)] = 14_400
    """Longest stay of one caller; then the gateway hangs up."""
