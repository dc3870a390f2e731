"""The firewall of a plan, with real packets through it.

A veth link stands in for the tunnel of `node`; `member` is another member behind it,
`lan` a neighbour of the node. Two such sites with the same LAN are joined by one
tunnel for the remap.
"""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from meshnode.host import nft
from meshnode.host.journal import Journal, open_journal
from meshnode.host.namespaces import run_inside
from meshnode.host.plan import HostPlanner
from meshnode.host.routing import Conflict
from meshnode.hostplan import Allow, Announced, Filter, HostPlan, Service, Transport
from meshnode.types import Prefix
from topology.hosts import Host, Lab
from topology.leaks import NAMESPACES

pytestmark = pytest.mark.root

Result = TypeVar("Result")
WAIT = 1.0
"""Seconds a probe waits for an answer; on one machine it takes milliseconds."""

NODE, MEMBER = "10.99.0.1", "10.99.0.2"
EVERYWHERE = (Prefix(4, 0, 0), Prefix(6, 0, 0))
SSH, DNS = Service(Transport.TCP, 2022, 2022), Service(Transport.UDP, 2053, 2053)
PING, ANY = Service(Transport.ICMP), Service(Transport.ANY)


def inside(host: Host, function: Callable[[], Result]) -> Result:
    """Call *function* in the host's network namespace."""
    namespace = os.open(NAMESPACES / host.namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return run_inside(namespace, function)
    finally:
        os.close(namespace)


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(host: Host, address: str, port: int) -> socket.socket:
    """Return a TCP socket that listens in the host."""

    def body() -> socket.socket:
        listener = socket.socket(family_of(address), socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        listener.settimeout(WAIT)
        return listener

    return inside(host, body)


def connect(host: Host, address: str, port: int) -> socket.socket:
    """Return a connection from the host; raises TimeoutError if nobody answers."""
    return inside(host, lambda: socket.create_connection((address, port), WAIT))


def bind_udp(host: Host, address: str, port: int) -> socket.socket:
    """Return a UDP socket of the host."""

    def body() -> socket.socket:
        one = socket.socket(family_of(address), socket.SOCK_DGRAM)
        one.bind((address, port))
        one.settimeout(WAIT)
        return one

    return inside(host, body)


def tcp_passes(source: Host, target: Host, address: str, port: int) -> bool:
    """Whether *source* can connect to *target* at *address*."""
    wildcard = "::" if ":" in address else "0.0.0.0"
    with closing(listen(target, wildcard, port)):
        try:
            connect(source, address, port).close()
        except TimeoutError:
            return False
        return True


def tcp_source(source: Host, target: Host, address: str, port: int) -> str:
    """Return the address by which *target* sees *source*, reached at *address*."""
    with closing(listen(target, "0.0.0.0", port)) as listener:
        client = connect(source, address, port)
        accepted, peer = listener.accept()
        accepted.close()
        client.close()
        return str(peer[0])


def udp_passes(source: Host, target: Host, address: str, port: int) -> bool:
    """Whether a datagram of *source* reaches *target*."""
    wildcard = "::" if ":" in address else "0.0.0.0"
    with (
        closing(bind_udp(target, wildcard, port)) as server,
        closing(bind_udp(source, wildcard, 0)) as client,
    ):
        client.sendto(b"hello", (address, port))
        try:
            return server.recv(100) == b"hello"
        except TimeoutError:
            return False


def ping_passes(source: Host, address: str) -> bool:
    """Whether *source* gets an echo from *address*."""
    return source.run(f"ping -n -c 1 -W 1 {address}", check=False).returncode == 0


@dataclass(frozen=True, slots=True)
class Site:
    """A node between the tunnel `eth0` and its LAN `eth1`."""

    node: Host
    lan: Host
    planner: HostPlanner
    journal: Journal
    plan: HostPlan

    def apply(self, plan: HostPlan) -> list[Conflict]:
        """Carry out a plan."""
        return inside(self.node, lambda: self.planner.apply(plan))

    def rules(self) -> str:
        """Return the nftables rules of the node."""
        return self.node.run("nft list ruleset").stdout


def make_site(lab: Lab, name: str, number: int, directory: Path) -> Site:
    """Return a site whose tunnel is not connected yet."""
    node, lan = lab.host(name), lab.host(f"{name}lan")
    journal = open_journal(f"mesh{number}", directory)
    plan = HostPlan(
        *("office", "eth0", 6100, 0x6D65, 1420),
        (f"10.99.0.{number}/24", f"fd99::{number}/48"),
    )
    return Site(node, lan, HostPlanner(journal), journal, plan)


def join(lab: Lab, left: Host, right: Host) -> None:
    """Make a link that is like a tunnel: nobody asks for neighbours on it."""
    for port in lab.connect(left, right):
        # Without ARP the kernel sends to its own address, so both have the same.
        port.host.ip(f"link set {port.interface} arp off address 02:00:00:00:00:01")


@dataclass(frozen=True, slots=True)
class Pair:
    """A site, and a plain member at the other end of its tunnel."""

    site: Site
    member: Host


@pytest.fixture
def pair(lab: Lab, tmp_path: Path) -> Iterator[Pair]:
    """A site with the LAN 198.18.2.0/24, and a member 10.99.0.2."""
    site, member = make_site(lab, "node", 1, tmp_path / "run"), lab.host("member")
    join(lab, site.node, member)
    lab.connect(site.node, site.lan)
    member.add_address("eth0", f"{MEMBER}/24")
    member.add_address("eth0", "fd99::2/48")
    yield Pair(site, member)
    site.journal.close()


def allow(*services: Service, to: tuple[str, ...] = (NODE, "fd99::1")) -> Filter:
    """Return a filter that lets everybody use these services."""
    destinations = tuple(map(Prefix.parse, to))
    return Filter((Allow(EVERYWHERE, destinations, services),))


@pytest.mark.parametrize("address", [NODE, "fd99::1"])
def test_policy_lets_through_what_it_names(pair: Pair, address: str) -> None:
    """TCP and UDP by port, and echoes, each alone; the rest is dropped."""
    node, member = pair.site.node, pair.member
    pair.site.apply(replace(pair.site.plan, filter=allow(SSH, DNS)))
    assert tcp_passes(member, node, address, 2022)
    assert not tcp_passes(member, node, address, 2023)
    assert udp_passes(member, node, address, 2053)
    assert not udp_passes(member, node, address, 2054)
    assert not ping_passes(member, address)
    pair.site.apply(replace(pair.site.plan, filter=allow(PING)))
    assert ping_passes(member, address)
    assert not tcp_passes(member, node, address, 2022)
    assert not udp_passes(member, node, address, 2053)


def test_without_policy_everything_enters(pair: Pair) -> None:
    """No filter is an open one; an empty filter lets nothing begin."""
    pair.site.apply(pair.site.plan)
    assert tcp_passes(pair.member, pair.site.node, NODE, 2022)
    pair.site.apply(replace(pair.site.plan, filter=Filter(())))
    assert not tcp_passes(pair.member, pair.site.node, NODE, 2022)
    assert not ping_passes(pair.member, NODE)


def test_sources_are_told_apart(pair: Pair) -> None:
    """A rule for one member is none for another."""
    pair.member.add_address("eth0", "10.99.0.3/24")
    only = Allow((Prefix.parse(MEMBER),), (Prefix.parse(NODE),), (ANY,))
    pair.site.apply(replace(pair.site.plan, filter=Filter((only,))))
    command = "ping -n -c 1 -W 1 -I {} 10.99.0.1"
    allowed = pair.member.run(command.format(MEMBER), check=False)
    refused = pair.member.run(command.format("10.99.0.3"), check=False)
    assert (allowed.returncode, refused.returncode) == (0, 1)


def test_node_itself_is_not_filtered(pair: Pair) -> None:
    """What the node begins is answered, and other interfaces are not concerned."""
    pair.site.apply(replace(pair.site.plan, filter=Filter(())))
    assert tcp_passes(pair.site.node, pair.member, MEMBER, 2022)
    assert tcp_passes(pair.site.lan, pair.site.node, "198.18.2.1", 2022)


def test_established_flow_survives_a_policy_change(pair: Pair) -> None:
    """A connection goes on under rules that would not let it begin."""
    plan = replace(pair.site.plan, filter=allow(SSH))
    pair.site.apply(plan)
    with closing(listen(pair.site.node, NODE, 2022)) as listener:
        client = connect(pair.member, NODE, 2022)
        server, _ = listener.accept()
        server.settimeout(WAIT)
        with client, server:
            pair.site.apply(replace(plan, filter=allow(DNS)))
            client.sendall(b"still there?")
            assert server.recv(100) == b"still there?"
            server.sendall(b"yes")
            assert client.recv(100) == b"yes"
    assert not tcp_passes(pair.member, pair.site.node, NODE, 2022)


def test_errors_of_our_own_flows_come_back(pair: Pair) -> None:
    """A closed UDP port of a member is reported to the node in spite of the filter."""
    pair.site.apply(replace(pair.site.plan, filter=Filter(())))

    def body() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(WAIT)
            one.connect((MEMBER, 2054))
            one.send(b"x")
            with pytest.raises(ConnectionRefusedError):
                one.recv(100)

    inside(pair.site.node, body)


def test_overlay_address_is_not_seen_from_the_lan(pair: Pair) -> None:
    """A neighbour that sends to our overlay address gets no answer; we do."""
    pair.site.lan.ip(f"route add {NODE} via 198.18.2.1")
    pair.site.lan.ip("route add fd99::1 via 2001:db8:2::1")
    pair.site.apply(pair.site.plan)
    assert not ping_passes(pair.site.lan, NODE)
    assert not ping_passes(pair.site.lan, "fd99::1")
    assert ping_passes(pair.site.node, NODE)
    assert ping_passes(pair.site.lan, "198.18.2.1")
    inside(pair.site.node, pair.site.planner.withdraw)
    pair.site.node.add_address("eth0", f"{NODE}/24")
    assert ping_passes(pair.site.lan, NODE), "the test proves nothing"


def gateway(pair: Pair, announced: Announced) -> HostPlan:
    """Return the plan of a gateway to the LAN; the member routes it there."""
    pair.member.ip(f"route add {announced.prefix} via {NODE}")
    return replace(pair.site.plan, announced=(announced,), forwards=True)


LAN = Prefix.parse("198.18.2.0/24")


def test_lan_sees_the_gateway_when_masqueraded(pair: Pair) -> None:
    """A LAN that knows no way to the network can answer all the same."""
    pair.site.apply(gateway(pair, Announced(LAN)))
    seen = tcp_source(pair.member, pair.site.lan, "198.18.2.2", 2022)
    assert seen == "198.18.2.1"


def test_lan_sees_the_member_when_not_masqueraded(pair: Pair) -> None:
    """With a route back, the LAN sees who it is, and may begin itself."""
    pair.site.lan.ip("route add 10.99.0.0/24 via 198.18.2.1")
    pair.site.apply(gateway(pair, Announced(LAN, masquerade=False)))
    seen = tcp_source(pair.member, pair.site.lan, "198.18.2.2", 2022)
    assert seen == MEMBER
    assert tcp_source(pair.site.lan, pair.member, MEMBER, 2022) == "198.18.2.2"


def test_only_what_is_announced_is_reached(pair: Pair, lab: Lab) -> None:
    """Another network of the gateway stays out of reach, also on a router."""
    other = lab.host("other")
    _, port = lab.connect(pair.site.node, other)
    pair.member.ip(f"route add 198.18.3.0/24 via {NODE}")
    other.ip("route add 10.99.0.0/24 via 198.18.3.1")
    pair.site.node.sysctl("net.ipv4.ip_forward", 1)
    plan = gateway(pair, Announced(LAN))
    pair.site.node.add_address("eth0", f"{NODE}/24")
    assert tcp_passes(pair.member, other, port.v4, 2022), "the test proves nothing"
    pair.site.apply(plan)
    assert not tcp_passes(pair.member, other, port.v4, 2022)
    assert tcp_passes(pair.member, pair.site.lan, "198.18.2.2", 2022)
    pair.site.apply(pair.site.plan)
    assert not tcp_passes(pair.member, other, port.v4, 2022)


def test_policy_holds_for_the_lan_too(pair: Pair) -> None:
    """Forwarded flows must be allowed like ours."""
    plan = gateway(pair, Announced(LAN))
    pair.site.apply(replace(plan, filter=allow(SSH, to=("198.18.2.2",))))
    assert tcp_passes(pair.member, pair.site.lan, "198.18.2.2", 2022)
    assert not tcp_passes(pair.member, pair.site.lan, "198.18.2.2", 2023)
    assert not tcp_passes(pair.member, pair.site.node, NODE, 2022)


def test_segments_are_made_to_fit(pair: Pair) -> None:
    """A forwarded connection offers no larger segments than the tunnel takes."""
    pair.site.lan.ip("route add 10.99.0.0/24 via 198.18.2.1")
    pair.member.ip("link set eth0 mtu 1420")
    plan = gateway(pair, Announced(LAN, masquerade=False))
    pair.site.apply(replace(plan, mtu=1300))
    with closing(listen(pair.member, "0.0.0.0", 2022)) as listener:
        client = connect(pair.site.lan, MEMBER, 2022)
        server, _ = listener.accept()
        largest = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        client.close()
        server.close()
    assert largest <= 1300 - 40


def test_segments_fit_a_narrow_way(pair: Pair) -> None:
    """The route to one member is narrower than the tunnel, and the clamp follows it."""
    pair.site.lan.ip("route add 10.99.0.0/24 via 198.18.2.1")
    pair.member.ip("link set eth0 mtu 1420")
    plan = gateway(pair, Announced(LAN, masquerade=False))
    narrow = (Prefix.parse(f"{MEMBER}/32"), 1216)
    pair.site.apply(replace(plan, narrower=(narrow,)))
    for near, far, address in (
        (pair.site.lan, pair.member, MEMBER),
        (pair.member, pair.site.lan, "198.18.2.2"),
        (pair.site.node, pair.member, MEMBER),
    ):
        with closing(listen(far, "0.0.0.0", 2022)) as listener:
            client = connect(near, address, 2022)
            server, _ = listener.accept()
            for end in (client, server):
                largest = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
                assert largest <= 1216 - 40
            client.close()
            server.close()


SAME = "192.168.1.0/24"


@pytest.mark.parametrize("masquerade", [True, False])
def test_two_equal_lans_reach_each_other(
    lab: Lab, tmp_path: Path, masquerade: bool
) -> None:
    """Each LAN is 192.168.1.0/24 to itself and a prefix of its own to the other."""
    sites = [make_site(lab, f"n{n}", n, tmp_path / "run") for n in (1, 2)]
    join(lab, sites[0].node, sites[1].node)
    for number, site in enumerate(sites, 1):
        lab.connect(site.node, site.lan)
        site.node.add_address("eth1", "192.168.1.1/24")
        site.lan.add_address("eth0", "192.168.1.5/24")
        site.lan.ip("route add 10.50.0.0/16 via 192.168.1.1")
        ours, other = (f"10.50.{n}.0/24" for n in (number, 3 - number))
        plan = replace(
            site.plan,
            routes=(Prefix.parse(other),),
            announced=(Announced(Prefix.parse(ours), masquerade, Prefix.parse(SAME)),),
            forwards=True,
        )
        assert site.apply(plan) == []
    first, second = sites
    seen = tcp_source(first.lan, second.lan, "10.50.2.5", 2022)
    assert seen == ("192.168.1.1" if masquerade else "10.50.1.5")
    seen = tcp_source(second.lan, first.lan, "10.50.1.5", 2022)
    assert seen == ("192.168.1.1" if masquerade else "10.50.2.5")
    assert udp_passes(first.lan, second.lan, "10.50.2.5", 2053)
    assert ping_passes(second.lan, "10.50.1.5")
    for site in sites:
        inside(site.node, site.planner.withdraw)
        assert site.rules() == ""
        site.journal.close()


def test_ipv6_prefix_is_mapped(pair: Pair) -> None:
    """An IPv6 LAN can have another prefix in the network, too."""
    pair.member.ip("route add fd50::/64 via fd99::1")
    mapped = Announced(
        Prefix.parse("fd50::/64"), mapped=Prefix.parse("2001:db8:2::/64")
    )
    plan = replace(pair.site.plan, announced=(mapped,), forwards=True)
    pair.site.apply(plan)
    assert tcp_passes(pair.member, pair.site.lan, "fd50::2", 2022)


def test_equal_plan_keeps_the_rules(pair: Pair) -> None:
    """Counters go on counting: the table is not loaded again."""
    plan = replace(pair.site.plan, filter=Filter(()))
    pair.site.apply(plan)
    assert not ping_passes(pair.member, NODE)
    pair.site.apply(plan)
    counted = re.findall(r"packets (\d+) bytes \d+ drop", pair.site.rules())
    assert int(counted[-1]) > 0


def test_flushed_rules_come_back(pair: Pair) -> None:
    """When another program flushed all rules, the same plan brings ours again."""
    pair.site.apply(pair.site.plan)
    pair.site.node.run("nft flush ruleset")
    pair.site.apply(pair.site.plan)
    assert "chain guard" in pair.site.rules()


def test_rules_of_others_stay(pair: Pair) -> None:
    """Neither loading nor withdrawing touches another table."""
    pair.site.node.nft("table inet other {\n chain one {\n }\n}\n")
    before = pair.site.rules()
    pair.site.apply(replace(pair.site.plan, filter=allow(SSH)))
    assert before in pair.site.rules()
    inside(pair.site.node, pair.site.planner.withdraw)
    assert pair.site.rules() == before


def test_table_can_be_deleted_twice(pair: Pair) -> None:
    """Deleting says whether there was one."""
    pair.site.apply(pair.site.plan)
    delete = lambda: nft.delete_table("meshnode_office")  # noqa: E731
    assert inside(pair.site.node, delete)
    assert not inside(pair.site.node, delete)
