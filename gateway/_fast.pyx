# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""The paths of a call's sound between its leg and its model, compiled: what `gateway.path` does, with the same state.

Only what is regular is here. Everything else goes to the methods of the Python subclasses, which read and write the
same attributes. `tests/gateway/test_fast.py` holds both to each other. A call in C does not hold the object that it is
made on: what an attribute gives is held in a variable first, for whoever is told may take the attribute away.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int8_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy
from rtp._fast cimport AudioEar, RecentAudio, SpeechMouth, compiled_owner

import asyncio
import os

from gateway.backends.frame import MASK_POOL_BYTES, closing_frame
from gateway.realtime.event import AudioDelta

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef extern from "<string.h>" nogil:
    void *memmem(const void *text, size_t size, const void *wanted, size_t wanted_size)

cdef extern from "<sys/epoll.h>" nogil:
    enum: EPOLLIN, EPOLLRDHUP, EPOLLET, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int descriptor, epoll_event *wanted)
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout_ms)

cdef extern from "<sys/socket.h>" nogil:
    enum: MSG_DONTWAIT, MSG_NOSIGNAL
    ssize_t recv(int descriptor, void *buffer, size_t size, int flags)
    ssize_t send(int descriptor, const void *data, size_t size, int flags)

cdef extern from "<unistd.h>" nogil:
    int close(int descriptor)

cdef enum:
    MAX_EVENT_ID_BYTES = 128  # as gateway.path has it
    MAX_EVENTS = 256
    READ_BYTES = 16384  # of a socket in a round
    LEAST_BYTES = 1024  # that each can read, whatever those before it have read
    ROUND_BYTES = 524288  # twice LEAST_BYTES for each of MAX_EVENTS
    POSTED_BYTES = 8192  # as much as a transport holds before it tells its writer to pause

cdef double REST_S = 0.1  # so long without a step, a clock is not waited for

cdef type _AudioDelta = AudioDelta
cdef Py_ssize_t _POOL = MASK_POOL_BYTES
cdef bytes _masks = b""
cdef Py_ssize_t _masks_used = 0

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


def decode_base64(str text not None):
    cdef Py_ssize_t size
    cdef const char *octets
    try:
        octets = PyUnicode_AsUTF8AndSize(text, &size)
    except UnicodeEncodeError:  # half a character, which JSON can hold
        return None
    return _decoded(<const uint8_t *>octets, size)


def whole_frame(bytes data not None, Py_ssize_t position):
    cdef Py_ssize_t start
    if position < 0:
        raise ValueError(f"no frame begins at {position}")
    start = _message_start(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), position, &position)
    return (start, position) if start else None


cdef Py_ssize_t _message_start(
    const char *data, Py_ssize_t data_size, Py_ssize_t position, Py_ssize_t *stop
) noexcept:
    """Where a whole frame's message begins and stops; 0 where there is none."""
    cdef const uint8_t *octets = <const uint8_t *>data + position
    cdef Py_ssize_t size = data_size - position, start = 2, length
    if size < 2 or (octets[0] != 0x81 and octets[0] != 0x82) or octets[1] > 126:
        return 0
    length = octets[1]
    if length == 126:
        if size < 4:
            return 0
        start, length = 4, octets[2] << 8 | octets[3]
    if start + length > size:
        return 0
    stop[0] = position + start + length
    return position + start


def read_audio(bytes message not None, bytes head not None, bytes middle not None, Py_ssize_t longest):
    return _read_audio(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), head, middle, longest)


cdef bytes _read_audio(const char *text, Py_ssize_t size, bytes head, bytes middle, Py_ssize_t longest):
    cdef Py_ssize_t begin, middle_size, reach, between
    cdef const char *found
    if head is None or middle is None:
        raise TypeError("a message is read by the parts that are known of it")
    begin, middle_size = PyBytes_GET_SIZE(head), PyBytes_GET_SIZE(middle)
    if longest < 0 or size < begin + middle_size + 2 or memcmp(text, PyBytes_AS_STRING(head), begin):
        return None
    if text[size - 2] != 34 or text[size - 1] != 125:  # "}
        return None
    reach = size - 2 - begin
    if reach - middle_size > longest:
        reach = longest + middle_size
    found = <const char *>memmem(text + begin, reach, PyBytes_AS_STRING(middle), middle_size)
    if found == NULL:
        return None
    between = found - (text + begin)
    if memchr(text + begin, 34, between) != NULL or memchr(text + begin, 92, between) != NULL:
        return None
    found += middle_size
    return _decoded(<const uint8_t *>found, text + size - 2 - found)


