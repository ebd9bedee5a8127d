# cython: language_level=3, boundscheck=False, wraparound=False
"""What every piece of the model's speech passes, compiled: as `gateway.backends.frame` and `.openai.delta` have it."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int8_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp

cdef extern from "<string.h>" nogil:
    void *memmem(const void *text, size_t size, const void *wanted, size_t wanted_size)

cdef int8_t _VALUES[256]
cdef int _index
for _index in range(256):
    _VALUES[_index] = -1
cdef const char *_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
for _index in range(64):
    _VALUES[<uint8_t>_ALPHABET[_index]] = _index


cdef bytes _decoded(const uint8_t *text, Py_ssize_t size):
    """Strict base64 (RFC 4648 section 4): None for a foreign character, or padding that is missing or amiss."""
    cdef Py_ssize_t padding = 0, groups, group
    cdef int a, b, c, d
    cdef bytes audio
    cdef uint8_t *to
    if size % 4:
        return None
    if not size:
        return b""
    if text[size - 1] == 61:
        padding = 2 if text[size - 2] == 61 else 1
    groups = size // 4
    audio = PyBytes_FromStringAndSize(NULL, groups * 3 - padding)
    to = <uint8_t *>PyBytes_AS_STRING(audio)
    for group in range(groups - (1 if padding else 0)):
        a, b, c, d = _VALUES[text[0]], _VALUES[text[1]], _VALUES[text[2]], _VALUES[text[3]]
        if (a | b | c | d) < 0:
            return None
        to[0], to[1], to[2] = (a << 2 | b >> 4) & 255, (b << 4 | c >> 2) & 255, (c << 6 | d) & 255
        text += 4
        to += 3
    if padding:
        a, b = _VALUES[text[0]], _VALUES[text[1]]
        c = 0 if padding == 2 else _VALUES[text[2]]
        if (a | b | c) < 0:
            return None
        to[0] = (a << 2 | b >> 4) & 255
        if padding == 1:
            to[1] = (b << 4 | c >> 2) & 255
    return audio


def whole_message(bytes data not None, Py_ssize_t longest):
    cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), start = 2, length
    if size < 2 or (octets[0] != 0x81 and octets[0] != 0x82) or octets[1] > 126:
        return None
    length = octets[1]
    if length == 126:
        if size < 4:
            return None
        start, length = 4, octets[2] << 8 | octets[3]
    if start + length != size or length > longest:
        return None
    return data[start:]


def read_audio(bytes message not None, bytes head not None, bytes middle not None, Py_ssize_t longest):
    cdef const char *text = PyBytes_AS_STRING(message)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message), begin = PyBytes_GET_SIZE(head)
    cdef Py_ssize_t middle_size = PyBytes_GET_SIZE(middle), reach, between
    cdef const char *found
    if size < begin + middle_size + 2 or memcmp(text, PyBytes_AS_STRING(head), begin):
        return None
    if text[size - 2] != 34 or text[size - 1] != 125:  # "}
        return None
    reach = min(size - 2 - begin, longest + middle_size)
    found = <const char *>memmem(text + begin, reach, PyBytes_AS_STRING(middle), middle_size)
    if found == NULL:
        return None
    between = found - (text + begin)
    if memchr(text + begin, 34, between) != NULL or memchr(text + begin, 92, between) != NULL:
        return None
    found += middle_size
    return _decoded(<const uint8_t *>found, text + size - 2 - found)


cdef class AppendPath:
    """See `gateway.backends.append.AppendPath`."""

    cdef public object outlet
    cdef public bint is_flowing
    cdef public bytes batch
    cdef public Py_ssize_t batch_bytes

    def append_audio(self, bytes payload not None):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        if not self.is_flowing or self.outlet is None or self.outlet.paused:
            (<object>self)._hold(payload)
            return
        if PyBytes_GET_SIZE(self.batch) or size < self.batch_bytes:
            if PyBytes_GET_SIZE(self.batch):
                payload = self.batch + payload
                size = PyBytes_GET_SIZE(payload)
            if size < self.batch_bytes:
                self.batch = payload
                return
            self.batch = b""
        (<object>self)._send_audio(payload)
