# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""The paths that every packet takes, compiled: what `rtp.path`, `rtp.recent_audio` and `rtp.datagram` do, with the same
state and results.

Only what is regular is here. Everything else goes to the methods of the Python subclasses, which read and write the
same attributes. `tests/rtp/test_fast.py` holds both to each other. The GIL is kept: each system call returns at once.
A call in C does not hold the object that it is made on: what an attribute gives is held in a variable first, for
whoever is told may take the attribute away.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

cdef extern from "<arpa/inet.h>" nogil:
    enum: INET6_ADDRSTRLEN
    int inet_pton(int family, const char *text, void *address)
    const char *inet_ntop(int family, const void *address, char *text, unsigned int size)
    uint16_t htons(uint16_t value)
    uint16_t ntohs(uint16_t value)

cdef extern from "<netinet/in.h>" nogil:
    enum: AF_INET, AF_INET6
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr

cdef extern from "<sys/socket.h>" nogil:
    enum: MSG_DONTWAIT, MSG_NOSIGNAL
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    ssize_t recvfrom(int descriptor, void *buffer, size_t size, int flags, sockaddr *source, socklen_t *length)
    ssize_t sendto(int descriptor, const void *data, size_t size, int flags, const sockaddr *to, socklen_t length)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout_ms)

cdef enum:
    HEADER_OCTETS = 12
    MAX_DATAGRAM_OCTETS = 8192
    MAX_EVENTS = 512
    ARRIVALS_OCTETS = 131072
    NO_SSRC = -1
    LEAST_OCTETS = 2048
    MAX_OWED_FRAMES = 5
    SPARE_TURNS = 10


cdef struct Arrival:
    int descriptor
    uint32_t size
    const char *octets
    void *receiver
    sockaddr_in6 source


# What one round has read: system calls are made in a row, and then what they gave is handled in a row. Taken in turns,
# each would find the caches and the branch predictors full of the other.
cdef struct Arrivals:
    epoll_event ready[MAX_EVENTS]
    Arrival read[MAX_EVENTS]
    char octets[ARRIVALS_OCTETS]


cdef inline uint16_t _u16(const uint8_t *octets) noexcept nogil:
    return <uint16_t>(octets[0] << 8 | octets[1])


cdef inline uint32_t _u32(const uint8_t *octets) noexcept nogil:
    return <uint32_t>octets[0] << 24 | <uint32_t>octets[1] << 16 | <uint32_t>octets[2] << 8 | octets[3]


cdef inline void _write_u32(uint8_t *octets, uint32_t value) noexcept nogil:
    octets[0], octets[1], octets[2], octets[3] = value >> 24, value >> 16 & 0xFF, value >> 8 & 0xFF, value & 0xFF


cdef socklen_t _socket_address(object address, sockaddr_in6 *six) except 0:
    """Fills in an address of the form ("192.0.2.1", 4000); only IP literals come here."""
    cdef bytes host = (<str>address[0]).encode()
    cdef uint16_t port = htons(<uint16_t>address[1])
    memset(six, 0, sizeof(sockaddr_in6))
    cdef sockaddr_in *four = <sockaddr_in *>six
    if inet_pton(AF_INET, host, &four.sin_addr) == 1:
        four.sin_family, four.sin_port = AF_INET, port
        return sizeof(sockaddr_in)
    if inet_pton(AF_INET6, host, &six.sin6_addr) == 1:
        six.sin6_family, six.sin6_port = AF_INET6, port
        return sizeof(sockaddr_in6)
    raise ValueError(f"{address!r} is not an IP address and a port")


cdef object _address(sockaddr_in6 *six):
    cdef char text[INET6_ADDRSTRLEN]
    cdef sockaddr_in *four = <sockaddr_in *>six
    if six.sin6_family == AF_INET:
        inet_ntop(AF_INET, &four.sin_addr, text, INET6_ADDRSTRLEN)
        return (<bytes>text).decode(), ntohs(four.sin_port)
    inet_ntop(AF_INET6, &six.sin6_addr, text, INET6_ADDRSTRLEN)
    return (<bytes>text).decode(), ntohs(six.sin6_port)


