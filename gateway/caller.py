"""A caller: places calls over SIP, speaks from samples, keys digits and listens.

For trying a gateway out: by hand, in the demo and in tests. It is built of the same user agent, leg and clock as the
gateway itself.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final

import numpy as np

from gateway.address import outward_address
from gateway.audio_file import Samples
from gateway.call.record import MediaRecord
from gateway.errors import GatewayError
from gateway.leg import AudioLeg, MediaPlane
from gateway.media_policy import MediaPolicy
from rtp.clock import MediaClock
from rtp.codec.g711 import decode_ulaw, encode_ulaw
from rtp.path import Media
from rtp.sink import NullSink
from rtp.socket import MediaSockets, random_port_pool
from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.event import (
    AgentEvent,
    Answered,
    ByeReceived,
    Ended,
    Failed,
    Provisional,
    ReferReceived,
    ReinviteAnswered,
    ReinviteReceived,
)
from sip.header import NameAddr
from sip.session.uac import ClientSession
from sip.transport.endpoint import SipEndpoint
from sip.transport.flow import Address
from sip.transport.udp import UdpListener
from sip.uri import Uri

SAMPLE_RATE_HZ: Final = 8000
# Outside the kernel's ephemeral range and outside the gateway's default range, so that both run on one machine.
FIRST_PORT: Final = 30000
LAST_PORT: Final = 32766
# A frame is speech where its loudest sample passes this: about -36 dB of full scale, well above line noise.
SPEECH_PEAK: Final = 500
TOKEN_BYTES: Final = 16
BYE_PATIENCE_SECONDS: Final = 2.0
METHODS: Final = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "REFER", "NOTIFY")


class CallFailedError(GatewayError):
    """The call came to nothing. `status` is the final SIP status; 408 and 503 stand for silence and a dead network."""

    label = "call_failed"

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"The call was refused: {status} {reason}")
        self.status = status


class PlacedCall(NullSink):
    """One call that was placed. `captured` holds what was heard since the answer, as μ-law at 8 kHz without gaps."""

    def __init__(self, session: ClientSession, leg: AudioLeg, perform: Callable[..., None]) -> None:
        self.captured = bytearray()
        self.answered_at: float | None = None
        self.set_up_ms: int | None = None
        self.ended_by_peer = False
        self.end_reason: str | None = None
        self.provisional: list[int] = []
        self.referred_to: list[str] = []
        self.referred_by: str | None = None
        # What a transfer that the far end asks for comes to; None: it is declined with 603.
        self.transfer_status: int | None = None
        self._session = session
        self._leg = leg
        self._perform = perform
        self._placed_at = time.monotonic()
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._speech_frames = 0
        self._last_speech_at: float | None = None
        self._items = 0
        self._final_statistics: MediaRecord | None = None

    # What a person does.

    async def answered(self) -> None:
        """Waits for the answer.

        Raises:
            CallFailedError: the call was refused, or nobody answered.
        """
        await self._answered

    async def say(self, samples: Samples) -> None:
        """Speaks 8 kHz samples, and returns when the last of them was sent (or the call is over)."""
        self._items += 1
        item_id = f"words-{self._items}"
        self._drained.clear()
        self._leg.enqueue(item_id, encode_ulaw(samples))
        self._leg.finish(item_id)
        await self._first_of(self._drained.wait())

    def press(self, digits: str) -> bool:
        """Keys digits as telephone-events; False where the far end takes none."""
        return self._leg.send_digits(digits)

    async def heard_speech(self, least_ms: int = 100) -> None:
        """Waits until so much speech has been heard since the last call of `heard_pause`, or the call is over."""
        while self._speech_frames * 20 < least_ms and not self._ended.is_set():
            await self._first_of(asyncio.sleep(0.02))

    async def heard_pause(self, pause_ms: int = 800) -> None:
        """Waits until the far end has been silent for so long, or the call is over."""
        while not self._ended.is_set():
            now = time.monotonic()
            quiet_since = self._last_speech_at or now - pause_ms / 1000
            if (now - quiet_since) * 1000 >= pause_ms:
                break
            await self._first_of(asyncio.sleep(0.02))
        self._speech_frames = 0

    async def ended(self) -> None:
        """Waits for the end of the call."""
        await self._ended.wait()

    def hang_up(self) -> None:
        """Ends the call, answered or not."""
        self._perform(self._session.hang_up)

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self._ended.is_set()

    def heard(self) -> Samples:
        """What was heard since the answer, as samples at 8 kHz."""
        return np.asarray(decode_ulaw(bytes(self.captured)), np.int16)

    def statistics(self) -> MediaRecord:
        """What was received and sent, also after the call has ended."""
        return self._final_statistics or self._leg.statistics()

    async def _first_of(self, wait: Coroutine[Any, Any, object]) -> None:
        """Waits for something, but not past the end of the call."""
        tasks = [asyncio.create_task(wait), asyncio.create_task(self._ended.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # What the user agent and the leg tell.

    def on_event(self, event: AgentEvent) -> None:
        """Takes the session's events."""
        match event:
            case Provisional(status=status):
                self.provisional.append(status)
            case Answered(body=body):
                self._take_answer(body)
            case Failed(status=status, reason=reason):
                if not self._answered.done():
                    self._answered.set_exception(CallFailedError(status, reason))
            case ReinviteReceived(offer=offer):
                self._perform(self._session.answer_reinvite, self._leg.answer(offer))
            case ReferReceived(refer_to=refer_to, referred_by=referred_by):
                self.referred_to.append(str(refer_to.uri))
                self.referred_by = referred_by
                self._begin_transfer()
            case ReinviteAnswered(body=body):
                self._leg.complete(body)
                self._end_transfer()
            case ByeReceived(reason=reason):
                self.ended_by_peer, self.end_reason = True, reason
            case Ended():
                self._ended.set()
                self._final_statistics = self.statistics()
                self._leg.close()
                if not self._answered.done():
                    self._answered.set_exception(CallFailedError(487, "Request Terminated"))
                # Nobody need wait for the answer; an exception nobody asks for is not a fault.
                if not self._answered.cancelled():
                    self._answered.exception()
            case _:
                pass

    def _begin_transfer(self) -> None:
        """As carriers do it: 202, and the far end is put on hold while the other is called (which we only say)."""
        if self.transfer_status is None:
            self._perform(self._session.reject_refer, 603)
            return
        self._perform(self._session.accept_refer)
        self._perform(self._session.reinvite, self._leg.offer().replace(b"a=sendrecv", b"a=sendonly"))

    def _end_transfer(self) -> None:
        status, self.transfer_status = self.transfer_status, None
        if status is None:  # the re-INVITE that took the far end off hold
            return
        self._perform(self._session.notify_refer, status)
        if status >= 300:
            self._perform(self._session.reinvite, self._leg.offer())

    def _take_answer(self, body: bytes | None) -> None:
        now = time.monotonic()
        if not self._leg.complete(body):
            self._answered.set_exception(CallFailedError(488, "the answer cannot be used"))
            self._perform(self._session.bye)
            return
        self.answered_at, self.set_up_ms = now, round((now - self._placed_at) * 1000)
        self._leg.start(self)
        self._leg.resume()
        self._answered.set_result(None)

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """The far end's audio, in order."""
        self.captured += payload
        if int(np.abs(decode_ulaw(payload).astype(np.int32)).max(initial=0)) > SPEECH_PEAK:
            self._speech_frames += 1
            self._last_speech_at = time.monotonic()

    def on_playout_drained(self) -> None:
        """Everything that was to be said has been sent."""
        self._drained.set()


