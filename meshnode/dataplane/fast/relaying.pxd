from libc.stdint cimport uint8_t, uint32_t, uint64_t

from meshnode.dataplane.fast.bursts cimport MAX_BURSTS, Burst, Outgoing
from meshnode.dataplane.fast.channels cimport ChannelEntry, NumbersOfChannels
from meshnode.dataplane.fast.paths cimport RawPath
from meshnode.dataplane.fast.taps cimport Tap

cdef enum:
    FORWARD_DROPS = 5


cdef struct Place:
    RawPath path
    int descriptor   # of the socket that it is reached by; -1: there is none


cdef class Forwarder:
    cdef int _slots
    cdef Place *_places
    cdef NumbersOfChannels _channels
    cdef Burst _bursts[MAX_BURSTS]
    cdef Outgoing _outgoing
    cdef int _descriptor      # by which what waits is to leave
    cdef double _told_at
    cdef uint64_t _drops[FORWARD_DROPS]
    cdef uint64_t _datagrams
    cdef uint64_t _octets
    cdef object _on_refused
    cdef Tap _tap
    cdef bint has_news
    cdef public bint can_segment
    cdef public bint takes_tails
    cdef ChannelEntry *find(self, uint32_t number) noexcept nogil
    cdef bint carries(
        self, const uint8_t *data, int size, int segment, bint may_drop
    ) noexcept nogil
    cdef void take(
        self, uint8_t *data, int size, int segment, const RawPath *path, double now
    ) noexcept nogil
    cdef void flush(self) noexcept nogil
    cdef bint is_from(self, int slot, const RawPath *path) noexcept nogil
    cdef int _check(
        self, ChannelEntry *entry, int size, const RawPath *path, double now
    ) noexcept nogil
    cdef void _note(
        self, const ChannelEntry *entry, int refusal, const uint8_t *data, int size,
        const RawPath *path,
    ) noexcept nogil
    cdef void _add(self, Burst *burst) noexcept nogil
    cdef void _drop(self, int reason, int count) noexcept nogil
    cdef int _refuse(self, Burst *burst) except -1 with gil
