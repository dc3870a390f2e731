"""By which socket a burst leaves, and what the paths of received ones say."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshnode.crypto.transport import Arena
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.reference.sockets import Sockets
from meshnode.dataplane.reference.udp import RECEIVE_BYTES
from meshnode.offloads import UNFORCED
from meshnode.types import Endpoint, Path, Source


def bound(host: str = "127.0.0.1") -> socket.socket:
    """Return a UDP socket on loopback."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(10)
    return sock


class Rig:
    """Three sockets of ours, two of them beside the node's own, and a peer."""

    def __init__(self, stack: ExitStack) -> None:
        ours = [bound() for _ in range(3)]
        self.ports = [sock.getsockname()[1] for sock in ours]
        self.peer = stack.enter_context(bound())
        self.remote = Endpoint(*self.peer.getsockname())
        self.sockets = Sockets(ours, UNFORCED)
        stack.callback(self.sockets.close)

    def source_of(self, path: Path) -> int:
        """Send by *path*; return the port that the peer sees."""
        assert self.sockets.send(Burst(path, 2, bytearray(b"hi"))) == 0
        return int(self.peer.recvfrom(100)[1][1])


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Sockets that are closed afterwards."""
    with ExitStack() as stack:
        yield Rig(stack)


def test_the_path_names_the_socket(rig: Rig) -> None:
    """Without a port, or with one that is gone, it is the node's own."""
    own, first, second = rig.ports
    assert rig.source_of(Path(rig.remote)) == own
    assert rig.source_of(Path(rig.remote, Source("127.0.0.1"))) == own
    for port in (first, second):
        assert rig.source_of(Path(rig.remote, Source("127.0.0.1", 0, port))) == port
    assert rig.source_of(Path(rig.remote, Source("127.0.0.1", 0, 1))) == own


def test_what_comes_says_by_which_socket(rig: Rig) -> None:
    """The node's own has no port there, for it may change."""
    arena = Arena(RECEIVE_BYTES)
    seen = []
    for sock, port in zip(rig.sockets, rig.ports, strict=True):
        rig.peer.sendto(b"hello", ("127.0.0.1", port))
        received = sock.receive_into(arena)
        assert received is not None
        path = sock.path_of(received[2])
        assert path.remote == rig.remote
        assert path.source is not None
        seen.append(path.source.port)
    assert seen == [0, *rig.ports[1:]]


def test_each_ip_version_has_its_own() -> None:
    """The first of each is the node's, in whatever order they come."""
    with bound("::1") as peer, bound() as four:
        remote = Endpoint(*peer.getsockname()[:2])
        sockets = Sockets((bound("::1"),), UNFORCED)
        own = sockets.own(6)
        assert own is not None
        assert own.port == 0
        assert sockets.own(4) is None
        assert sockets.send(Burst(Path(remote), 1, bytearray(b"x"))) == 0
        refused = Path(Endpoint(*four.getsockname()))
        assert sockets.send(Burst(refused, 1, bytearray(b"xyz"))) == 3
        sockets.close()
