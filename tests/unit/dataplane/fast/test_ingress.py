"""What only the fast way in has: which batches it takes, and which it leaves."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshnode.codec import virtio
from meshnode.dataplane.fast import ingress
from meshnode.errors import DropReason
from meshnode.forwarding import (
    AddPeer,
    ControlReceived,
    RemovePeer,
    SetEndpoint,
    SetLink,
    ShareOfPrefix,
    SharePrefix,
)
from meshnode.types import Endpoint, Path, Prefix
from tests.inner_packets import ip_packet, tcp_packet, udp_packet
from tests.property.test_engines_agree import Rig
from tests.unit.dataplane.reference.halves import INDEX, SLOT, seal_data

OTHER = SLOT + 1
PACKET = ip_packet(4, 99, bytes(40))


class Receiving(Rig):
    """A rig whose peer has been heard once, so that nothing new happens any more."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__("fast", "ingress", stack)
        self.counter = 0
        self.receive(PACKET)
        assert self.packets() == [PACKET]
        self.engine.reports()

    def receive(self, *packets: bytes) -> None:
        """Let the peer send these, and pump."""
        for packet in packets:
            self.send(seal_data(packet, self.counter))
            self.counter += 1
        self.pump()

    def send(self, datagram: bytes) -> None:
        """Send a datagram as the peer."""
        self.peer.sendto(datagram, self.address)


