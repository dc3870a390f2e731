# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Many packets of one flow in one frame: `codec.coalesce`, for packets that stay put.

    if not join(&run, packet, size):
        write the `finish(&run)` pieces of the run before
        begin(&run, packet, size)

A run names the pieces of one write; nothing is copied, so the packets must lie still
until it is written. A packet joins only if its own checksums are right, for the kernel
does not look at those of a frame: what is wrong goes alone, as it came.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from meshnode.dataplane.fast.wire cimport (
    ACK,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    PSH,
    TCP,
    UDP,
    VNET_BYTES,
    add_words,
    big16,
    big32,
    fold,
    pseudo_sum,
    put_big16,
    put_sum,
)

cdef enum:
    MAX_PACKET = 65535
    MAX_DATAGRAMS = 64


cdef void begin(Run *run, uint8_t *packet, int size) noexcept nogil:
    """Begin a run with one packet, trimmed to its true length."""
    run.count = 1
    run.first = packet
    run.first_size = size
    run.length = size
    run.pieces[1].iov_base = packet
    run.pieces[1].iov_len = size
    run.is_closed = True
    run.is_pushed = False
    if not _read_shape(run, packet, size) or not _is_intact(run, packet, size):
        return
    run.segment = size - run.header
    if run.protocol == TCP:
        run.sequence = big32(packet + run.ip_size + 4) + run.segment
        run.is_closed = (packet[run.ip_size + 13] & PSH) != 0
    else:
        run.is_closed = False


cdef bint join(Run *run, uint8_t *packet, int size) noexcept nogil:
    """Add a packet if it continues the run; return whether it did."""
    cdef int payload, at
    cdef iovec *last
    if run.count == 0 or run.is_closed or run.count + 2 > MAX_PIECES:
        return False
    payload = size - run.header
    if not 0 < payload <= run.segment or run.length + payload > MAX_PACKET:
        return False
    if not _has_same_headers(run, packet) or not _is_intact(run, packet, size):
        return False
    at = run.ip_size
    if run.protocol == TCP:
        if big32(packet + at + 4) != run.sequence:
            return False
        run.sequence += payload
        run.is_pushed = (packet[at + 13] & PSH) != 0
    elif run.count >= MAX_DATAGRAMS or big16(packet + at + 4) != size - at:
        return False
    elif packet[at + 6] == 0 and packet[at + 7] == 0:
        return False
    run.count += 1
    run.length += payload
    run.is_closed = payload < run.segment or run.is_pushed
    last = &run.pieces[run.count]
    last.iov_base = packet + run.header
    last.iov_len = payload
    return True


cdef int finish(Run *run) noexcept nogil:
    """Return how many pieces make the frame of the run, 0 for no run; it is over."""
    cdef int count = run.count
    run.count = 0
    if count == 0:
        return 0
    memset(run.vnet, 0, VNET_BYTES)
    run.pieces[0].iov_base = run.vnet
    run.pieces[0].iov_len = VNET_BYTES
    if count > 1:
        _write_headers(run)
    return count + 1


cdef bint _read_shape(Run *run, const uint8_t *packet, int size) noexcept nogil:
    """Find the headers; return whether packets of this kind can be merged."""
    cdef int at
    if packet[0] == 0x45:
        if packet[6] & 0x3F or packet[7]:
            return False
        run.ip_size = at = 20
        run.protocol = packet[9]
    elif packet[0] >> 4 == 6:
        run.ip_size = at = 40
        run.protocol = packet[6]
    else:
        return False
    if run.protocol == TCP and run.takes_tcp:
        if size < at + 20 or (packet[at + 12] >> 4) < 5 or packet[at + 12] & 15:
            return False
        if (packet[at + 13] & ~PSH) != ACK:
            return False
        run.header = at + (packet[at + 12] >> 4) * 4
    elif run.protocol == UDP and run.takes_udp:
        if size < at + 8 or big16(packet + at + 4) != size - at:
            return False
        if packet[at + 6] == 0 and packet[at + 7] == 0:
            return False
        run.header = at + 8
    else:
        return False
    return run.header < size


cdef bint _has_same_headers(Run *run, const uint8_t *packet) noexcept nogil:
    """Compare all but lengths, numbers and checksums with the first packet's."""
    cdef const uint8_t *first = run.first
    cdef int at = run.ip_size
    if at == 20:
        if memcmp(first, packet, 2) or memcmp(first + 6, packet + 6, 4):
            return False
        if memcmp(first + 12, packet + 12, 8):
            return False
    elif memcmp(first, packet, 4) or memcmp(first + 6, packet + 6, 34):
        return False
    if memcmp(first + at, packet + at, 4):
        return False
    if run.protocol == UDP:
        return True
    if memcmp(first + at + 8, packet + at + 8, 5):
        return False
    if (first[at + 13] | PSH) != (packet[at + 13] | PSH):
        return False
    if memcmp(first + at + 14, packet + at + 14, 2):
        return False
    return memcmp(first + at + 18, packet + at + 18, run.header - at - 18) == 0


cdef bint _is_intact(Run *run, const uint8_t *packet, int size) noexcept nogil:
    """Whether the checksums of the IP header and of the segment are right."""
    cdef int at = run.ip_size
    cdef uint64_t total
    if at == 20 and fold(add_words(packet, 20, 0)) != 0xFFFF:
        return False
    total = pseudo_sum(packet, run.protocol, size - at)
    return fold(add_words(packet + at, size - at, total)) == 0xFFFF


cdef void _write_headers(Run *run) noexcept nogil:
    """Let the first packet stand for all, and the virtio header say of how many."""
    cdef uint8_t *packet = run.first
    cdef int at = run.ip_size
    cdef int size = run.length - at
    cdef int offset, kind
    cdef uint16_t number
    if at == 20:
        put_big16(packet + 2, run.length)
        put_big16(packet + 10, 0)
        put_sum(packet + 10, <uint16_t>~fold(add_words(packet, 20, 0)))
    else:
        put_big16(packet + 4, size)
    if run.protocol == TCP:
        if run.is_pushed:
            packet[at + 13] |= PSH
        offset = 16
        kind = GSO_TCPV4 if at == 20 else GSO_TCPV6
    else:
        put_big16(packet + at + 4, size)
        offset = 6
        kind = GSO_UDP_L4
    # The sum of the pseudo-header alone; the kernel adds the rest when it must.
    put_sum(packet + at + offset, fold(pseudo_sum(packet, run.protocol, size)))
    run.vnet[0] = NEEDS_CSUM
    run.vnet[1] = kind
    number = run.header
    memcpy(run.vnet + 2, &number, 2)
    number = run.segment
    memcpy(run.vnet + 4, &number, 2)
    number = at
    memcpy(run.vnet + 6, &number, 2)
    number = offset
    memcpy(run.vnet + 8, &number, 2)