cdef class ClientFrames:
    """See `gateway.backends.frame.ClientFrames`."""

    def close(self, code):
        return closing_frame(code, os.urandom(4))

    def text(self, bytes message not None):
        return _text_frame(message, NULL, 0, b"")

    def audio(self, bytes head not None, bytes audio not None, bytes tail not None):
        return _text_frame(head, PyBytes_AS_STRING(audio), PyBytes_GET_SIZE(audio), tail)


cdef const uint8_t *_new_mask() except NULL:
    """Four octets that nobody can foretell (RFC 6455 section 5.3), from one read of the system's source for many."""
    global _masks, _masks_used
    if _masks_used + 4 > PyBytes_GET_SIZE(_masks):
        _masks, _masks_used = os.urandom(_POOL), 0
    _masks_used += 4
    return <const uint8_t *>PyBytes_AS_STRING(_masks) + _masks_used - 4


cdef bytes _text_frame(bytes head, const char *audio, Py_ssize_t audio_size, bytes tail):
    """A masked text frame of what stands before, base64, and what stands after (RFC 6455 section 5.2)."""
    cdef Py_ssize_t head_size, tail_size, size, start, index
    cdef const uint8_t *mask
    cdef bytes frame
    cdef uint8_t *octets
    cdef uint8_t *message
    if head is None or tail is None:
        raise TypeError("a frame is made of octets")
    head_size, tail_size = PyBytes_GET_SIZE(head), PyBytes_GET_SIZE(tail)
    size = head_size + (audio_size + 2) // 3 * 4 + tail_size
    start = 6 if size < 126 else 8 if size < 65536 else 14
    mask = _new_mask()
    frame = PyBytes_FromStringAndSize(NULL, start + size)
    octets = <uint8_t *>PyBytes_AS_STRING(frame)
    message = octets + start
    octets[0] = 0x81
    if start == 6:
        octets[1] = <uint8_t>(0x80 | size)
    elif start == 8:
        octets[1], octets[2], octets[3] = 0x80 | 126, size >> 8 & 255, size & 255
    else:
        octets[1] = 0x80 | 127
        for index in range(8):
            octets[2 + index] = size >> (56 - 8 * index) & 255
    memcpy(octets + start - 4, mask, 4)
    memcpy(message, PyBytes_AS_STRING(head), head_size)
    _encode(<const uint8_t *>audio, audio_size, message + head_size)
    memcpy(message + size - tail_size, PyBytes_AS_STRING(tail), tail_size)
    _apply_mask(message, size, octets + start - 4)
    return frame


cdef void _encode(const uint8_t *octets, Py_ssize_t size, uint8_t *to) noexcept nogil:
    """Base64 with padding (RFC 4648 section 4)."""
    cdef uint32_t group
    while size >= 3:
        group = <uint32_t>octets[0] << 16 | <uint32_t>octets[1] << 8 | octets[2]
        to[0], to[1] = _ALPHABET[group >> 18], _ALPHABET[group >> 12 & 63]
        to[2], to[3] = _ALPHABET[group >> 6 & 63], _ALPHABET[group & 63]
        octets += 3
        to += 4
        size -= 3
    if size:
        group = <uint32_t>octets[0] << 16 | (<uint32_t>octets[1] << 8 if size == 2 else 0)
        to[0], to[1] = _ALPHABET[group >> 18], _ALPHABET[group >> 12 & 63]
        to[2], to[3] = _ALPHABET[group >> 6 & 63] if size == 2 else 61, 61


