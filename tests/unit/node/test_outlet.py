"""Control's own datagrams."""

import errno
import socket
from collections.abc import Iterator

import pytest

from meshnode.capture.rings import Rings
from meshnode.codec.tap import UNDERLAY_OUT, code_of
from meshnode.dataplane.tap import RingTap
from meshnode.errors import DropReason, HostError
from meshnode.host.udp import UdpPair
from meshnode.node import outlet
from meshnode.node.outlet import Outlet
from meshnode.types import Datagram, Endpoint, Path, Source
from tests.tap_parts import memory


def unbound_pair() -> UdpPair:
    """Return sockets that no network hears of."""
    return UdpPair(0, socket.socket(socket.AF_INET, socket.SOCK_DGRAM), None, False)


@pytest.fixture
def pair() -> Iterator[UdpPair]:
    """Sockets that no network hears of."""
    made = unbound_pair()
    yield made
    made.close()


def datagram(host: str) -> Datagram:
    """Return a datagram to *host*."""
    return Datagram(b"x", Path(Endpoint(host, 1)))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENETUNREACH, "x"), HostError("x", errno=97)]
)
def test_a_refusal_is_counted_and_the_rest_is_sent(
    pair: UdpPair, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error of the host stops us, and none is hidden."""
    sent = []

    def send(pair: UdpPair, one: Datagram) -> None:
        if one.path.remote.host == "192.0.2.1":
            raise error
        sent.append(one)

    monkeypatch.setattr(outlet, "send_datagram", send)
    ours = Outlet([pair])
    ours.send([datagram("192.0.2.1"), datagram("192.0.2.2"), datagram("192.0.2.1")])
    assert sent == [datagram("192.0.2.2")]
    assert list(ours.refused.values()) == [2]


def test_new_sockets_replace_the_old_ones(pair: UdpPair) -> None:
    """The old ones are closed in this process."""
    ours = Outlet([pair])
    with (second := unbound_pair()).v4:
        ours.replace([second])
        assert pair.v4.fileno() == -1
        assert ours.pair is second


def test_all_pairs_are_marked_and_closed(
    pair: UdpPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We send by the first one only; the workers send by all of them."""
    second = unbound_pair()
    marked = []
    monkeypatch.setattr(outlet, "set_fwmark", lambda one, mark: marked.append(one))
    ours = Outlet([pair, second])
    ours.mark(7)
    assert marked == [pair, second]
    assert ours.pair is pair
    ours.close()
    assert pair.v4.fileno() == second.v4.fileno() == -1


def test_what_names_a_socket_beside_leaves_by_it(
    pair: UdpPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once that is closed, it leaves by the node's own."""
    sent: list[tuple[str, Datagram]] = []
    monkeypatch.setattr(
        outlet, "send_datagram", lambda pair, one: sent.append(("own", one))
    )
    monkeypatch.setattr(outlet, "send_by", lambda _, one: sent.append(("beside", one)))
    ours = Outlet([pair])
    source = Source("192.0.2.9", 0, 4711)
    one = Datagram(b"x", Path(Endpoint("192.0.2.1", 1), source))
    ours.beside = {4711: pair.v4}
    ours.send([one, datagram("192.0.2.1")])
    ours.beside = {}
    ours.send([one])
    assert [by for by, _ in sent] == ["beside", "own", "own"]


def test_a_capture_sees_what_control_sends(
    pair: UdpPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the host refused."""

    def send(pair: UdpPair, one: Datagram) -> None:
        if one.path.remote.host == "192.0.2.1":
            raise OSError(errno.ENETUNREACH, "x")

    monkeypatch.setattr(outlet, "send_datagram", send)
    ring = memory()
    ours = Outlet([pair], RingTap(ring))
    ours.send([datagram("192.0.2.1"), datagram("192.0.2.2")])
    found = Rings(ring).read()
    assert [one.verdict for one in found] == [code_of(DropReason.SEND_ERROR), 0]
    assert [one.side for one in found] == [UNDERLAY_OUT] * 2
    assert [one.data for one in found] == [b"x"] * 2
