"""The table of a registration's states: RFC 3261 §10.2."""

import pytest

from sip.registration_state import REGISTRATION, RegistrationInput, RegistrationState

S, News = RegistrationState, RegistrationInput


@pytest.mark.parametrize("state", list(S))
def test_every_state_says_what_it_takes(state: RegistrationState) -> None:
    steps = REGISTRATION[state]
    if state is not S.ENDED:
        assert steps, f"{state} is a dead end"
    if state.has_request:
        assert {News.GRANTED, News.RETRY, News.REFUSED} <= steps.keys()
    if state in {S.REGISTERED, S.WAITING}:
        assert News.DUE in steps