cdef bint _is_same(sockaddr_in6 *six, sockaddr_in6 *other_six) noexcept:
    """Host and port alike; flow and scope of IPv6 are not compared, as `recvfrom`'s readers do not."""
    cdef sockaddr_in *four = <sockaddr_in *>six
    cdef sockaddr_in *other_four = <sockaddr_in *>other_six
    if six.sin6_family != other_six.sin6_family:
        return False
    if six.sin6_family == AF_INET:
        return four.sin_port == other_four.sin_port and four.sin_addr.s_addr == other_four.sin_addr.s_addr
    if six.sin6_family == AF_INET6:
        return six.sin6_port == other_six.sin6_port and not memcmp(&six.sin6_addr, &other_six.sin6_addr, 16)
    return False


cdef class AudioEar:
    cdef int hear(self, bytes payload, bint concealed) except -1:
        raise NotImplementedError


cdef class SpeechMouth:
    cdef int say(self, str item_id, bytes audio) except -1:
        raise NotImplementedError


cdef object compiled_owner(method, str name, kind):
    """Whose method this is, where it is one of that name, bound to an object of that kind, which no Python class has
    overridden: then the object itself can be asked; else None. What was given to an attribute of a path is taken apart
    with this."""
    owner, function = getattr(method, "__self__", None), getattr(method, "__func__", None)
    if not isinstance(owner, kind) or type(function) is not _COMPILED_FUNCTION or function.__name__ != name:
        return None
    return owner if method == getattr(owner, name, None) else None


cdef class RecentAudio:
    """See `rtp.recent_audio.RecentAudio`. Pieces stand in slots of one length, so that keeping one makes no object."""

    def __cinit__(self, Py_ssize_t limit):
        if limit <= 0:
            raise ValueError(f"a memory of {limit} pieces")
        self._limit, self._slot, self._first, self._count = limit, 0, 0, 0
        self._lengths = <uint32_t *>calloc(limit, sizeof(uint32_t))
        if self._lengths == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self._octets)
        free(self._lengths)

    def __len__(self):
        return self._count

    def __iter__(self):
        cdef Py_ssize_t index
        return iter([self._piece(index) for index in range(self._count)])

    def append(self, bytes audio not None):
        self.take(audio)

    def clear(self):
        self._count = 0

    def keep(self, Py_ssize_t pieces):
        cdef Py_ssize_t dropped = self._count - max(0, pieces)
        if dropped > 0:
            self._first = (self._first + dropped) % self._limit
            self._count -= dropped

    cdef bytes _piece(self, Py_ssize_t index):
        cdef Py_ssize_t place = (self._first + index) % self._limit
        return PyBytes_FromStringAndSize(self._octets + place * self._slot, self._lengths[place])

    cdef int take(self, bytes audio) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(audio), place
        if size > self._slot:
            self._widen(size)
        place = self._first + self._count
        if place >= self._limit:
            place -= self._limit
        if self._count < self._limit:
            self._count += 1
        else:
            self._first = self._first + 1 if self._first + 1 < self._limit else 0
        self._lengths[place] = <uint32_t>size
        if size:
            memcpy(self._octets + place * self._slot, PyBytes_AS_STRING(audio), size)
        return 0

    cdef int _widen(self, Py_ssize_t slot) except -1:
        cdef Py_ssize_t place
        cdef char *wider = <char *>malloc(slot * self._limit)
        if wider == NULL:
            raise MemoryError
        for place in range(self._limit if self._octets != NULL else 0):
            memcpy(wider + place * slot, self._octets + place * self._slot, self._lengths[place])
        free(self._octets)
        self._octets, self._slot = wider, slot
        return 0


