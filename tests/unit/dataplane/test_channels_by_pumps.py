"""Relay channels, standby paths and sockets beside the node's own, on both engines."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec import virtio
from meshnode.codec.channels import encode_header
from meshnode.errors import DropReason
from meshnode.forwarding import (
    AddPeer,
    ControlReceived,
    EndpointMoved,
    OpenChannel,
    PathHeard,
    SetEndpoint,
    SetStandby,
)
from meshnode.types import Endpoint, Path, Source
from tests.inner_packets import ip_packet, tcp_packet
from tests.property.test_engines_agree import ENGINES, Rig
from tests.unit.dataplane.reference.halves import SLOT, open_data, seal_data

RELAY, NEXT = SLOT + 1, SLOT + 2
PACKET = ip_packet(4, 99, bytes(80))
SEALED_SIZE = len(seal_data(PACKET, 0))
BEHIND = Path(endpoint_of(7))
LONG = virtio.HEADER.pack(
    virtio.NEEDS_CSUM, virtio.GSO_TCPV4, 0, 1000, 20, 16
) + tcp_packet(4, bytes(range(250)) * 48)


class Relayed(Rig):
    """A rig with two more peers: a relay, and one to which we relay."""

    def __init__(
        self, name: str, role: str, stack: ExitStack, tap: memoryview | None = None
    ) -> None:
        super().__init__(name, role, stack, tap=tap)
        self.relay, self.next = (self.bound(stack) for _ in range(2))
        self.apply(AddPeer(RELAY), SetEndpoint(RELAY, place(self.relay)))
        self.apply(AddPeer(NEXT), SetEndpoint(NEXT, place(self.next)))
        self.apply(OpenChannel(7, RELAY, 70), OpenChannel(8, RELAY, 80, NEXT))

    def bound(self, stack: ExitStack) -> socket.socket:
        """Return a socket of somebody else."""
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        return sock

    def drops(self) -> dict[DropReason, int]:
        """Return the drop counters that are not 0."""
        return {reason: n for reason, n in self.engine.drops.items() if n}


def place(sock: socket.socket) -> Path:
    """Return the path to a socket."""
    return Path(Endpoint(*sock.getsockname()))


def got(sock: socket.socket) -> list[bytes]:
    """Return what came to a socket."""
    found = []
    while True:
        try:
            found.append(sock.recv(70_000))
        except BlockingIOError:
            return found


@pytest.fixture(params=ENGINES)
def egress(request: pytest.FixtureRequest) -> Iterator[Relayed]:
    """The sending direction."""
    with ExitStack() as stack:
        yield Relayed(request.param, "egress", stack)


@pytest.fixture(params=ENGINES)
def ingress(request: pytest.FixtureRequest) -> Iterator[Relayed]:
    """The receiving direction."""
    with ExitStack() as stack:
        yield Relayed(request.param, "ingress", stack)


def test_packets_for_a_channel_go_to_the_relay(egress: Relayed) -> None:
    """Before and after it they go to the peer itself, with counters that go on."""
    for path in (egress.path, BEHIND, egress.path):
        egress.apply(SetEndpoint(SLOT, path))
        egress.kernel.send(LONG)
        egress.pump()
    direct, relayed = egress.datagrams(), got(egress.relay)
    header = encode_header(70)
    assert all(one.startswith(header) for one in relayed)
    opened = [open_data(one) for one in direct]
    opened[12:12] = [open_data(one[8:]) for one in relayed]
    assert [counter for counter, _ in opened] == list(range(36))
    packets = virtio.segments(LONG) * 3
    for packet, (_, plain) in zip(packets, opened, strict=True):
        assert plain[: len(packet)] == packet
    assert egress.drops() == {}


def test_packets_are_doubled_while_there_is_a_standby_path(egress: Relayed) -> None:
    """The same datagrams, by the relay too."""
    for standby in (BEHIND, None):
        egress.apply(SetStandby(SLOT, standby))
        egress.kernel.send(LONG)
        egress.pump()
    direct, relayed = egress.datagrams(), got(egress.relay)
    assert len(direct) == 24
    assert [one[8:] for one in relayed] == direct[:12]
    assert egress.view.read(SLOT).sent_packets == 24


def test_a_channel_that_loses_its_relay_leads_nowhere(egress: Relayed) -> None:
    """Until the relay is somewhere again."""
    egress.apply(SetEndpoint(SLOT, BEHIND), SetEndpoint(RELAY, None))
    egress.kernel.send(virtio.PLAIN + PACKET)
    egress.pump()
    assert egress.drops() == {DropReason.NO_ENDPOINT: 1}
    egress.apply(SetEndpoint(RELAY, place(egress.relay)))
    egress.kernel.send(virtio.PLAIN + PACKET)
    egress.pump()
    assert len(got(egress.relay)) == 1


def test_a_path_may_name_a_socket_beside_the_own(egress: Relayed) -> None:
    """Packets leave by it, and by the node's own once it is gone."""
    ours = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for sock in ours:
        sock.bind(("127.0.0.1", 0))
    own, beside = (sock.getsockname()[1] for sock in ours)
    again = ours[0].dup()
    egress.engine.use_sockets(ours)
    path = Path(egress.path.remote, Source("127.0.0.1", 0, beside))
    for sockets, wanted in (((), beside), ((again,), own)):
        if sockets:
            egress.engine.use_sockets(sockets)
        egress.apply(SetEndpoint(SLOT, path))
        egress.kernel.send(virtio.PLAIN + PACKET)
        egress.pump()
        data, address = egress.peer.recvfrom(2000)
        assert open_data(data)[1] == PACKET + bytes(-len(PACKET) % 16)
        assert address[1] == wanted


