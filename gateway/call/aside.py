"""Words of a call's model that nobody hears, and who waits for them."""

import asyncio

from gateway.realtime.event import TextAnswer
from gateway.realtime.session import RealtimeSession


class Asides:
    """The questions of one call that are asked beside its conversation."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[str, asyncio.Future[str | None]] = {}

    async def ask(self, session: RealtimeSession, instructions: str, seconds: float) -> str | None:
        """Asks a session. Returns None where it gives no words in time."""
        self._count += 1
        request_id = f"aside-{self._count}"
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        session.ask_aside(request_id, instructions)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(request_id, None)

    def settle(self, answer: TextAnswer) -> None:
        """An answer has come."""
        waiting = self._waiting.pop(answer.request_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer.text)

    def give_up(self) -> None:
        """The session that was asked is over."""
        for request_id in list(self._waiting):
            self.settle(TextAnswer(request_id, None))