cdef object _COMPILED_FUNCTION = type(RecentAudio.append)


cdef class InboundPath:
    """See `rtp.path.InboundPath`."""

    cdef object _source
    cdef sockaddr_in6 _source_key
    cdef public object unprotector, remote
    cdef public RecentAudio history
    cdef object _on_audio
    cdef AudioEar _ear
    cdef public bint is_open, is_restless, receives
    cdef public int64_t ssrc
    cdef public unsigned int expected, payload_type, fast_limit, octet_shift
    cdef public uint32_t next_timestamp
    cdef public long long packets, played
    cdef public int clock_rate_hz
    cdef public double audio_at, transit, jitter, peak_jitter, starved_after

    def __cinit__(self, *_arguments, **_named):
        self._source = None
        self._source_key.sin6_family = 0
        self.ssrc = NO_SSRC

    @property
    def source(self):
        return self._source

    @source.setter
    def source(self, source):
        self._source_key.sin6_family = 0
        self._source = source
        if source is not None:
            try:
                _socket_address(source, &self._source_key)
            except (ValueError, OverflowError):
                self._source_key.sin6_family = 0  # no packet of a socket comes from there

    @property
    def on_audio(self):
        return self._on_audio

    @on_audio.setter
    def on_audio(self, on_audio):
        self._on_audio = on_audio
        self._ear = compiled_owner(on_audio, "on_audio", AudioEar)

    def receive_datagram(self, bytes data not None, source, double now):
        if source is not self._source and source != self._source:
            (<object>self)._receive_foreign(data, source, now)
        else:
            self._receive(data, now)

    def measure_jitter(self, uint32_t timestamp, double now):
        self._measure_jitter(timestamp, now)

    cdef void _measure_jitter(self, uint32_t timestamp, double now) noexcept:
        cdef double transit = now * self.clock_rate_hz - timestamp, deviation = transit - self.transit
        self.transit = transit
        if deviation < 0:
            deviation = -deviation
        if deviation < self.clock_rate_hz:
            self.jitter += (deviation - self.jitter) * 0.0625

    def poll(self, double now):
        self._poll_path(now)

    cdef int _poll_path(self, double now) except -1:
        if self.jitter > self.peak_jitter:
            self.peak_jitter = self.jitter
        if self.is_restless or (
            now - self.audio_at >= self.starved_after and self.ssrc != NO_SSRC and self.receives
        ):
            (<object>self)._poll_irregular(now)
        return 0

    cdef int _receive(self, bytes data, double now) except -1:
        """One datagram of the locked source."""
        if self.unprotector is not None:
            plain = (<object>self)._unprotected(data, now)
            if plain is None:
                return 0
            data = plain
        if not self._take_regular(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), now):
            (<object>self)._receive_irregular(data, now)
        return 0

    cdef int _take_regular(self, const uint8_t *octets, Py_ssize_t size, double now) except -1:
        """Takes the next packet in order; 0 where it is anything else, and nothing has changed then."""
        cdef uint32_t timestamp
        cdef unsigned int samples
        cdef AudioEar ear
        if not self.is_open or size <= HEADER_OCTETS or size > self.fast_limit or octets[0] != 0x80:
            return 0
        timestamp = _u32(octets + 4)
        if (
            _u16(octets + 2) != self.expected
            or timestamp != self.next_timestamp
            or _u32(octets + 8) != self.ssrc
            or (octets[1] & 0x7F) != self.payload_type
        ):
            return 0
        self.expected = (self.expected + 1) & 0xFFFF
        self.packets += 1
        samples = <unsigned int>(size - HEADER_OCTETS) >> self.octet_shift
        self.next_timestamp = timestamp + samples
        self.played += samples
        self.audio_at = now
        self._measure_jitter(timestamp, now)
        payload = PyBytes_FromStringAndSize(<const char *>octets + HEADER_OCTETS, size - HEADER_OCTETS)
        self.history.take(payload)
        ear = self._ear
        if ear is not None:
            ear.hear(payload, False)
        else:
            self._on_audio(payload, False)
        return 1


