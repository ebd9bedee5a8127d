"""The embedded server as a process, one for each module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from gateway.embedded.process import EmbeddedServer


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server() -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer() as running:
        yield running
