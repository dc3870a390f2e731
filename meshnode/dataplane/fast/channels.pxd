from libc.stdint cimport int64_t, uint8_t, uint32_t

from meshnode.dataplane.fast.lookup cimport NumberTable
from meshnode.dataplane.fast.wire cimport put_little32

cdef enum:
    CHANNEL_TYPE = 5     # of a datagram that carries another
    PREFIX_BYTES = 8     # the type, and the number that its receiver gave
    ENDS_HERE = -1


cdef struct ChannelEntry:
    int slot             # who sends by it
    int onward           # who gets what came, or ENDS_HERE
    uint32_t label       # the number that goes on
    double rate          # bytes a second; 0 for no limit
    double burst         # bytes at once
    double tokens
    double since
    bint has_quota
    int64_t left         # bytes of the quota


cdef bint take_bytes(ChannelEntry *entry, int size, double now) noexcept nogil


cdef inline uint8_t *put_prefix(uint8_t *out, uint32_t label) noexcept nogil:
    """Write what stands before a datagram, nothing for label 0; return its place."""
    if not label:
        return out
    put_little32(out, CHANNEL_TYPE)
    put_little32(out + 4, label)
    return out + PREFIX_BYTES


cdef class Channel:
    cdef ChannelEntry entry
    cdef readonly object command


cdef class NumbersOfChannels(NumberTable):
    pass
