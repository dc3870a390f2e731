from libc.stdint cimport uint8_t, uint32_t, uint64_t

from meshnode.dataplane.fast.paths cimport RawPath

cdef enum:
    INNER = 1
    OUTER = 2
    TUNNEL_IN = 0
    TUNNEL_OUT = 1
    UNDERLAY_IN = 2
    UNDERLAY_OUT = 3
    PASSED = 0
    FORWARDED = 254


cdef class Tap:
    cdef object _memory
    cdef uint64_t *_words
    cdef uint8_t *_ring
    cdef uint64_t _head
    cdef uint64_t _snaplen
    cdef uint8_t *_last       # the record of what was noted last; NULL: none
    cdef readonly int sides
    cdef void look(self) noexcept nogil
    cdef void show(self) noexcept nogil
    cdef void put(
        self, int side, const uint8_t *data, int size, int slot, int verdict,
        const RawPath *path, uint32_t channel,
    ) noexcept nogil
    cdef void put_burst(
        self, int side, const uint8_t *data, int size, int segment, int slot,
        int verdict, const RawPath *path, uint32_t channel,
    ) noexcept nogil
    cdef void condemn(self, int verdict) noexcept nogil
    cdef uint8_t *_place(self, uint64_t size) noexcept nogil


cdef int verdict_of(object name) except -1
