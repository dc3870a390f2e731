from libc.stdint cimport uint8_t, uint16_t, uint32_t

from meshnode.dataplane.fast.libc cimport msghdr

cdef enum:
    ADDRESS_BYTES = 28   # a sockaddr_in6; a sockaddr_in is shorter
    INFO_BYTES = 20      # an in6_pktinfo; an in_pktinfo is shorter


cdef struct RawPath:
    int version                      # 4 or 6; 0 for none, and for a channel
    uint32_t channel                 # our number of the relay channel; 0: an address
    uint8_t remote[ADDRESS_BYTES]
    uint16_t port                    # of a socket beside the node's own; 0: that one
    bint has_source
    uint8_t info[INFO_BYTES]


cdef int encode(object path, RawPath *raw) except -1
cdef int received(msghdr *message, uint16_t port, RawPath *raw) noexcept nogil
cdef bint is_same(const RawPath *one, const RawPath *other) noexcept nogil
cdef int address_size(const RawPath *raw) noexcept nogil
cdef int info_size(const RawPath *raw) noexcept nogil
cdef object decode(const RawPath *raw)
