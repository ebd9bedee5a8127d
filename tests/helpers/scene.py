"""A gateway whose calls change their sides while the conversation goes on, its model, and the far ends."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sip.session.uac import ClientSession
from tests.fakes.realtime_server import Peer, realtime_server
from tests.helpers.gateway_process import Record
from tests.helpers.house import House, house
from tests.helpers.party import description
from tests.helpers.phone import Phone


class Talk:
    """A model that listens for as long as the call lasts, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.sessions = 0

    async def __call__(self, peer: Peer) -> None:
        self.sessions += 1
        await peer.greet()
        while True:
            item: Any = await peer.receive("conversation.item.create")
            for part in item["item"].get("content", ()):
                self.told.append(part.get("text", ""))


@asynccontextmanager
async def scene(
    folder: Path,
    *phones: Phone,
    allow: tuple[str, ...] = (),
    trunk: Mapping[str, object] | None = None,
    limits: Mapping[str, object] | None = None,
    timeout_seconds: float = 5.0,
    model_talk: Talk | None = None,
    more_trunks: Mapping[str, object] | None = None,
) -> AsyncIterator[tuple[House, Talk]]:
    """A gateway with these far ends, which may have it dial what is listed; it holds nothing when they are done."""
    talk = model_talk or Talk()

    def adapt(configuration: Record) -> None:
        configuration["limits"] |= limits or {}
        configuration["trunks"] |= more_trunks or {}
        refer = {"allow": list(allow), "timeout_seconds": timeout_seconds}
        configuration["trunks"]["loop"] |= {"refer": refer, **(trunk or {})}

    async with (
        realtime_server(talk) as model,
        house(folder, model.url, adapt=adapt) as gateway,
        asyncio.timeout(30),
        AsyncExitStack() as stack,
    ):
        for phone in phones:
            await stack.enter_async_context(phone.running())
        yield gateway, talk
        await gateway.settled()


def in_g729(phone: Phone) -> bytes:
    """A session description with a codec that the gateway does not speak."""
    return description(phone.ear.port).replace(b"AVP 0", b"AVP 18").replace(b":0 PCMU", b":18 G729")


def replacing(call: ClientSession, more: str = "") -> tuple[str, str]:
    """The header that names the gateway's side of a call."""
    assert call.dialog is not None
    dialog = call.dialog.id
    return "Replaces", f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}{more}"
