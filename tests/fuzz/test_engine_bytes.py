"""The fast engine under bytes of any kind: nothing crashes, and both engines agree.

`tools/sanitize` runs these tests on a build that checks every access to memory.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.codec import virtio
from meshnode.crypto.transport import can_use
from meshnode.types import Cipher
from tests.inner_packets import ip_packet, tcp_packet, udp_packet
from tests.property.test_channels_agree import (
    BACK,
    BEHIND_INDEX,
    LIMITED,
    NOWHERE,
    ONWARD,
    OTHER,
    OURS,
    Crossing,
    wrapped,
)
from tests.property.test_engines_agree import ENGINES, Rig
from tests.unit.dataplane.reference.halves import INDEX, seal_data

UDP_SEGMENT = 103
ALIVE = ip_packet(4, 99, b"still alive")


def _header(kind: int, size: int, start: int, offset: int) -> bytes:
    return virtio.HEADER.pack(virtio.NEEDS_CSUM, kind, 0, size, start, offset)


HOSTILE_FRAMES = [
    b"",
    bytes(10),
    bytes(29),
    bytes(10) + b"\x45",
    bytes(10) + b"\x60" + bytes(38),
    # Checksums that would be written or begin outside the packet.
    _header(0, 0, 20, 65535) + udp_packet(4, b"x"),
    _header(0, 0, 65535, 0) + udp_packet(4, b"x"),
    _header(0, 0, 28, 0) + udp_packet(4, b"x"),
    _header(0, 0, 29, 0) + udp_packet(4, b"x"),
    _header(0, 0, 0, 6) + udp_packet(6, b"x"),
    # Headers longer than the packet, or shorter than themselves.
    _header(1, 100, 20, 16) + tcp_packet(4, b"x" * 50)[:32] + b"\xf0" + bytes(37),
    _header(1, 100, 20, 16) + tcp_packet(4, b"x" * 50)[:32] + b"\x00" + bytes(37),
    _header(1, 100, 60, 16) + b"\x4f" + tcp_packet(4, b"x" * 50)[1:],
    _header(1, 100, 4, 16) + b"\x41" + tcp_packet(4, b"x" * 50)[1:],
    _header(1, 100, 20, 16) + tcp_packet(4, b""),
    _header(5, 100, 20, 6) + udp_packet(4, b""),
    _header(5, 1, 20, 6) + udp_packet(4, bytes(3000)),
    _header(1, 1, 20, 16) + tcp_packet(4, bytes(3000)),
    _header(4, 65535, 40, 16) + tcp_packet(6, bytes(3000)),
    _header(4, 9, 65535, 16) + tcp_packet(6, bytes(3000)),
    _header(1, 9, 20, 16) + tcp_packet(6, bytes(3000)),
    _header(3, 9, 20, 16) + tcp_packet(4, bytes(3000)),
    _header(1, 0, 20, 16) + tcp_packet(4, bytes(3000)),
    bytes(10) + b"\x45\0\xff\xff" + bytes(65531),
    _header(1, 65495, 20, 16) + tcp_packet(4, bytes(65495)),
    _header(1, 1, 20, 16) + tcp_packet(4, bytes(20_000)),
]

HOSTILE_INNER = [
    b"\0",
    b"\1",
    b"\1" * 1300,
    b"\x45",
    b"\x4f" + bytes(19),
    b"\x45\0\0\x13" + bytes(30),
    b"\x45\0\xff\xff" + bytes(30),
    b"\x60" + bytes(39),
    b"\x60\0\0\0\xff\xff" + bytes(50),
    # TCP whose header is cut off, too short or too long.
    ip_packet(4, 6, bytes(12)),
    ip_packet(4, 6, bytes(12) + b"\xf0\x10" + bytes(6)),
    ip_packet(4, 6, bytes(12) + b"\x10\x10" + bytes(60)),
    ip_packet(6, 6, bytes(12) + b"\xf0\x10" + bytes(46)),
    ip_packet(4, 17, bytes(7)),
    ip_packet(4, 17, b"\0\1\0\2\xff\xff\1\1"),
    b"\x46" + ip_packet(4, 17, bytes(40))[1:],
    tcp_packet(4, b"")[:33],
]


@pytest.fixture
def rigs() -> Iterator[ExitStack]:
    """A stack that closes what a test opens."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("number", range(len(HOSTILE_FRAMES)))
def test_hostile_frames_of_old(rigs: ExitStack, number: int) -> None:
    """Each frame that was thought of, on both engines."""
    _both_send(HOSTILE_FRAMES[number : number + 1], rigs)


@settings(max_examples=200)
@given(
    sent=st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.builds(
                lambda header, frame, cut: header + frame[10:][:cut],
                st.builds(
                    struct.Struct("<BBHHHH").pack,
                    st.integers(0, 3),
                    st.sampled_from((0, 1, 3, 4, 5, 0x81, 0x84, 255)),
                    *[st.integers(0, 120) | st.integers(0, 65535)] * 4,
                ),
                st.sampled_from(HOSTILE_FRAMES),
                st.integers(0, 4000),
            ),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_frame(sent: list[bytes]) -> None:
    """Whatever our own kernel hands over."""
    with ExitStack() as stack:
        _both_send(sent, stack)


def _both_send(sent: list[bytes], stack: ExitStack) -> None:
    outcomes = []
    for name in ENGINES:
        rig = Rig(name, "egress", stack)
        got = []
        for frame in (*sent, virtio.PLAIN + ALIVE):
            rig.kernel.send(frame)
            rig.pump()
            got += rig.datagrams()
        outcomes.append((got, rig.packets(), rig.effects()))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0], "the last packet came through"


