"""A model session over a WebSocket: any service's protocol core, driven by one wire.

No task belongs to a session. The socket's callbacks carry messages in and events out, and one timer looks after what is
overdue: once a second while something is awaited, else as often as pings need it. Commands go straight to the wire; the
caller's audio waits in `InputAudio` while the wire is paused, and that is the one bounded queue on the path.
"""

import asyncio
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Final

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.input import InputAudio
from gateway.backends.opening import open_wire
from gateway.backends.protocol import ModelProtocol
from gateway.backends.warm import WarmPool
from gateway.backends.wire import CHECK_INTERVAL_S, Closure, ClosureCause, Wire
from gateway.fast import SessionPath
from gateway.realtime.capability import RealtimeCapabilities
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.errors import (
    ModelError,
    ModelRateLimitError,
    ModelSessionLostError,
    ModelSettingsError,
    ModelTimeoutError,
)
from gateway.realtime.event import FailureReason, RealtimeEvent, SessionFailed
from gateway.realtime.session import EventSink, TextRole
from gateway.realtime.settings import SessionSettings

_FAILURE_REASONS: Final = {
    ClosureCause.LOST: FailureReason.CONNECTION_LOST,
    ClosureCause.UNRESPONSIVE: FailureReason.UNRESPONSIVE,
    ClosureCause.STALLED: FailureReason.WRITE_STALLED,
    ClosureCause.PROTOCOL: FailureReason.PROTOCOL,
}
# What ended a session that was still being opened.
_OPENING_ERRORS: Final[dict[FailureReason, type[ModelError]]] = {
    FailureReason.QUOTA: ModelRateLimitError,
    FailureReason.PROTOCOL: ModelSettingsError,
}