cdef void _apply_mask(uint8_t *octets, Py_ssize_t size, const uint8_t *mask) noexcept nogil:
    cdef uint32_t word, wide
    cdef Py_ssize_t index = 0
    memcpy(&wide, mask, 4)
    while index + 4 <= size:
        memcpy(&word, octets + index, 4)
        word ^= wide
        memcpy(octets + index, &word, 4)
        index += 4
    while index < size:
        octets[index] ^= mask[index & 3]
        index += 1


cdef class WirePath:
    """See `gateway.path.WirePath`."""

    cdef public object transport
    cdef public ClientFrames frames
    cdef public bint is_open, is_between, heard, paused
    cdef object _receiver
    cdef SessionPath _session
    cdef Shortcuts _shortcut
    cdef int _descriptor
    cdef bint _is_blocked  # the transport may still have something to write
    cdef Py_ssize_t _posted

    @property
    def receiver(self):
        return self._receiver

    @receiver.setter
    def receiver(self, receiver):
        self._receiver = receiver
        self._session = compiled_owner(
            getattr(receiver, "message_received", None), "message_received", SessionPath
        )

    def data_received(self, bytes data not None):
        self._take(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int _take(self, const char *data, Py_ssize_t size) except -1:
        cdef Py_ssize_t taken = 0, start
        cdef SessionPath session
        self.heard = True
        while self.is_open and self.is_between:
            start = _message_start(data, size, taken, &taken)
            if not start:
                break
            session = self._session
            if session is not None:
                session._receive(data + start, taken - start)
            else:
                self._receiver.message_received(PyBytes_FromStringAndSize(data + start, taken - start))
        if not taken or (taken < size and self.is_open):
            (<object>self)._receive_irregular(PyBytes_FromStringAndSize(data + taken, size - taken))
        return 0

    @property
    def has_shortcut(self):
        return self._shortcut is not None

    def take_shortcut(self):
        cdef int descriptor
        transport = self.transport
        if self._shortcut is not None or not self.is_open or transport.is_closing():
            return
        connection = transport.get_extra_info("socket")
        descriptor = -1 if connection is None else connection.fileno()
        if descriptor >= 0 and transport.get_extra_info("ssl_object") is None:
            try:
                _shortcuts_of(asyncio.get_running_loop())._add(self, descriptor)
            except OSError:  # as where the process has no descriptor left: the transport goes on
                return
            transport.pause_reading()

    def leave_shortcut(self):
        cdef Shortcuts shortcut = self._shortcut
        if shortcut is not None:
            shortcut._remove(self)
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def write(self, bytes data not None):
        self._write(data)

    cdef int _write(self, bytes data) except -1:
        cdef Shortcuts shortcut = self._shortcut
        if shortcut is not None:
            shortcut._post(self, data)
        elif self.transport is not None:
            self.transport.write(data)
        return 0

    def send(self, bytes message not None):
        if self.is_open:
            self._write(_text_frame(message, NULL, 0, b""))

    def send_audio(self, bytes head not None, bytes audio not None, bytes tail not None):
        self._send_audio(head, PyBytes_AS_STRING(audio), PyBytes_GET_SIZE(audio), tail)

    cdef int _send_audio(self, bytes head, const char *audio, Py_ssize_t size, bytes tail) except -1:
        if self.is_open:
            self._write(_text_frame(head, audio, size, tail))
        return 0


cdef struct Reading:
    const char *octets
    ssize_t size
    void *wire


cdef dict _shortcuts = {}


cdef Shortcuts _shortcuts_of(loop):
    cdef Shortcuts shortcuts = _shortcuts.get(loop)
    if shortcuts is None:
        shortcuts = _shortcuts[loop] = Shortcuts(loop)
    return shortcuts


def step_shortcuts(loop, bint by_clock):
    cdef Shortcuts shortcuts = _shortcuts.get(loop)
    if shortcuts is not None:
        shortcuts._step(by_clock)


def flush_shortcuts(loop):
    cdef Shortcuts shortcuts = _shortcuts.get(loop)
    if shortcuts is not None:
        shortcuts._flush()


cdef class Shortcuts:
    """Past the transports of one event loop: sockets of open WebSockets without TLS are read and written here, many in
    a row. What is irregular, the end of a connection or a full buffer, is left to the transport, which goes on reading
    where its wire leaves the shortcut, and keeps what the socket does not take at once.

    The epoll is edge-triggered: a read that does not fill its buffer has emptied a stream's socket (epoll(7)). What may
    not be the last is asked for again. Each that has something is read in its round: what was put off for those that
    flood would be behind them in the next one too.
    """

    cdef object _loop
    cdef int _epoll
    cdef list _wires
    cdef Py_ssize_t _count
    cdef list _posts
    cdef Py_ssize_t _written
    cdef bint _is_due, _is_watched, _has_stepped
    cdef object _guard
    cdef char *_spare

    def __cinit__(self, loop):
        self._loop = loop
        self._wires, self._posts = [], []
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(errno, os.strerror(errno))
        self._watch()

    def __dealloc__(self):
        free(self._spare)
        if self._epoll >= 0:
            close(self._epoll)

    cdef int _add(self, WirePath wire, int descriptor) except -1:
        while len(self._wires) <= descriptor:
            self._wires.append(None)
        if not self._watches(EPOLL_CTL_ADD, descriptor):
            raise OSError(errno, os.strerror(errno))
        self._wires[descriptor] = wire
        self._count += 1
        wire._shortcut, wire._descriptor, wire._posted = self, descriptor, 0
        wire._is_blocked = wire.transport.get_write_buffer_size() > 0
        return 0

    cdef bint _watches(self, int operation, int descriptor) noexcept:
        """Tells what is there to be read, and then what comes."""
        cdef epoll_event wanted
        wanted.events, wanted.data.fd = EPOLLIN | EPOLLRDHUP | EPOLLET, descriptor
        return epoll_ctl(self._epoll, operation, descriptor, &wanted) == 0

    cdef int _remove(self, WirePath wire) except -1:
        """What it has still to write goes to its transport now, so that nothing written later overtakes it."""
        cdef Py_ssize_t index
        epoll_ctl(self._epoll, EPOLL_CTL_DEL, wire._descriptor, NULL)
        self._wires[wire._descriptor] = None
        wire._shortcut, wire._descriptor = None, -1
        self._count -= 1
        if not self._count:
            self._unwatch()
            if self._guard is not None:
                self._guard.cancel()
                self._guard = None
            _shortcuts.pop(self._loop, None)
        for index in range(self._written, len(self._posts), 2):
            if self._posts[index] is wire:
                self._posts[index] = None
                wire.transport.write(self._posts[index + 1])
        return 0

    cdef int _watch(self) except -1:
        if not self._is_watched:
            self._loop.add_reader(self._epoll, self._drain)
            self._is_watched = True
        return 0

    cdef int _unwatch(self) except -1:
        if self._is_watched:
            self._loop.remove_reader(self._epoll)
            self._is_watched = False
        return 0

    cdef int _step(self, bint by_clock) except -1:
        """What has come is read now in either case: a call whose turn it is says it. A flush ends the step."""
        if by_clock:
            self._unwatch()
        else:
            self._watch()
        self._is_due = self._has_stepped = True
        if self._guard is None:
            self._guard = self._loop.call_later(REST_S, self._look)
        self._drain()
        return 0

    def _look(self):
        """Waits no longer for a clock that has come to rest."""
        self._guard = None
        if self._has_stepped:
            self._has_stepped = False
            self._guard = self._loop.call_later(REST_S, self._look)
        else:
            self._watch()
            self._flush()

    cdef int _post(self, WirePath wire, bytes data) except -1:
        """A writer who minds pauses must learn of one before he writes more: what is much, or goes behind what its
        transport holds, does not wait for the flush.
        """
        if wire._is_blocked and not wire._posted:
            self._send(wire, data)
            return 0
        self._posts.append(wire)
        self._posts.append(data)
        wire._posted += PyBytes_GET_SIZE(data)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush)
        if wire._posted > POSTED_BYTES:
            self._push(wire)
        return 0

    cdef int _push(self, WirePath wire) except -1:
        """Writes what waits of one wire."""
        cdef Py_ssize_t index
        cdef bytes data
        for index in range(self._written, len(self._posts), 2):
            if self._posts[index] is wire:
                data = <bytes>self._posts[index + 1]
                self._posts[index] = self._posts[index + 1] = None
                wire._posted -= PyBytes_GET_SIZE(data)
                self._send(wire, data)
        return 0

    def _flush(self):
        cdef WirePath wire
        cdef bytes data
        cdef list posts = self._posts
        try:
            while self._written < len(posts):
                wire, data = <WirePath>posts[self._written], <bytes>posts[self._written + 1]
                self._written += 2
                if wire is not None:
                    wire._posted -= PyBytes_GET_SIZE(data)
                    self._send(wire, data)
        finally:
            del posts[: self._written]
            self._written, self._is_due = 0, False
            if posts:
                self._is_due = True
                self._loop.call_soon(self._flush)

    cdef int _send(self, WirePath wire, bytes data) except -1:
        cdef ssize_t sent
        if not wire._is_blocked or not wire.transport.get_write_buffer_size():
            sent = send(
                wire._descriptor, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL
            )
            wire._is_blocked = sent != PyBytes_GET_SIZE(data)
            if not wire._is_blocked:
                return 0
            if sent > 0:
                data = data[sent:]
        wire.transport.write(data)  # it keeps what the socket does not take, and finds out what has become of it
        return 0

    def _drain(self):
        cdef char *octets = self._spare
        self._spare = NULL  # whoever is told may come back here
        if octets == NULL:
            octets = <char *>malloc(ROUND_BYTES)
            if octets == NULL:
                raise MemoryError
        try:
            self._round(octets)
        finally:
            free(self._spare)
            self._spare = octets

    cdef int _round(self, char *octets) except -1:
        cdef epoll_event ready[MAX_EVENTS]
        cdef Reading readings[MAX_EVENTS]
        cdef Reading *reading
        cdef list held = [], ended = []  # a wire that leaves meanwhile is still there for what was read of it
        cdef int count = epoll_wait(self._epoll, ready, MAX_EVENTS, 0), index, descriptor, failure, taken = 0
        cdef char *end = octets + ROUND_BYTES
        cdef ssize_t most
        cdef WirePath wire
        for index in range(count):
            descriptor = ready[index].data.fd
            wire = <WirePath>self._wires[descriptor]
            if wire is None:
                continue
            most = min(READ_BYTES, end - octets - (count - index - 1) * LEAST_BYTES)
            reading = &readings[taken]
            reading.size = recv(descriptor, octets, most, MSG_DONTWAIT)
            failure = errno
            if reading.size > 0:
                if reading.size == most or ready[index].events != EPOLLIN:  # there may be more, or the end
                    self._watches(EPOLL_CTL_MOD, descriptor)  # to be told of it once more
                held.append(wire)
                reading.octets, reading.wire = octets, <void *>wire
                octets += (reading.size + 7) & ~7
                taken += 1
            elif reading.size == 0:
                ended.append((wire, None))
            elif failure == EINTR:
                self._watches(EPOLL_CTL_MOD, descriptor)
            elif failure != EAGAIN:
                ended.append((wire, OSError(failure, os.strerror(failure))))
        for index in range(taken):
            wire = <WirePath>readings[index].wire
            try:
                wire._take(readings[index].octets, readings[index].size)
            except Exception as error:
                self._give_up(wire, error)
        for wire, error in ended:
            if wire._shortcut is not self:
                continue
            try:
                if error is None:
                    wire.leave_shortcut()  # its transport reads the end
                else:
                    (<object>wire).connection_failed(error)
            except Exception as fault:
                self._give_up(wire, fault)
        return 0

    cdef int _give_up(self, WirePath wire, error) except -1:
        """As a transport does with a protocol that raises: it is told no more but the end."""
        self._loop.call_exception_handler(
            {"message": "a WebSocket's receiver raised", "exception": error, "transport": wire.transport}
        )
        (<object>wire).connection_failed(error)
        return 0


