"""HTTP to a server of the Model Context Protocol, with a bound on what it says at once.

An answer that is too long becomes the error that `gateway.tools.mcp_program` makes of one: for whoever asked, with the
session going on. The package reads a JSON answer to its end, however long it is, and ends the session at an event that
is too long.
"""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import httpx2
import mcp_types

from gateway.tools.mcp_program import EDGE_OCTETS, TOO_LONG

# The end of a line, and an empty line after it.
_EVENT_END: Final = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r|\n)")
# How much of an end that is cut in two may have come already.
_END_OCTETS: Final = 3
# A message that is no answer: a notification, or a request of the server. What the package writes begins like that.
_NO_ANSWER: Final = re.compile(
    rb'data:\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*|"id"\s*:\s*(?:[0-9]{1,18}|"[^"]*")\s*,\s*)*"(?:method|params)"\s*:'
)


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """HTTP whose JSON answers and events have at most `limit` octets.

    Args:
        limit: of one answer or event.
        on_too_long: is told of each that was longer.
    """

    def __init__(self, limit: int, on_too_long: Callable[[], None]) -> None:
        super().__init__()
        self._limit = limit
        self._on_too_long = on_too_long

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        response = await super().handle_async_request(request)
        kind = response.headers.get("Content-Type", "").lower()
        if not isinstance(response.stream, httpx2.AsyncByteStream):
            return response
        if kind.startswith("application/json"):
            return await self._read(request, response, response.stream)
        if kind.startswith("text/event-stream") and "Content-Encoding" not in response.headers:
            events = BoundedEvents(self._limit, self._on_too_long, _error(request, self._limit))
            response.stream = _BoundedStream(response.stream, events)
        return response

    async def _read(
        self, request: httpx2.Request, response: httpx2.Response, stream: httpx2.AsyncByteStream
    ) -> httpx2.Response:
        """Reads what the package would read to its end at once."""
        body = bytearray()
        try:
            async for part in stream:
                body += part
                if len(body) > self._limit:
                    self._on_too_long()
                    error = _error(request, self._limit)
                    return httpx2.Response(200, content=error, headers={"Content-Type": "application/json"})
        finally:
            await stream.aclose()
        response.stream = httpx2.ByteStream(bytes(body))
        return response


class BoundedEvents:
    """Hands server-sent events on as they are, but for those that are too long. Pure.

    Args:
        limit: of one event, in octets.
        on_too_long: is told of each that is longer.
        error: JSON, takes the place of an answer that is too long. Any other such message is passed over.
    """

    def __init__(self, limit: int, on_too_long: Callable[[], None], error: bytes) -> None:
        self._limit = limit
        self._on_too_long = on_too_long
        self._error = error
        self._event = bytearray()
        self._is_passed_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Takes a piece; gives what is to be handed on."""
        begin = max(0, len(self._event) - _END_OCTETS)
        self._event += data
        while end := _EVENT_END.search(self._event, begin):
            event = bytes(self._event[: end.end()])
            del self._event[: end.end()]
            begin = 0
            if self._is_passed_over:
                self._is_passed_over = False
            elif len(event) > self._limit:
                yield from self._instead_of(event)
            else:
                yield event
        if self._is_passed_over:
            del self._event[:-_END_OCTETS]
        elif len(self._event) > self._limit:
            self._is_passed_over = True
            head = bytes(self._event[:EDGE_OCTETS])
            del self._event[:-_END_OCTETS]
            yield from self._instead_of(head)

    def flush(self) -> bytes:
        """What has come of an event whose end never came."""
        return b"" if self._is_passed_over else bytes(self._event)

    def _instead_of(self, event: bytes) -> Iterator[bytes]:
        self._on_too_long()
        if _NO_ANSWER.search(event, 0, EDGE_OCTETS) is None:
            yield b"data: " + self._error + b"\n\n"


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, body: httpx2.AsyncByteStream, events: BoundedEvents) -> None:
        self._body = body
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            for events in self._events.feed(part):
                yield events
        if rest := self._events.flush():
            yield rest

    async def aclose(self) -> None:
        await self._body.aclose()


def _error(request: httpx2.Request, limit: int) -> bytes:
    """What answers a request whose answer is too long."""
    asked = json.loads(request.content or b"{}")
    error = mcp_types.ErrorData(code=TOO_LONG, message=f"The answer is longer than {limit} bytes.")
    # Where nobody asked, as on a stream of notifications, there is no such answer to wait for: null is nobody's.
    answer = {"jsonrpc": "2.0", "id": asked.get("id"), "error": error.model_dump(exclude_none=True)}
    return json.dumps(answer).encode()
