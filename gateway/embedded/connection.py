"""Drives one session over one WebSocket: the only place of a session that sees the clock, the socket or the worker."""

import asyncio
import contextlib

from websockets.exceptions import ConnectionClosed

from gateway.embedded.errors import SpeechError
from gateway.embedded.served import ServedSession
from gateway.embedded.session import HearingWork, Work
from gateway.embedded.wire import Wire
from gateway.embedded.worker import SpeechWorker


class SessionConnection:
    """Reads, writes and keeps time for a session until either side closes."""

    def __init__(self, session: ServedSession, wire: Wire, worker: SpeechWorker) -> None:
        self._session = session
        self._wire = wire
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Returns when the connection is closed, whoever closed it."""
        self._session.start(self._loop.time())
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks.add(group.create_task(self._write(group)))
                self._tasks.add(group.create_task(self._wire.run(self._session)))
                await self._read()
                for task in self._tasks:
                    task.cancel()
        except* ConnectionClosed:
            pass

    async def _read(self) -> None:
        while True:
            try:
                message = await self._wire.receive()
            except ConnectionClosed:
                return
            self._session.receive_message(message, self._loop.time())
            # What one message causes goes out before the next is read: a client that does not read is not read either.
            await self._flush()
            self._changed.set()

    async def _write(self, group: asyncio.TaskGroup) -> None:
        session = self._session
        while True:
            while session.work:
                task = group.create_task(self._work(session.work.popleft()))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await self._flush()
            if session.closure is not None:
                await self._wire.close(session.closure.code, session.closure.reason)
                return
            self._changed.clear()
            if session.work or session.transmits:
                continue
            due = session.next_timer()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            session.handle_timer(self._loop.time())

    async def _flush(self) -> None:
        transmits = self._session.transmits
        while transmits:
            await self._wire.send(transmits.popleft())

    async def _work(self, work: Work) -> None:
        result: object
        try:
            if isinstance(work, HearingWork):
                result = await self._worker.recognise(work.samples, work.rate_hz)
            else:
                result = await self._worker.speak(work.text, work.response.output_format)
        except SpeechError:
            result = None if isinstance(work, HearingWork) else b""
        self._session.finish_work(work, result, self._loop.time())
        self._changed.set()
