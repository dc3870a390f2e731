"""The sending pump of each engine, with a socket pair in place of the TUN device."""

import socket
from collections.abc import Iterator

import pytest

from meshnode.codec.virtio import PLAIN
from meshnode.dataplane.engines import open_engine
from meshnode.dataplane.fast import egress as fast
from meshnode.dataplane.interface import WorkerResources
from meshnode.dataplane.reference import egress as reference
from meshnode.errors import DropReason
from meshnode.forwarding import NeedSession, SendKeepalive, SetEndpoint, UseSession
from meshnode.types import Endpoint, Path
from tests.inner_packets import ip_packet
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    INDEX,
    SLOT,
    open_data,
    program,
    session,
    start_session,
    traffic_memory,
)

FRAMES_PER_PUMP = {
    "reference": reference.FRAMES_PER_PUMP,
    "fast": fast.FRAMES_PER_PUMP,
}
PACKET = ip_packet(4, 99, bytes(80))


class Rig:
    """An engine between a make-believe kernel and a peer on loopback."""

    def __init__(self, name: str) -> None:
        self.frames_per_pump = FRAMES_PER_PUMP[name]
        device, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind(("127.0.0.1", 0))
        self.peer.settimeout(20)
        self.kernel.setblocking(False)
        resources = WorkerResources(1, (device.detach(),), (ours,), traffic_memory()[0])
        self.engine = open_engine(name).egress(resources)
        self.path = Path(Endpoint(*self.peer.getsockname()))
        self.apply(*program(path=self.path))
        self.engine.reports()

    def apply(self, *commands) -> None:  # type: ignore[no-untyped-def]
        """Obey commands."""
        for command in commands:
            self.engine.apply(command, now=BORN_AT)

    def pump(self) -> None:
        """Pump once."""
        [descriptor] = self.engine.descriptors()
        self.engine.pump(descriptor, now=BORN_AT)

    def next_datagram(self) -> tuple[int, bytes]:
        """Wait for what the peer gets; return counter and plaintext."""
        return open_data(self.peer.recv(2000))


@pytest.fixture(params=FRAMES_PER_PUMP)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """An engine without a session."""
    made = Rig(request.param)
    yield made
    made.engine.close()
    made.kernel.close()
    made.peer.close()


def test_a_lone_packet_is_not_held_back(rig: Rig) -> None:
    """One frame, one pump, one datagram."""
    rig.apply(*start_session(session()))
    rig.kernel.send(PLAIN + PACKET)
    rig.pump()
    assert rig.next_datagram() == (0, PACKET + bytes(12))


def test_a_pump_is_bounded(rig: Rig) -> None:
    """Commands get their turn while the device is full."""
    rig.apply(*start_session(session()))
    most = rig.frames_per_pump
    for _ in range(most + 1):
        rig.kernel.send(PLAIN + PACKET)
    rig.pump()
    counters = [rig.next_datagram()[0] for _ in range(most)]
    assert counters == list(range(most))
    rig.peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        rig.peer.recv(2000)
    rig.pump()
    assert rig.next_datagram()[0] == most


def test_an_idle_pump_does_nothing(rig: Rig) -> None:
    """Without a frame nothing is sent or reported."""
    rig.pump()
    assert rig.engine.reports() == []


def test_commands_send_at_once(rig: Rig) -> None:
    """Staged packets and keepalives need no frame from the device to go."""
    rig.kernel.send(PLAIN + PACKET)
    rig.pump()
    assert NeedSession(SLOT) in rig.engine.reports()
    rig.apply(*start_session(session()))
    assert rig.next_datagram() == (0, PACKET + bytes(12))
    rig.apply(UseSession(SLOT, INDEX), SendKeepalive(SLOT))
    assert rig.next_datagram() == (1, b"")


def test_the_host_hears_of_unreachable_destinations(rig: Rig) -> None:
    """The ICMP error goes back into the device."""
    rig.apply(SetEndpoint(SLOT, None))
    rig.kernel.send(PLAIN + PACKET)
    rig.pump()
    frame = rig.kernel.recv(2000)
    assert frame[: len(PLAIN)] == PLAIN
    assert frame[len(PLAIN) + 20 :][:2] == b"\x03\x01"


def test_a_version_without_a_socket_is_counted(rig: Rig) -> None:
    """A host without IPv6 cannot reach an IPv6 peer; nothing else suffers."""
    rig.apply(SetEndpoint(SLOT, Path(Endpoint("2001:db8::1", 9))))
    rig.apply(*start_session(session()))
    rig.kernel.send(PLAIN + PACKET)
    rig.pump()
    assert rig.engine.drops[DropReason.SEND_ERROR] == 1
    rig.apply(SetEndpoint(SLOT, rig.path))
    rig.kernel.send(PLAIN + PACKET)
    rig.pump()
    assert rig.next_datagram()[0] == 1


def test_new_sockets_replace_the_old(rig: Rig) -> None:
    """After a change of port datagrams leave by the new one."""
    rig.apply(*start_session(session()))
    fresh = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fresh.bind(("127.0.0.1", 0))
    port = fresh.getsockname()[1]
    rig.engine.use_sockets((fresh,))
    rig.kernel.send(PLAIN + PACKET)
    rig.pump()
    assert rig.peer.recvfrom(2000)[1] == ("127.0.0.1", port)
