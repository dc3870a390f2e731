# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Frames of a TUN device: which packets one stands for (virtio 1.2, 5.1.6).

    read_frame(data, size, &frame)
    for number in range(frame.count):
        place_packet(&frame, number)   # -> packet_size(&frame, number) bytes

The same packets as `codec.virtio.segments` makes. A frame with anything unusual in
it has a `count` of 0 and is left to that function, which knows all the rules.

Theory of operation: a packet is made where its payload lies, by writing its headers
before it, over the end of the payload that came before. So nothing is copied but
headers, packets must be taken in order, each once, and the frame is lost by it. Until
the first is taken the frame stays as it was read.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from meshnode.dataplane.fast.wire cimport (
    CWR,
    FIN,
    GSO_ECN,
    GSO_NONE,
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
    put_big32,
    put_sum,
    swapped,
    transport_checksum,
    true_length,
)

cdef void read_frame(uint8_t *data, int size, Frame *frame) noexcept nogil:
    """Say which packets the *size* bytes of one frame stand for; change nothing."""
    cdef uint16_t segment, start, offset
    cdef int kind, is_partial, version, length
    frame.count = 0
    if size < VNET_BYTES + 20:
        return
    frame.packet = data + VNET_BYTES
    frame.size = length = size - VNET_BYTES
    if true_length(frame.packet, length) != length:
        return
    is_partial = data[0] & NEEDS_CSUM
    kind = data[1] & ~GSO_ECN
    memcpy(&segment, data + 4, 2)
    memcpy(&start, data + 6, 2)
    memcpy(&offset, data + 8, 2)
    version = frame.packet[0] >> 4
    frame.protocol = frame.checksum = 0
    frame.start = start
    if kind == GSO_NONE and not is_partial:
        frame.count = 1
        return
    if version == 4:
        if (frame.packet[0] & 15) < 5 or start != (frame.packet[0] & 15) * 4:
            return
    elif start < 40:
        return
    if kind == GSO_NONE:
        if start + offset + 2 > length:
            return
        frame.checksum = start + offset
        frame.count = 1
        return
    if not is_partial or segment == 0:
        return
    if kind == GSO_UDP_L4:
        frame.protocol = UDP
        frame.header = start + 8
    elif kind == (GSO_TCPV4 if version == 4 else GSO_TCPV6):
        if start + 20 > length:
            return
        frame.protocol = TCP
        frame.header = start + (frame.packet[start + 12] >> 4) * 4
        if frame.header < start + 20:
            return
    else:
        return
    if frame.header >= length or frame.header > MAX_HEADERS:
        return
    memcpy(frame.headers, frame.packet, frame.header)
    frame.segment = segment
    frame.count = (length - frame.header + segment - 1) // segment
    # Addresses and protocol; each packet adds its own length.
    frame.addresses = pseudo_sum(frame.packet, frame.protocol, 0)


cdef int packet_size(const Frame *frame, int number) noexcept nogil:
    """Return the size of one of the packets, 0 ≤ *number* < `count`."""
    if not frame.protocol:
        return frame.size
    if number + 1 < frame.count:
        return frame.header + frame.segment
    return frame.size - number * frame.segment


cdef uint8_t *place_packet(Frame *frame, int number) noexcept nogil:
    """Return one of the packets, complete, in the memory of the frame."""
    cdef int size = packet_size(frame, number)
    cdef int start = frame.start
    cdef uint8_t *out = frame.packet
    cdef uint64_t total
    if not frame.protocol:
        if frame.checksum:
            total = add_words(out + start, size - start, 0)
            put_sum(out + frame.checksum, transport_checksum(total))
        return out
    if number > 0:
        out += number * frame.segment
        memcpy(out, frame.headers, frame.header)
    _write_ip(frame, number, size, out)
    total = frame.addresses + swapped(size - start)
    if frame.protocol == TCP:
        _write_tcp(frame, number, out + start)
        put_big16(out + start + 16, 0)
        total = add_words(out + start, size - start, total)
        put_sum(out + start + 16, transport_checksum(total))
    else:
        put_big16(out + start + 4, size - start)
        put_big16(out + start + 6, 0)
        total = add_words(out + start, size - start, total)
        put_sum(out + start + 6, transport_checksum(total))
    return out


cdef void _write_ip(
    const Frame *frame, int number, int size, uint8_t *out
) noexcept nogil:
    if out[0] >> 4 == 6:
        put_big16(out + 4, size - 40)
        return
    put_big16(out + 2, size)
    put_big16(out + 4, big16(frame.headers + 4) + number)
    put_big16(out + 10, 0)
    put_sum(out + 10, <uint16_t>~fold(add_words(out, frame.start, 0)))


cdef void _write_tcp(const Frame *frame, int number, uint8_t *tcp) noexcept nogil:
    """Number the segment; what ends a stream belongs to the last one (RFC 9293)."""
    cdef uint32_t sequence = big32(frame.headers + frame.start + 4)
    put_big32(tcp + 4, sequence + <uint32_t>(number * frame.segment))
    if number + 1 < frame.count:
        tcp[13] &= ~(FIN | PSH) & 255
    if number > 0:
        tcp[13] &= ~CWR & 255
