"""Many packets of one flow in one frame: the opposite of segmentation offload.

Theory of operation: a packet may join the one before it, never an earlier one, so no
packet overtakes another. It joins if its headers differ in nothing but what a split
would recompute, and if it continues exactly where the other ended. Headers are
compared as integers under a mask: one comparison for all fields.

The kernel takes a frame's checksum for good, so the frame must not hide a bad one.
All segments are verified by one sum over the frame; if it is wrong, they go as they
came, and the kernel finds the culprit.
"""

from collections.abc import Collection
from functools import lru_cache

from meshnode.codec.checksum import MODULUS, residue
from meshnode.codec.ip import destination, source
from meshnode.codec.virtio import (
    ACK,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    HEADER,
    NEEDS_CSUM,
    PLAIN,
    PSH,
    TCP,
    TCP_CHECKSUM_AT,
    UDP,
    UDP_CHECKSUM_AT,
    UDP_HEADER_SIZE,
)
from meshnode.values import frozen

MAX_PACKET = 65535
"""The longest packet a frame may hold."""

MAX_DATAGRAMS = 64
"""UDP datagrams in one frame: what every kernel with this offload takes."""

Frame = tuple[bytes, bytes]
"""Header and body, to be written to the TUN device in one piece."""


class Coalescer:
    """Packs packets into frames for a TUN device, in their order.

    Feed `add`, then call `finish` at the end of a batch; `frames` hands over what is
    complete. `protocols`, of TCP and UDP, are those that the device takes so; fewer may
    be set at any time.
    """

    def __init__(self, protocols: Collection[int]) -> None:
        self.protocols = protocols
        self._run: _Run | None = None
        self._frames: list[Frame] = []

    def add(self, packet: bytes) -> None:
        """Take one complete IP packet, trimmed to its `ip.true_length`."""
        run = self._run
        if run is not None:
            if run.take(packet):
                return
            self._frames += run.frames()
        self._run = run = _begin(packet, self.protocols)
        if run is None:
            self._frames.append((PLAIN, packet))

    def finish(self) -> None:
        """Complete the frame begun; the next packet starts another."""
        if self._run is not None:
            self._frames += self._run.frames()
            self._run = None

    def frames(self) -> list[Frame]:
        """Return and forget the complete frames."""
        frames, self._frames = self._frames, []
        return frames


@frozen
class _Layout:
    """Where things are in headers of one shape, seen as one big-endian integer.

    `same` masks what must not change from packet to packet, `summed` what checksums
    cover. `sequence_shift` says how far left of the lowest bit a sequence number is.
    """

    version: int
    protocol: int
    ip_size: int
    header_size: int
    same: int
    summed: int
    sequence_shift: int
    push_bit: int


@lru_cache(maxsize=64)
def _layout(version: int, protocol: int, header_size: int) -> _Layout:
    def bits(at: int, size: int) -> int:
        return ((1 << 8 * size) - 1) << 8 * (header_size - at - size)

    ip_size = 20 if version == 4 else 40
    # Total length, identification, checksum; or payload length.
    vary = bits(2, 4) | bits(10, 2) if version == 4 else bits(4, 2)
    push = 0
    if protocol == TCP:
        push = PSH << 8 * (header_size - ip_size - 14)
        vary |= bits(ip_size + 4, 4) | bits(ip_size + TCP_CHECKSUM_AT, 2) | push
    else:
        vary |= bits(ip_size + 4, 4)
    return _Layout(
        version=version,
        protocol=protocol,
        ip_size=ip_size,
        header_size=header_size,
        same=bits(0, header_size) & ~vary,
        summed=bits(0, header_size) if version == 4 else bits(40, header_size - 40),
        sequence_shift=8 * (header_size - ip_size - 8),
        push_bit=push,
    )


def _begin(packet: bytes, protocols: Collection[int]) -> "_Run | None":
    """Return a run that *packet* can begin, or None for a packet that stays alone."""
    if packet[0] == 0x45:
        version, ip_size, protocol = 4, 20, packet[9]
        is_fragment = packet[6] & 0x3F or packet[7]
        if is_fragment:
            return None
    elif packet[0] >> 4 == 6 and len(packet) >= 40:
        version, ip_size, protocol = 6, 40, packet[6]
    else:
        return None
    if protocol not in protocols:
        return None
    header_size = _header_size(packet, ip_size, protocol)
    if header_size is None or header_size >= len(packet):
        return None
    run = _Run(_layout(version, protocol, header_size), packet)
    return None if run.is_closed else run


def _header_size(packet: bytes, ip_size: int, protocol: int) -> int | None:
    """Return where the payload begins; None if the transport header is unusual."""
    if protocol == UDP:
        header = packet[ip_size : ip_size + UDP_HEADER_SIZE]
        # Without a checksum there is nothing to verify, and nothing may be added.
        if header[UDP_CHECKSUM_AT:] == b"\0\0":
            return None
        has_length = header[4:6] == (len(packet) - ip_size).to_bytes(2, "big")
        return ip_size + UDP_HEADER_SIZE if has_length else None
    if len(packet) < ip_size + 20:
        return None
    offset = (packet[ip_size + 12] >> 4) * 4
    if offset < 20 or packet[ip_size + 12] & 15:
        return None
    return ip_size + offset if packet[ip_size + 13] & ~PSH == ACK else None


