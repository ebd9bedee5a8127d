"""Every row of the four state tables, restated from RFC 3261 figures 5 to 8 and RFC 6026 figures 5 and 6."""

from collections.abc import Iterator

import pytest

from sip.message import Response
from sip.transaction.invite_client import InviteClientTransaction
from sip.transaction.invite_server import InviteServerTransaction
from sip.transaction.machine import Act, Input, State, Transaction
from sip.transaction.non_invite_client import NonInviteClientTransaction
from sip.transaction.non_invite_server import NonInviteServerTransaction
from sip.transaction.timer import Timer, TimerValues
from sip.transport.flow import Address, Flow, Target
from tests.helpers.sip import request

FLOW = Flow("udp", Address("192.0.2.2", 5060), Address("192.0.2.1", 5060))
TARGET = Target("udp", "192.0.2.2", 5060)
VALUES = TimerValues()

# state, input → state, acts, timers running afterwards
INVITE_SERVER = """
PROCEEDING REQUEST         → PROCEEDING RESEND               -
PROCEEDING SEND_1XX        → PROCEEDING SEND                 -
PROCEEDING SEND_2XX        → ACCEPTED   SEND                 L
PROCEEDING SEND_3XX_6XX    → COMPLETED  SEND                 GH
PROCEEDING TRANSPORT_ERROR → PROCEEDING TELL_TRANSPORT_ERROR -
ACCEPTED   REQUEST         → ACCEPTED   -                    L
ACCEPTED   ACK             → ACCEPTED   PASS_UP              L
ACCEPTED   SEND_2XX        → ACCEPTED   SEND                 L
ACCEPTED   TRANSPORT_ERROR → ACCEPTED   TELL_TRANSPORT_ERROR L
ACCEPTED   L               → TERMINATED -                    -
COMPLETED  REQUEST         → COMPLETED  RESEND               GH
COMPLETED  ACK             → CONFIRMED  -                    I
COMPLETED  TRANSPORT_ERROR → COMPLETED  TELL_TRANSPORT_ERROR GH
COMPLETED  G               → COMPLETED  RESEND               GH
COMPLETED  H               → TERMINATED TELL_TIMEOUT         -
CONFIRMED  REQUEST         → CONFIRMED  -                    I
CONFIRMED  ACK             → CONFIRMED  -                    I
CONFIRMED  TRANSPORT_ERROR → CONFIRMED  -                    I
CONFIRMED  I               → TERMINATED -                    -
"""
NON_INVITE_SERVER = """
TRYING     REQUEST         → TRYING     -                    -
TRYING     SEND_1XX        → PROCEEDING SEND                 -
TRYING     SEND_2XX        → COMPLETED  SEND                 J
TRYING     SEND_3XX_6XX    → COMPLETED  SEND                 J
PROCEEDING REQUEST         → PROCEEDING RESEND               -
PROCEEDING SEND_1XX        → PROCEEDING SEND                 -
PROCEEDING SEND_2XX        → COMPLETED  SEND                 J
PROCEEDING SEND_3XX_6XX    → COMPLETED  SEND                 J
PROCEEDING TRANSPORT_ERROR → PROCEEDING TELL_TRANSPORT_ERROR -
COMPLETED  REQUEST         → COMPLETED  RESEND               J
COMPLETED  TRANSPORT_ERROR → COMPLETED  TELL_TRANSPORT_ERROR J
COMPLETED  J               → TERMINATED -                    -
"""
INVITE_CLIENT = """
CALLING    RECEIVE_1XX     → PROCEEDING PASS_UP              -
CALLING    RECEIVE_2XX     → ACCEPTED   PASS_UP              M
CALLING    RECEIVE_3XX_6XX → COMPLETED  SEND_ACK,PASS_UP     D
CALLING    TRANSPORT_ERROR → TERMINATED TELL_TRANSPORT_ERROR -
CALLING    START           → CALLING    SEND                 AB
CALLING    A               → CALLING    RESEND               AB
CALLING    B               → TERMINATED TELL_TIMEOUT         -
PROCEEDING RECEIVE_1XX     → PROCEEDING PASS_UP              -
PROCEEDING RECEIVE_2XX     → ACCEPTED   PASS_UP              M
PROCEEDING RECEIVE_3XX_6XX → COMPLETED  SEND_ACK,PASS_UP     D
ACCEPTED   RECEIVE_2XX     → ACCEPTED   PASS_UP              M
ACCEPTED   M               → TERMINATED -                    -
COMPLETED  RECEIVE_3XX_6XX → COMPLETED  SEND_ACK             D
COMPLETED  TRANSPORT_ERROR → TERMINATED TELL_TRANSPORT_ERROR -
COMPLETED  D               → TERMINATED -                    -
"""
NON_INVITE_CLIENT = """
TRYING     RECEIVE_1XX     → PROCEEDING PASS_UP              EF
TRYING     RECEIVE_2XX     → COMPLETED  PASS_UP              K
TRYING     RECEIVE_3XX_6XX → COMPLETED  PASS_UP              K
TRYING     TRANSPORT_ERROR → TERMINATED TELL_TRANSPORT_ERROR -
TRYING     START           → TRYING     SEND                 EF
TRYING     E               → TRYING     RESEND               EF
TRYING     F               → TERMINATED TELL_TIMEOUT         -
PROCEEDING RECEIVE_1XX     → PROCEEDING PASS_UP              EF
PROCEEDING RECEIVE_2XX     → COMPLETED  PASS_UP              K
PROCEEDING RECEIVE_3XX_6XX → COMPLETED  PASS_UP              K
PROCEEDING TRANSPORT_ERROR → TERMINATED TELL_TRANSPORT_ERROR -
PROCEEDING E               → PROCEEDING RESEND               EF
PROCEEDING F               → TERMINATED TELL_TIMEOUT         -
COMPLETED  RECEIVE_1XX     → COMPLETED  -                    K
COMPLETED  RECEIVE_2XX     → COMPLETED  -                    K
COMPLETED  RECEIVE_3XX_6XX → COMPLETED  -                    K
COMPLETED  K               → TERMINATED -                    -
"""
# How a test brings each machine into each of its states.
PATHS: dict[str, dict[str, tuple[Input, ...]]] = {
    "invite_server": {
        "PROCEEDING": (Input.SEND_1XX,),
        "ACCEPTED": (Input.SEND_2XX,),
        "COMPLETED": (Input.SEND_3XX_6XX,),
        "CONFIRMED": (Input.SEND_3XX_6XX, Input.ACK),
    },
    "non_invite_server": {"TRYING": (), "PROCEEDING": (Input.SEND_1XX,), "COMPLETED": (Input.SEND_2XX,)},
    "invite_client": {
        "CALLING": (),
        "PROCEEDING": (Input.RECEIVE_1XX,),
        "ACCEPTED": (Input.RECEIVE_2XX,),
        "COMPLETED": (Input.RECEIVE_3XX_6XX,),
    },
    "non_invite_client": {"TRYING": (), "PROCEEDING": (Input.RECEIVE_1XX,), "COMPLETED": (Input.RECEIVE_2XX,)},
}
TABLES = {
    "invite_server": INVITE_SERVER,
    "non_invite_server": NON_INVITE_SERVER,
    "invite_client": INVITE_CLIENT,
    "non_invite_client": NON_INVITE_CLIENT,
}
INPUTS: list[Input | Timer] = [*Input, *Timer]
ROWS = {
    name: {tuple(row.split(" → ")[0].split()): row.split(" → ")[1].split() for row in table.strip().splitlines()}
    for name, table in TABLES.items()
}