cdef class ItemAccount:
    """See `gateway.path.ItemAccount`."""

    cdef public str response_id
    cdef public long long received_bytes
    cdef public bint done, is_cut

    def __init__(self, str response_id not None):
        self.response_id = response_id


cdef class SpeechReader:
    """See `gateway.path.SpeechReader`."""

    cdef public bytes head, middle
    cdef public str response_id, item_id
    cdef public ItemAccount account

    def __init__(self):
        self.head = self.middle = b""
        self.response_id = self.item_id = ""

    def read(self, bytes message not None):
        audio = self._read(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        return None if audio is None else self._event(audio)

    cdef bytes _read(self, const char *message, Py_ssize_t size):
        cdef bytes audio
        if self.account is None or self.account.is_cut:
            return None
        audio = _read_audio(message, size, self.head, self.middle, MAX_EVENT_ID_BYTES)
        if audio is not None:
            self.account.received_bytes += PyBytes_GET_SIZE(audio)
        return audio

    cdef object _event(self, bytes audio):
        return AudioDelta(self.response_id, self.item_id, audio)


cdef class SessionPath:
    """See `gateway.path.SessionPath`."""

    cdef public WirePath outlet
    cdef public SpeechReader reader
    cdef public bint is_flowing, is_telling
    cdef public bytes append_head, append_tail
    cdef public Py_ssize_t batch_bytes
    cdef object _sink
    cdef PeriodPath _period
    cdef char *_batch
    cdef Py_ssize_t _gathered, _capacity

    def __dealloc__(self):
        free(self._batch)

    @property
    def sink(self):
        return self._sink

    @sink.setter
    def sink(self, sink):
        self._sink = sink
        self._period = compiled_owner(sink, "tell", PeriodPath)

    def append_audio(self, bytes payload not None):
        self._append_audio(payload)

    cdef int _append_audio(self, bytes payload) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        cdef char *grown
        if not self.is_flowing or self.outlet is None or self.outlet.paused:
            (<object>self)._hold(payload)
            return 0
        if self._gathered + size > self._capacity:
            grown = <char *>realloc(self._batch, max(self._gathered + size, self.batch_bytes))
            if grown == NULL:
                raise MemoryError
            self._batch, self._capacity = grown, max(self._gathered + size, self.batch_bytes)
        if size:
            memcpy(self._batch + self._gathered, PyBytes_AS_STRING(payload), size)
            self._gathered += size
        if self._gathered >= self.batch_bytes:
            self._send_batch()
        return 0

    def send_batch(self):
        self._send_batch()

    cdef int _send_batch(self) except -1:
        cdef WirePath outlet = self.outlet
        cdef Py_ssize_t gathered = self._gathered
        if gathered and outlet is not None:
            self._gathered = 0  # first: what is appended while this is written is another message's
            outlet._send_audio(self.append_head, self._batch, gathered, self.append_tail)
        return 0

    def take_batch(self):
        taken = PyBytes_FromStringAndSize(self._batch, self._gathered)
        self._gathered = 0
        return taken

    def message_received(self, bytes message not None):
        self._receive(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))

    cdef int _receive(self, const char *message, Py_ssize_t size) except -1:
        cdef SpeechReader reader = self.reader
        cdef PeriodPath period = self._period
        cdef bytes audio
        if self.is_telling and reader is not None:
            audio = reader._read(message, size)
            if audio is not None:
                if period is None or not period._tell(reader.item_id, audio):
                    self._sink(reader._event(audio))
                return 0
        (<object>self)._receive_irregular(PyBytes_FromStringAndSize(message, size))
        return 0


