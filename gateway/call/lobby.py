"""What a call waits for before it is answered: the verdict about the caller's number, and the model."""

import asyncio
from dataclasses import replace
from typing import Protocol

from gateway.admission import Route
from gateway.call.account import Account
from gateway.call.agent import CallAgent
from gateway.call.side import Side
from gateway.call.tape import Tape
from gateway.call.transition import CallInput
from gateway.identity.check import IdentityCheck
from gateway.log import ContextLogger
from gateway.realtime.errors import ModelError
from gateway.realtime.session import TextRole


class LobbyHost(Protocol):
    """The call, as its lobby sees it."""

    route: Route
    side: Side
    agent: CallAgent

    def post(self, news: CallInput) -> None:
        """Puts an input into the call's inbox."""


def log_call(host: LobbyHost, sip_call_id: str, logger: ContextLogger) -> None:
    """Says in the log who calls whom, and who is to answer."""
    route = host.route
    logger.info(
        "call",
        extra={
            "event": "call",
            "sip_call_id": sip_call_id,
            "agent": route.agent_name,
            "agent_version": route.edition.version,
            "caller": route.caller,
            "dialled": route.dialled,
        },
    )


async def check_identity(host: LobbyHost, identity: IdentityCheck, account: Account, logger: ContextLogger) -> None:
    """Gets the verdict about the caller's number, and refuses or routes the call by it."""
    verdict = await identity.settle()
    logger.info(
        "identity",
        extra={
            "event": "identity",
            "status": verdict.status.value,
            "attestation": verdict.attestation,
            "source": verdict.source.value,
            "detail": verdict.detail,
        },
    )
    host.route = replace(host.route, verdict=verdict.status.value)
    if identity.is_refused:
        account.detail = identity.detail
        host.post(CallInput.IDENTITY_REFUSED)
    elif (edition := identity.agent) is not None:
        host.route = replace(host.route, edition=edition)


async def open_model(
    host: LobbyHost, identity: IdentityCheck | None, checking: asyncio.Task[None] | None, account: Account, tape: Tape
) -> None:
    """Opens a session with the first backend of the agent's list that can be had.

    The verdict about the caller's number comes first where it chooses the agent, otherwise meanwhile. It is there
    before the call is answered, and the agent is told with its instructions or, if it came late, right after them.
    """
    comes_first = host.route.agent.tells_verdict or (
        identity is not None and (identity.chooses_agent or identity.verdict is not None)
    )
    if identity is not None and checking is not None and comes_first:
        await checking
        if identity.is_refused:
            return
    context = None if identity is None else identity.sentence
    try:
        await host.agent.open(host.side.leg, tape.recorder(), context)
    except ModelError as error:
        account.detail = str(error)
        host.post(CallInput.MODEL_REFUSED)
        return
    if checking is not None:
        await checking
    if identity is not None and context is None and identity.sentence is not None:
        host.agent.tell(identity.sentence, TextRole.SYSTEM)
    host.post(CallInput.MODEL_READY)
