"""Every row of the two session tables (RFC 3261 §13, §15), restated."""

import pytest

from sip.session.state import CLIENT_SESSION, SERVER_SESSION, SessionInput, SessionState, SessionStateError

UNANSWERED = "RING>EARLY ANSWER>ANSWERED REJECT>ENDED CANCELLED>ENDED BYE_RECEIVED>ENDED LOST>ENDED"
CONFIRMED = "HANG_UP>ENDED BYE_RECEIVED>ENDED LOST>ENDED UNACKNOWLEDGED>ENDED"
SERVER = {
    "INVITED": UNANSWERED,
    "EARLY": UNANSWERED,
    "ANSWERED": "ACKNOWLEDGED>CONFIRMED UNACKNOWLEDGED>ENDED BYE_RECEIVED>ENDED LOST>ENDED",
    "CONFIRMED": CONFIRMED,
    "ENDED": "",
}
CLIENT = {
    "CALLING": "PROVISIONAL>EARLY ACCEPTED>CONFIRMED REFUSED>ENDED CANCEL>CANCELLING",
    "EARLY": "PROVISIONAL>EARLY ACCEPTED>CONFIRMED REFUSED>ENDED CANCEL>CANCELLING BYE_RECEIVED>EARLY",
    "CANCELLING": "ACCEPTED>ENDED REFUSED>ENDED PROVISIONAL>CANCELLING",
    "CONFIRMED": CONFIRMED,
    "ENDED": "",
}


@pytest.mark.parametrize(("table", "rows"), [(SERVER_SESSION, SERVER), (CLIENT_SESSION, CLIENT)])
def test_the_tables_say_what_the_rfc_says__rfc3261_13_15(
    table: dict[SessionState, dict[SessionInput, SessionState]], rows: dict[str, str]
) -> None:
    restated = {
        SessionState[state]: {
            SessionInput[happened]: SessionState[to] for happened, to in (row.split(">") for row in text.split())
        }
        for state, text in rows.items()
    }
    assert table == restated


def test_a_session_state_error_is_a_500() -> None:
    assert (SessionStateError("x").status, SessionStateError("x").label) == (500, "session_state")
