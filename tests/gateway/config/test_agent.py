"""What an agent's settings mean together."""

import pytest
from pydantic import ValidationError

from gateway.call.dead_air import DeadAirPolicy
from gateway.call.settings import dead_air_policy
from gateway.config.agent import AgentSettings


def agent(**values: object) -> AgentSettings:
    return AgentSettings.model_validate({"backends": ["model"], "instructions": "Be brief.", **values})


def test_a_step_against_dead_air_can_be_left_out() -> None:
    never = {"nudge_after_seconds": "0", "filler_after_seconds": 2, "replace_after_seconds": 0}
    assert dead_air_policy(agent(dead_air=never)) == DeadAirPolicy(None, 2, None)


def test_steps_against_dead_air_come_in_their_order() -> None:
    with pytest.raises(ValidationError, match="before the filler"):
        agent(dead_air={"nudge_after_seconds": 6})


@pytest.mark.parametrize(
    ("texts", "tells"),
    [
        ({}, False),
        ({"greeting": "You are {{ verdict }}."}, True),
        ({"instructions": "{% if verdict == 'passed' %}Trust them.{% endif %}"}, True),
        ({"instructions": "The verdict is {{ caller }}."}, False),
    ],
)
def test_an_agent_whose_texts_name_the_verdict_waits_for_it(texts: dict[str, str], tells: bool) -> None:
    assert agent(**texts).tells_verdict is tells
