"""Faults of a model service, to be acted out by request.

A fault is one line of text, KIND or KIND,NAME=VALUE,… as in `stall,after_ms=500,for_ms=3000`. It comes in the query of
a connection's URL (`&fault=…`, several times for several faults) or on the command line (`--fault [N:]…`, for all
connections or for the Nth alone). Times count from the opening of the connection.
"""

import http
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.embedded.errors import FaultError

Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]
Every = Annotated[int, Field(ge=1)]


def _check_status(code: int) -> int:
    if code not in {status.value for status in http.HTTPStatus if status.value >= http.HTTPStatus.BAD_REQUEST}:
        raise ValueError(f"{code} is no HTTP status that refuses a request")
    return code


class _Fault(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Status(_Fault):
    """The upgrade is refused with this HTTP status: 401, 403, 404, 429, 503."""

    kind: Literal["status"]
    code: Annotated[int, AfterValidator(_check_status)]
    retry_after_s: int | None = None


class Stall(_Fault):
    """Nothing is sent for a while, then all of it at once. What the client sends is read."""

    kind: Literal["stall"]
    after_ms: Milliseconds = 0
    for_ms: Milliseconds


class StopReading(_Fault):
    """Nothing is read for a while, so that the client's writes pile up."""

    kind: Literal["stop_reading"]
    after_ms: Milliseconds = 0
    for_ms: Milliseconds


class HalfOpen(_Fault):
    """Nothing is sent, read or answered any more, pings included, and the connection stays."""

    kind: Literal["half_open"]
    after_ms: Milliseconds = 0


class CloseAtByte(_Fault):
    """The connection breaks when so many bytes of messages were sent, in the middle of a frame."""

    kind: Literal["close_at_byte"]
    byte: Annotated[int, Field(ge=0)]


class Close(_Fault):
    """The connection is closed in good order, with this code."""

    kind: Literal["close"]
    after_ms: Milliseconds = 0
    code: Annotated[int, Field(ge=1000, le=4999)] = 1011
    reason: Annotated[str, Field(max_length=120)] = ""


class Reset(_Fault):
    """The connection is reset."""

    kind: Literal["reset"]
    after_ms: Milliseconds = 0


class Expire(_Fault):
    """The session expires: the service's error event, then close 1001."""

    kind: Literal["expire"]
    after_ms: Milliseconds


class Burst(_Fault):
    """All audio of a response comes at once."""

    kind: Literal["burst"]


class DeltaStorm(_Fault):
    """Audio comes in small deltas, far faster than real time."""

    kind: Literal["delta_storm"]
    speed: Annotated[float, Field(gt=0)] = 50.0
    delta_ms: Annotated[int, Field(ge=1)] = 20


class Reorder(_Fault):
    """Every Nth audio delta comes after the one that follows it."""

    kind: Literal["reorder"]
    every: Every = 5


class Duplicate(_Fault):
    """Every Nth event comes twice."""

    kind: Literal["duplicate"]
    every: Every = 5


class Malformed(_Fault):
    """Before every Nth event comes a message that is not JSON."""

    kind: Literal["malformed"]
    every: Every = 5


class Unknown(_Fault):
    """Before every Nth event comes one of a type that no client knows."""

    kind: Literal["unknown"]
    every: Every = 5


class BigFrame(_Fault):
    """One message of this size comes, an event of an unknown type."""

    kind: Literal["big_frame"]
    after_ms: Milliseconds = 0
    megabytes: Annotated[int, Field(ge=1, le=64)] = 20


class Mute(_Fault):
    """Events of one type never come, as with servers that do not know them."""

    kind: Literal["mute"]
    type: str


class BetaNames(_Fault):
    """Events carry the names that they had before the protocol was stable."""

    kind: Literal["beta_names"]


class ResponseRace(_Fault):
    """The first response.create messages of the client come just after the server has begun a response by itself."""

    kind: Literal["response_race"]
    times: Every = 1


class FailResponse(_Fault):
    """The first responses fail with this error instead of speaking."""

    kind: Literal["fail_response"]
    code: str = "server_error"
    times: Every = 1


Fault = (
    Status
    | Stall
    | StopReading
    | HalfOpen
    | CloseAtByte
    | Close
    | Reset
    | Expire
    | Burst
    | DeltaStorm
    | Reorder
    | Duplicate
    | Malformed
    | Unknown
    | BigFrame
    | Mute
    | BetaNames
    | ResponseRace
    | FailResponse
)
_ADAPTER: Final[TypeAdapter[Fault]] = TypeAdapter(Annotated[Fault, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True)
class FaultRule:
    """A fault and the connection that suffers it: the Nth of the server, counted from 1, or every one (None)."""

    connection: int | None
    fault: Fault


def parse_fault(text: str) -> Fault:
    """The fault that a line describes. Raises FaultError."""
    kind, *parameters = text.split(",")
    value: dict[str, str] = {"kind": kind.strip()}
    for parameter in parameters:
        name, equals, given = parameter.partition("=")
        if not equals:
            raise FaultError(f"The fault {text!r} has {parameter!r} where NAME=VALUE is wanted")
        value[name.strip()] = given.strip()
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in detail["loc"][1:]) or "kind"
        raise FaultError(f"The fault {text!r} cannot be acted out: {where}: {detail['msg']}") from error


def parse_fault_rule(text: str) -> FaultRule:
    """A fault of the command line, with or without the number of a connection before it."""
    number, colon, rest = text.partition(":")
    if colon and number.isdecimal():
        return FaultRule(int(number), parse_fault(rest))
    return FaultRule(None, parse_fault(text))


def faults_for(rules: Iterable[FaultRule], connection: int) -> tuple[Fault, ...]:
    """The faults that the Nth connection suffers."""
    return tuple(rule.fault for rule in rules if rule.connection in {None, connection})