@pytest.fixture
def exceptions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note when the reference handles a batch."""
    noted: list[float] = []
    original = ingress.FastIngress._receive_exception

    def note(self: ingress.FastIngress, now: float) -> None:
        noted.append(now)
        original(self, now)

    monkeypatch.setattr(ingress.FastIngress, "_receive_exception", note)
    return noted


@pytest.fixture
def rig(exceptions: list[float]) -> Iterator[Receiving]:
    """An engine with a session in use."""
    with ExitStack() as stack:
        made = Receiving(stack)
        exceptions.clear()
        yield made


def test_the_usual_batch_meets_no_python(
    rig: Receiving, exceptions: list[float]
) -> None:
    """Data of both versions, and keepalives."""
    packets = [udp_packet(version, b"hello") for version in (4, 6)]
    rig.receive(packets[0], b"", packets[1])
    assert rig.packets() == packets
    assert exceptions == []
    rig.engine.reports()
    assert rig.view.read(SLOT).received_packets == 4


def test_consecutive_segments_are_written_as_one(rig: Receiving) -> None:
    """One frame; the kernel will see one packet of 20,000 bytes."""
    packets = [
        tcp_packet(4, bytes(1000), sequence=1000 * n, number=n) for n in range(20)
    ]
    rig.receive(*packets)
    frame = rig.kernel.recv(70_000)
    assert len(frame) == 10 + 40 + 20_000
    assert virtio.segments(frame) == packets


def test_a_bad_checksum_is_not_hidden(rig: Receiving) -> None:
    """A packet whose payload was damaged before it was sealed goes alone, as it is."""
    packets = [
        bytearray(tcp_packet(4, bytes(100), sequence=100 * n, number=n))
        for n in range(5)
    ]
    packets[2][60] ^= 1
    rig.receive(*[bytes(one) for one in packets])
    assert rig.packets() == packets


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\4\0\0\0",
        seal_data(PACKET, 1)[:31],
        seal_data(PACKET, 1, index=INDEX + 1),
        bytes((4, 0, 0, 1)) + seal_data(PACKET, 1)[4:],
        bytes((1, 0, 0, 0)) + bytes(144),
        bytes((9, 0, 0, 0)) + bytes(100),
    ],
)
def test_anything_else_is_left_to_the_reference(
    rig: Receiving, exceptions: list[float], datagram: bytes
) -> None:
    """It counts it, or passes it up; the next packet comes through."""
    rig.send(datagram)
    rig.receive(PACKET)
    assert rig.packets() == [PACKET]
    assert len(exceptions) == 1


def test_from_another_place_it_is_left_to_the_reference(
    rig: Receiving, exceptions: list[float]
) -> None:
    """Which follows the peer there, and then it is usual again."""
    rig.apply(SetEndpoint(SLOT, Path(Endpoint("192.0.2.9", 9))))
    rig.receive(PACKET)
    assert len(exceptions) == 1
    rig.receive(PACKET)
    assert len(exceptions) == 1
    assert rig.packets() == [PACKET, PACKET]


def test_a_replayed_flood_is_dropped_without_python(
    rig: Receiving, exceptions: list[float]
) -> None:
    """As are forgeries from where the peer is."""
    again = seal_data(PACKET, 0)
    forged = seal_data(PACKET, 50)[:-1] + b"\0"
    for _ in range(10):
        rig.send(again)
        rig.send(forged)
    rig.pump()
    assert rig.engine.drops[DropReason.REPLAY] == 10
    assert rig.engine.drops[DropReason.BAD_TAG] == 10
    assert exceptions == []


def test_control_frames_reach_control(rig: Receiving, exceptions: list[float]) -> None:
    """Among data, with their padding."""
    frame = b"\1\2\0ab"
    rig.receive(PACKET, frame + bytes(11), PACKET)
    assert rig.packets() == [PACKET, PACKET]
    path = rig.engine._half.table.peers[SLOT].path
    assert ControlReceived(SLOT, frame + bytes(11), 0, path) in rig.engine.reports()
    assert exceptions == []


def test_a_probe_reaches_control_without_what_fills_it_up(
    rig: Receiving, exceptions: list[float]
) -> None:
    """Among data, with its whole size; the compiled way keeps its beginning only."""
    frame = b"\1\2\0ab"
    rig.receive(PACKET, frame + bytes(8915), PACKET)
    assert rig.packets() == [PACKET, PACKET]
    path = rig.engine._half.table.peers[SLOT].path
    assert ControlReceived(SLOT, frame, 8915, path) in rig.engine.reports()
    assert exceptions == []


def test_a_source_must_be_the_peers(rig: Receiving) -> None:
    """Or be shared with it."""
    prefix = Prefix.parse("10.0.0.1/32")
    owner = ShareOfPrefix(OTHER, 1)
    rig.apply(AddPeer(OTHER), SharePrefix(prefix, (owner,), (OTHER,)))
    rig.receive(PACKET)
    assert rig.packets() == []
    assert rig.engine.drops[DropReason.BAD_SOURCE] == 1
    rig.apply(SharePrefix(prefix, (owner,), (SLOT, OTHER)))
    rig.receive(PACKET)
    assert rig.packets() == [PACKET]
    rig.apply(RemovePeer(OTHER))
    rig.receive(PACKET)
    assert len(rig.packets()) in (0, 1)


def test_nothing_is_opened_while_the_link_is_down(rig: Receiving) -> None:
    """It is counted, and comes through again afterwards."""
    rig.apply(SetLink(1420, False))
    rig.receive(PACKET)
    assert rig.packets() == []
    assert rig.engine.drops[DropReason.DEVICE_DOWN] == 1
    rig.apply(SetLink(1420, True))
    rig.receive(PACKET)
    assert rig.packets() == [PACKET]


def test_a_removed_peer_is_unknown(rig: Receiving) -> None:
    """Its sessions are gone with it."""
    rig.apply(RemovePeer(SLOT))
    rig.receive(PACKET, PACKET)
    assert rig.packets() == []
    assert rig.engine.drops[DropReason.UNKNOWN_INDEX] == 2


def test_the_host_may_refuse_frames(rig: Receiving) -> None:
    """A device that is gone to everybody else costs the packet and nothing more."""
    rig.kernel.close()
    rig.receive(PACKET)
    assert rig.engine.drops[DropReason.DEVICE_DOWN] == 1