cdef class FrameQueue:
    """See `rtp.path.FrameQueue`."""

    cdef char *_octets
    cdef Py_ssize_t _begin, _capacity
    cdef readonly Py_ssize_t queued_octets
    cdef public long long sent_octets
    cdef public object item_id
    cdef public bint finished, waited

    def __init__(self, item_id, sent_octets):
        self.item_id = item_id
        self.sent_octets = sent_octets

    def __dealloc__(self):
        free(self._octets)

    def append(self, bytes audio not None):
        self._append(audio)

    cdef int _append(self, bytes audio) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(audio), end = self._begin + self.queued_octets
        cdef char *grown
        if not size:
            return 0
        if end + size > self._capacity:
            if self._begin:
                memmove(self._octets, self._octets + self._begin, self.queued_octets)
                self._begin, end = 0, self.queued_octets
            if end + size > self._capacity:
                grown = <char *>realloc(self._octets, max(LEAST_OCTETS, (end + size) * 3 // 2))
                if grown == NULL:
                    raise MemoryError
                self._octets, self._capacity = grown, max(LEAST_OCTETS, (end + size) * 3 // 2)
        memcpy(self._octets + end, PyBytes_AS_STRING(audio), size)
        self.queued_octets += size
        return 0

    def take(self, Py_ssize_t octets):
        return self._take(octets)

    cdef bytes _take(self, Py_ssize_t octets):
        octets = max(0, min(octets, self.queued_octets))
        taken = PyBytes_FromStringAndSize(self._octets + self._begin, octets)
        self.queued_octets -= octets
        self._begin = self._begin + octets if self.queued_octets else 0
        return taken


cdef class PlayoutPath:
    """See `rtp.path.PlayoutPath`."""

    cdef public FrameQueue head, youngest
    cdef public bint is_alone
    cdef public Py_ssize_t frame_octets
    cdef public long long queued_octets
    cdef public object current_item_id
    cdef public int owed_frames, spare_turns

    def enqueue(self, str item_id not None, bytes audio not None):
        self._enqueue(item_id, audio)

    cdef int _enqueue(self, str item_id, bytes audio) except -1:
        cdef FrameQueue youngest = self.youngest
        if youngest is None or (youngest.item_id is not item_id and youngest.item_id != item_id):
            (<object>self)._enqueue_irregular(item_id, audio)
            return 0
        youngest._append(audio)
        self.queued_octets += PyBytes_GET_SIZE(audio)
        return 0

    def next_frame(self):
        return self._next_frame()

    cdef object _next_frame(self):
        cdef FrameQueue head = self.head
        if head is None:
            self.current_item_id = None
            return None
        if not head.sent_octets or (head.finished and head.queued_octets <= self.frame_octets):
            return (<object>self)._irregular_frame()
        if self.owed_frames and self.spare_turns >= SPARE_TURNS and head.queued_octets >= 2 * self.frame_octets:
            return (<object>self)._irregular_frame()
        if head.queued_octets >= self.frame_octets:
            self.current_item_id = head.item_id
            head.sent_octets += self.frame_octets
            self.queued_octets -= self.frame_octets
            head.waited = False
            frame = head._take(self.frame_octets)
            self.spare_turns = self.spare_turns + 1 if head.queued_octets >= self.frame_octets else 0
            return frame
        if not head.queued_octets and self.is_alone:
            self.current_item_id = None
            self.spare_turns = 0
            self.owed_frames = min(self.owed_frames + 1, MAX_OWED_FRAMES)
            return None
        return (<object>self)._irregular_frame()


cdef class OutboundPath:
    """See `rtp.path.OutboundPath`."""

    cdef public PlayoutPath playout
    cdef public object on_frame_sent, encode, protect
    cdef public bytes silence
    cdef public bint is_paused, events_wait, marker_due
    cdef public unsigned int sequence_number, payload_type, frame_samples
    cdef public uint32_t timestamp, ssrc
    cdef public long long octets, speech_packets, silence_packets

    def tick(self):
        return self._tick()

    cdef object _tick(self):
        cdef uint32_t timestamp = self.timestamp
        self.timestamp = timestamp + self.frame_samples
        if self.is_paused:
            self.marker_due = True
            return None
        if self.events_wait:
            return (<object>self)._event_packet(timestamp)
        cdef PlayoutPath playout = self.playout
        frame = playout._next_frame()
        cdef unsigned int second = self.payload_type
        if frame is None:
            frame = self.silence
            if not self.octets:
                second |= 0x80
            self.marker_due = True
            self.silence_packets += 1
            if self.on_frame_sent is not None:
                self.on_frame_sent(frame, None)
        else:
            if self.marker_due:
                self.marker_due = False
                second |= 0x80
            self.speech_packets += 1
            if self.on_frame_sent is not None:
                self.on_frame_sent(frame, self.playout.current_item_id)
        if self.encode is not None:
            frame = self.encode(frame)
        return self._packet(second, timestamp, frame)

    def packet(self, unsigned int second, uint32_t timestamp, bytes payload not None):
        return self._packet(second, timestamp, payload)

    cdef object _packet(self, unsigned int second, uint32_t timestamp, bytes payload):
        cdef Py_ssize_t size
        cdef bytes packet
        cdef uint8_t *octets
        if payload is None:
            raise TypeError("a packet carries octets")
        size = PyBytes_GET_SIZE(payload)
        packet = PyBytes_FromStringAndSize(NULL, HEADER_OCTETS + size)
        octets = <uint8_t *>PyBytes_AS_STRING(packet)
        octets[0], octets[1] = 0x80, second & 0xFF
        octets[2], octets[3] = self.sequence_number >> 8 & 0xFF, self.sequence_number & 0xFF
        _write_u32(octets + 4, timestamp)
        _write_u32(octets + 8, self.ssrc)
        memcpy(octets + HEADER_OCTETS, PyBytes_AS_STRING(payload), size)
        self.octets += size
        self.sequence_number = (self.sequence_number + 1) & 0xFFFF
        return packet if self.protect is None else self.protect(packet)


cdef class Outbox:
    """See `rtp.datagram.Outbox`."""

    cdef list _posts
    cdef bint _gathers

    def __init__(self):
        self._posts = []

    def gather(self):
        self._gathers = True

    def flush(self):
        cdef Py_ssize_t index
        cdef list posts = self._posts
        self._gathers = False
        if not posts:
            return
        self._posts = []
        for index in range(0, len(posts), 3):
            (<DatagramSender>posts[index])._send(<bytes>posts[index + 1], posts[index + 2])


cdef class DatagramSender:
    """See `rtp.datagram.DatagramSender`."""

    cdef int _descriptor
    cdef object _counters, _remote
    cdef Outbox _outbox
    cdef sockaddr_in6 _to
    cdef socklen_t _to_length

    def __init__(self, bound, counters, Outbox outbox not None):
        self._descriptor = bound.fileno()
        self._counters = counters
        self._outbox = outbox
        self._remote = None

    def close(self):
        self._descriptor = -1

    def send(self, bytes data not None, remote):
        self._send(data, remote)

    def post(self, bytes data not None, remote):
        self._post(data, remote)

    cdef int _post(self, bytes data, remote) except -1:
        cdef list posts = self._outbox._posts
        if not self._outbox._gathers:
            return self._send(data, remote)
        posts.append(self)
        posts.append(data)
        posts.append(remote)
        return 0

    cdef int _send(self, bytes data, remote) except -1:
        if remote is not self._remote:
            self._remote = None
            try:
                self._to_length = _socket_address(remote, &self._to)
            except (ValueError, OverflowError):
                self._counters.send_errors += 1
                return 0
            self._remote = remote
        if sendto(
            self._descriptor, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL,
            <sockaddr *>&self._to, self._to_length,
        ) < 0:
            if errno == EAGAIN:
                self._counters.send_buffer_full += 1
            else:
                self._counters.send_errors += 1
        return 0


cdef class StreamPath:
    """See `rtp.path.StreamPath`."""

    cdef public InboundPath inbound
    cdef public OutboundPath outbound

    @property
    def playout(self):
        return self.outbound.playout

    def tick(self, double now):
        return self._tick(now)

    cdef object _tick(self, double now):
        cdef InboundPath inbound = self.inbound
        cdef OutboundPath outbound
        inbound._poll_path(now)
        outbound = self.outbound
        return outbound._tick()


cdef class TurnPath(SpeechMouth):
    """See `rtp.path.TurnPath`."""

    cdef public StreamPath turning
    cdef public DatagramSender sender
    cdef public double care_due, care_interval_s
    cdef public object mouth
    cdef bint _is_plain

    def __cinit__(self, *_arguments, **_named):
        self._is_plain = type(self).tick is TurnPath.tick  # else a subclass has a turn of its own

    def enqueue(self, str item_id not None, bytes audio not None):
        self.say(item_id, audio)

    cdef int say(self, str item_id, bytes audio) except -1:
        cdef PlayoutPath playout
        if self.turning is not None:
            playout = self.turning.outbound.playout
            if self.mouth is not None:
                audio = self.mouth.speak(audio)
                if audio is None:
                    raise TypeError("speech is octets")
            playout._enqueue(item_id, audio)
        return 0

    def tick(self, double now):
        self._turn(now)

    cdef int _turn(self, double now) except -1:
        cdef StreamPath stream = self.turning
        if stream is None:
            return 0
        datagram = stream._tick(now)
        if datagram is not None and stream.inbound.remote is not None:
            self.sender._post(datagram, stream.inbound.remote)
        if now >= self.care_due:
            self.care_due = now + self.care_interval_s
            (<object>self)._take_care(now)
        return 0


cdef class ClockPath:
    """See `rtp.path.ClockPath`."""

    cdef public long long changes

    def serve(self, dict phase not None, double now):
        cdef long long changes = self.changes
        for media in tuple(phase):
            if self.changes != changes and media not in phase:
                continue
            try:
                if isinstance(media, TurnPath) and (<TurnPath>media)._is_plain:
                    (<TurnPath>media)._turn(now)
                else:
                    media.tick(now)
            except Exception as error:
                (<object>self)._end(media, error)


cdef class _Receiver:
    """Who is given what comes to one socket. A bound method of a path is taken apart, so that its packets need be no
    Python objects."""

    cdef InboundPath path
    cdef object receive

    cdef int replace(self, receive) except -1:
        self.path = compiled_owner(receive, "receive_datagram", InboundPath)
        self.receive = receive
        return 0


cdef class DatagramDrain:
    """See `rtp.datagram.DatagramDrain`."""

    cdef object _epoll, _counters, _on_fault
    cdef int _epoll_descriptor
    cdef list _receivers
    cdef Arrivals *_spare

    def __init__(self, epoll, counters, on_fault):
        self._epoll = epoll  # held, so that its descriptor lives as long
        self._epoll_descriptor = epoll.fileno()
        self._counters = counters
        self._on_fault = on_fault
        self._receivers = []

    def __dealloc__(self):
        free(self._spare)

    def add(self, bound, receive):
        cdef int descriptor = bound.fileno()
        cdef _Receiver receiver = _Receiver()
        if descriptor < 0:
            raise ValueError("a socket that is closed gives nothing to read")
        receiver.replace(receive)
        while len(self._receivers) <= descriptor:
            self._receivers.append(None)
        self._receivers[descriptor] = receiver

    def replace(self, int descriptor, receive):
        cdef _Receiver receiver = self._receiver(descriptor)
        if receiver is None:
            raise KeyError(descriptor)
        receiver.replace(receive)

    def knows(self, int descriptor):
        return self._receiver(descriptor) is not None

    def remove(self, int descriptor):
        if self._receiver(descriptor) is not None:
            self._receivers[descriptor] = None

    cdef _Receiver _receiver(self, int descriptor):
        if 0 <= descriptor < len(self._receivers):
            return <_Receiver>self._receivers[descriptor]
        return None

    def drain(self, double now, int limit):
        cdef int taken = 0, count
        cdef Arrivals *arrivals = self._spare
        self._spare = NULL  # a receiver may come back here
        if arrivals == NULL:
            arrivals = <Arrivals *>malloc(sizeof(Arrivals))
            if arrivals == NULL:
                raise MemoryError
        try:
            while taken < limit:
                count = epoll_wait(self._epoll_descriptor, arrivals.ready, MAX_EVENTS, 0)
                if count <= 0:
                    break
                taken += count
                self._round(arrivals, count, now)
        finally:
            free(self._spare)
            self._spare = arrivals
        return taken

    cdef int _round(self, Arrivals *arrivals, int count, double now) except -1:
        cdef int index, first = 0, read
        cdef list held = []  # a receiver that is removed meanwhile must not make room for another at its address
        while first < count:
            read = self._read(arrivals, &first, count, held)
            for index in range(read):
                try:
                    self._deliver(&arrivals.read[index], now)
                except Exception as error:
                    self._on_fault(error)
        return 0

    cdef int _read(self, Arrivals *arrivals, int *first, int count, list held) except -1:
        """Reads a datagram of each ready socket from `first` on, as long as there is room; says how many those are."""
        cdef int read = 0
        cdef char *octets = arrivals.octets
        cdef char *end = octets + ARRIVALS_OCTETS - MAX_DATAGRAM_OCTETS
        cdef Arrival *arrival
        cdef socklen_t length
        cdef ssize_t size
        while first[0] < count and octets <= end:
            arrival = &arrivals.read[read]
            arrival.descriptor = arrivals.ready[first[0]].data.fd
            first[0] += 1
            receiver = self._receiver(arrival.descriptor)
            if receiver is None:
                continue  # closed by a receiver of this round
            length = sizeof(sockaddr_in6)
            size = recvfrom(
                arrival.descriptor, octets, MAX_DATAGRAM_OCTETS, MSG_DONTWAIT, <sockaddr *>&arrival.source, &length
            )
            if size < 0:
                if errno != EAGAIN and errno != EINTR:
                    self._counters.receive_errors += 1
                continue
            held.append(receiver)
            arrival.receiver = <void *>receiver
            arrival.octets, arrival.size = octets, <uint32_t>size
            octets += (size + 7) & ~7
            read += 1
        return read

    cdef int _deliver(self, Arrival *arrival, double now) except -1:
        cdef _Receiver receiver = <_Receiver>arrival.receiver
        cdef InboundPath path = receiver.path
        if self._receiver(arrival.descriptor) is not receiver:
            return 0  # closed by a receiver of this round
        if path is not None and _is_same(&arrival.source, &path._source_key):
            if path.unprotector is not None:
                path._receive(PyBytes_FromStringAndSize(arrival.octets, arrival.size), now)
            elif not path._take_regular(<const uint8_t *>arrival.octets, arrival.size, now):
                (<object>path)._receive_irregular(PyBytes_FromStringAndSize(arrival.octets, arrival.size), now)
            return 0
        receiver.receive(PyBytes_FromStringAndSize(arrival.octets, arrival.size), _address(&arrival.source), now)
        return 0
