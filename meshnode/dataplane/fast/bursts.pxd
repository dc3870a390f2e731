from libc.stdint cimport uint8_t, uint32_t

from meshnode.dataplane.fast.libc cimport iovec, mmsghdr
from meshnode.dataplane.fast.paths cimport RawPath

cdef enum:
    BURST_BYTES = 65507      # the greatest UDP payload over IPv4
    BURST_DATAGRAMS = 64     # more is refused by older kernels
    MAX_BURSTS = 32          # of as many peers, in one call
    CONTROL_BYTES = 128


cdef struct Burst:
    uint8_t *data
    int slot          # -1: free
    int used
    int segment
    int last
    int count


cdef struct Outgoing:
    int count
    mmsghdr messages[MAX_BURSTS]
    iovec pieces[MAX_BURSTS]
    uint8_t controls[MAX_BURSTS][CONTROL_BYTES]


cdef void add_burst(
    Outgoing *outgoing, RawPath *path, const Burst *burst
) noexcept nogil
cdef int send_from(Outgoing *outgoing, int first, int descriptor) noexcept nogil
cdef void relabel(Burst *burst, uint32_t before, uint32_t label) noexcept nogil
