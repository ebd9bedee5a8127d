# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The products of a polyphase filter, compiled: as `rtp.codec.polyphase.filtered` has them in numpy, to the bit."""

from libc.stdint cimport int16_t, int32_t


def filtered(
    const int16_t[::1] samples not None,
    const int16_t[:, ::1] phases not None,
    int16_t[::1] result not None,
    Py_ssize_t offset,
    Py_ssize_t step,
):
    cdef Py_ssize_t count = phases.shape[0], taps = phases.shape[1], index, tap, place = offset
    cdef const int16_t *window
    cdef const int16_t *phase
    cdef int32_t total
    # A caller's mistake must not become a read beyond the samples.
    if offset < 0 or step < 1 or count < 1 or taps < 1 or result.shape[0] and (
        offset >= (samples.shape[0] - taps + 1) * count
        or (result.shape[0] - 1) > ((samples.shape[0] - taps + 1) * count - 1 - offset) // step
    ):
        raise ValueError("more results than the samples give")
    for index in range(result.shape[0]):
        window = &samples[place // count]
        phase = &phases[place % count, 0]
        total = 8192
        for tap in range(taps):
            total += <int32_t>window[tap] * phase[tap]
        total >>= 14
        result[index] = 32767 if total > 32767 else -32768 if total < -32768 else <int16_t>total
        place += step
