"""Routes, rules, addresses and forwarding of a plan, with real packets.

`node` carries the plan out on a veth link that stands in for the tunnel; `member` is
the rest of the network behind it, `lan` a neighbour on the node's own LAN.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from meshnode.errors import HostError
from meshnode.host import netlink
from meshnode.host.journal import Journal, cleanup, open_journal
from meshnode.host.namespaces import run_inside
from meshnode.host.plan import HostPlanner
from meshnode.host.routing import Conflict
from meshnode.hostplan import Announced, HostPlan, Larger
from meshnode.types import Prefix
from topology.hosts import Host, HostState, Lab, wait_until
from topology.leaks import NAMESPACES

pytestmark = pytest.mark.root

Result = TypeVar("Result")

MARK = 0x6D65
TABLE = 6100


def inside(host: Host, function: Callable[[], Result]) -> Result:
    """Call *function* in the host's network namespace."""
    namespace = os.open(NAMESPACES / host.namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return run_inside(namespace, function)
    finally:
        os.close(namespace)


@dataclass(frozen=True, slots=True)
class Site:
    """A node between a tunnel and a LAN."""

    member: Host
    node: Host
    lan: Host
    journal: Journal
    planner: HostPlanner
    tunnel: str
    lan_address: str
    before: HostState

    def plan(self) -> HostPlan:
        """Return the plan of a node that only takes part."""
        return HostPlan(
            "office",
            self.tunnel,
            TABLE,
            MARK,
            1420,
            ("10.99.0.1/24", "fd99::1/48"),
        )

    def apply(self, plan: HostPlan, endpoints: tuple[str, ...] = ()) -> list[Conflict]:
        """Carry a plan out in the node."""
        return inside(self.node, lambda: self.planner.apply(plan, endpoints=endpoints))

    def withdraw(self) -> None:
        """Take the plan back."""
        inside(self.node, self.planner.withdraw)

    def reaches(self, address: str) -> bool:
        """Whether the node gets an answer from *address*."""
        command = f"ping -n -c 1 -W 1 {address}"
        return self.node.run(command, check=False).returncode == 0


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    """A node with an empty tunnel interface, and its neighbours."""
    member, node, lan = lab.host("member"), lab.host("node"), lab.host("lan")
    tunnel, _ = lab.connect(node, member)
    _, lan_port = lab.connect(node, lan)
    node.ip(f"address flush dev {tunnel.interface} scope global")
    member.add_address("eth0", "10.99.0.2/24")
    member.add_address("eth0", "fd99::2/48")
    before = node.state()
    journal = open_journal("mesh0", tmp_path / "run")
    yield Site(
        *(member, node, lan, journal, HostPlanner(journal)),
        *(tunnel.interface, lan_port.v4, before),
    )
    journal.close()


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    """Return prefixes."""
    return tuple(map(Prefix.parse, texts))


def test_members_are_reached_by_the_networks_prefix(site: Site) -> None:
    """Addresses with the network's length, the MTU, and a link that is up."""
    site.node.ip(f"link set {site.tunnel} down")
    assert site.apply(site.plan()) == []
    assert site.reaches("10.99.0.2")
    wait_until(lambda: site.reaches("fd99::2"), "IPv6 through the tunnel")
    link = inside(site.node, lambda: netlink.link_by_name(site.tunnel))
    assert link is not None
    assert (link.mtu, link.up) == (1420, True)


def test_accepted_prefixes_lead_into_the_tunnel(site: Site) -> None:
    """Both versions, in our table, under our protocol, behind one rule each."""
    site.member.add_address("eth0", "10.7.0.1/16")
    site.member.add_address("eth0", "fd07::1/64")
    plan = replace(site.plan(), routes=prefixes("10.7.0.0/16", "fd07::/64"))
    assert not site.reaches("10.7.0.1")
    assert site.apply(plan) == []
    assert site.reaches("10.7.0.1")
    assert site.reaches("fd07::1")
    rules = site.node.run("ip -4 rule").stdout + site.node.run("ip -6 rule").stdout
    assert rules.count(f"5210:\tnot from all fwmark {MARK:#x} lookup {TABLE}") == 2
    table = site.node.run(f"ip route show table {TABLE}").stdout
    assert table.split() == f"10.7.0.0/16 dev {site.tunnel} proto 109".split()


def test_outer_packets_do_not_take_the_tunnel(site: Site) -> None:
    """What carries the mark does not see our table."""
    site.apply(replace(site.plan(), routes=prefixes("203.0.113.0/24")))
    marked = site.node.run(f"ip route get 203.0.113.9 mark {MARK}", check=False)
    plain = site.node.run("ip route get 203.0.113.9")
    assert f"dev {site.tunnel} " in plain.stdout
    assert site.tunnel not in marked.stdout


def test_equal_plan_changes_nothing(site: Site) -> None:
    """Applied again, also by a planner without memory, not one route is touched."""
    plan = replace(
        site.plan(), routes=prefixes("10.7.0.0/16", "fd07::/64", "10.8.0.0/16")
    )
    site.node.ip("route add 10.8.5.0/24 via 198.18.2.2")
    site.node.ip("route add fd07::5:0/112 via 2001:db8:2::2")
    site.apply(plan)
    watch = inside(site.node, open_watch)
    with watch:
        site.apply(plan)
        again = HostPlanner(site.journal)
        inside(site.node, lambda: again.apply(plan))
        # Notifications are sent before the change returns.
        with pytest.raises(BlockingIOError):
            watch.recv(65536)
        site.apply(replace(plan, routes=prefixes("10.7.0.0/16")))
        assert watch.recv(65536)


def mtus(site: Site) -> dict[str, str]:
    """Return the MTU that each route of our table says, by destination."""
    lines = []
    for version in (4, 6):
        command = f"ip -{version} route show table {TABLE}"
        lines += site.node.run(command, check=False).stdout.splitlines()
    words = [line.split() for line in lines]
    return {one[0]: one[one.index("mtu") + 1] for one in words}


def test_larger_packets_go_where_the_plan_says(site: Site) -> None:
    """By routes of their own; an equal plan changes nothing, one without undoes it."""
    addresses = prefixes("10.99.0.2/32", "fd99::2/128")
    plan = replace(
        site.plan(),
        routes=prefixes("10.7.0.0/16"),
        larger=Larger(8920, tuple((address, 4000) for address in addresses)),
    )
    assert site.apply(plan) == []
    link = inside(site.node, lambda: netlink.link_by_name(site.tunnel))
    assert link is not None
    assert link.mtu == 8920
    usual = {"10.7.0.0/16": "1420", "10.99.0.0/24": "1420", "fd99::/48": "1420"}
    assert mtus(site) == {**usual, "10.99.0.2": "4000", "fd99::2": "4000"}
    for address, size in (("10.99.0.2", "4000"), ("10.99.0.3", "1420")):
        found = site.node.run(f"ip route get {address}").stdout.split()
        assert found[found.index("mtu") + 1] == size
        assert "10.99.0.1" in found
    with inside(site.node, open_watch) as watch:
        site.apply(plan)
        with pytest.raises(BlockingIOError):
            watch.recv(65536)
    site.apply(replace(plan, larger=Larger(8920)))
    assert mtus(site) == usual
    assert site.reaches("10.99.0.2")
    site.apply(site.plan())
    assert mtus(site) == {}
    assert "5210" not in site.node.run("ip rule").stdout
    link = inside(site.node, lambda: netlink.link_by_name(site.tunnel))
    assert link is not None
    assert link.mtu == 1420


def too_large(host: Host, address: str, size: int) -> str:
    """Return what the host is told of a packet of *size* bytes that must be whole."""
    header = 48 if ":" in address else 28
    command = f"ping -n -c 2 -i 0.2 -W 1 -M do -s {size - header} {address}"
    result = host.run(command, check=False)
    return result.stdout + result.stderr


def test_narrow_ways_are_kept_to_by_the_kernel(site: Site) -> None:
    """Its own packets, and others' by an ICMP error; fragments pass."""
    narrow = prefixes("10.99.0.2/32", "fd99::2/128")
    plan = replace(
        site.plan(),
        forwards=True,
        announced=(Announced(Prefix.parse("198.18.2.0/24")),),
        narrower=tuple((one, 1296) for one in narrow),
    )
    assert site.apply(plan) == []
    assert mtus(site) == {"10.99.0.2": "1296", "fd99::2": "1296"}
    site.lan.ip("route add 10.99.0.0/24 via 198.18.2.1")
    site.member.ip("route add 198.18.2.0/24 via 10.99.0.1")
    assert "too long, mtu=1296" in too_large(site.node, "10.99.0.2", 1297)
    assert "too long, mtu: 1296" in too_large(site.node, "fd99::2", 1297)
    assert "0% packet loss" in too_large(site.node, "10.99.0.2", 1296)
    assert "Frag needed and DF set (mtu = 1296)" in too_large(
        site.lan, "10.99.0.2", 1400
    )
    for host in (site.node, site.lan):
        whole = host.run("ping -n -c 1 -W 1 -M dont -s 1380 10.99.0.2", check=False)
        assert whole.returncode == 0
    with inside(site.node, open_watch) as watch:
        site.apply(plan)
        with pytest.raises(BlockingIOError):
            watch.recv(65536)
    site.apply(replace(plan, narrower=()))
    assert mtus(site) == {}
    assert "5210" not in site.node.run("ip rule").stdout
    assert "0% packet loss" in too_large(site.node, "10.99.0.2", 1420)


def test_less_than_ipv6_asks_for_is_kept_to(site: Site) -> None:
    """Of the host's own: fragments are smaller than the 1,280 bytes, too."""
    plan = replace(
        site.plan(), narrower=tuple((p, 1216) for p in prefixes("fd99::2/128"))
    )
    site.apply(plan)
    site.member.nft(
        "table netdev small { chain small { "
        'type filter hook ingress device "eth0" priority 0; '
        "ip6 length > 1176 drop; }; }\n"
    )
    pings = "ping -n -c 1 -W 1 -s 1300 fd99::2"
    wait_until(
        lambda: site.node.run(pings, check=False).returncode == 0, "IPv6 in fragments"
    )
    site.apply(site.plan())
    assert site.node.run(pings, check=False).returncode != 0


def test_larger_packets_need_routes_of_the_networks_own(site: Site) -> None:
    """Where a LAN of the host has its addresses, everything is as it always was."""
    site.node.add_address("eth1", "10.99.0.77/16")
    [conflict] = site.apply(replace(site.plan(), larger=Larger(8920)))
    assert "own addresses 10.99.0.0/24 overlap" in conflict.text
    assert mtus(site) == {}
    link = inside(site.node, lambda: netlink.link_by_name(site.tunnel))
    assert link is not None
    assert link.mtu == 1420


def open_watch() -> socket.socket:
    """Return a socket that hears every change of links, addresses, routes, rules."""
    watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    groups = (1, 5, 7, 8, 9, 11, 19)  # RTNLGRP_* of linux/rtnetlink.h
    watch.bind((0, sum(1 << group - 1 for group in groups)))
    watch.setblocking(False)
    return watch


def test_only_what_differs_is_changed(site: Site) -> None:
    """A new plan adds and deletes; the route that stays keeps its place."""
    site.apply(replace(site.plan(), routes=prefixes("10.7.0.0/16", "10.8.0.0/16")))
    moved = replace(
        site.plan(),
        routes=prefixes("10.8.0.0/16", "10.6.0.0/16"),
        addresses=("10.99.0.7/24", "fd99::1/48"),
    )
    site.apply(moved)
    table = site.node.run(f"ip route show table {TABLE}").stdout
    found = [line.split()[0] for line in table.splitlines()]
    assert found == ["10.6.0.0/16", "10.8.0.0/16"]
    addresses = site.node.run(f"ip -br -4 address show {site.tunnel}").stdout
    assert addresses.split()[2:] == ["10.99.0.7/24"]
    site.apply(site.plan())
    assert site.node.run(f"ip route show table {TABLE}", check=False).stdout == ""
    assert "5210" not in site.node.run("ip rule").stdout


def test_more_specific_route_of_the_host_keeps_its_way(site: Site) -> None:
    """A static route inside an accepted prefix still leads to the LAN."""
    site.lan.add_address("lo", "10.7.5.1/32")
    site.member.add_address("eth0", "10.7.0.1/16")
    site.node.ip("route add 10.7.5.0/24 via 198.18.2.2")
    assert site.apply(replace(site.plan(), routes=prefixes("10.7.0.0/16"))) == []
    assert site.reaches("10.7.5.1")
    assert site.reaches("10.7.0.1")
    assert "throw 10.7.5.0/24" in site.node.run(f"ip route show table {TABLE}").stdout


@pytest.mark.parametrize(
    "accepted", ["198.18.2.0/24", "198.18.0.0/16", "198.18.2.0/28", "2001:db8:2::/48"]
)
def test_own_lan_wins_and_is_said(site: Site, accepted: str) -> None:
    """A prefix that overlaps the host's LAN is not taken, and the LAN works."""
    plan = replace(site.plan(), routes=prefixes(accepted, "10.7.0.0/16"))
    [conflict] = site.apply(plan)
    assert conflict.prefix == Prefix.parse(accepted)
    assert "eth1 of this host is in" in conflict.text
    assert site.reaches(site.lan_address)
    table = site.node.run(f"ip route show table {TABLE}").stdout
    assert [line.split()[0] for line in table.splitlines()] == ["10.7.0.0/16"]


def test_gateway_and_endpoints_stay_outside(site: Site) -> None:
    """A prefix with the default gateway or a peer's endpoint is not taken."""
    site.node.ip("route add default via 203.0.113.1 dev eth1 onlink")
    plan = replace(site.plan(), routes=prefixes("203.0.113.0/24", "192.0.2.0/24"))
    conflicts = site.apply(plan, ("192.0.2.7",))
    assert [str(conflict.prefix) for conflict in conflicts] == [
        "203.0.113.0/24",
        "192.0.2.0/24",
    ]
    assert "default gateway" in conflicts[0].text
    assert "192.0.2.7" in conflicts[1].text
    assert site.tunnel not in site.node.run("ip route get 192.0.2.7").stdout


def test_clash_with_the_networks_own_addresses_is_said(site: Site) -> None:
    """A LAN that has the network's addresses is named."""
    site.node.add_address("eth1", "10.99.0.77/16")
    [conflict] = site.apply(site.plan())
    assert "own addresses 10.99.0.0/24 overlap with 10.99.0.0/16" in conflict.text


def test_host_without_ipv6_gets_the_rest(site: Site) -> None:
    """IPv6 that is off costs IPv6 only."""
    site.node.sysctl(f"net.ipv6.conf.{site.tunnel}.disable_ipv6", 1)
    plan = replace(site.plan(), routes=prefixes("10.7.0.0/16", "fd07::/64"))
    [conflict] = site.apply(plan)
    assert "no IPv6" in conflict.text
    assert site.reaches("10.99.0.2")


def test_missing_interface_is_an_error(site: Site) -> None:
    """A plan for an interface that went is refused, with ENODEV."""
    with pytest.raises(HostError, match="mesh9 is gone"):
        site.apply(replace(site.plan(), interface="mesh9"))
    site.withdraw()


FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


def forwarding(host: Host) -> list[str]:
    """Return whether the host forwards IPv4 and IPv6."""
    return [host.run(["sysctl", "-n", key]).stdout.strip() for key in FORWARDING]


def test_forwarding_follows_the_plan(site: Site) -> None:
    """On while the plan forwards, then as before."""
    assert forwarding(site.node) == ["0", "0"]
    forwards = replace(site.plan(), forwards=True)
    site.apply(forwards)
    assert forwarding(site.node) == ["1", "1"]
    site.apply(site.plan())
    assert forwarding(site.node) == ["0", "0"]
    site.apply(forwards)
    site.withdraw()
    assert forwarding(site.node) == ["0", "0"]


def test_router_stays_a_router(site: Site) -> None:
    """Forwarding that was on before us is not turned off."""
    site.node.sysctl(FORWARDING[0], 1)
    site.apply(replace(site.plan(), forwards=True))
    site.withdraw()
    assert forwarding(site.node) == ["1", "0"]


def test_forwarding_turned_on_by_others_since_is_theirs(site: Site) -> None:
    """Once we turned it off again, later plans leave it alone."""
    site.apply(replace(site.plan(), forwards=True))
    site.apply(site.plan())
    site.node.sysctl(FORWARDING[0], 1)
    site.apply(replace(site.plan(), routes=prefixes("10.7.0.0/16")))
    assert forwarding(site.node)[0] == "1"


def full(site: Site) -> HostPlan:
    """Return a plan with something of everything."""
    return replace(
        site.plan(),
        routes=prefixes("10.7.0.0/16", "fd07::/64"),
        announced=(Announced(Prefix.parse("198.18.2.0/24")),),
        forwards=True,
    )


def test_nothing_is_left_after_withdrawing(site: Site) -> None:
    """Tables, rules, routes, addresses and variables are as before."""
    site.node.ip("route add 10.7.5.0/24 via 198.18.2.2")
    before = site.node.state()
    site.apply(full(site))
    assert len(site.node.state().changes_since(before)) > 8
    site.withdraw()
    assert site.node.state().changes_since(before) == []
    assert forwarding(site.node) == ["0", "0"]
    site.withdraw()


KILLED = """
import sys, signal
from pathlib import Path
from meshnode.host.journal import open_journal
from meshnode.host.plan import HostPlanner
from meshnode.host.privileges import drop_to_control
from meshnode.hostplan import Announced, HostPlan, Larger
from meshnode.types import Prefix
prefix = Prefix.parse
journal = open_journal("mesh0", Path(sys.argv[1]))
import meshnode.host.netlink, pyroute2, subprocess
drop_to_control()
plan = HostPlan(
    "office", sys.argv[2], 6100, 0x6D65, 1420, ("10.99.0.1/24", "fd99::1/48"),
    routes=(prefix("10.7.0.0/16"), prefix("fd07::/64"), prefix("10.8.0.0/16")),
    announced=(Announced(prefix("198.18.2.0/24")),), forwards=True,
)
print(HostPlanner(journal).apply(plan), flush=True)
signal.pause()
"""


def test_killed_node_is_cleaned_up(site: Site, tmp_path: Path) -> None:
    """With CAP_NET_ADMIN alone all is done; after SIGKILL, all is undone."""
    site.node.ip("route add 10.8.5.0/24 via 198.18.2.2")
    before = site.node.state()
    directory = tmp_path / "killed"
    command = ["ip", "netns", "exec", site.node.namespace, sys.executable]
    with subprocess.Popen(
        [*command, "-c", KILLED, str(directory), site.tunnel],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[]\n"
        assert forwarding(site.node) == ["1", "1"]
        assert inside(site.node, lambda: cleanup(directory)) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
    # The veth stands in for a TUN device, which would go with the process.
    for address in ("10.99.0.1/24", "fd99::1/48"):
        site.node.ip(f"address delete {address} dev {site.tunnel}")
    done = inside(site.node, lambda: cleanup(directory))
    assert "deleted the table meshnode_office" in done
    assert "emptied the routing table 6100" in done
    assert site.node.state().changes_since(before) == []
    assert forwarding(site.node) == ["0", "0"]
    assert inside(site.node, lambda: cleanup(directory)) == []


def test_next_control_goes_on_with_the_journal(site: Site) -> None:
    """A second planner of the same journal withdraws what the first one did."""
    site.apply(full(site))
    journal = site.journal
    size = os.fstat(journal.fileno()).st_size
    successor = HostPlanner(journal)
    inside(site.node, lambda: successor.apply(full(site)))
    assert os.fstat(journal.fileno()).st_size == size, "journalled twice"
    inside(site.node, successor.withdraw)
    assert site.node.state().changes_since(site.before) == []
