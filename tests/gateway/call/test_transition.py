"""The call's table: every state, every input, and where calls can end."""

import pytest

from gateway.call.transition import CALL_TABLE, CallAct, CallInput, CallState, EndReason


def reachable_from(state: CallState) -> set[CallState]:
    seen = {state}
    front = [state]
    while front:
        for step in CALL_TABLE[front.pop()].values():
            if step.state not in seen:
                seen.add(step.state)
                front.append(step.state)
    return seen


def test_every_state_has_a_row() -> None:
    assert set(CALL_TABLE) == set(CallState)


@pytest.mark.parametrize("state", [state for state in CallState if state is not CallState.ENDED])
def test_every_state_can_end(state: CallState) -> None:
    assert CallState.ENDED in reachable_from(state)


def test_ended_is_final() -> None:
    assert CALL_TABLE[CallState.ENDED] == {}


@pytest.mark.parametrize("state", [CallState.OPENING, CallState.ANSWERING, CallState.TALKING])
@pytest.mark.parametrize("news", [CallInput.CALLER_HUNG_UP, CallInput.STOPPED, CallInput.DIALOG_ENDED])
def test_a_live_call_ends_on_hang_up_stop_and_lost_dialog(state: CallState, news: CallInput) -> None:
    assert CALL_TABLE[state][news].state in {CallState.ENDING, CallState.ENDED}


def test_a_call_without_a_model_is_refused_and_never_answered() -> None:
    opening = CALL_TABLE[CallState.OPENING]
    for news in (CallInput.MODEL_REFUSED, CallInput.MODEL_LOST, CallInput.SETUP_EXPIRED):
        assert opening[news].acts == (CallAct.REFUSE,)
        assert opening[news].state is CallState.ENDED


def test_the_greeting_waits_for_the_ack() -> None:
    assert CallAct.GREET not in CALL_TABLE[CallState.OPENING][CallInput.MODEL_READY].acts
    assert CALL_TABLE[CallState.ANSWERING][CallInput.ACKNOWLEDGED].acts == (CallAct.GREET,)


def test_every_way_out_of_a_live_state_has_a_reason() -> None:
    for state in (CallState.OPENING, CallState.ANSWERING, CallState.TALKING):
        for news, step in CALL_TABLE[state].items():
            if step.state in {CallState.ENDING, CallState.ENDED}:
                assert step.reason is not None, (state, news)


def test_every_reason_can_come_about() -> None:
    told = {step.reason for row in CALL_TABLE.values() for step in row.values()}
    assert told >= set(EndReason) - {EndReason.ROOM_FULL}  # of calls into rooms, which have no table
