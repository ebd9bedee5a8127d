"""Waiting for what comes by itself, and not for ever."""

import asyncio
from collections.abc import Callable
from typing import Final

SETTLE_SECONDS: Final = 10.0


async def until(condition: Callable[[], object], within_s: float = SETTLE_SECONDS) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
