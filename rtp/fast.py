"""Which of the paths run: the compiled ones of `rtp._fast` where they were built, else `rtp.path` and `rtp.datagram`.

The installation compiles them where there is a C compiler. `TRUNKLINE_FAST=off` in the environment turns them off.
"""

import os
from typing import TYPE_CHECKING, Final

IS_WANTED: Final = os.environ.get("TRUNKLINE_FAST", "on") != "off"

if TYPE_CHECKING:
    from rtp.datagram import DatagramDrain, DatagramSender, Outbox
    from rtp.path import ClockPath, FrameQueue, InboundPath, OutboundPath, PlayoutPath, StreamPath, TurnPath
    from rtp.recent_audio import RecentAudio

    is_compiled: bool
else:
    try:
        if not IS_WANTED:
            raise ImportError("TRUNKLINE_FAST is off")
        from rtp._fast import (
            ClockPath,
            DatagramDrain,
            DatagramSender,
            FrameQueue,
            InboundPath,
            OutboundPath,
            Outbox,
            PlayoutPath,
            RecentAudio,
            StreamPath,
            TurnPath,
        )

        is_compiled = True
    except ImportError:
        from rtp.datagram import DatagramDrain, DatagramSender, Outbox
        from rtp.path import ClockPath, FrameQueue, InboundPath, OutboundPath, PlayoutPath, StreamPath, TurnPath
        from rtp.recent_audio import RecentAudio

        is_compiled = False

__all__ = [
    "ClockPath",
    "DatagramDrain",
    "DatagramSender",
    "FrameQueue",
    "InboundPath",
    "OutboundPath",
    "Outbox",
    "PlayoutPath",
    "RecentAudio",
    "StreamPath",
    "TurnPath",
    "is_compiled",
]
