"""Two hosts joined by four engines in one process, to be run in a namespace of its own.

Sockets and devices stay in the namespace they were made in, so one thread can make
the first host, move to another namespace and make the second.
"""

import os
import select
import socket

from meshnode.channels import endpoint_of
from meshnode.codec.virtio import HEADER, NEEDS_CSUM
from meshnode.errors import DropReason
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    InstallSession,
    OpenChannel,
    ProgramComplete,
    Reset,
    Session,
    SetEndpoint,
    SetLink,
    UseSession,
)
from meshnode.types import Endpoint, Path
from tests.unit.dataplane.reference.halves import PREFIXES
from tests.unit.dataplane.test_reference import (
    enter_namespace,
    make_engine,
    open_tun,
)

NOW = 10.0
KEYS = (bytes(range(32)), bytes(range(32, 64)))


def carry_stream(size: int) -> str:
    """Send *size* bytes of TCP through the tunnel; say how many came, if equal.

    Fails if the kernel's super-packets were not used, or anything was dropped.
    """
    sockets = [_bound() for _ in range(2)]
    paths = [_path_to(sock) for sock in sockets]
    return _carry(size, sockets, [[SetEndpoint(0, path)] for path in reversed(paths)])


def carry_stream_by_relay(size: int) -> str:
    """As `carry_stream`, but all goes over a third host's ingress engine."""
    sockets = [_bound() for _ in range(3)]
    paths = [_path_to(sock) for sock in sockets]
    ends = []
    for number in range(2):
        # Behind channel 11 or 12 is the other, which the relay knows as 21 or 22.
        opened = OpenChannel(11 + number, 1, 21 + number)
        behind = SetEndpoint(0, Path(endpoint_of(11 + number)))
        ends.append((AddPeer(1), SetEndpoint(1, paths[2]), opened, behind))
    relay = make_engine("ingress", open_tun("t2", "10.9.0.1/24"), sockets[2])
    peers = [AddPeer(number) for number in range(2)]
    places = [SetEndpoint(number, paths[number]) for number in range(2)]
    channels = OpenChannel(21, 0, 12, onward=1), OpenChannel(22, 1, 11, onward=0)
    for command in (Reset(1), SetLink(1420, True), *peers, *places, *channels):
        relay.apply(command, now=NOW)
    relay.apply(ProgramComplete(), now=NOW)
    outcome = _carry(size, sockets[:2], ends, relay)
    datagrams, octets = relay.relayed
    assert octets > size
    assert datagrams > size / 1420
    return outcome


def _carry(size, sockets, ways, *more):  # type: ignore[no-untyped-def]
    first = open_tun("t0", "10.0.0.1/24")
    listener = socket.create_server(("10.0.0.1", 80))
    engines = _host(first, sockets[0], ways[0], 0)
    enter_namespace()
    second = open_tun("t1", "10.0.0.2/24")
    client = socket.socket()
    client.setblocking(False)
    engines += [*_host(second, sockets[1], ways[1], 1), *more]
    data = os.urandom(size)
    received = _run(engines, client, listener, data)
    for engine in engines:
        drops = {r: n for r, n in engine.drops.items() if n}
        # The hosts' own multicast (router solicitations) has no route.
        assert set(drops) <= {DropReason.NO_ROUTE}, drops
    return f"{len(received)} {'equal' if received == data else 'different'}"


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def _path_to(sock: socket.socket) -> Path:
    return Path(Endpoint(*sock.getsockname()))


def _host(tun, ours, way, number):  # type: ignore[no-untyped-def]
    """Build both directions of a host that reaches its peer by *way*, commands."""
    session = Session(
        number + 1, 2 - number, KEYS[number], KEYS[1 - number], NOW, number == 0
    )
    commands = (
        Reset(1),
        SetLink(1420, True),
        AddPeer(0),
        *way,
        AddAllowedIps(0, PREFIXES),
        ProgramComplete(),
        InstallSession(0, session),
        UseSession(0, number + 1),
    )
    engines = [
        make_engine("egress", tun, ours),
        make_engine("ingress", os.dup(tun), ours.dup()),
    ]
    for engine in engines:
        for command in commands:
            engine.apply(command, now=NOW)
    return engines


def _run(engines, client, listener, data):  # type: ignore[no-untyped-def]
    """Pump everything until the stream has ended; return what the listener got."""
    poller = select.poll()
    by_descriptor = {}
    for engine in engines:
        for descriptor in engine.descriptors():
            by_descriptor[descriptor] = engine
            poller.register(descriptor, select.POLLIN)
    poller.register(listener, select.POLLIN)
    client.connect_ex(("10.0.0.1", 80))
    poller.register(client, select.POLLOUT)
    received, rest, server = bytearray(), memoryview(data), None
    # The client's egress and the listener's ingress.
    ends = engines[2], engines[1]
    # Only what the reference reads and writes passes where it can be counted.
    can_count = os.environ["ENGINE"] == "reference"
    for engine in ends if can_count else ():
        engine._device = _CountingDevice(engine._device)
    if can_count:
        ends[0]._queues = {ends[0]._device.fileno(): ends[0]._device}
    while True:
        ready = poller.poll(10_000)
        assert ready, "the stream has stalled"
        for descriptor, _ in ready:
            if descriptor in by_descriptor:
                by_descriptor[descriptor].pump(descriptor, now=NOW)
            elif descriptor == listener.fileno():
                server = listener.accept()[0]
                poller.register(server, select.POLLIN)
            elif descriptor == client.fileno():
                rest = rest[client.send(rest) :]
                if not rest:
                    poller.unregister(client)
                    client.shutdown(socket.SHUT_WR)
            elif server is not None:
                block = server.recv(1 << 16)
                if not block:
                    for engine in ends if can_count else ():
                        assert engine._device.super_packets
                    return received
                received += block


class _CountingDevice:
    """A TUN device that counts the super-packets it reads and writes."""

    def __init__(self, device):  # type: ignore[no-untyped-def]
        self._device = device
        self.fileno, self.close = device.fileno, device.close
        self.super_packets = 0

    def read(self):  # type: ignore[no-untyped-def]
        """Read a frame."""
        frame = self._device.read()
        if frame is not None:
            self._count(frame)
        return frame

    def write(self, frame):  # type: ignore[no-untyped-def]
        """Write a frame."""
        self._count(frame[0])
        return self._device.write(frame)

    def _count(self, header):  # type: ignore[no-untyped-def]
        flags, kind = HEADER.unpack_from(header)[:2]
        self.super_packets += flags == NEEDS_CSUM and kind != 0
