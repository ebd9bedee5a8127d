"""Where the compiled paths of a call meet those of its stream (`gateway._fast`): calls without Python between them."""


from libc.stdint cimport uint32_t


cdef class RecentAudio:
    cdef char *_octets
    cdef uint32_t *_lengths
    cdef Py_ssize_t _limit, _slot, _first, _count

    cdef int take(self, bytes audio) except -1
    cdef bytes _piece(self, Py_ssize_t index)
    cdef int _widen(self, Py_ssize_t slot) except -1


cdef class AudioEar:
    """Who hears a stream. `on_audio` of a subclass does the same."""

    cdef int hear(self, bytes payload, bint concealed) except -1


cdef class SpeechMouth:
    """Who speaks on a stream. `enqueue` of a subclass does the same."""

    cdef int say(self, str item_id, bytes audio) except -1


cdef object compiled_owner(method, str name, kind)
