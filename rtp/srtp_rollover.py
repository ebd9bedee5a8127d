"""The rollover counter (ROC, RFC 3711 section 3.3.1) of one stream in a libsrtp session.

libsrtp tells it and takes it; pylibsrtp carries libsrtp within it and declares neither function. Where they cannot be
found the counter is not known, and a new key begins at zero in both directions.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pylibsrtp import Session, _binding

_OK: Final = 0


@dataclass(frozen=True, slots=True)
class RolloverAccess:
    """The two functions of one copy of libsrtp."""

    _get: Callable[..., int]
    _set: Callable[..., int]

    @classmethod
    def find(cls, path: str) -> "RolloverAccess | None":
        """In the shared library at this path, or in what it was linked with."""
        try:
            library = ctypes.CDLL(path)
            get, put = library.srtp_get_stream_roc, library.srtp_set_stream_roc
        except (OSError, AttributeError):
            return None
        # srtp_err_status_t f(srtp_t session, uint32_t ssrc, uint32_t [*]roc); the SSRC in the host's order.
        get.argtypes = (ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32))
        put.argtypes = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
        return cls(get, put)

    def get(self, session: Session, ssrc: int) -> int | None:
        """Of the last packet in order; None while the session has had no packet of this SSRC."""
        rollover = ctypes.c_uint32()
        status = self._get(_handle(session), ssrc, ctypes.byref(rollover))
        return rollover.value if status == _OK else None

    def set(self, session: Session, ssrc: int, rollover: int) -> bool:
        """Of the next packet. It takes hold when that one is authentic; until then zero takes it back."""
        return self._set(_handle(session), ssrc, rollover) == _OK


def rollover_of(session: Session, ssrc: int) -> int | None:
    """See `RolloverAccess.get`."""
    return None if _ACCESS is None else _ACCESS.get(session, ssrc)


def set_rollover(session: Session, ssrc: int, rollover: int) -> bool:
    """See `RolloverAccess.set`. False where the session does not know the SSRC."""
    return _ACCESS is not None and _ACCESS.set(session, ssrc, rollover)


def _handle(session: Session) -> int:
    return int(_binding.ffi.cast("uintptr_t", session._srtp[0]))


_ACCESS: Final = RolloverAccess.find(_binding.__file__)