class Caller:
    """A user agent for placing calls. Use it as an asynchronous context manager.

    Args:
        host: the local address to call from; None takes that of the interface that leads outside.
    """

    def __init__(self, host: str | None = None) -> None:
        self._host = host or outward_address(4)
        self._stack = AsyncExitStack()
        self._calls: dict[object, PlacedCall] = {}

    async def __aenter__(self) -> "Caller":
        loop = asyncio.get_running_loop()
        self._clock = MediaClock(self._on_media_fault)
        self._clock.start(loop)
        self._stack.callback(self._clock.stop)
        self._sockets = MediaSockets(
            self._host, random_port_pool(FIRST_PORT, LAST_PORT), self._clock, self._on_receiver_fault
        )
        self._sockets.start(loop)
        self._stack.callback(self._sockets.close)
        self._plane = MediaPlane(self._clock, self._sockets, self._host, time.monotonic)
        self._agent = UserAgent(
            AgentConfiguration(advertised={"udp": Address(self._host, 0)}, product="Trunkline caller", allow=METHODS),
            token=lambda: secrets.token_hex(TOKEN_BYTES),
        )
        self._endpoint = SipEndpoint(
            self._agent,
            listeners=[UdpListener(self._host, 0)],
            on_event=self._on_event,
        )
        await self._endpoint.start()
        self._stack.push_async_callback(self._endpoint.aclose, BYE_PATIENCE_SECONDS)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for call in list(self._calls.values()):
            if not call.is_over:
                call.hang_up()
        await self._stack.aclose()
        self._calls.clear()

    def place(self, target: str, *, caller: str = "+15550002222", policy: MediaPolicy | None = None) -> PlacedCall:
        """Places a call to a SIP URI.

        Args:
            target: whom to call.
            caller: the number that calls.
            policy: which codecs are offered, and whether media is encrypted; telephone codecs where absent.

        Raises:
            SipError: the URI cannot be read.
        """
        leg = AudioLeg(self._plane, policy)
        uri = Uri.parse(target)
        from_ = NameAddr.parse(f"<sip:{caller}@{self._host}>")

        def invite(now: float) -> None:
            session = self._agent.invite(target=uri, from_=from_, offer=leg.offer(), now=now)
            self._calls[session] = PlacedCall(session, leg, self._endpoint.perform)

        before = set(self._calls)
        self._endpoint.perform(invite)
        (placed,) = set(self._calls) - before
        return self._calls[placed]

    def _on_event(self, event: AgentEvent) -> None:
        if (call := self._calls.get(event.session)) is not None:
            call.on_event(event)

    def _on_media_fault(self, media: Media, error: Exception) -> None:
        raise error

    def _on_receiver_fault(self, error: Exception) -> None:
        raise error
