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
        GeneratedSpeech,
        ItemAccount,
        PeriodPath,
        SessionPath,
        SpeechReader,
        SuccessionPath,
        WirePath,
        decode_base64,
        flush_shortcuts,
        step_shortcuts,
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
            GeneratedSpeech,
            ItemAccount,
            PeriodPath,
            SessionPath,
            SpeechReader,
            SuccessionPath,
            WirePath,
            decode_base64,
            flush_shortcuts,
            step_shortcuts,
        )

        is_compiled = stream_is_compiled
    except ImportError:
        from gateway.backends.frame import ClientFrames
        from gateway.path import (
            BridgePath,
            GeneratedSpeech,
            ItemAccount,
            PeriodPath,
            SessionPath,
            SpeechReader,
            SuccessionPath,
            WirePath,
            decode_base64,
            flush_shortcuts,
            step_shortcuts,
        )

        is_compiled = False

__all__ = [
    "BridgePath",
    "ClientFrames",
    "GeneratedSpeech",
    "ItemAccount",
    "PeriodPath",
    "SessionPath",
    "SpeechReader",
    "SuccessionPath",
    "WirePath",
    "decode_base64",
    "flush_shortcuts",
    "is_compiled",
    "step_shortcuts",
]
