"""The receiving pump, with a socket pair in place of the TUN device."""

import select
import socket
from collections.abc import Iterator

import pytest

from meshnode.codec import virtio
from meshnode.codec.forwarding import decode_command
from meshnode.codec.virtio import PLAIN
from meshnode.dataplane.engines import open_engine
from meshnode.dataplane.fast import ingress as fast
from meshnode.dataplane.interface import WorkerResources
from meshnode.dataplane.reference import ingress as reference
from meshnode.errors import DropReason
from meshnode.forwarding import (
    EndpointMoved,
    SessionConfirmed,
    SetEndpoint,
    SetIdentity,
    TrafficResumed,
)
from meshnode.types import Endpoint
from tests.inner_packets import ip_packet, tcp_packet
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    INDEX,
    SLOT,
    program,
    seal_data,
    session,
    start_session,
    traffic_memory,
)
from tests.unit.dataplane.test_gate import OURS, message

RECEIVES_PER_PUMP = {
    "reference": reference.RECEIVES_PER_PUMP,
    "fast": fast.BATCHES_PER_PUMP,
}
PACKET = ip_packet(4, 99, bytes(80))


class Rig:
    """An engine between a peer on loopback and a make-believe kernel."""

    def __init__(self, name: str) -> None:
        self.receives_per_pump = RECEIVES_PER_PUMP[name]
        kind = socket.SOCK_SEQPACKET
        device, self.kernel = socket.socketpair(socket.AF_UNIX, kind)
        self.kernel.setblocking(False)
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ours.bind(("127.0.0.1", 0))
        self.address = ours.getsockname()
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind(("127.0.0.1", 0))
        pairs = [socket.socketpair(socket.AF_UNIX, kind) for _ in range(2)]
        self.egress = [theirs for _, theirs in pairs]
        resources = WorkerResources(
            1,
            (device.detach(),),
            (ours,),
            traffic_memory()[0],
            roaming=tuple(ours for ours, _ in pairs),
        )
        self.engine = open_engine(name).ingress(resources)
        self.apply(*program(), *start_session(session()), SetIdentity(OURS))
        self.engine.reports()

    def apply(self, *commands) -> None:  # type: ignore[no-untyped-def]
        """Obey commands."""
        for command in commands:
            self.engine.apply(command, now=BORN_AT)

    def send(self, *datagrams: bytes) -> None:
        """Send datagrams as the peer."""
        for datagram in datagrams:
            self.peer.sendto(datagram, self.address)

    def pump(self) -> None:
        """Wait for a datagram and pump once."""
        [descriptor] = self.engine.descriptors()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        assert poller.poll(20_000)
        self.engine.pump(descriptor, now=BORN_AT)

    def frames(self) -> list[bytes]:
        """Return what was written to the device."""
        frames = []
        while True:
            try:
                frames.append(self.kernel.recv(70_000))
            except BlockingIOError:
                return frames


@pytest.fixture(params=RECEIVES_PER_PUMP)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """An engine with a session."""
    made = Rig(request.param)
    yield made
    made.engine.close()
    made.kernel.close()
    made.peer.close()
    for link in (*made.egress, *made.engine._roaming):
        link.close()


def test_a_lone_packet_is_not_held_back(rig: Rig) -> None:
    """One datagram, one pump, one frame; control hears where the peer is."""
    rig.send(seal_data(PACKET, 0))
    rig.pump()
    assert rig.frames() == [PLAIN + PACKET]
    reports = {type(report): report for report in rig.engine.reports()}
    assert set(reports) == {SessionConfirmed, TrafficResumed, EndpointMoved}
    moved = reports[EndpointMoved]
    assert isinstance(moved, EndpointMoved)
    assert moved.path.remote == Endpoint(*rig.peer.getsockname())
    assert reports[SessionConfirmed] == SessionConfirmed(SLOT, INDEX)


def test_every_egress_worker_hears_of_a_move(rig: Rig) -> None:
    """Before the packet is delivered: its answer may leave by any of them."""
    rig.send(seal_data(PACKET, 0))
    rig.pump()
    here = Endpoint(*rig.peer.getsockname())
    for link in rig.egress:
        move = decode_command(link.recv(9000))
        assert isinstance(move, SetEndpoint)
        assert move.slot == SLOT
        assert move.path is not None
        assert move.path.remote == here


def test_an_egress_worker_that_does_not_listen_stops_nobody(rig: Rig) -> None:
    """The others hear of a move, and the packet is delivered."""
    rig.egress[0].close()
    rig.send(seal_data(PACKET, 0))
    rig.pump()
    assert isinstance(decode_command(rig.egress[1].recv(9000)), SetEndpoint)
    assert rig.frames() == [PLAIN + PACKET]


def test_a_stream_is_packed_across_receives(rig: Rig) -> None:
    """Segments from single datagrams become one super-packet."""
    # A session's first packet may go alone: it has consequences.
    rig.send(seal_data(PACKET, 99))
    rig.pump()
    rig.frames()
    packets = [tcp_packet(4, bytes(500), sequence=500 * n, number=n) for n in range(8)]
    rig.send(*[seal_data(one, n) for n, one in enumerate(packets)])
    rig.pump()
    [frame] = rig.frames()
    assert virtio.segments(frame) == packets


def test_a_pump_is_bounded(rig: Rig) -> None:
    """Commands get their turn while datagrams wait."""
    # Sizes grow, so the kernel cannot merge the datagrams.
    count = rig.receives_per_pump + 1
    packets = [ip_packet(4, 99, bytes(n), number=n) for n in range(count)]
    for number, one in enumerate(packets):
        rig.send(seal_data(one, number))
    rig.pump()
    assert rig.frames() == [PLAIN + one for one in packets[:-1]]
    rig.pump()
    assert rig.frames() == [PLAIN + packets[-1]]


def test_handshakes_go_up_and_data_goes_on(rig: Rig) -> None:
    """Messages for control come out with the path they took."""
    rig.send(message(1), seal_data(PACKET, 0), b"noise")
    rig.pump()
    [datagram] = rig.engine.handshakes()
    assert datagram.data == message(1)
    assert datagram.path.remote == Endpoint(*rig.peer.getsockname())
    assert datagram.path.source is not None
    assert datagram.path.source.host == "127.0.0.1"
    assert rig.frames() == [PLAIN + PACKET]
    assert rig.engine.drops[DropReason.BAD_TYPE] == 1


def test_a_refused_frame_is_counted(rig: Rig) -> None:
    """A kernel that takes no frame costs the packet and nothing else."""
    rig.kernel.close()
    rig.send(seal_data(PACKET, 0))
    rig.pump()
    assert rig.engine.drops[DropReason.DEVICE_DOWN] == 1


def test_new_sockets_replace_the_old(rig: Rig) -> None:
    """After a change of port datagrams are taken from the new one."""
    fresh = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fresh.bind(("127.0.0.1", 0))
    rig.address = fresh.getsockname()
    rig.engine.use_sockets((fresh,))
    rig.send(seal_data(PACKET, 0))
    rig.pump()
    assert rig.frames() == [PLAIN + PACKET]
