"""Packing received packets into super-packets."""

import pytest

from meshnode.codec import virtio
from meshnode.codec.coalesce import MAX_DATAGRAMS, Coalescer
from meshnode.codec.virtio import PLAIN, TCP, UDP
from tests.inner_packets import (
    ACK,
    FIN,
    PSH,
    ip_packet,
    parse_strictly,
    tcp_packet,
    udp_packet,
)

SIZE = 1000


def stream(
    version: int, *sizes: int, sequence: int = 2**32 - 1500, **fields: int
) -> list[bytes]:
    """Build consecutive segments of one flow with these payload sizes."""
    packets = []
    for number, size in enumerate(sizes):
        payload = bytes((number + byte) % 251 for byte in range(size))
        packets.append(
            tcp_packet(version, payload, sequence=sequence, number=number, **fields)
        )
        sequence = (sequence + size) % 2**32
    return packets


def pack(packets: list[bytes], *, udp: bool = False) -> list[bytes]:
    """Coalesce one batch."""
    coalescer = Coalescer((TCP, UDP) if udp else (TCP,))
    for packet in packets:
        coalescer.add(packet)
    coalescer.finish()
    return [header + body for header, body in coalescer.frames()]


def assert_untouched(packets: list[bytes], *, udp: bool = False) -> None:
    """Every packet came out as a frame of its own, as it was."""
    assert pack(packets, udp=udp) == [PLAIN + packet for packet in packets]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("sizes", [(1000,) * 3, (1000, 1000, 1), (999, 999, 999, 37)])
def test_a_stream_becomes_one_frame(version: int, sizes: tuple[int, ...]) -> None:
    """Equal segments and a shorter last one are one frame, which splits into them."""
    packets = stream(version, *sizes)
    frames = pack(packets)
    assert len(frames) == 1
    flags, kind, header_size, size, start, offset = virtio.HEADER.unpack_from(frames[0])
    assert flags == virtio.NEEDS_CSUM
    assert kind == (virtio.GSO_TCPV4 if version == 4 else virtio.GSO_TCPV6)
    assert (size, start, offset) == (sizes[0], 20 if version == 4 else 40, 16)
    assert header_size == start + 20
    parsed = [parse_strictly(one) for one in virtio.segments(frames[0])]
    wanted = [parse_strictly(one) for one in packets]
    assert parsed == wanted


def test_push_ends_a_frame() -> None:
    """The pushed segment is the last of its frame and stays pushed."""
    first = stream(4, SIZE, SIZE)
    pushed = stream(4, SIZE, sequence=500, flags=ACK | PSH)
    last = stream(4, SIZE, SIZE, sequence=1500)
    frames = pack([*first, *pushed, *last])
    assert len(frames) == 2
    flags = [parse_strictly(one).flags for one in virtio.segments(frames[0])]
    assert flags == [ACK, ACK, ACK | PSH]


def test_a_shorter_segment_ends_a_frame() -> None:
    """Nothing follows a short segment in its frame."""
    packets = stream(4, SIZE, 10, 10, SIZE)
    assert [len(virtio.segments(one)) for one in pack(packets)] == [2, 1, 1]


def test_frames_end_at_64_kib() -> None:
    """A frame's packet is never longer than its length field can say."""
    frames = pack(stream(4, *[1400] * 100))
    assert [len(virtio.segments(one)) for one in frames] == [46, 46, 8]
    assert max(len(one) for one in frames) <= 10 + 65535


@pytest.mark.parametrize(
    "other",
    [
        {"sequence": 1001},
        {"sequence": 999},
        {"sequence": 0},
        {"sequence": 1000, "acknowledgement": 6},
        {"sequence": 1000, "flags": ACK | FIN},
        {"sequence": 1000, "flags": PSH},
        {"sequence": 1000, "flags": ACK | 0x20},
        {"sequence": 1000, "options": bytes(4)},
        {"sequence": 1000, "source_port": 1001},
    ],
)
def test_what_does_not_continue_stays_alone(other: dict[str, int]) -> None:
    """Gaps, overlaps, other flows, flags, options or acknowledgements do not merge."""
    first = tcp_packet(4, bytes(SIZE), sequence=0)
    assert_untouched([first, tcp_packet(4, bytes(SIZE), **other)])  # type: ignore[arg-type]