cdef class PeriodPath:
    """See `gateway.path.PeriodPath`."""

    cdef object _receive
    cdef SuccessionPath _succession

    @property
    def receive(self):
        return self._receive

    @receive.setter
    def receive(self, receive):
        self._receive = receive
        self._succession = compiled_owner(receive, "receive", SuccessionPath)

    def tell(self, event):
        self._receive(self, event)

    cdef bint _tell(self, str item_id, bytes audio) except -1:
        """More speech of an item; 0 where it must be told as an event, which sets anew what was set by then."""
        cdef SuccessionPath succession = self._succession
        return succession is not None and succession._tell(self, item_id, audio)


cdef class SuccessionPath:
    """See `gateway.path.SuccessionPath`."""

    cdef public RecentAudio recent
    cdef public object tap, speaker
    cdef public str spoken_item
    cdef public bint sounded
    cdef object _append, _sink
    cdef SessionPath _session
    cdef BridgePath _bridge

    @property
    def append(self):
        return self._append

    @append.setter
    def append(self, append):
        self._append = append
        self._session = compiled_owner(append, "append_audio", SessionPath)

    @property
    def sink(self):
        return self._sink

    @sink.setter
    def sink(self, sink):
        self._sink = sink
        self._bridge = compiled_owner(sink, "on_model_event", BridgePath)

    def append_audio(self, bytes payload not None):
        self._append_audio(payload)

    cdef int _append_audio(self, bytes payload) except -1:
        cdef SessionPath session = self._session
        self.recent.take(payload)
        if session is not None:
            session._append_audio(payload)
        else:
            self._append(payload)
        if self.tap is not None:
            self.tap(payload)
        return 0

    def receive(self, period, event):
        if period is self.speaker and type(event) is _AudioDelta and event.item_id == self.spoken_item:
            self.sounded = True
            self._sink(event)
        else:
            (<object>self)._receive_irregular(period, event)

    cdef bint _tell(self, PeriodPath period, str item_id, bytes audio) except -1:
        cdef BridgePath bridge = self._bridge
        if <object>period is not self.speaker or bridge is None:
            return False
        if item_id is not self.spoken_item and item_id != self.spoken_item:
            return False
        self.sounded = True  # which holds as well where the bridge wants the event
        return bridge._tell(item_id, audio)


