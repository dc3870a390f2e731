"""Numbers, checksums and inner packets: the inline functions of the inner loops.

All pointers come with a length that the caller has checked. Sums are of words in the
processor's own order (RFC 1071 allows it), so only lengths and numbers are swapped.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef enum:
    VNET_BYTES = 10
    HEADER_BYTES = 16
    TAG_BYTES = 16
    OVERHEAD = 32
    TCP = 6
    UDP = 17
    # Of a virtio header (virtio 1.2, 5.1.6).
    NEEDS_CSUM = 1
    GSO_NONE = 0
    GSO_TCPV4 = 1
    GSO_TCPV6 = 4
    GSO_UDP_L4 = 5
    GSO_ECN = 0x80
    # TCP flags (RFC 9293, RFC 3168).
    FIN = 0x01
    PSH = 0x08
    ACK = 0x10
    CWR = 0x80


cdef inline uint16_t big16(const uint8_t *at) noexcept nogil:
    """Read 16 bits in network order."""
    return <uint16_t>((at[0] << 8) | at[1])


cdef inline uint32_t big32(const uint8_t *at) noexcept nogil:
    """Read 32 bits in network order."""
    return (
        (<uint32_t>at[0] << 24) | (<uint32_t>at[1] << 16)
        | (<uint32_t>at[2] << 8) | at[3]
    )


cdef inline void put_big16(uint8_t *at, uint32_t value) noexcept nogil:
    at[0] = (value >> 8) & 255
    at[1] = value & 255


cdef inline void put_big32(uint8_t *at, uint32_t value) noexcept nogil:
    put_big16(at, value >> 16)
    put_big16(at + 2, value & 0xFFFF)


cdef inline uint32_t little32(const uint8_t *at) noexcept nogil:
    """Read 32 bits, the least significant byte first."""
    return (
        (<uint32_t>at[3] << 24) | (<uint32_t>at[2] << 16)
        | (<uint32_t>at[1] << 8) | at[0]
    )


cdef inline uint64_t little64(const uint8_t *at) noexcept nogil:
    return (<uint64_t>little32(at + 4) << 32) | little32(at)


cdef inline void put_little32(uint8_t *at, uint32_t value) noexcept nogil:
    at[0] = value & 255
    at[1] = (value >> 8) & 255
    at[2] = (value >> 16) & 255
    at[3] = value >> 24


cdef inline void put_little64(uint8_t *at, uint64_t value) noexcept nogil:
    put_little32(at, <uint32_t>value)
    put_little32(at + 4, <uint32_t>(value >> 32))


# --- checksums ---


cdef inline uint64_t add_words(
    const uint8_t *data, size_t size, uint64_t total
) noexcept nogil:
    """Add the 16-bit words of at most 64 KiB to *total*; `fold` makes them one."""
    cdef size_t at = 0
    cdef uint32_t word
    cdef uint16_t half
    cdef uint64_t other = 0, third = 0, fourth = 0
    while at + 16 <= size:
        memcpy(&word, data + at, 4)
        total += word
        memcpy(&word, data + at + 4, 4)
        other += word
        memcpy(&word, data + at + 8, 4)
        third += word
        memcpy(&word, data + at + 12, 4)
        fourth += word
        at += 16
    total += other + third + fourth
    while at + 2 <= size:
        memcpy(&half, data + at, 2)
        total += half
        at += 2
    if at < size:
        half = 0
        memcpy(&half, data + at, 1)
        total += half
    return total


cdef inline uint64_t swapped(uint32_t value) noexcept nogil:
    """Return a number below 65,536 as a word in network order."""
    return ((value & 255) << 8) | ((value >> 8) & 255)


cdef inline uint16_t fold(uint64_t total) noexcept nogil:
    """Return the ones' complement sum: 0 only if every word is 0."""
    total = (total >> 32) + (<uint32_t>total)
    total = (total >> 32) + (<uint32_t>total)
    total = (total >> 16) + (total & 0xFFFF)
    total = (total >> 16) + (total & 0xFFFF)
    total = (total >> 16) + (total & 0xFFFF)
    return <uint16_t>total


cdef inline void put_sum(uint8_t *at, uint16_t value) noexcept nogil:
    """Write a sum, which is in network order already."""
    memcpy(at, &value, 2)


cdef inline uint16_t transport_checksum(uint64_t total) noexcept nogil:
    """Return the checksum of what adds up to *total*: never 0, which means none."""
    cdef uint16_t value = <uint16_t>~fold(total)
    return value if value else <uint16_t>0xFFFF


cdef inline uint64_t pseudo_sum(
    const uint8_t *packet, uint32_t protocol, uint32_t size
) noexcept nogil:
    """Return the sum of the pseudo-header of a transport segment of *size* bytes."""
    cdef uint64_t total = swapped(protocol) + swapped(size)
    if packet[0] >> 4 == 4:
        return add_words(packet + 12, 8, total)
    return add_words(packet + 8, 32, total)


# --- inner packets ---


cdef inline int true_length(const uint8_t *packet, int size) noexcept nogil:
    """Return what `codec.ip.true_length` does, or -1 where it raises."""
    cdef int total
    if size < 20:
        return -1
    if packet[0] >> 4 == 4:
        total = big16(packet + 2)
        return total if 20 <= total <= size else -1
    if packet[0] >> 4 == 6 and size >= 40:
        total = 40 + big16(packet + 4)
        return total if total <= size else -1
    return -1


cdef inline int padding(int size, int mtu) noexcept nogil:
    """Return how many zeros follow a packet (paper 5.4.6): to 16, never beyond MTU."""
    cdef int rounded = (16 - size % 16) % 16
    if not mtu:
        return rounded
    if size > mtu:
        size %= mtu
        rounded = (16 - size % 16) % 16
    return min(rounded, mtu - size)
