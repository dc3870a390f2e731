"""UDP sockets, addresses, routes and the journal's undo, in private namespaces."""

import errno
import os
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import TypeVar

import pytest
from pyroute2 import IPRoute

from meshnode.errors import HostError
from meshnode.host import netlink
from meshnode.host.ancillary import UDP_SEGMENT, sockaddr_of
from meshnode.host.changes import DeleteAddress, DeleteRoute
from meshnode.host.journal import cleanup, open_journal
from meshnode.host.namespaces import create_namespace, run_inside
from meshnode.host.tun import create_tun
from meshnode.host.udp import (
    BUFFER_BYTES,
    UdpPair,
    open_udp_pair,
    open_udp_pairs,
    receive_datagrams,
    send_datagram,
    set_fwmark,
)
from meshnode.types import Datagram, Endpoint, Path, Prefix, Source

pytestmark = pytest.mark.root

Result = TypeVar("Result")
Inside = Callable[[Callable[[], Result]], Result]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor and no interface may be left by a test."""
    fds, interfaces = set(os.listdir("/proc/self/fd")), socket.if_nameindex()
    yield
    assert set(os.listdir("/proc/self/fd")) == fds
    assert socket.if_nameindex() == interfaces


@pytest.fixture
def inside(nothing_left: None) -> Iterator[Inside]:
    """Run functions in a new namespace whose loopback is up."""
    namespace = create_namespace()
    run_inside(namespace, lambda: netlink.set_up(1))
    yield lambda function: run_inside(namespace, function)
    os.close(namespace)


@pytest.fixture
def pair(inside: Inside) -> Iterator[UdpPair]:
    """A pair on a random port."""
    opened = inside(lambda: open_udp_pair(0))
    yield opened
    opened.close()


def receive(one: socket.socket) -> list[Datagram]:
    """Wait for a payload."""
    assert select.select([one], [], [], 5)[0], "nothing arrived"
    return receive_datagrams(one)


def test_both_families_have_the_same_port(pair: UdpPair) -> None:
    """A random port is one number, bound on all addresses of both families."""
    assert pair.v6 is not None
    assert pair.v4.getsockname() == ("0.0.0.0", pair.port)
    assert pair.v6.getsockname()[:2] == ("::", pair.port)
    assert pair.port > 0


def test_sockets_are_set_up(pair: UdpPair) -> None:
    """Non-blocking, not inherited, large buffers, and GRO as reported."""
    assert pair.gro
    for one in pair.sockets():
        assert not one.getblocking()
        assert not one.get_inheritable()
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= BUFFER_BYTES
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= BUFFER_BYTES


def test_taken_port_names_the_remedy(inside: Inside, pair: UdpPair) -> None:
    """A second node on the port gets errno 98 and is told what to do."""
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError, match="ss -ulpn") as caught:
        inside(lambda: open_udp_pair(pair.port))
    assert caught.value.errno == 98
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("shares", [False, True])
def test_port_of_another_program_is_never_shared(inside: Inside, shares: bool) -> None:
    """Not even if that program would share it with any other of the same user."""

    def body() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares)
            other.bind(("", 0))
            with pytest.raises(HostError, match="ss -ulpn") as caught:
                open_udp_pairs(4, other.getsockname()[1])
            assert caught.value.errno == 98

    inside(body)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_several_pairs_share_a_port(inside: Inside, host: str) -> None:
    """Senders are spread over them, each to one of them always; others are refused."""
    pairs = inside(lambda: open_udp_pairs(3, 0))
    clients = [inside(lambda: open_udp_pair(0)) for _ in range(40)]
    port = pairs[0].port
    remote = Endpoint(host, port)
    arrived: list[set[int]] = []
    assert {pair.port for pair in pairs} == {port}
    with pytest.raises(HostError, match="ss -ulpn"):
        inside(lambda: open_udp_pair(port))
    for client in clients:
        for _ in range(3):
            send_datagram(client, Datagram(b"x", Path(remote)))
    for pair in pairs:
        one = pair.socket_for(remote)
        found = set[int]()
        while select.select([one], [], [], 0)[0]:
            found |= {d.path.remote.port for d in receive_datagrams(one)}
        arrived.append(found)
    assert all(arrived)
    assert sum(map(len, arrived)) == 40
    for each in (*pairs, *clients):
        each.close()


def test_port_taken_in_one_family_only_is_taken(inside: Inside) -> None:
    """Half a port is none."""

    def body() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            other.bind(("::", 0))
            with pytest.raises(HostError) as caught:
                open_udp_pair(other.getsockname()[1])
            assert caught.value.errno == 98

    inside(body)


@pytest.mark.parametrize("host", ["127.0.0.7", "::1"])
def test_answer_leaves_from_the_address_that_was_asked(
    inside: Inside, pair: UdpPair, host: str
) -> None:
    """The path of a datagram leads back, from the very same local address."""
    client = inside(lambda: open_udp_pair(0))
    send_datagram(client, Datagram(b"ping", Path(Endpoint(host, pair.port))))
    [asked] = receive(pair.socket_for(Endpoint(host, 1)))
    assert asked.data == b"ping"
    assert asked.path.source == Source(host, 1)
    assert asked.path.remote.port == client.port
    assert send_datagram(pair, Datagram(b"pong", asked.path)) == asked.path
    [answer] = receive(client.socket_for(Endpoint(host, 1)))
    assert answer.data == b"pong"
    assert answer.path.remote == Endpoint(host, pair.port)
    client.close()


@pytest.mark.parametrize(
    ("remote", "lost"), [("127.0.0.1", "192.0.2.77"), ("::1", "2001:db8::77")]
)
def test_lost_source_address_is_let_go(
    inside: Inside, pair: UdpPair, remote: str, lost: str
) -> None:
    """When the host has lost the address, the datagram goes from another."""
    client = inside(lambda: open_udp_pair(0))
    path = Path(Endpoint(remote, client.port), Source(lost))
    assert send_datagram(pair, Datagram(b"x", path)) == Path(path.remote)
    [arrived] = receive(client.socket_for(path.remote))
    assert arrived.path.remote == Endpoint(remote, pair.port)
    client.close()


def test_lost_interface_is_let_go(inside: Inside, pair: UdpPair) -> None:
    """An interface that is gone does not hold a datagram back."""
    path = Path(Endpoint("127.0.0.1", pair.port), Source("127.0.0.1", 4242))
    assert send_datagram(pair, Datagram(b"x", path)).source is None
    assert receive(pair.v4)[0].data == b"x"


def test_merged_payload_is_cut_into_its_datagrams(
    inside: Inside, pair: UdpPair
) -> None:
    """Segments sent at once arrive as the datagrams they are."""
    client = inside(lambda: open_udp_pair(0))
    remote = Endpoint("127.0.0.1", pair.port)
    size = (socket.IPPROTO_UDP, UDP_SEGMENT, (1000).to_bytes(2, "little"))
    client.v4.sendmsg([bytes(3500)], [size], 0, sockaddr_of(remote))
    sizes: list[int] = []
    while len(sizes) < 4:
        sizes += [len(datagram.data) for datagram in receive(pair.v4)]
    assert sizes == [1000, 1000, 1000, 500]
    client.close()


def test_nothing_waiting_is_an_empty_list(pair: UdpPair) -> None:
    """Receiving never blocks."""
    assert receive_datagrams(pair.v4) == []


def test_large_datagrams_go_in_fragments(inside: Inside) -> None:
    """A datagram larger than the MTU is sent, without the don't-fragment bit."""

    def body() -> bytes:
        device = create_tun("mntest0")
        netlink.set_mtu(device.index, 1280)
        netlink.set_up(device.index)
        netlink.add_address(device.index, "192.0.2.1/24")
        pair = open_udp_pair(0)
        path = Path(Endpoint("192.0.2.2", 9))
        send_datagram(pair, Datagram(bytes(1400), path))
        frame = b""
        while frame[10:11] != b"\x45" or frame[19] != socket.IPPROTO_UDP:
            assert select.select([device.fds[0]], [], [], 5)[0]
            frame = os.read(device.fds[0], 65536)
        pair.close()
        device.close()
        return frame[10:]

    packet = inside(body)
    flags = packet[6] >> 5
    assert flags == 0b001, "more fragments, and not: don't fragment"
    assert len(packet) <= 1280


