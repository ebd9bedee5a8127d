"""Which of a call's paths run: the compiled ones of `gateway._fast` where they were built, else `gateway.path`.

As `rtp.fast` has it for the media plane.
"""

from typing import TYPE_CHECKING

from rtp.fast import IS_WANTED
from rtp.fast import is_compiled as stream_is_compiled

if TYPE_CHECKING:
    from gateway.backends.frame import ClientFrames
    from gateway.path import (
        BridgePath,
        ItemAccount,
        PeriodPath,
        SessionPath,
        SpeechReader,
        SuccessionPath,
        WirePath,
        decode_base64,
    )

    is_compiled: bool
    """All paths of a call are."""
else:
    try:
        if not IS_WANTED:
            raise ImportError("TRUNKLINE_FAST is off")
        from gateway._fast import (
            BridgePath,
            ClientFrames,
            ItemAccount,
            PeriodPath,
            SessionPath,
            SpeechReader,
            SuccessionPath,
            WirePath,
            decode_base64,
        )

        is_compiled = stream_is_compiled
    except ImportError:
        from gateway.backends.frame import ClientFrames
        from gateway.path import (
            BridgePath,
            ItemAccount,
            PeriodPath,
            SessionPath,
            SpeechReader,
            SuccessionPath,
            WirePath,
            decode_base64,
        )

        is_compiled = False

__all__ = [
    "BridgePath",
    "ClientFrames",
    "ItemAccount",
    "PeriodPath",
    "SessionPath",
    "SpeechReader",
    "SuccessionPath",
    "WirePath",
    "decode_base64",
    "is_compiled",
]
