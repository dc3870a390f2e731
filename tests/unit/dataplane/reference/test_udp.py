"""UDP sockets over loopback: segments, local addresses, and refused sends."""

import errno
import logging
import select
import socket
from collections.abc import Callable, Iterator

import pytest

from meshnode.crypto.transport import Arena
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.reference import udp
from meshnode.dataplane.reference.udp import RECEIVE_BYTES, UdpSocket
from meshnode.offloads import Offloads
from meshnode.types import Endpoint, Path, Source

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

Refuse = Callable[[bytes, list[tuple[int, int, bytes]]], int]


class ChoosySocket(socket.socket):
    """A socket whose sends fail as a test wants."""

    refuse: Refuse = staticmethod(lambda data, ancillary: 0)
    sends = 0

    def sendmsg(self, buffers, ancillary=(), flags=0, address=None):  # type: ignore[no-untyped-def,override]
        """Fail with the error number the test gives, else send."""
        self.sends += 1
        code = self.refuse(bytes(buffers[0]), list(ancillary))
        if code:
            raise OSError(code, "refused")
        return super().sendmsg(buffers, ancillary, flags, address)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Sockets to be closed at the end."""
    sockets: list[socket.socket] = []
    yield sockets
    for one in sockets:
        one.close()


def bind(opened: list[socket.socket], version: int) -> ChoosySocket:
    """Bind a socket to the loopback address."""
    sock = ChoosySocket(FAMILY[version], socket.SOCK_DGRAM)
    opened.append(sock)
    sock.bind((LOOPBACK[version], 0))
    return sock


def path_to(sock: socket.socket, source: Source | None = None) -> Path:
    """Return the path that leads to *sock*."""
    host, port = sock.getsockname()[:2]
    return Path(Endpoint(host, port), source)


def receive(sock: UdpSocket, arena: Arena) -> list[tuple[bytes, Path]]:
    """Receive until nothing waits; return datagrams and where they came from."""
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN)
    datagrams = []
    while poller.poll(100 if datagrams else 5000):
        received = sock.receive_into(arena)
        assert received is not None
        length, size, origin = received
        path = sock.path_of(origin)
        data = bytes(arena.data[:length])
        datagrams += [(data[at : at + size], path) for at in range(0, length, size)]
    return datagrams


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("sizes", [(1452,) * 45, (1452, 1452, 80), (32,), (48,) * 64])
def test_a_burst_arrives_as_datagrams(
    opened: list[socket.socket], version: int, sizes: tuple[int, ...]
) -> None:
    """What one call sent arrives in order, with the sender and our local address."""
    sender, receiver = bind(opened, version), bind(opened, version)
    to, back = UdpSocket(receiver), UdpSocket(sender)
    datagrams = [bytes((number,)) * size for number, size in enumerate(sizes)]
    burst = Burst(path_to(receiver), sizes[0], bytearray(b"".join(datagrams)))
    assert back.send(burst) == 0
    assert sender.sends == 1
    received = receive(to, Arena(RECEIVE_BYTES))
    assert [data for data, _ in received] == datagrams
    for _, path in received:
        assert path.remote == path_to(sender).remote
        assert path.source is not None
        assert path.source.host == LOOPBACK[version]
    assert len({id(path) for _, path in received}) == 1
    assert to.receive_into(Arena(RECEIVE_BYTES)) is None


@pytest.mark.parametrize("version", [4, 6])
def test_the_local_address_is_kept(opened: list[socket.socket], version: int) -> None:
    """A source that exists is used, whatever the route would choose."""
    receiver = UdpSocket(bind(opened, version))
    sock = socket.socket(FAMILY[version], socket.SOCK_DGRAM)
    opened.append(sock)
    local = "127.0.0.77" if version == 4 else "::1"
    path = path_to(opened[0], Source(local))
    assert UdpSocket(sock).send(Burst(path, 40, bytearray(40))) == 0
    [(_, came_by)] = receive(receiver, Arena(RECEIVE_BYTES))
    assert came_by.remote.host == local


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("version", "gone"), [(4, "192.0.2.55"), (6, "2001:db8::55")])
def test_a_lost_local_address_is_no_error(
    opened: list[socket.socket], version: int, gone: str, count: int
) -> None:
    """If the address has gone, the datagrams leave from another."""
    sender, receiver = bind(opened, version), UdpSocket(bind(opened, version))
    path = path_to(opened[1], Source(gone, 0))
    assert UdpSocket(sender).send(Burst(path, 40, bytearray(40 * count))) == 0
    assert len(receive(receiver, Arena(RECEIVE_BYTES))) == count


def burst_to(receiver: socket.socket) -> Burst:
    """Build a burst of three datagrams."""
    return Burst(path_to(receiver), 100, bytearray(250))


def fails_if_segmented(code: int) -> Refuse:
    """Make a rule that refuses calls with several datagrams."""
    return lambda data, ancillary: code if len(data) > 100 else 0


def test_without_segmentation_datagrams_go_alone(
    opened: list[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    """A device that cannot segment is found out once, and said once."""
    sender, receiver = bind(opened, 4), UdpSocket(bind(opened, 4))
    sender.refuse = fails_if_segmented(errno.EIO)
    sock = UdpSocket(sender)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert sock.send(burst_to(opened[1])) == 0
    assert sender.sends == 1 + 3 + 3
    assert len(caplog.records) == 1
    received = receive(receiver, Arena(RECEIVE_BYTES))
    assert [len(data) for data, _ in received] == [100, 100, 50] * 2


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EMSGSIZE])
def test_a_narrow_path_does_not_end_segmentation(
    opened: list[socket.socket], code: int
) -> None:
    """Segments too large for one path go alone; the next burst is tried again."""
    sender, receiver = bind(opened, 4), UdpSocket(bind(opened, 4))
    sender.refuse = fails_if_segmented(code)
    sock = UdpSocket(sender)
    assert sock.send(burst_to(opened[1])) == 0
    # An EINVAL may be for the shorter tail; so the others are tried without it.
    tries = 2 if code == errno.EINVAL else 1
    assert sender.sends == tries + 3
    assert sock.segmentation.state == "full"
    sender.refuse = lambda data, ancillary: 0
    assert sock.send(burst_to(opened[1])) == 0
    assert sender.sends == tries + 4
    assert len(receive(receiver, Arena(RECEIVE_BYTES))) == 6


def refuses_short_tails(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> int:
    """Refuse calls whose last datagram is shorter than 100 bytes."""
    return errno.EINVAL if len(data) > 100 and len(data) % 100 else 0


def test_short_tails_go_apart_once_they_were_refused(
    opened: list[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    """The rest stays together, nothing is lost, and it is said once."""
    sender, receiver = bind(opened, 4), UdpSocket(bind(opened, 4))
    sender.refuse = refuses_short_tails
    sock = UdpSocket(sender)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert sock.send(burst_to(opened[1])) == 0
    assert sock.segmentation.state == "whole"
    assert sender.sends == 3 + 2
    assert len(caplog.records) == 1
    received = receive(receiver, Arena(RECEIVE_BYTES))
    assert [len(data) for data, _ in received] == [100, 100, 50] * 2


def test_two_datagrams_alone_prove_nothing(opened: list[socket.socket]) -> None:
    """Without its tail one is left, which any kernel takes."""
    sender, receiver = bind(opened, 4), UdpSocket(bind(opened, 4))
    sender.refuse = refuses_short_tails
    sock = UdpSocket(sender)
    assert sock.send(Burst(path_to(opened[1]), 100, bytearray(150))) == 0
    assert sock.segmentation.state == "full"
    assert len(receive(receiver, Arena(RECEIVE_BYTES))) == 2


@pytest.mark.parametrize("version", [4, 6])
def test_a_probe_goes_whole_or_not_at_all(
    opened: list[socket.socket], version: int
) -> None:
    """And leaves the socket as it was; one that is too large is no error to count."""
    sender, receiver = bind(opened, version), bind(opened, version)
    level, option = udp._DISCOVER[version]
    sock = UdpSocket(sender)
    seen: list[tuple[int, bool]] = []

    def refuse(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> int:
        never_split = (socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, udp._INT.pack(1))
        seen.append((sender.getsockopt(level, option), never_split in ancillary))
        return errno.EMSGSIZE if len(data) > 9000 else 0

    sender.refuse = refuse
    before = sender.getsockopt(level, option)
    for size in (8952, 9001):
        data = bytearray(size)
        assert sock.send(Burst(path_to(receiver), size, data, is_probe=True)) == 0
        assert sender.getsockopt(level, option) == before
    assert seen == [(3, version == 6)] * 2
    [(data, _)] = receive(UdpSocket(receiver), Arena(RECEIVE_BYTES))
    assert len(data) == 8952
    sender.refuse = lambda data, ancillary: errno.EPERM
    assert sock.send(Burst(path_to(receiver), 9, bytearray(9), is_probe=True)) == 1
    assert sender.getsockopt(level, option) == before


def test_a_lost_source_lowers_nothing(opened: list[socket.socket]) -> None:
    """IPv6 says EINVAL for it, even of a burst with a short tail."""
    sender, receiver = bind(opened, 6), UdpSocket(bind(opened, 6))
    path = path_to(opened[1], Source("2001:db8::55", 0))
    sock = UdpSocket(sender)
    assert sock.send(Burst(path, 100, bytearray(250))) == 0
    assert sock.segmentation.state == "full"
    assert sender.sends == 2
    assert len(receive(receiver, Arena(RECEIVE_BYTES))) == 3


@pytest.mark.parametrize(("setting", "sends"), [("auto", 1), ("whole", 2), ("off", 3)])
def test_segmentation_can_be_limited(
    opened: list[socket.socket], setting: str, sends: int
) -> None:
    """The same datagrams leave, by more calls."""
    sender, receiver = bind(opened, 4), UdpSocket(bind(opened, 4))
    sock = UdpSocket(sender, Offloads(udp_segmentation=setting))
    assert sock.send(burst_to(opened[1])) == 0
    assert sender.sends == sends
    received = receive(receiver, Arena(RECEIVE_BYTES))
    assert [len(data) for data, _ in received] == [100, 100, 50]


@pytest.mark.parametrize("version", [4, 6])
def test_coalescing_can_be_off(opened: list[socket.socket], version: int) -> None:
    """Though the socket had it on: each datagram is received for itself."""
    sender, receiver = bind(opened, version), bind(opened, version)
    UdpSocket(receiver)
    to = UdpSocket(receiver, Offloads(udp_coalescing="off"))
    burst = Burst(path_to(receiver), 100, bytearray(250))
    assert UdpSocket(sender).send(burst) == 0
    sizes = []
    arena = Arena(RECEIVE_BYTES)
    poller = select.poll()
    poller.register(receiver, select.POLLIN)
    while len(sizes) < 3 and poller.poll(5000):
        found = to.receive_into(arena)
        assert found is not None
        sizes.append(found[:2])
    assert sizes == [(100, 100), (100, 100), (50, 50)]
    assert to.coalescing.state == "off"


def test_a_kernel_without_coalescing_is_no_surprise(
    opened: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is off, and nothing was lowered."""
    sock = bind(opened, 4)

    def refuse(level: int, option: int, value: int) -> None:
        if level == socket.IPPROTO_UDP:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr(sock, "setsockopt", refuse)
    with caplog.at_level(logging.WARNING):
        coalescing = UdpSocket(sock).coalescing
    assert (coalescing.state, coalescing.lowered) == ("off", 0)
    assert caplog.messages == []


