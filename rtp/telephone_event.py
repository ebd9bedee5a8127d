"""Telephone-events, RFC 4733: digits as packets of their own, in and out.

A digit is one RTP timestamp: its packets repeat it with a growing duration, the last ones carry the end bit and come
three times. What a receiver must bear: lost ends, retransmitted ends, missing markers, events longer than 16 bits of
duration.
"""

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rtp.errors import EventRefusedError, Malformation, RtpParseError
from rtp.sequence import timestamp_difference

DIGITS: Final = "0123456789*#ABCD"
"""Event codes 0 … 15, RFC 4733 section 3.2."""

_PAYLOAD: Final = struct.Struct("!BBH")
_END: Final = 0x80
_MAX_VOLUME: Final = 63
_MAX_DURATION: Final = 0xFFFF
_WRAP: Final = 0x8000
"""A duration that falls by more has wrapped; one that falls by less was overtaken."""
_SILENCE_ENDS_EVENT_S: Final = 0.2
"""Updates come every 20 to 50 ms (section 2.5.1.2 recommends the packet interval): four lost in a row end the event."""
_STALE_AFTER_S: Final = 10.0
"""An event this much older than the last one is not a reordered packet but a sender that restarted its clock."""
_END_TRANSMISSIONS: Final = 3
"""Section 2.5.1.4: "The final packet for each event … SHOULD be retransmitted … a total of three times"."""
_SENT_VOLUME: Final = 10
"""-10 dBm0, the usual level of a keypad."""
MAX_QUEUED_DIGITS: Final = 64
"""More than any menu takes; a bound for what waits."""


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """The four octets of section 2.3. `duration` counts RTP timestamp units, `volume` is dBm0 with the sign dropped."""

    event: int
    end: bool
    volume: int
    duration: int

    @classmethod
    def parse(cls, payload: bytes) -> "TelephoneEvent":
        """Reads one event; octets after the fourth (RFC 2833 redundancy) are left alone."""
        if len(payload) < _PAYLOAD.size:
            raise RtpParseError(f"Telephone-event has {len(payload)} octets, fewer than 4", Malformation.HEADER)
        event, flags, duration = _PAYLOAD.unpack_from(payload)
        return cls(event, bool(flags & _END), flags & _MAX_VOLUME, duration)

    def __bytes__(self) -> bytes:
        return _PAYLOAD.pack(self.event, (_END if self.end else 0) | self.volume, self.duration)


@dataclass(slots=True)
class _ActiveEvent:
    event: int
    timestamp: int
    """Of the current segment."""
    base: int
    """Samples of the segments before (section 2.5.1.3)."""
    duration: int
    seen_at: float


