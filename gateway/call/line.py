"""What an agent's tools may do with a call's line, and what waits until the agent's last word has been heard."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from gateway.admission import Route
from gateway.call.account import Account
from gateway.call.agent import CallAgent
from gateway.call.environment import CallEnvironment
from gateway.call.hold import CallHold
from gateway.call.last_resort import LastResort
from gateway.call.opening import OpenModel
from gateway.call.record import VoicemailRecord
from gateway.call.side import Side
from gateway.call.surroundings import Spawn
from gateway.call.tape import Tape
from gateway.call.timer import Timers
from gateway.call.transfer import Transfers
from gateway.call.transition import CallInput, CallState
from gateway.log import ContextLogger
from gateway.realtime.session import TextRole
from gateway.tools.tool import TransferOutcome

# How long an agent that wants to end the call may go on speaking: a goodbye, not a story.
FAREWELL_SECONDS: Final = 15.0
# How often a recording that is to go on looks whether the agent still speaks: two packets.
SPEECH_CHECK_SECONDS: Final = 0.04


class LineHost(Protocol):
    """The call, as its line sees it."""

    call_id: str
    route: Route
    state: CallState
    side: Side
    agent: CallAgent

    @property
    def is_being_transferred(self) -> bool:
        """Whether the caller is about to be handed over, or the conversation to somebody else."""

    def post(self, news: CallInput) -> None:
        """Puts an input into the call's inbox."""


class CallLine:
    """The line of one call (gateway.tools.tool.Line).

    Args:
        host: the call; `let_go` forgets it.
        environment: what the process gives.
        account: counts the call's time.
        transfers: the agent's.
        tape: the call's recording.
        timers: the call's.
        spawn: starts a task that the call owns.
        logger: the call's.
    """

    def __init__(
        self,
        host: LineHost,
        environment: CallEnvironment,
        account: Account,
        transfers: Transfers,
        tape: Tape,
        timers: Timers,
        spawn: Spawn,
        logger: ContextLogger,
    ) -> None:
        self._host = host
        self._account = account
        self._transfers = transfers
        self._tape = tape
        self._timers = timers
        self._spawn = spawn
        self._hold = CallHold(environment.announcements, timers, logger)
        self._last_resort = LastResort(host.call_id, environment.messages, transfers, logger)
        self._falling_back: asyncio.Task[None] | None = None
        self._leaving: CallInput | None = None
        self._pauses = 0
        self._spoken = asyncio.Event()

    @property
    def is_falling_back(self) -> bool:
        """Whether no model speaks any more, and the agent's fallback does what is left to do."""
        return self._falling_back is not None

    # The agent's last word.

    def on_spoken(self) -> None:
        """The goodbye has been heard: an agent that wants to leave leaves now."""
        self._spoken.set()
        if self._leaving is not None:
            self._host.post(self._leaving)

    def end_call(self) -> None:
        """Hangs up when the agent's last word has been heard."""
        self._hold.end()
        self._leave(CallInput.AGENT_HUNG_UP)

    def lose_model(self) -> None:
        """No backend goes on with the conversation. An apology may wait to be heard, and then the agent's fallback."""
        host, opened = self._host, self._host.agent.opened
        if host.state is CallState.TALKING and opened is not None and host.route.agent.model_loss.has_fallback:
            self._falling_back = self._spawn(self._fall_back(opened))
        else:
            self._leave(CallInput.MODEL_LOST)

    def _leave(self, news: CallInput) -> None:
        """Posts an input that ends the call once all that waits has been heard."""
        self._leaving = news
        if self._host.side.is_speaking:
            self._timers.arm("farewell", FAREWELL_SECONDS, lambda: self._host.post(news))
        else:
            self._host.post(news)

    async def _fall_back(self, opened: OpenModel) -> None:
        host = self._host
        await self._until_spoken()
        self._hold.end()
        host.agent.stop()
        news = await self._last_resort.serve(
            host.route, host.side.leg, opened, self._tape.recorder(), lambda: self._account.at_ms
        )
        if news is not None:
            host.post(news)

    async def _until_spoken(self) -> None:
        """Waits until all that is to be said has been heard; not for ever."""
        self._spoken.clear()
        if self._host.side.is_speaking:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._spoken.wait()

    # What else tools may do.

    def send_digits(self, digits: str) -> bool:
        """Sends keys to the caller's side; False where the far end takes none."""
        return self._host.side.leg.send_digits(digits)

    def pause_recording(self) -> bool:
        """Keeps nothing of what is said from now on, such as a card's number. False where nothing is recorded."""
        self._pauses += 1
        self._account.withhold()
        return self._tape.pause()

    async def resume_recording(self) -> bool:
        """Keeps again what is said, once the agent's words have been heard that it made in the pause.

        It may have read the number back in them. False where nothing is recorded, or it was paused anew meanwhile.
        """
        pauses = self._pauses
        while self._host.side.is_speaking:  # noqa: ASYNC110 - speech that is interrupted tells nobody of its end
            await asyncio.sleep(SPEECH_CHECK_SECONDS)
        if pauses != self._pauses:
            return False
        self._account.unveil()
        return self._tape.resume()

    async def transfer_call(self, uri: str) -> TransferOutcome:
        """Hands the caller over once the agent's last word has been heard: what the far end plays next is its own.

        A far end that leaves the caller with us meanwhile has it hear the agent's music.
        """
        await self._until_spoken()
        if self._host.is_being_transferred:
            return TransferOutcome(491, "a transfer is under way already")
        if (hold := self._host.route.agent.hold) is not None:
            await self._play(hold.music, is_endless=True)
        try:
            return await self._transfers.transfer(uri, self._account.at_ms)
        finally:
            self._hold.end()

    async def hold_caller(self, music: Path, max_seconds: float) -> bool:
        """Plays music to the caller until the agent speaks again, or for so long; False where that cannot be."""
        over = await self._play(music, is_endless=True)
        if over is None:
            return False
        self._spawn(self._limit_hold(over, max_seconds))
        return True

    async def play_announcement(self, file: Path) -> bool:
        """Plays a file to the caller, to its end; False where that cannot be."""
        over = await self._play(file, is_endless=False)
        return over is not None and await over.wait()

    async def _play(self, file: Path, *, is_endless: bool) -> asyncio.Event | None:
        await self._until_spoken()
        if self._host.state is not CallState.TALKING or (opened := self._host.agent.opened) is None:
            return None
        return await self._hold.begin(self._host.side.leg, opened, self._tape.recorder(), file, is_endless=is_endless)

    async def _limit_hold(self, over: asyncio.Event, max_seconds: float) -> None:
        try:
            async with asyncio.timeout(max_seconds):
                await over.wait()
        except TimeoutError:
            self._hold.end()
            if (opened := self._host.agent.opened) is not None:
                self._host.agent.tell("The caller has waited long enough, and is with you again.", TextRole.SYSTEM)
                opened.model.create_response()

    # The end.

    def end_hold(self) -> None:
        """The far end hears the agent again, and nothing else. Idempotent."""
        self._hold.end()

    def stop(self) -> None:
        """The call has ended: whatever runs is stopped, without waiting; `aclose` follows."""
        if self._falling_back is not None:
            self._falling_back.cancel()
        self._hold.end()
        self._transfers.close()

    async def aclose(self) -> None:
        """Writes what is left of a message."""
        await self._last_resort.aclose()

    def voicemail(self) -> VoicemailRecord | None:
        """Where a message of the caller's is; None where nobody was asked for one."""
        return self._last_resort.record()

    def let_go(self) -> None:
        """Forgets the call, so that neither waits for the garbage collector."""
        del self._host, self._spawn
