"""Any bytes, from the device or from a hostile peer, raise nothing but `BadPacket`."""

import contextlib
import random
import struct

from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec import ip, virtio
from meshnode.codec.coalesce import Coalescer
from meshnode.codec.icmp import unreachable
from meshnode.codec.virtio import TCP, UDP
from meshnode.errors import BadPacket
from tests.inner_packets import tcp_packet, udp_packet

HEADERS = st.builds(
    struct.pack,
    st.just("<BBHHHH"),
    st.integers(0, 255),
    st.sampled_from((0, 1, 3, 4, 5, 0x81, 255)),
    st.integers(0, 2**16 - 1),
    st.sampled_from((0, 1, 2, 500, 65535)),
    st.sampled_from((0, 1, 20, 24, 40, 60, 65535)),
    st.sampled_from((0, 6, 16, 65535)),
)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Draw bytes that look like a packet, with a few overwritten."""
    version = draw(st.sampled_from((4, 6)))
    make = draw(st.sampled_from((tcp_packet, udp_packet)))
    packet = bytearray(make(version, bytes(draw(st.integers(0, 300)))))
    for _ in range(draw(st.integers(0, 6))):
        packet[draw(st.integers(0, min(79, len(packet) - 1)))] = draw(
            st.integers(0, 255)
        )
    return bytes(packet[: draw(st.integers(0, len(packet)))] or packet)


def deliver(packet: bytes, coalescer: Coalescer) -> None:
    """Do with a packet what ingress does."""
    coalescer.add(packet[: ip.true_length(packet)])


@given(HEADERS, packets() | st.binary(max_size=200))
def test_frames_split_or_are_refused(header: bytes, packet: bytes) -> None:
    """What comes out of a split is at least a packet of a valid length."""
    try:
        result = virtio.segments(header + packet)
    except BadPacket:
        return
    assert result
    for one in result:
        assert ip.true_length(one) == len(one)


@given(st.lists(packets() | st.binary(max_size=100), max_size=12), st.booleans())
def test_hostile_packets_coalesce_or_are_refused(
    hostile: list[bytes], udp: bool
) -> None:
    """Frames hold every accepted payload and split without complaint."""
    coalescer = Coalescer((TCP, UDP) if udp else (TCP,))
    accepted = 0
    for packet in hostile:
        try:
            deliver(packet, coalescer)
        except BadPacket:
            continue
        accepted += 1
    coalescer.finish()
    count = 0
    for header, body in coalescer.frames():
        count += len(virtio.segments(header + body)) if any(header) else 1
    assert count == accepted


@given(packets() | st.binary(min_size=20, max_size=100))
def test_answers_to_anything_are_packets(packet: bytes) -> None:
    """An ICMP error about any accepted packet has its own true length."""
    try:
        packet = packet[: ip.true_length(packet)]
    except BadPacket:
        return
    answer = unreachable(packet)
    assert answer is None or ip.true_length(answer) == len(answer)


def test_random_bytes_in_bulk(seed: int) -> None:
    """Many random inputs, where Hypothesis tries few."""
    generator = random.Random(seed)
    coalescer = Coalescer((TCP, UDP))
    for _ in range(20_000):
        noise = bytearray(generator.randbytes(generator.randrange(90)))
        if noise and generator.random() < 0.9:
            noise[0] = generator.choice((0x45, 0x46, 0x60))
            noise[2:4] = struct.pack(">H", generator.randrange(100))
        with contextlib.suppress(BadPacket):
            virtio.segments(generator.randbytes(10) + bytes(noise))
        with contextlib.suppress(BadPacket):
            deliver(bytes(noise), coalescer)
    coalescer.finish()
    assert coalescer.frames()
