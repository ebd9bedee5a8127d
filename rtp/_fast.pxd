"""Where the compiled paths of a call meet those of its stream (`gateway._fast`): calls without Python between them."""


cdef class AudioEar:
    """Who hears a stream. `on_audio` of a subclass does the same."""

    cdef int hear(self, bytes payload, bint concealed) except -1


cdef class SpeechMouth:
    """Who speaks on a stream. `enqueue` of a subclass does the same."""

    cdef int say(self, str item_id, bytes audio) except -1


cpdef bint is_compiled(method, str name)
