"""What a caller hears in the agent's place: music on hold, and announcements.

Meanwhile the leg hears and speaks through another sink: the model is given silence, so it neither answers nor is
interrupted, and its own clock goes on; the recording keeps both sides as they are. What the agent says ends the music.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.announcement import AnnouncementError, AnnouncementFeed, AnnouncementLibrary
from gateway.bridge import Recorder
from gateway.call.opening import OpenModel
from gateway.call.timer import Timers
from gateway.leg import AudioLeg
from gateway.log import ContextLogger
from gateway.transcoding import silence_of
from rtp.codec.format import PayloadFormat
from rtp.playout import PlayedItem
from rtp.sink import NullSink

TOP_UP_S: Final = 0.25
"""A feed keeps a second waiting; so three of four may come late."""
_TIMER: Final = "hold"


class HoldSink(NullSink):
    """Hears the caller in the bridge's place."""

    def __init__(self, opened: OpenModel, recorder: Recorder | None) -> None:
        self._bridge = opened.bridge
        self._format = opened.settings.input_format
        self._recorder = recorder

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """The model hears silence for as long as the caller waits."""
        self._bridge.session.append_audio(silence_of(self._format, len(payload)))
        if self._recorder is not None:
            self._recorder.add_caller(payload)

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """Keys are keys, on hold too."""
        self._bridge.on_digit(digit, duration_ms)

    def on_frame_sent(self, frame: bytes, item_id: str | None) -> None:
        """What the caller hears."""
        self._bridge.on_frame_sent(frame, item_id)


@dataclass(slots=True)
class _Playing:
    """What plays to whom. `over` is set when the caller is with the agent again."""

    leg: AudioLeg
    opened: OpenModel
    is_endless: bool
    payload_format: PayloadFormat
    feed: AnnouncementFeed
    over: asyncio.Event
    said: list[tuple[str, bytes | None]] = field(default_factory=list)
    """What the agent said meanwhile, item by item; None: the item's end."""


class _PayloadSide:
    """A leg for a feed of what it sends as it is (gateway.announcement.Listener)."""

    def __init__(self, leg: AudioLeg) -> None:
        self._leg = leg

    @property
    def queued_ms(self) -> int:
        """What waits."""
        return self._leg.queued_ms

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends what needs no conversion."""
        self._leg.enqueue_payload(item_id, audio)

    def finish(self, item_id: str) -> None:
        """Nothing more will come."""
        self._leg.finish(item_id)


class CallHold:
    """The holds and announcements of one call, one after another. It is the bridge's speech meanwhile.

    Args:
        library: reads files, and keeps them as what legs send.
        timers: the call's.
        logger: the call's.
    """

    def __init__(self, library: AnnouncementLibrary, timers: Timers, logger: ContextLogger) -> None:
        self._library = library
        self._timers = timers
        self._logger = logger
        self._playing: _Playing | None = None
        self._items = 0

    @property
    def is_active(self) -> bool:
        """Whether the caller hears something else than the agent."""
        return self._playing is not None

    async def begin(
        self, leg: AudioLeg, opened: OpenModel, recorder: Recorder | None, path: Path, *, is_endless: bool
    ) -> asyncio.Event | None:
        """Plays a file to the caller in the agent's place.

        Returns:
            What is set when the caller is with the agent again; None where something plays already, or cannot.
        """
        payload_format = leg.playout_format
        octets = await self._read(path, payload_format)
        if octets is None or self._playing is not None or leg.playout_format != payload_format:
            return None
        opened.bridge.on_playout_flushed(leg.flush())
        leg.redirect(
            HoldSink(opened, recorder),
            input_format=opened.settings.input_format,
            output_format=opened.settings.output_format,
            on_load=opened.bridge.on_load,
        )
        opened.bridge.attach(self)
        self._items += 1
        feed = AnnouncementFeed(
            _PayloadSide(leg), f"file-{self._items}", octets, payload_format.octets_per_ms, is_endless=is_endless
        )
        over = asyncio.Event()
        self._playing = _Playing(leg, opened, is_endless, payload_format, feed, over)
        self._logger.info("caller hears a file", extra={"event": "hold" if is_endless else "announcement"})
        self._top_up()
        return over

    def end(self) -> None:
        """The caller is with the agent again. Idempotent."""
        playing, self._playing = self._playing, None
        if playing is None:
            return
        self._timers.cancel(_TIMER)
        bridge, settings = playing.opened.bridge, playing.opened.settings
        playing.leg.redirect(
            bridge,
            input_format=settings.input_format,
            output_format=settings.output_format,
            on_flushed=bridge.on_playout_flushed,
            on_load=bridge.on_load,
        )
        bridge.attach(playing.leg)
        for item_id, audio in playing.said:
            if audio is None:
                playing.leg.finish(item_id)
            else:
                playing.leg.enqueue(item_id, audio)
        playing.over.set()
        self._logger.info("caller is with the agent again", extra={"event": "unhold"})

    # The feed.

    async def _read(self, path: Path, payload_format: PayloadFormat) -> bytes | None:
        try:
            return await asyncio.to_thread(self._library.payload, path, payload_format)
        except AnnouncementError as error:
            self._logger.error("file cannot be played", extra={"path": str(path), "fault": error.reason})
            return None

    def _top_up(self) -> None:
        playing = self._playing
        if playing is None:
            return
        if playing.leg.playout_format != playing.payload_format:
            # The far end changed its codec: a file is no reason to keep a caller waiting until it is read anew.
            self.end()
        elif playing.feed.top_up() or playing.leg.queued_ms:
            self._timers.arm(_TIMER, TOP_UP_S, self._top_up)
        else:
            self.end()

    # gateway.bridge.Speech, while the music plays.

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """The agent speaks: that ends music at once. An announcement is heard to its end, and then what was said."""
        if self._playing is not None:
            self._say(self._playing, item_id, audio)

    def finish(self, item_id: str) -> None:
        """No more audio of this item will come."""
        if self._playing is not None:
            self._say(self._playing, item_id, None)

    def _say(self, playing: _Playing, item_id: str, audio: bytes | None) -> None:
        playing.said.append((item_id, audio))
        if playing.is_endless and audio is not None:
            self.end()

    def flush(self) -> list[PlayedItem]:
        """What plays is not the agent's: there is nothing to drop."""
        return []

    def sent_ms(self, item_id: str) -> int:
        """Milliseconds of an item of the agent that were sent before."""
        return 0 if self._playing is None else self._playing.leg.sent_ms(item_id)