cdef class GeneratedSpeech:
    """See `gateway.path.GeneratedSpeech`."""

    cdef public long long generated_ms


cdef class BridgePath(AudioEar):
    """See `gateway.path.BridgePath`."""

    cdef public object recorder, first_audio_at
    cdef public GeneratedSpeech utterance
    cdef public str item_id
    cdef public long long generated_octets
    cdef public int octets_per_ms
    cdef object _append, _speech
    cdef SuccessionPath _model
    cdef SpeechMouth _mouth

    @property
    def append(self):
        return self._append

    @append.setter
    def append(self, append):
        self._append = append
        self._model = compiled_owner(append, "append_audio", SuccessionPath)

    @property
    def speech(self):
        return self._speech

    @speech.setter
    def speech(self, speech):
        self._speech = speech
        self._mouth = compiled_owner(getattr(speech, "enqueue", None), "enqueue", SpeechMouth)

    def on_audio(self, bytes payload not None, concealed):
        self.hear(payload, concealed)

    cdef int hear(self, bytes payload, bint concealed) except -1:
        cdef SuccessionPath model
        if self.first_audio_at is None:
            (<object>self)._note_first_audio()
        model = self._model
        if model is not None:
            model._append_audio(payload)
        else:
            self._append(payload)
        if self.recorder is not None:
            self.recorder.add_caller(payload)
        return 0

    def on_model_event(self, event):
        if type(event) is not _AudioDelta or not self._tell(event.item_id, event.audio):
            (<object>self)._receive_irregular(event)

    cdef bint _tell(self, str item_id, bytes audio) except -1:
        cdef SpeechMouth mouth
        if item_id is not self.item_id and item_id != self.item_id:
            return False
        if audio is None:
            raise TypeError("speech is octets")
        self.generated_octets += PyBytes_GET_SIZE(audio)
        self.utterance.generated_ms = self.generated_octets // self.octets_per_ms
        mouth = self._mouth
        if mouth is not None:
            mouth.say(item_id, audio)
        elif self._speech is not None:
            self._speech.enqueue(item_id, audio)
        return True