def test_what_ends_here_is_delivered(ingress: Relayed) -> None:
    """Among data that comes directly; the peer stays where it is."""
    ingress.peer.sendto(seal_data(PACKET, 0), ingress.address)
    ingress.pump()
    ingress.engine.reports()
    for counter in range(1, 9, 2):
        inner = seal_data(PACKET, counter)
        ingress.relay.sendto(encode_header(7) + inner, ingress.address)
        ingress.peer.sendto(seal_data(PACKET, counter + 1), ingress.address)
        ingress.pump()
    assert ingress.packets() == [PACKET] * 9
    told = [r for r in ingress.engine.reports() if not isinstance(r, ControlReceived)]
    assert told == [PathHeard(SLOT, BEHIND)]
    assert ingress.view.read(SLOT).received_bytes == 9 * SEALED_SIZE


def test_a_peer_behind_a_channel_stays_there(ingress: Relayed) -> None:
    """What comes directly is heard, and delivered too."""
    ingress.apply(SetEndpoint(SLOT, BEHIND))
    for counter in range(0, 6, 2):
        inner = seal_data(PACKET, counter)
        ingress.relay.sendto(encode_header(7) + inner, ingress.address)
        ingress.peer.sendto(seal_data(PACKET, counter + 1), ingress.address)
        ingress.pump()
    assert ingress.packets() == [PACKET] * 6
    reports = ingress.engine.reports()
    [heard] = [report for report in reports if isinstance(report, PathHeard)]
    assert heard.path.remote == ingress.path.remote
    assert not [report for report in reports if isinstance(report, EndpointMoved)]


def test_frames_say_by_which_path_they_came(ingress: Relayed) -> None:
    """In whatever order they come, within one pump."""
    ingress.peer.sendto(seal_data(PACKET, 0), ingress.address)
    ingress.pump()
    ingress.engine.reports()
    frame = b"\1\2\0ab"
    wanted = []
    for counter in range(1, 9, 2):
        ingress.peer.sendto(seal_data(frame, counter), ingress.address)
        inner = seal_data(frame, counter + 1)
        ingress.relay.sendto(encode_header(7) + inner, ingress.address)
        wanted += [ingress.path.remote, BEHIND.remote]
    ingress.pump()
    frames = [r for r in ingress.engine.reports() if isinstance(r, ControlReceived)]
    paths = [one.path for one in frames if one.path is not None]
    assert sorted(map(str, [path.remote for path in paths])) == sorted(map(str, wanted))


def test_others_datagrams_go_on(ingress: Relayed) -> None:
    """In order, each once, and nothing to anybody else; they are counted."""
    contents = [bytes((4, 0, 0, 0)) + bytes((n,)) * 996 for n in range(40)]
    for content in contents:
        ingress.relay.sendto(encode_header(8) + content, ingress.address)
    ingress.pump()
    assert got(ingress.next) == [encode_header(80) + one for one in contents]
    assert ingress.engine.relayed == (40, 40 * 1008)
    assert ingress.packets() == []
    assert ingress.drops() == {}
    assert got(ingress.relay) == got(ingress.peer) == []


def test_a_segmented_send_goes_on_whole(ingress: Relayed) -> None:
    """What one send brought is forwarded by one, where the kernel coalesces."""
    contents = [bytes((4, 0, 0, 0)) + bytes((n,)) * 988 for n in range(40)]
    data = b"".join(encode_header(8) + content for content in contents)
    segment = [(17, 103, (1000).to_bytes(2, "little"))]
    ingress.relay.sendmsg((data,), segment, 0, ingress.address)
    ingress.pump()
    assert got(ingress.next) == [encode_header(80) + one for one in contents]
    assert ingress.engine.relayed == (40, 40_000)


def test_nobody_else_can_use_a_channel(ingress: Relayed) -> None:
    """Not the peer that it leads to, nor one that has none, nor by another number."""
    for sock in (ingress.peer, ingress.next):
        sock.sendto(encode_header(8) + bytes(40), ingress.address)
    ingress.relay.sendto(encode_header(9) + bytes(40), ingress.address)
    ingress.pump()
    assert ingress.drops() == {
        DropReason.CHANNEL_SOURCE: 2,
        DropReason.UNKNOWN_CHANNEL: 1,
    }
    assert got(ingress.next) == got(ingress.relay) == got(ingress.peer) == []


def test_a_socket_beside_the_own_tells_its_port(ingress: Relayed) -> None:
    """Whoever comes by it is answered by it; by the own one it moves back."""
    ours = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for sock in ours:
        sock.bind(("127.0.0.1", 0))
    addresses = [sock.getsockname() for sock in ours]
    ingress.engine.use_sockets(ours)
    ports = []
    for counter, address in enumerate(addresses + addresses):
        ingress.peer.sendto(seal_data(PACKET, counter), address)
        ingress.pump()
        for report in ingress.engine.reports():
            if isinstance(report, EndpointMoved):
                assert report.path.source is not None
                ports.append(report.path.source.port)
    assert ports == [0, addresses[1][1]] * 2
    assert ingress.packets() == [PACKET] * 4
