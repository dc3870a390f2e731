"""The UDP pair without a network: choosing sockets, and the mark's bits."""

import errno
import socket

import pytest

from meshnode.errors import HostError
from meshnode.host import udp
from meshnode.host.udp import UdpPair, open_udp_pair
from meshnode.types import Endpoint


def test_each_family_has_its_socket() -> None:
    """The remote address decides which socket sends."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as v4,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as v6,
    ):
        pair = UdpPair(1, v4, v6, gro=False)
        assert pair.socket_for(Endpoint("192.0.2.1", 1)) is v4
        assert pair.socket_for(Endpoint("2001:db8::1", 1)) is v6
        assert pair.sockets() == (v4, v6)


def test_missing_ipv6_is_said() -> None:
    """An IPv6 remote on a host without IPv6 is a clear error."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as v4:
        pair = UdpPair(1, v4, None, gro=False)
        assert pair.sockets() == (v4,)
        with pytest.raises(HostError, match="no IPv6") as caught:
            pair.socket_for(Endpoint("2001:db8::1", 1))
    assert caught.value.errno == errno.EAFNOSUPPORT


@pytest.mark.parametrize(
    ("mark", "signed"), [(0, 0), (51820, 51820), (2**31, -(2**31)), (2**32 - 1, -1)]
)
def test_mark_keeps_its_32_bits(mark: int, signed: int) -> None:
    """Marks above 2^31 fit the C int that setsockopt packs."""
    assert udp._as_signed(mark) == signed


def test_random_port_is_tried_again_when_half_of_it_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A random number that IPv6 cannot have is given up for another."""
    outcomes = [OSError(errno.EADDRINUSE, "taken")] * 2
    opened = object()

    def attempt(port: int, fwmark: int) -> object:
        assert (port, fwmark) == (0, 0)
        if outcomes:
            raise outcomes.pop()
        return opened

    monkeypatch.setattr(udp, "_open_pair", attempt)
    assert open_udp_pair(0) is opened


def test_chosen_port_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed port that is taken is an error at once, with its remedy."""
    attempts = []

    def attempt(port: int, fwmark: int) -> UdpPair:
        attempts.append(port)
        raise OSError(errno.EADDRINUSE, "taken")

    monkeypatch.setattr(udp, "_open_pair", attempt)
    with pytest.raises(HostError, match="choose another ListenPort") as caught:
        open_udp_pair(51820)
    assert caught.value.errno == 98
    assert attempts == [51820]
