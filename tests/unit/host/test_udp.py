"""The UDP pair without a network: choosing sockets, and the mark's bits."""

import errno
import os
import socket
from contextlib import ExitStack

import pytest

from meshnode.errors import HostError
from meshnode.host import udp
from meshnode.host.udp import (
    UdpPair,
    adopt_pairs,
    descriptors_of,
    open_udp_pair,
    open_udp_pairs,
)
from meshnode.types import Datagram, Endpoint, Path

_IP_RECVTTL = 12  # ip(7); the module has no name for it


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


def test_a_pair_that_cannot_be_had_closes_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several pairs or none, and the port is tried once."""
    opened: list[UdpPair] = []

    def attempt(port: int, fwmark: int, *prepare: object) -> UdpPair:
        if len(opened) == 2:
            raise OSError(errno.EMFILE, "no descriptors")
        # The first is bound alone; only then the port is shared.
        assert bool(prepare) is bool(opened)
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.append(UdpPair(4711, one, None, gro=False))
        return opened[-1]

    monkeypatch.setattr(udp, "_open_pair", attempt)
    with pytest.raises(HostError, match="UDP port 4711") as caught:
        open_udp_pairs(3, 4711)
    assert caught.value.errno == errno.EMFILE
    assert [pair.v4.fileno() for pair in opened] == [-1, -1]


@pytest.mark.parametrize("has_v6", [True, False])
def test_pairs_travel_as_descriptors(has_v6: bool) -> None:
    """IPv4 first, in the order of the pairs; IPv6 may be missing."""
    with ExitStack() as stack:

        def one(family: socket.AddressFamily) -> socket.socket:
            return stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))

        pairs = [
            UdpPair(
                0,
                one(socket.AF_INET),
                one(socket.AF_INET6) if has_v6 else None,
                gro=True,
            )
            for _ in range(3)
        ]
        sent = descriptors_of(pairs)
        assert len(sent) == (6 if has_v6 else 3)
        adopted = adopt_pairs([os.dup(fd) for fd in sent], 3)
        for before, after in zip(pairs, adopted, strict=True):
            for ours, theirs in zip(before.sockets(), after.sockets(), strict=True):
                assert os.path.sameopenfile(ours.fileno(), theirs.fileno())
            after.close()


def test_hops_are_of_one_datagram_only() -> None:
    """The socket sends the next as usual; each arrives with what it was given."""
    with udp.open_beside() as ours, udp.open_beside() as theirs:
        theirs.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        theirs.setblocking(True)
        theirs.settimeout(5)
        path = Path(Endpoint("127.0.0.1", theirs.getsockname()[1]))
        seen = []
        for hops in (3, 0):
            udp.send_by(ours, Datagram(b"x", path, hops))
            _, ancillary, _, _ = theirs.recvmsg(16, 256)
            seen += [
                int.from_bytes(data[:1], "little")
                for level, kind, data in ancillary
                if (level, kind) == (socket.IPPROTO_IP, socket.IP_TTL)
            ]
    assert seen == [3, 64]