class _Run:
    """Packets of one flow that follow each other, and what the next must look like."""

    __slots__ = (
        "_headers",
        "_layout",
        "_length",
        "_next_sequence",
        "_packets",
        "_pushed",
        "_same",
        "_size",
        "is_closed",
    )

    def __init__(self, layout: _Layout, packet: bytes) -> None:
        self._layout = layout
        header = int.from_bytes(packet[: layout.header_size], "big")
        self._size = size = len(packet) - layout.header_size
        self._same = header & layout.same
        self._next_sequence = ((header >> layout.sequence_shift) + size) & 0xFFFFFFFF
        self._packets = [packet]
        self._length = len(packet)
        self._headers = header & layout.summed
        self._pushed = header & layout.push_bit
        self.is_closed = bool(self._pushed)

    def take(self, packet: bytes) -> bool:
        """Add *packet* if it continues the run; return whether it did."""
        layout = self._layout
        size = len(packet) - layout.header_size
        length = self._length + size
        if self.is_closed or not 0 < size <= self._size or length > MAX_PACKET:
            return False
        header = int.from_bytes(packet[: layout.header_size], "big")
        if header & layout.same != self._same:
            return False
        if layout.protocol == TCP:
            sequence = (header >> layout.sequence_shift) & 0xFFFFFFFF
            if sequence != self._next_sequence:
                return False
            self._next_sequence = (sequence + size) & 0xFFFFFFFF
        elif not self._takes_datagram(header, size):
            return False
        self._packets.append(packet)
        self._length = length
        self._headers += header & layout.summed
        if size < self._size or header & layout.push_bit:
            self._pushed = header & layout.push_bit
            self.is_closed = True
        return True

    def frames(self) -> list[Frame]:
        """Return the run as one frame, or as it came if its checksums are bad."""
        if len(self._packets) > 1:
            at = self._layout.header_size
            body = b"".join([packet[at:] for packet in self._packets])
            if self._verifies(body):
                return [(self._merged_header(len(body)), body)]
        return [(PLAIN, packet) for packet in self._packets]

    def _takes_datagram(self, header: int, size: int) -> bool:
        return (
            len(self._packets) < MAX_DATAGRAMS
            and (header >> 16) & 0xFFFF == size + UDP_HEADER_SIZE
            and header & 0xFFFF != 0
        )

    def _verifies(self, body: bytes) -> bool:
        """Return whether pseudo-headers, headers and payloads add up to nothing.

        An IPv4 header does so by itself, so one sum is enough for both checksums.
        """
        layout = self._layout
        count = len(self._packets)
        lengths = len(body) + count * (layout.header_size - layout.ip_size)
        total = count * self._pseudo_residue() + lengths + self._headers
        if self._size % 2:
            # In the body every other payload begins within a word.
            at = layout.header_size
            total += sum(residue(packet[at:]) for packet in self._packets)
        else:
            total += residue(body)
        return total % MODULUS == 0

    def _pseudo_residue(self) -> int:
        first = self._packets[0]
        return residue(source(first) + destination(first)) + self._layout.protocol

    def _merged_header(self, body_size: int) -> bytes:
        """Return the frame's header and those of a packet with all the payload."""
        layout = self._layout
        packet = bytearray(self._packets[0][: layout.header_size])
        transport_size = layout.header_size - layout.ip_size + body_size
        if layout.version == 4:
            packet[2:4] = (layout.ip_size + transport_size).to_bytes(2, "big")
            packet[10:12] = b"\0\0"
            checksum = -residue(bytes(packet[: layout.ip_size])) % MODULUS
            packet[10:12] = checksum.to_bytes(2, "big")
        else:
            packet[4:6] = transport_size.to_bytes(2, "big")
        if layout.protocol == TCP:
            packet[layout.ip_size + 13] |= PSH if self._pushed else 0
            offset = TCP_CHECKSUM_AT
            kind = GSO_TCPV4 if layout.version == 4 else GSO_TCPV6
        else:
            at = layout.ip_size + 4
            packet[at : at + 2] = transport_size.to_bytes(2, "big")
            offset, kind = UDP_CHECKSUM_AT, GSO_UDP_L4
        # The sum of the pseudo-header alone; the kernel adds the rest when it must.
        partial = (self._pseudo_residue() + transport_size) % MODULUS
        at = layout.ip_size + offset
        packet[at : at + 2] = partial.to_bytes(2, "big")
        fields = (NEEDS_CSUM, kind, layout.header_size, self._size)
        return HEADER.pack(*fields, layout.ip_size, offset) + packet
