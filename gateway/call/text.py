"""The agent's texts, filled in with what a call has."""

from jinja2 import TemplateError

from gateway.admission import Route
from gateway.config.template import CallValues, fill, header_values, is_plain
from gateway.log import ContextLogger
from sip.message import Request


def values_of(route: Route, invite: Request) -> CallValues:
    """What texts and tools are told of a call."""
    return CallValues(
        caller=route.caller,
        dialled=route.dialled,
        trunk=route.trunk_name,
        agent=route.agent_name,
        headers=header_values(invite.headers.items()),
        variables=route.agent.variables,
        verdict=route.verdict,
    )


def filled(text: str, route: Route, invite: Request, logger: ContextLogger) -> str:
    """A text with the numbers, header fields and variables of one call; as it stands where that fails."""
    if is_plain(text):
        return text
    try:
        return fill(text, values_of(route, invite))
    except TemplateError as error:
        logger.error("text cannot be filled in", extra={"agent": route.agent_name, "detail": str(error)})
        return text
