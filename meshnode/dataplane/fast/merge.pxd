from libc.stdint cimport uint8_t, uint32_t

from meshnode.dataplane.fast.libc cimport iovec

cdef enum:
    MAX_PIECES = 128


cdef struct Run:
    bint takes_tcp
    bint takes_udp
    int count            # packets, 0 for none
    bint is_closed
    int protocol
    int ip_size
    int header
    int segment          # payload of the first packet
    int length           # of the packet that stands for all
    uint32_t sequence    # that the next one must have
    bint is_pushed
    uint8_t *first
    int first_size
    uint8_t vnet[10]
    iovec pieces[MAX_PIECES]


cdef bint join(Run *run, uint8_t *packet, int size) noexcept nogil
cdef void begin(Run *run, uint8_t *packet, int size) noexcept nogil
cdef int finish(Run *run) noexcept nogil