class TelephoneEventReceiver:
    """Turns event packets into digits. Each digit is reported once, when it ends: `on_digit(digit, duration_ms)`."""

    def __init__(self, clock_rate_hz: int, on_digit: Callable[[str, int], None]) -> None:
        self.clock_rate_hz = clock_rate_hz
        self._on_digit = on_digit
        self._active: _ActiveEvent | None = None
        self._finished: tuple[int, int] | None = None

    @property
    def is_active(self) -> bool:
        """Whether a digit is held down at this moment; `poll` is then due."""
        return self._active is not None

    def receive(self, timestamp: int, marker: bool, payload: bytes, now: float) -> None:
        """Takes one event packet. Raises `RtpParseError` for less than four octets or an event that is no digit."""
        packet = TelephoneEvent.parse(payload)
        if packet.event >= len(DIGITS):
            raise RtpParseError(f"Telephone-event {packet.event} is not a digit")
        active = self._active
        if active is not None:
            active = self._follow(active, packet, timestamp, marker)
        elif self._is_finished(packet, timestamp):
            return
        if active is None:
            if self._active is not None:
                return
            active = self._active = _ActiveEvent(packet.event, timestamp, 0, 0, now)
        active.seen_at = now
        gone = active.duration - packet.duration
        if gone > _WRAP:
            # Senders without segments let the 16 bits wrap and keep the timestamp.
            active.base += _MAX_DURATION + 1
            active.duration = packet.duration
        elif gone >= -_WRAP:
            active.duration = max(active.duration, packet.duration)
        if packet.end:
            self._finish(active)

    def poll(self, now: float) -> None:
        """Ends a digit whose end was lost."""
        active = self._active
        if active is not None and now - active.seen_at >= _SILENCE_ENDS_EVENT_S:
            self._finish(active)

    def reset(self) -> None:
        """Forgets timestamps: the far end restarted. A digit that is held down ends here."""
        if self._active is not None:
            self._finish(self._active)
        self._finished = None

    def _follow(
        self, active: _ActiveEvent, packet: TelephoneEvent, timestamp: int, marker: bool
    ) -> _ActiveEvent | None:
        """The event that the packet belongs to.

        None: a new one starts (and none is active), or nothing (one still is).
        """
        if timestamp == active.timestamp and packet.event == active.event:
            return active
        ahead = timestamp_difference(timestamp, active.timestamp)
        # Section 2.5.1.3: a long event continues in a segment that starts where the last one ended: after all of its 16
        # bits, or after fewer with senders that count whole packets. Its last updates may have been lost.
        missing = ahead - active.duration
        is_long = active.duration >= self.clock_rate_hz and 0 <= missing < _SILENCE_ENDS_EVENT_S * self.clock_rate_hz
        if packet.event == active.event and not marker and (ahead == _MAX_DURATION or is_long):
            active.base += ahead
            active.timestamp, active.duration = timestamp, 0
            return active
        if -_STALE_AFTER_S * self.clock_rate_hz < ahead < 0:
            return None
        self._finish(active)
        return None

    def _is_finished(self, packet: TelephoneEvent, timestamp: int) -> bool:
        """Whether the packet repeats, or was overtaken by, an event that was already reported."""
        if self._finished is None:
            return False
        finished_event, finished_timestamp = self._finished
        ahead = timestamp_difference(timestamp, finished_timestamp)
        if ahead == 0:
            return packet.event == finished_event
        return -_STALE_AFTER_S * self.clock_rate_hz < ahead < 0

    def _finish(self, active: _ActiveEvent) -> None:
        self._active = None
        self._finished = (active.event, active.timestamp)
        samples = active.base + active.duration
        self._on_digit(DIGITS[active.event], samples * 1000 // self.clock_rate_hz)


@dataclass(frozen=True, slots=True)
class EventFrame:
    """What the sender puts on the wire in one turn: a payload with the timestamp of the event's start."""

    payload: bytes
    timestamp: int
    marker: bool


class TelephoneEventSender:
    """Digits that wait to be sent, one packet a turn; speech waits while it is active.

    `former` counted on another clock: what waits there and was not begun is taken over.
    """

    def __init__(self, clock_rate_hz: int, former: "TelephoneEventSender | None" = None) -> None:
        self.clock_rate_hz = clock_rate_hz
        self._queue: deque[tuple[int, int, int]] = deque() if former is None else former._waiting(clock_rate_hz)
        self._timestamp = 0
        self._elapsed = 0
        self._ends_left = 0
        self._gap_left = 0

    @property
    def is_active(self) -> bool:
        """Whether a digit, or the gap after it, is under way or waits."""
        return bool(self._queue) or self._gap_left > 0

    def enqueue(self, digits: str, duration_ms: int, gap_ms: int) -> None:
        """Appends digits.

        Raises `EventRefusedError` for other characters, too many, or a duration that 16 bits cannot hold.
        """
        codes = [DIGITS.find(digit) for digit in digits.upper()]
        if not codes or min(codes) < 0:
            raise EventRefusedError(f"{digits!r} is not made of the digits {DIGITS}")
        if len(self._queue) + len(codes) > MAX_QUEUED_DIGITS:
            raise EventRefusedError(f"{len(codes)} digits are too many while {len(self._queue)} wait")
        duration = duration_ms * self.clock_rate_hz // 1000
        if not 0 < duration <= _MAX_DURATION or gap_ms < 0:
            raise EventRefusedError(f"A digit of {duration_ms} ms with a gap of {gap_ms} ms cannot be sent")
        gap = gap_ms * self.clock_rate_hz // 1000
        self._queue.extend((code, duration, gap) for code in codes)

    def clear(self) -> None:
        """Drops what waits; a digit under way is sent to its end."""
        while len(self._queue) > (1 if self._elapsed or self._ends_left else 0):
            self._queue.pop()

    def _waiting(self, clock_rate_hz: int) -> deque[tuple[int, int, int]]:
        """The digits that were not begun, in units of another clock."""
        waiting = list(self._queue)[1 if self._elapsed else 0 :]
        return deque(
            (
                code,
                min(duration * clock_rate_hz // self.clock_rate_hz, _MAX_DURATION),
                gap * clock_rate_hz // self.clock_rate_hz,
            )
            for code, duration, gap in waiting
        )

    def next_frame(self, timestamp: int, frame_samples: int) -> EventFrame | None:
        """The event packet of this turn, or None for silence between two digits.

        `timestamp` is media time of the turn, `frame_samples` its length on the clock of the events.
        """
        if self._gap_left > 0:
            self._gap_left -= frame_samples
            return None
        code, duration, gap = self._queue[0]
        marker = self._elapsed == 0
        if marker:
            self._timestamp = timestamp
        self._elapsed += frame_samples
        end = self._elapsed >= duration
        payload = bytes(TelephoneEvent(code, end, _SENT_VOLUME, min(self._elapsed, duration)))
        frame = EventFrame(payload, self._timestamp, marker)
        if end:
            self._ends_left = (self._ends_left or _END_TRANSMISSIONS) - 1
            if self._ends_left == 0:
                # The retransmitted ends already lie in the gap.
                self._gap_left = max(0, duration + gap - self._elapsed)
                self._elapsed = 0
                self._queue.popleft()
        return frame