@dataclass(frozen=True, slots=True)
class SessionTiming:
    """`settings_timeout_s` bounds the wait for the service's word on the settings; `append_ms` is sent at once."""

    settings_timeout_s: float = 5.0
    append_ms: int = 20


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Sockets that wait for sessions, and what makes a protocol anew for a session whose socket was no good."""

    pool: WarmPool
    create_protocol: Callable[[], ModelProtocol]


class WireSession(SessionPath):
    """The `RealtimeSession` of every backend that speaks over a WebSocket."""

    def __init__(
        self,
        endpoint: WireEndpoint,
        protocol: ModelProtocol,
        capabilities: RealtimeCapabilities,
        sink: EventSink,
        timing: SessionTiming | None = None,
        voice: str | None = None,
        warm: WarmStart | None = None,
    ) -> None:
        self.capabilities: Final = capabilities
        self.sink = sink
        self._endpoint = endpoint
        self._protocol = protocol
        self._timing = timing or SessionTiming()
        self._voice = voice
        self._warm = warm
        self._wire: Wire | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._rests = False
        self._configured: asyncio.Future[None] | None = None
        self._ready = False
        self._opened = False
        self._opening_error: ModelError | None = None
        self._over = False
        self._input = InputAudio()
        self._bytes_per_ms = SessionSettings().input_format.bytes_per_ms
        self.outlet = self.reader = None
        self.is_flowing = self.is_telling = False
        self.append_head = self.append_tail = b""
        self.batch_bytes = 0

    # --- RealtimeSession ---

    @property
    def dropped_input_ms(self) -> int:
        """See `RealtimeSession`."""
        return self._input.dropped_ms

    @property
    def resumption_handle(self) -> str | None:
        """By which a lost session can be taken up again, where the service has such a thing."""
        return self._protocol.resumption_handle

    @property
    def append_ms(self) -> int:
        """How much of the caller's audio goes into one message at least. It may change at any time, with the load."""
        return self.batch_bytes // self._bytes_per_ms

    @append_ms.setter
    def append_ms(self, append_ms: int) -> None:
        self.batch_bytes = append_ms * self._bytes_per_ms

    async def open(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None:
        """See `RealtimeSession`."""
        if self._wire is not None or self._over:
            raise ModelSessionLostError("a session is opened once")
        if self._voice is not None:  # names of voices differ from service to service
            settings = replace(settings, voice=self._voice)
        self._bytes_per_ms = settings.input_format.bytes_per_ms
        self._input.measure_by(self._bytes_per_ms)
        self.append_ms = self._timing.append_ms
        try:
            if not await self._open_warm(settings, history):
                self._configured = asyncio.get_running_loop().create_future()
                self._protocol.start(settings, history)  # some servers greet in the same segment as they upgrade
                self._wire = await open_wire(self._endpoint, self)
                self._pump()
                await self._await_settings(self._configured)
        except BaseException:
            await self.aclose()
            raise
        if self._over:
            raise self._opening_error or ModelSessionLostError("the session was closed while it was being opened")
        self._opened = True
        self._arm(CHECK_INTERVAL_S)

    async def _open_warm(self, settings: SessionSettings, history: Sequence[ConversationTurn]) -> bool:
        """Begins on a socket that waits for a call. False where there is none, or it was lost while it rested: then
        only a fresh one tells whether the service is there.
        """
        warm, taken = self._warm, None if self._warm is None else self._warm.pool.take(self)
        if warm is None or taken is None:
            return False
        self._configured = asyncio.get_running_loop().create_future()
        self._protocol.start(settings, history)
        self._wire, greetings = taken
        try:
            for greeting in greetings:
                self.message_received(greeting)
            self._pump()
            await self._await_settings(self._configured)
        except (ModelSessionLostError, ModelTimeoutError):
            self._end()
            await self._wire.close()
            warm.pool.counters["warm_failed"] += 1
            self._wire, self._over, self._opening_error = None, False, None
            self._protocol = warm.create_protocol()
            return False
        return True

    async def _await_settings(self, configured: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._timing.settings_timeout_s):
                await configured
        except TimeoutError as error:
            waited_s = self._timing.settings_timeout_s
            raise ModelTimeoutError(f"the service did not confirm the settings within {waited_s} s") from error
        finally:
            del configured  # its exception's traceback leads through this frame

    def create_response(self, instructions: str | None = None) -> None:
        """See `RealtimeSession`."""
        self._command(lambda: self._protocol.create_response(instructions))

    def ask_aside(self, request_id: str, instructions: str) -> None:
        """See `RealtimeSession`."""
        self._command(lambda: self._protocol.ask_aside(request_id, instructions))

    def cancel_response(self) -> None:
        """See `RealtimeSession`."""
        self._command(self._protocol.cancel_response)

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """See `RealtimeSession`."""
        self._command(lambda: self._protocol.truncate(item_id, audio_end_ms))

    def start_turn(self) -> None:
        """See `RealtimeSession`."""
        self._command(self._protocol.start_turn)

    def end_turn(self) -> None:
        """See `RealtimeSession`."""
        self._command(self._protocol.end_turn)

    def send_tool_result(self, call_id: str, output: str) -> None:
        """See `RealtimeSession`."""
        self._command(lambda: self._protocol.send_tool_result(call_id, output))

    def send_text(self, text: str, *, role: TextRole = TextRole.USER) -> None:
        """See `RealtimeSession`."""
        self._command(lambda: self._protocol.send_text(text, role))

    async def aclose(self) -> None:
        """See `RealtimeSession`. Afterwards nothing that it holds refers back to it, nor to the call."""
        self._end()
        try:
            if self._wire is not None:
                await self._wire.close()
        finally:
            configured = self._configured
            if configured is not None and configured.done() and not configured.cancelled():
                configured.exception()  # where the connection was refused, nobody has waited for it
            self._wire = self.outlet = self.reader = self._configured = self._opening_error = None
            self.sink = _ignore

    # --- WireReceiver ---

    def _receive_irregular(self, message: bytes) -> None:
        if not self._over:
            self._protocol.receive_message(message)
            self._pump()

    def writing_resumed(self) -> None:
        """Sends what was held back."""
        if self._ready:
            self._release_input()

    def wire_closed(self, closure: Closure) -> None:
        """The wire is over, and the call has not asked for it."""
        if closure.cause is ClosureCause.PEER:
            self._fail(self._protocol.describe_closure(closure.code, closure.reason))
        else:
            self._fail(SessionFailed(_FAILURE_REASONS[closure.cause], closure.reason, retryable=True))

    # --- the session's own ---

    def _command(self, command: Callable[[], None]) -> None:
        if self._ready and not self._over:
            self.send_batch()  # what the caller said before stays before
            command()
            self._pump()

    def _hold(self, payload: bytes) -> None:
        if self._over:
            return
        if batch := self.take_batch():
            self._input.hold(batch)
        self._input.hold(payload)
        self.is_flowing = False

    def _pump(self) -> None:
        """Drains the protocol. The sink may command the session in turn; the order of events holds all the same."""
        protocol, wire = self._protocol, self._wire
        transmits, events = protocol.transmits, protocol.events
        while transmits and wire is not None:
            wire.send(transmits.popleft())
        if not self._ready and not self._over and wire is not None:
            self._settle_opening()
        while events and not self._over:
            if wire is None and protocol.configured:
                return  # `open` has not been told of its wire yet: what came with the greeting waits for that
            event = events.popleft()
            if isinstance(event, SessionFailed):
                self._fail(event)
                if wire is not None:
                    wire.abort()
            elif self._ready:
                self.sink(event)
        if self._rests and protocol.awaits:
            self._arm(CHECK_INTERVAL_S)

    def _settle_opening(self) -> None:
        """Wakes `open`. From here on events are told: some may be on their way before `open` has returned."""
        waiting, rejection = self._configured, self._protocol.rejection
        if waiting is None or waiting.done():
            return
        if rejection is not None:
            waiting.set_exception(copy(rejection))  # what is raised holds this session by its traceback
        elif self._protocol.configured:
            waiting.set_result(None)
            self._ready = self.is_telling = True
            self.reader = self._protocol.reader
            self.append_head, self.append_tail = self._protocol.append_envelope
            self._release_input()

    def _release_input(self) -> None:
        wire = self._wire
        while wire is not None and self._input and not wire.paused and not self._over:
            wire.send_audio(self.append_head, self._input.take(), self.append_tail)
        self.outlet = wire
        self.is_flowing = self._ready and not self._input

    def _check(self) -> None:
        wire, now = self._wire, asyncio.get_running_loop().time()
        if wire is None:
            return
        wire.check(now)
        self._tick = None
        if not self._over and self._protocol.awaits:
            self._protocol.handle_timer(now)
            self._pump()
            self._arm(CHECK_INTERVAL_S)
        else:
            self._arm(wire.check_interval_s)

    def _arm(self, seconds: float) -> None:
        if self._over:
            return
        if self._tick is not None:
            self._tick.cancel()
        self._rests = seconds > CHECK_INTERVAL_S
        self._tick = asyncio.get_running_loop().call_later(seconds, self._check)

    def _fail(self, failure: SessionFailed) -> None:
        if self._over:
            return
        self._end()
        if self._opened:
            self.sink(failure)
            return
        error = _OPENING_ERRORS.get(failure.reason, ModelSessionLostError)
        self._opening_error = error(f"the session ended while it was being opened: {failure.detail}")
        if self._configured is not None and not self._configured.done():
            self._configured.set_exception(self._opening_error)

    def _end(self) -> None:
        self._over = True
        self._ready = self.is_flowing = self.is_telling = self._rests = False
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None


def _ignore(_event: RealtimeEvent) -> None:
    """The sink of a session that was closed."""
