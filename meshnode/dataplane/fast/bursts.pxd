from libc.stdint cimport uint8_t

from meshnode.dataplane.fast.paths cimport RawPath

cdef enum:
    BURST_BYTES = 65507      # the greatest UDP payload over IPv4
    BURST_DATAGRAMS = 64     # more is refused by older kernels


cdef struct Burst:
    uint8_t *data
    int slot          # -1: free
    int used
    int segment
    int last
    int count


cdef bint send_burst(int descriptor, RawPath *path, const Burst *burst) noexcept nogil
