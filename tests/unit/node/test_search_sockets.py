"""Sockets beside the node's own, on loopback."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest
import trio

from meshnode.codec.probes import PROBE_SIZE
from meshnode.mesh.punch_sockets import (
    CloseSocket,
    CloseSockets,
    KeepSocket,
    OpenSockets,
)
from meshnode.node import search_sockets
from meshnode.node.search_sockets import SearchSocketSet
from meshnode.types import Datagram

KEY = bytes(32)
PROBE = b"\6\0\0\0".ljust(PROBE_SIZE, b"x")


@pytest.fixture
def sockets() -> Iterator[SearchSocketSet]:
    """None open yet."""
    made = SearchSocketSet(0)
    yield made
    made.close()


def send(port: int, data: bytes) -> None:
    """Send to a port of this host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(data, ("127.0.0.1", port))


async def test_probes_come_with_the_port_they_came_to(sockets: SearchSocketSet) -> None:
    """Nothing else is let in there."""
    ports = sockets.obey(OpenSockets(3))
    assert ports is not None
    assert len(set(ports)) == 3
    arrived: list[Datagram] = []
    has_arrived = trio.Event()

    def receive(datagrams: list[Datagram]) -> None:
        arrived.extend(datagrams)
        has_arrived.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sockets.run, receive)
        for data in (b"\1\0\0\0" + bytes(144), PROBE[:-1], PROBE):
            send(ports[1], data)
        with trio.fail_after(5):
            await has_arrived.wait()
        nursery.cancel_scope.cancel()
    [datagram] = arrived
    assert datagram.data == PROBE
    assert datagram.path.source is not None
    assert datagram.path.source.port == ports[1]


async def test_one_lies_aside_and_is_read_on(sockets: SearchSocketSet) -> None:
    """Until it is closed with the next that are."""
    ports = sockets.obey(OpenSockets(2))
    assert ports is not None
    sockets.obey(CloseSockets(aside=ports[0]))
    assert list(sockets.by_port) == [ports[0]]
    received: list[Datagram] = []
    send(ports[0], PROBE)
    with trio.move_on_after(1.0) as waiting:
        await sockets.run(lambda some: (received.extend(some), waiting.cancel()))
    assert [datagram.data for datagram in received] == [PROBE]
    sockets.obey(CloseSockets())
    assert sockets.by_port == {}


async def test_a_winner_is_handed_over_and_the_others_closed(
    sockets: SearchSocketSet,
) -> None:
    """We read it no more, but may send by it until it is closed."""
    told: list[object] = []
    sockets.on_kept = lambda port, one: told.append((port, one.fileno()))
    sockets.on_dropped = told.append
    sockets.on_change = lambda kept: told.append(len(kept))
    ports = sockets.obey(OpenSockets(3))
    assert ports is not None
    winner = sockets.by_port[ports[0]]
    for order in (KeepSocket(ports[0], KEY), CloseSockets()):
        assert sockets.obey(order) is None
    assert sockets.by_port == {ports[0]: winner}
    assert told == [(ports[0], winner.fileno()), 1]
    send(ports[0], PROBE)
    with trio.move_on_after(0.1):
        await sockets.run(lambda datagrams: pytest.fail("read what is the workers'"))
    sockets.obey(CloseSocket(ports[0]))
    assert told[2:] == [ports[0], 0]
    assert sockets.by_port == {}
    assert winner.fileno() == -1


def test_what_was_kept_is_adopted(sockets: SearchSocketSet) -> None:
    """The descriptor stays its giver's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        sockets.adopt([one.fileno()])
        port = one.getsockname()[1]
        assert list(sockets.by_port) == [port]
        assert [kept.getsockname()[1] for kept in sockets.kept()] == [port]
        sockets.obey(CloseSockets())
        assert len(sockets.kept()) == 1
        sockets.close()
        os.fstat(one.fileno())


def test_fewer_sockets_are_better_than_none(
    sockets: SearchSocketSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host may have no descriptors left."""
    real, opened = search_sockets.open_beside, []

    def scarce(*, fwmark: int) -> socket.socket:
        if len(opened) == 2:
            raise OSError(errno.EMFILE, "too many open files")
        opened.append(fwmark)
        return real(fwmark=fwmark)

    monkeypatch.setattr(search_sockets, "open_beside", scarce)
    ports = sockets.obey(OpenSockets(5))
    assert ports is not None
    assert len(ports) == 2