@pytest.mark.parametrize(
    "code",
    [
        errno.ENETUNREACH,
        errno.EMSGSIZE,
        errno.EPERM,
        errno.ENOBUFS,
        errno.ECONNREFUSED,
        errno.EAGAIN,
        errno.EHOSTUNREACH,
    ],
)
def test_refused_sends_are_counted(opened: list[socket.socket], code: int) -> None:
    """No error number is fatal; every datagram of the burst is counted."""
    sender, receiver = bind(opened, 4), bind(opened, 4)
    sender.refuse = lambda data, ancillary: code
    sock = UdpSocket(sender)
    assert sock.send(burst_to(receiver)) == 3
    assert sock.send(Burst(path_to(receiver), 40, bytearray(40))) == 1
    sender.refuse = lambda data, ancillary: 0
    assert sock.send(burst_to(receiver)) == 0


def test_a_full_buffer_holds_the_sender_back(opened: list[socket.socket]) -> None:
    """A send that would block is tried again once there is room."""
    sender, receiver = bind(opened, 4), bind(opened, 4)
    attempts = iter((errno.EAGAIN, 0))
    sender.refuse = lambda data, ancillary: next(attempts)
    assert UdpSocket(sender).send(burst_to(receiver)) == 0
    assert sender.sends == 2


def test_known_paths_are_bounded(
    opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Datagrams from many senders do not fill memory."""
    monkeypatch.setattr(udp, "MAX_KNOWN_PATHS", 3)
    receiver = UdpSocket(bind(opened, 4))
    for _ in range(10):
        UdpSocket(bind(opened, 4)).send(Burst(path_to(opened[0]), 40, bytearray(40)))
    paths = {path for _, path in receive(receiver, Arena(RECEIVE_BYTES))}
    assert len(paths) == 10
    assert len(receiver._paths) <= 3
