"""Playout: audio that waits to be sent, item by item, and the account of what was really sent.

Model audio comes faster than real time and is cut into frames that the media clock fetches. When the caller interrupts,
`flush` says how many milliseconds of each item left the socket: that figure, never what was queued, drives truncation.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from rtp.codec.format import PayloadFormat
from rtp.fast import FrameQueue, PlayoutPath
from rtp.path import MAX_OWED_FRAMES, SPARE_TURNS

REMEMBERED_ITEMS: Final = 64
"""Items whose account is kept after they ended or were flushed; a conversation asks only for the last few."""


@dataclass(frozen=True, slots=True)
class PlayedItem:
    """The account of one item: what was handed to the socket, and what still waited. Padding is not counted."""

    item_id: str
    sent_ms: int
    queued_ms: int


class PlayoutListener(Protocol):
    """Who wants to know. Called from within `Playout.next_frame`, before the frame is sent."""

    def on_item_started(self, item_id: str) -> None:
        """The next frame is the first of the item."""

    def on_item_finished(self, item_id: str) -> None:
        """The last frame of the item was handed out in this turn or before."""

    def on_playout_drained(self) -> None:
        """Nothing waits any more."""


class Playout(PlayoutPath):
    """Audio of one leg in the leg's own format, paced by whoever calls `next_frame` once a packet time."""

    def __init__(self, payload_format: PayloadFormat, ptime_ms: int, listener: PlayoutListener) -> None:
        self._format = payload_format
        self._listener = listener
        self.frame_octets = payload_format.frame_octets(ptime_ms)
        """Octets of one frame."""
        self._silence = payload_format.silence_of(self.frame_octets)
        self._items: deque[FrameQueue] = deque()
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._flushed: OrderedDict[str, None] = OrderedDict()
        self.queued_octets = 0
        self.current_item_id = None
        self.owed_frames = self.spare_turns = 0
        self._is_held = False
        self._arrange()
        self.refused_octets = 0
        """Audio that came for items after they had been flushed."""
        self.underruns = 0
        """Frames that had to be padded in the midst of an item because no more audio had come in time."""
        self.taken_back = 0
        """Frames of silence that were left out of an item, after as many had been put into it."""

    @property
    def silence_frame(self) -> bytes:
        """One frame of silence."""
        return self._silence

    @property
    def queued_ms(self) -> int:
        """Audio that waits, of all items."""
        return self._format.milliseconds(self.queued_octets)

    def _enqueue_irregular(self, item_id: str, audio: bytes) -> None:
        """Audio that is not for the youngest item; one that was flushed is not among the items any more."""
        if not audio:
            return
        item = self._open(item_id)
        if item is None:
            self.refused_octets += len(audio)
            return
        item.append(audio)
        self.queued_octets += len(audio)

    def finish(self, item_id: str) -> None:
        """No more audio will come for the item: its last, partial frame may be padded and sent."""
        item = self._find(item_id)
        if item is not None:
            item.finished = True
            if not item.queued_octets:
                self._end(item)

    def flush(self) -> list[PlayedItem]:
        """Drops everything that waits. Returns the account of each item that was not yet ended, oldest first."""
        played = [
            PlayedItem(item.item_id, self._ms(item.sent_octets), self._ms(item.queued_octets)) for item in self._items
        ]
        for item in self._items:
            self._remember(item)
            self._flushed[item.item_id] = None
            if len(self._flushed) > REMEMBERED_ITEMS:
                self._flushed.popitem(last=False)
        self._items.clear()
        self.queued_octets = 0
        self.current_item_id = None
        self.owed_frames = self.spare_turns = 0
        self._is_held = False
        self._arrange()
        return played

    def hold(self) -> None:
        """Hands out nothing from now on: what waits, and what comes, goes on waiting. A flush ends this too."""
        self._is_held = True
        self._arrange()

    def release(self) -> None:
        """Goes on where `hold` stopped it, to the octet."""
        self._is_held = False
        self._arrange()

    def reframe(self, ptime_ms: int) -> None:
        """Cuts what waits, and what will come, into frames of another length."""
        self.frame_octets = self._format.frame_octets(ptime_ms)
        self._silence = self._format.silence_of(self.frame_octets)

    def recode(self, payload_format: PayloadFormat, ptime_ms: int, convert: Callable[[bytes], bytes]) -> None:
        """Goes on in another format: `convert` turns what waits into it. What was sent stays sent, in milliseconds."""
        before, self._format = self._format, payload_format
        self._sent = OrderedDict(
            (item_id, _rescaled(octets, before, payload_format)) for item_id, octets in self._sent.items()
        )
        self._items = deque(_recoded(item, before, payload_format, convert) for item in self._items)
        self.queued_octets = sum(item.queued_octets for item in self._items)
        self.reframe(ptime_ms)
        self._arrange()

    def sent_ms(self, item_id: str) -> int:
        """Milliseconds of the item that were handed out so far; 0 for an item never heard of."""
        item = self._find(item_id)
        return self._ms(item.sent_octets if item is not None else self._sent.get(item_id, 0))

    def _arrange(self) -> None:
        """Tells the path who stands in front, after items have come or gone."""
        self.head = self._items[0] if self._items and not self._is_held else None
        self.youngest = self._items[-1] if self._items else None
        self.is_alone = len(self._items) <= 1

    def _irregular_frame(self) -> bytes | None:
        """The first frame of an item, its last, or none."""
        item = self._items[0]
        size = self.frame_octets
        if item.queued_octets < size:
            return self._last_frame(item)
        frame = item.take(size)
        if self.owed_frames and self.spare_turns >= SPARE_TURNS and frame == self._silence:
            frame = self._take_back(item)
        return self._account(item, frame, size)

    def _take_back(self, item: FrameQueue) -> bytes:
        """Leaves out a frame of silence that the caller has heard already, when the item's audio was late."""
        self.owed_frames -= 1
        self.spare_turns = 0
        item.sent_octets += self.frame_octets
        self.queued_octets -= self.frame_octets
        self.taken_back += 1
        return item.take(self.frame_octets)

    def owe(self, turns: int) -> None:
        """So many turns were missed in the midst of an item."""
        if self.head is not None and self.head.sent_octets:
            self.owed_frames = min(self.owed_frames + turns, MAX_OWED_FRAMES)

    def _open(self, item_id: str) -> FrameQueue | None:
        """The item of that name, a new one if there is none; None if it was flushed."""
        if item_id in self._flushed:
            return None
        item = self._find(item_id)
        if item is None:
            item = FrameQueue(item_id, self._sent.pop(item_id, 0))
            self._items.append(item)
            self._arrange()
        return item

    def _account(self, item: FrameQueue, frame: bytes, octets: int) -> bytes:
        if not item.sent_octets:
            self._listener.on_item_started(item.item_id)
        self.current_item_id = item.item_id
        item.sent_octets += octets
        self.queued_octets -= octets
        item.waited = False
        if not item.queued_octets and item.finished:
            self._end(item)
        return frame

    def _last_frame(self, item: FrameQueue) -> bytes | None:
        """Less than a frame is left in the head item."""
        if not item.queued_octets:
            # Nothing of an unfinished item waits. What stands behind it need not wait for its end.
            if len(self._items) > 1:
                self._end(item)
                return self.next_frame()
            self.current_item_id = None
            return None
        if not (item.finished or item.sent_octets or item.waited or len(self._items) > 1):
            # The very first octets of an item: one turn of patience costs nothing that anyone hears.
            item.waited = True
            self.current_item_id = None
            return None
        if not item.finished:
            self.underruns += 1
        octets = item.queued_octets
        frame = item.take(octets) + self._silence[octets:]
        return self._account(item, frame, octets)

    def _end(self, item: FrameQueue) -> None:
        """Ends an item of which nothing waits."""
        self._items.remove(item)
        self.owed_frames = self.spare_turns = 0
        self._arrange()
        self._remember(item)
        self._listener.on_item_finished(item.item_id)
        if not self._items:
            self._listener.on_playout_drained()

    def _remember(self, item: FrameQueue) -> None:
        self._sent[item.item_id] = item.sent_octets
        if len(self._sent) > REMEMBERED_ITEMS:
            self._sent.popitem(last=False)

    def _find(self, item_id: str) -> FrameQueue | None:
        for item in self._items:
            if item.item_id == item_id:
                return item
        return None

    def _ms(self, octets: int) -> int:
        return self._format.milliseconds(octets)


def _rescaled(octets: int, before: PayloadFormat, after: PayloadFormat) -> int:
    return octets * after.octets_per_ms // before.octets_per_ms


def _recoded(
    item: FrameQueue, before: PayloadFormat, after: PayloadFormat, convert: Callable[[bytes], bytes]
) -> FrameQueue:
    recoded = FrameQueue(item.item_id, _rescaled(item.sent_octets, before, after))
    recoded.append(convert(item.take(item.queued_octets)))
    recoded.finished, recoded.waited = item.finished, item.waited
    return recoded
