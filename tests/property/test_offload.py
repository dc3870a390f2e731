"""Splitting and coalescing undo each other, whatever the sizes."""

from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec import virtio
from meshnode.codec.coalesce import Coalescer
from meshnode.codec.virtio import TCP, UDP
from tests.inner_packets import ACK, PSH, parse_strictly, tcp_packet, udp_packet

VERSIONS = st.sampled_from((4, 6))


def coalesce(packets: list[bytes], *, udp: bool) -> list[bytes]:
    """Coalesce one batch into whole frames."""
    coalescer = Coalescer((TCP, UDP) if udp else (TCP,))
    for packet in packets:
        coalescer.add(packet)
    coalescer.finish()
    return [header + body for header, body in coalescer.frames()]


def split(frames: list[bytes]) -> list[bytes]:
    """Split frames again."""
    return [packet for frame in frames for packet in virtio.segments(frame)]


@given(
    version=VERSIONS,
    payload=st.binary(min_size=1, max_size=9000),
    size=st.integers(1, 3000),
    sequence=st.integers(0, 2**32 - 1),
    flags=st.sampled_from((ACK, ACK | PSH)),
    options=st.sampled_from((b"", bytes(4), bytes.fromhex("0101080a0102030405060708"))),
)
def test_split_then_coalesce_is_the_identity_on_a_stream(
    version: int, payload: bytes, size: int, sequence: int, flags: int, options: bytes
) -> None:
    """Every segment is good by the slow oracle, and the frames carry the stream on."""
    size = max(size, len(payload) // 200)
    packet = tcp_packet(
        version, payload, sequence=sequence, flags=flags, options=options
    )
    kind = virtio.GSO_TCPV4 if version == 4 else virtio.GSO_TCPV6
    start = 20 if version == 4 else 40
    header = virtio.HEADER.pack(virtio.NEEDS_CSUM, kind, 0, size, start, 16)
    packets = virtio.segments(header + packet)
    for one in packets:
        parse_strictly(one)
    frames = coalesce(packets, udp=False)
    assert len(frames) == 1
    again = split(frames)
    assert [parse_strictly(one) for one in again] == [
        parse_strictly(one) for one in packets
    ]
    assert b"".join(parse_strictly(one).payload for one in again) == payload


@given(
    version=VERSIONS,
    flows=st.lists(
        st.tuples(
            st.integers(1, 3), st.sampled_from((10, 99, 100)), st.sampled_from((6, 17))
        ),
        max_size=60,
    ),
    udp=st.booleans(),
)
def test_coalescing_changes_no_packet_and_no_order(
    version: int, flows: list[tuple[int, int, int]], udp: bool
) -> None:
    """Mixed flows come out in their order, each packet still good, none twice."""
    sequences = dict.fromkeys((1, 2, 3), 2**32 - 300)
    packets = []
    for number, (port, size, protocol) in enumerate(flows):
        payload = bytes((number,)) * size
        if protocol == 17:
            packets.append(udp_packet(version, payload, source_port=port))
            continue
        sequence = sequences[port]
        sequences[port] = (sequence + size) % 2**32
        packets.append(
            tcp_packet(version, payload, sequence=sequence, source_port=port)
        )
    frames = coalesce(packets, udp=udp)
    before = [parse_strictly(one) for one in packets]
    after = [parse_strictly(one) for one in split(frames)]
    assert [(p.protocol, p.sequence, p.payload) for p in after] == [
        (p.protocol, p.sequence, p.payload) for p in before
    ]