def test_a_larger_segment_stays_alone() -> None:
    """A frame has one segment size, that of its first."""
    assert_untouched(stream(4, SIZE, SIZE + 1))


def altered(packet: bytes, at: int, value: bytes) -> bytes:
    """Overwrite bytes of *packet*."""
    return packet[:at] + value + packet[at + len(value) :]


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("at", [4, 10, 36, 45, 1030])
@pytest.mark.parametrize("size", [SIZE, SIZE - 1])
def test_a_bad_checksum_is_not_hidden(bad: int, at: int, size: int) -> None:
    """If any IP or TCP checksum is wrong, the kernel gets all packets as they came."""
    packets = stream(4, size, size, size)
    at = min(at, len(packets[bad]) - 1)
    packets[bad] = altered(packets[bad], at, bytes((packets[bad][at] ^ 1,)))
    assert_untouched(packets)


def test_order_is_kept_across_flows() -> None:
    """Packets of other flows between two segments keep their place."""
    segments = stream(4, SIZE, SIZE)
    between = udp_packet(4, b"between")
    assert_untouched([segments[0], between, segments[1]])


@pytest.mark.parametrize(
    "packet",
    [
        ip_packet(4, 99, bytes(100)),
        ip_packet(4, 6, b""),
        ip_packet(4, 6, bytes(19)),
        ip_packet(6, 6, bytes(12) + b"\xf0" + bytes(9)),
        altered(tcp_packet(4, bytes(SIZE)), 6, b"\x20\x00"),
        altered(tcp_packet(4, bytes(SIZE)), 6, b"\x00\x01"),
        altered(tcp_packet(4, bytes(SIZE)), 0, b"\x46"),
        tcp_packet(4, b""),
        tcp_packet(4, bytes(SIZE), flags=0x02),
        altered(udp_packet(4, bytes(100)), 24, b"\0\x09"),
        altered(udp_packet(4, bytes(100)), 26, b"\0\0"),
    ],
)
def test_unusual_packets_never_begin_a_frame(packet: bytes) -> None:
    """Fragments, IP options, odd headers and bare flags go alone, even twice."""
    assert_untouched([packet, packet], udp=True)


@pytest.mark.parametrize("version", [4, 6])
def test_udp_only_for_devices_that_want_it(version: int) -> None:
    """Equal datagrams merge where the offload is on, a shorter one as the last."""
    payloads = [*(bytes((n,)) * 500 for n in range(5)), b"short"]
    packets = [udp_packet(version, p, number=n) for n, p in enumerate(payloads)]
    assert_untouched(packets)
    frames = pack(packets, udp=True)
    assert len(frames) == 1
    assert virtio.HEADER.unpack_from(frames[0])[1] == virtio.GSO_UDP_L4
    assert [parse_strictly(one) for one in virtio.segments(frames[0])] == [
        parse_strictly(one) for one in packets
    ]


def test_udp_frames_are_bounded() -> None:
    """No more datagrams share a frame than every kernel takes."""
    packets = [udp_packet(6, bytes((n,)) * 9) for n in range(MAX_DATAGRAMS + 1)]
    counts = [len(virtio.segments(one)) for one in pack(packets, udp=True)]
    assert counts == [MAX_DATAGRAMS, 1]


def test_udp_with_a_false_length_stays_alone() -> None:
    """A datagram that lies about its length cannot join a frame."""
    good = udp_packet(4, bytes(100))
    assert_untouched([good, altered(good, 24, b"\0\x6b")], udp=True)


def test_batches_do_not_mix() -> None:
    """After `finish` the next segment begins a new frame, and frames come once."""
    coalescer = Coalescer((TCP,))
    first, second = stream(4, SIZE, SIZE)
    coalescer.add(first)
    assert coalescer.frames() == []
    coalescer.finish()
    assert coalescer.frames() == [(PLAIN, first)]
    coalescer.add(second)
    coalescer.finish()
    assert coalescer.frames() == [(PLAIN, second)]
    assert coalescer.frames() == []