def machine(name: str) -> Transaction:
    if name == "invite_server":
        return InviteServerTransaction(request(), FLOW, VALUES)
    if name == "non_invite_server":
        return NonInviteServerTransaction(request("OPTIONS"), FLOW, VALUES)
    if name == "invite_client":
        return InviteClientTransaction(request(), TARGET, VALUES, 0.0)
    return NonInviteClientTransaction(request("OPTIONS"), TARGET, VALUES, 0.0)


def response(happened: Input | Timer) -> Response:
    status = {"1XX": 180, "2XX": 200}.get(happened.name[-3:], 486)
    return request().create_response(status, to_tag="bob")


def in_state(name: str, state: str) -> Transaction:
    transaction = machine(name)
    for happened in PATHS[name][state]:
        assert transaction.step(happened, 1.0, response(happened))
    transaction.outputs.clear()
    assert transaction.state.name == state
    return transaction


def cases() -> Iterator[tuple[str, str, Input | Timer]]:
    for name, paths in PATHS.items():
        for state in paths:
            for happened in INPUTS:
                yield name, state, happened


@pytest.mark.parametrize(("name", "state", "happened"), list(cases()))
def test_every_input_in_every_state_does_what_the_figure_says__rfc3261_17(
    name: str, state: str, happened: Input | Timer
) -> None:
    transaction = in_state(name, state)
    before = transaction.state, dict(transaction._timers)
    expected = ROWS[name].get((state, happened.name))
    is_legal = transaction.step(happened, 2.0, response(happened))
    acts = [output.act for output in transaction.outputs]
    if expected is None:
        assert not is_legal
        assert (transaction.state, transaction._timers) == before
        assert acts == []
        return
    to, wanted, timers = expected
    assert is_legal
    assert transaction.state.name == to
    assert acts == [Act[act] for act in wanted.split(",") if act != "-"]
    if isinstance(happened, Input):
        assert {timer.name for timer in transaction._timers} == set(timers.replace("-", ""))


@pytest.mark.parametrize("name", PATHS)
def test_a_terminated_transaction_takes_nothing__rfc3261_17(name: str) -> None:
    transaction = machine(name)
    transaction.destroy()
    assert transaction.is_terminated
    assert not any(transaction.step(happened, 1.0, response(happened)) for happened in INPUTS)
    assert transaction.outputs == []
    assert transaction.next_timer() is None


@pytest.mark.parametrize("name", PATHS)
def test_the_restated_rows_are_all_rows_of_the_table(name: str) -> None:
    table = machine(name).TABLE
    listed = {(state.name, happened.name) for state, steps in table.items() for happened in steps}
    assert listed == set(ROWS[name])
    assert set(table) == {State[state] for state in PATHS[name]} | {State.TERMINATED}