@settings(max_examples=200)
@given(
    packets=st.lists(
        st.one_of(
            st.sampled_from(HOSTILE_INNER),
            st.binary(max_size=120),
            st.builds(
                lambda packet, at, value: (
                    packet[:at] + bytes((value,)) + packet[at + 1 :]
                ),
                st.sampled_from((tcp_packet(4, bytes(60)), tcp_packet(6, bytes(60)))),
                st.integers(0, 90),
                st.integers(0, 255),
            ),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_any_inner_packet_of_an_authenticated_peer(packets: list[bytes]) -> None:
    """A member that is hostile can seal what it likes."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            rig = Rig(name, "ingress", stack)
            for number, packet in enumerate((ALIVE, *packets, ALIVE)):
                rig.peer.sendto(seal_data(packet, number), rig.address)
            rig.pump()
            outcomes.append((rig.packets(), rig.effects()[1]))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0][-1] == ALIVE


def datagrams() -> st.SearchStrategy[bytes]:
    """Data of either type, sound or not, and of the session or of none."""
    ciphers = st.sampled_from([cipher for cipher in Cipher if can_use(cipher)])
    sound = st.builds(
        lambda number, cipher: seal_data(ALIVE, number, cipher=cipher),
        st.integers(0, 3),
        ciphers,
    )
    forged = st.builds(
        lambda kind, index, counter, rest: (
            struct.pack("<IIQ", kind, index, counter) + rest
        ),
        st.sampled_from((4, 8, 9, 0x0104, 0x0108)),
        st.sampled_from((INDEX, 1)),
        st.integers(0, 3) | st.integers(0, 2**64 - 1),
        st.binary(max_size=43),
    )
    return sound | forged


@settings(max_examples=100)
@given(
    data=st.one_of(
        st.binary(max_size=400),
        st.lists(datagrams(), max_size=5).map(b"".join),
    ),
    size=st.integers(1, 200) | st.just(len(seal_data(ALIVE, 1))),
)
def test_any_batch(data: bytes, size: int) -> None:
    """Datagrams that the kernel hands over together, of any size and content."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            rig = Rig(name, "ingress", stack)
            rig.peer.sendto(seal_data(ALIVE, 0), rig.address)
            if data and len(data) // size < 60:
                segmented = [(17, UDP_SEGMENT, struct.pack("=H", size))]
                rig.peer.sendmsg((data,), segmented, 0, rig.address)
            rig.peer.sendto(seal_data(ALIVE, 9), rig.address)
            rig.pump()
            outcomes.append((rig.packets(), rig.effects()[1]))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0][-1] == ALIVE


def channelled() -> st.SearchStrategy[bytes]:
    """Datagrams of type 5, sound or cut off, that carry anything."""
    numbers = st.sampled_from((ONWARD, LIMITED, BACK, NOWHERE, OURS, OTHER, 0))
    sound = seal_data(ALIVE, 5, index=BEHIND_INDEX)
    content = st.one_of(datagrams(), st.binary(max_size=60), st.just(sound))
    return st.builds(
        lambda number, inside, cut: wrapped(number, inside)[:cut],
        numbers,
        content,
        st.integers(0, 12) | st.just(1000),
    )


@settings(max_examples=150)
@given(
    data=st.lists(channelled() | datagrams(), min_size=1, max_size=8).map(b"".join),
    size=st.integers(1, 90) | st.sampled_from((len(seal_data(ALIVE, 1)) + 8, 8, 16)),
    host=st.integers(0, 3),
)
def test_any_batch_of_channels(data: bytes, size: int, host: int) -> None:
    """Whoever sends it, for others and for us, and whatever it carries."""
    outcomes = []
    batch = [data[at : at + size] for at in range(0, len(data), size)][:60]
    for name in ENGINES:
        with ExitStack() as stack:
            crossing = Crossing(name, "ingress", stack)
            if batch:
                crossing.send(host, batch, to_beside=False)
            crossing.send(0, [wrapped(ONWARD, b"still alive")], to_beside=False)
            crossing.pump()
            outcomes.append((crossing.packets(), crossing.outcome()))
    assert outcomes[0] == outcomes[1]


def test_batches_do_arrive_together() -> None:
    """Else the test above would test single datagrams only."""
    with ExitStack() as stack:
        rig = Rig("fast", "ingress", stack)
        rig.peer.sendto(seal_data(ALIVE, 0), rig.address)
        rig.pump()
        batch = b"".join(seal_data(ALIVE, n) for n in range(1, 9))
        size = len(batch) // 8
        segmented = [(17, UDP_SEGMENT, struct.pack("=H", size))]
        rig.peer.sendmsg((batch,), segmented, 0, rig.address)
        ours = next(iter(rig.engine._sockets))._socket
        probe = ours.recvmsg(65535, 256, socket.MSG_PEEK)
        assert len(probe[0]) == len(batch)
        rig.pump()
        assert rig.packets() == [ALIVE] * 9