def test_without_ipv6_there_is_one_socket(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without IPv6 gets a pair all the same."""
    real = socket.socket

    def refuse(family: int = -1, *arguments: int, **more: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return real(family, *arguments, **more)

    monkeypatch.setattr("meshnode.host.udp.socket.socket", refuse)
    pair = inside(lambda: open_udp_pair(0))
    assert pair.v6 is None
    assert pair.sockets() == (pair.v4,)
    pair.close()


def test_pair_can_be_adopted(pair: UdpPair) -> None:
    """Another process wraps the descriptors and finds port and GRO."""
    assert pair.v6 is not None
    adopted = UdpPair.adopt(os.dup(pair.v4.fileno()), os.dup(pair.v6.fileno()))
    assert (adopted.port, adopted.gro) == (pair.port, True)
    assert adopted.v6 is not None
    assert adopted.v6.family == socket.AF_INET6
    adopted.close()


@pytest.mark.parametrize("mark", [0xCA6C, 0x80000001, 0])
def test_mark_is_set_on_both(inside: Inside, pair: UdpPair, mark: int) -> None:
    """All 32 bits reach both sockets."""
    set_fwmark(pair, mark)
    opened = inside(lambda: open_udp_pair(0, fwmark=mark))
    for one in (*pair.sockets(), *opened.sockets()):
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) % 2**32 == mark
    opened.close()


def test_link_is_described(inside: Inside) -> None:
    """Name, index, MTU, state and driver are those of the kernel."""

    def body() -> None:
        device = create_tun("mntest0")
        netlink.set_mtu(device.index, 1420)
        expected = netlink.Link("mntest0", device.index, 1420, False, "tun")
        assert netlink.link_by_name("mntest0") == expected
        netlink.set_up(device.index)
        link = netlink.link_by_name("mntest0")
        assert link is not None
        assert link.up
        netlink.set_down(device.index)
        link = netlink.link_by_name("mntest0")
        assert link is not None
        assert not link.up
        device.close()
        assert netlink.link_by_name("mntest0") is None

    inside(body)


def test_refused_link_changes_are_errors(inside: Inside) -> None:
    """An impossible MTU and a missing interface are told apart."""

    def body() -> None:
        device = create_tun("mntest0")
        with pytest.raises(HostError, match="cannot set the MTU to 10") as caught:
            netlink.set_mtu(device.index, 10)
        assert caught.value.errno == errno.EINVAL
        device.close()
        with pytest.raises(HostError, match="the interface is gone") as caught:
            netlink.set_up(device.index)
        assert caught.value.errno == errno.ENODEV

    inside(body)


def routes() -> set[tuple[str, int]]:
    """Return (destination, protocol) of every route of this namespace."""
    with IPRoute() as ipr:
        return {
            (f"{route.get_attr('RTA_DST')}/{route['dst_len']}", route["proto"])
            for family in (socket.AF_INET, socket.AF_INET6)
            for route in ipr.get_routes(family=family)
        }


@pytest.mark.parametrize(
    ("address", "prefix"),
    [("10.9.0.1/24", "10.10.0.0/16"), ("fd09::1/64", "fd10::/32")],
)
def test_addresses_and_routes_come_and_go(
    inside: Inside, address: str, prefix: str
) -> None:
    """What is added can be deleted once; adding twice is an error."""

    def body() -> None:
        device = create_tun("mntest0")
        netlink.set_up(device.index)
        netlink.add_address(device.index, address)
        with pytest.raises(HostError, match="exists already"):
            netlink.add_address(device.index, address)
        route = Prefix.parse(prefix)
        netlink.add_route(route, device.index)
        with pytest.raises(HostError, match="exists already"):
            netlink.add_route(route, device.index)
        assert (prefix, netlink.ROUTE_PROTOCOL) in routes()
        assert netlink.delete_route(route, device.index)
        assert not netlink.delete_route(route, device.index)
        assert netlink.delete_address(device.index, address)
        assert not netlink.delete_address(device.index, address)
        assert prefix not in {destination for destination, _ in routes()}
        device.close()
        assert not netlink.delete_address(device.index, address)
        assert not netlink.delete_route(route, device.index)

    inside(body)


@pytest.mark.parametrize("prefix", ["10.10.0.0/16", "fd10::/32"])
def test_route_of_somebody_else_is_not_deleted(inside: Inside, prefix: str) -> None:
    """The same route under another protocol number is not ours."""

    def body() -> None:
        device = create_tun("mntest0")
        netlink.set_up(device.index)
        with IPRoute() as ipr:
            ipr.route("add", dst=prefix, oif=device.index, proto=4)
        assert not netlink.delete_route(Prefix.parse(prefix), device.index)
        assert (prefix, 4) in routes()
        device.close()

    inside(body)


def test_route_may_be_in_a_table_of_its_own(inside: Inside) -> None:
    """A route is deleted only from the table it is in."""

    def body() -> None:
        device = create_tun("mntest0")
        netlink.set_up(device.index)
        route = Prefix.parse("0.0.0.0/0")
        netlink.add_route(route, device.index, table=51820)
        assert not netlink.delete_route(route, device.index)
        assert netlink.delete_route(route, device.index, table=51820)
        device.close()

    inside(body)


def test_dead_nodes_network_changes_are_cleaned_up(
    inside: Inside, tmp_path: FilePath
) -> None:
    """After a crash, recorded addresses and routes go, and nothing else."""
    directory = tmp_path / "run"

    def body() -> None:
        device = create_tun("mntest0")
        netlink.set_up(device.index)
        journal = open_journal("mntest0", directory)
        journal.record(DeleteAddress("mntest0", device.index, "10.9.0.1/24"))
        netlink.add_address(device.index, "10.9.0.1/24")
        journal.record(DeleteRoute("10.10.0.0/16", device.index, netlink.MAIN_TABLE))
        netlink.add_route(Prefix.parse("10.10.0.0/16"), device.index)
        journal.record(DeleteRoute("10.11.0.0/16", device.index, netlink.MAIN_TABLE))
        netlink.add_address(device.index, "10.12.0.1/24")  # made by somebody else
        journal.close()
        assert cleanup(directory) == [
            "deleted the route 10.10.0.0/16",
            "deleted the address 10.9.0.1/24 of mntest0",
        ]
        assert cleanup(directory) == []
        left = {destination for destination, _ in routes()}
        assert "10.12.0.0/24" in left
        assert not left & {"10.9.0.0/24", "10.10.0.0/16"}
        device.close()

    inside(body)
    assert list(directory.iterdir()) == []


def test_address_of_another_interface_is_not_taken(inside: Inside) -> None:
    """An index that belongs to another name by now is not touched."""

    def body() -> None:
        device = create_tun("mntest0")
        netlink.add_address(device.index, "10.9.0.1/24")
        assert DeleteAddress("lo", device.index, "10.9.0.1/24").undo() is None
        assert DeleteAddress("gone", device.index, "10.9.0.1/24").undo() is None
        assert netlink.delete_address(device.index, "10.9.0.1/24")
        device.close()

    inside(body)
