"""A node asks its router for a port, and finds members on its link by itself."""

import pytest

from tests.e2e.mesh_parts import PATIENCE, MeshHost, Site, found_mesh, until
from topology.hosts import Lab, wait_until

pytestmark = pytest.mark.root

# miniupnpd serves no router whose outside address is private or of a documentation
# range. Nothing of it leaves the laboratory's namespaces.
ROUTER, FOUNDER, BOB = "20.0.0.1", "20.0.0.2", "20.0.0.3"
INSIDE, HOME, HOME6 = "192.168.7.1", "192.168.7.5", "2001:db8:7::5"
PORT = 51820
LEASE = 8
"""Seconds, the longest that the router grants where a test waits for the end."""

RULES = """
table inet filter {
  chain miniupnpd { }
  chain forward {
    type filter hook forward priority 0; policy accept;
    jump miniupnpd
    iifname "wan" ct state established,related accept
    iifname "wan" drop
  }
  chain opened { }
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    jump opened
  }
  chain opened_out { }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    jump opened_out
    ip saddr 192.168.7.0/24 oifname "wan" masquerade random
  }
}
"""
"""A router that lets in what it is asked to and answers, and nothing else."""

CONFIGURATION = """
ext_ifname=wan
listening_ip=house
system_uptime=yes
secure_mode=yes
uuid=fc4ec57e-b051-11db-88f8-0060085db3f6
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=opened
upnp_nat_postrouting_chain=opened_out
allow 1024-65535 192.168.7.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


class House:
    """`ann` in a house whose router forwards ports if asked; the founder outside."""

    def __init__(self, lab: Lab) -> None:
        self.site = Site(lab)
        self.wan, house = self.site.segment("wan"), self.site.segment("house")
        self.router = lab.router("router")
        self.wan.attach(lab, self.router, v4=f"{ROUTER}/24", v6="2001:db8:9::1/64")
        house.attach(lab, self.router, v4=f"{INSIDE}/24", v6="2001:db8:7::1/64")
        self.router.nft(RULES)
        self.founder = self.outside("founder", FOUNDER)
        port = house.attach(lab, lab.host("ann"), v4=f"{HOME}/24", v6=f"{HOME6}/64")
        port.host.ip(f"route add default via {INSIDE}")
        self.ann = MeshHost(port)

    def outside(self, name: str, address: str) -> MeshHost:
        """Add a host of the world outside."""
        lab = self.site.lab
        return MeshHost(self.wan.attach(lab, lab.host(name), v4=f"{address}/24"))

    def serve(self, *options: str) -> None:
        """Start the router's daemon with some lines more of configuration."""
        directory = self.site.lab.directory
        config = directory / "miniupnpd.conf"
        config.write_text("\n".join(options) + CONFIGURATION)
        pid = str(directory / "miniupnpd.pid")
        self.router.start(["miniupnpd", "-d", "-f", str(config), "-P", pid])

    def begin(self) -> None:
        """Make the network, and let ann join."""
        self.founder.found()
        self.founder.up()
        self.ann.join(self.founder.invite())

    def opened(self) -> str:
        """Return the router's rules that the daemon made."""
        chains = ("opened", "miniupnpd")
        return "".join(
            self.router.run(f"nft list chain inet filter {chain}").stdout
            for chain in chains
        )

    def await_mapping(self, protocol: str, external: str) -> None:
        """Wait until ann has this mapping, and see it among what she tells others."""

        def is_there() -> bool:
            return any(
                (one["protocol"], one["external"]) == (protocol, external)
                for one in self.ann.status()["portMappings"]
            )

        until(is_there, f"{external} is mapped by {protocol}")
        kinds = {c["endpoint"]: c["kind"] for c in self.ann.status()["candidates"]}
        assert kinds[external] == "mapped"
        assert kinds[f"{HOME}:{PORT}"] == "local"


@pytest.fixture
def house(lab: Lab) -> House:
    """A house; its router's daemon is not started yet."""
    return House(lab)


def test_who_is_outside_comes_in_by_the_mapped_port(house: House) -> None:
    """By PCP; the router drops whatever it was not asked to let in.

    It keeps ann from speaking to bob first: her packet would let his answers in.
    """
    house.serve("enable_natpmp=yes", "enable_upnp=no")
    house.router.nft(
        f"insert rule inet filter forward "
        f'iifname "house" ip daddr {BOB} ct state new drop'
    )
    house.begin()
    house.await_mapping("pcp", f"{ROUTER}:{PORT}")
    assert f"{HOME}:{PORT}" in house.opened()
    bob = house.outside("bob", BOB)
    bob.join(house.founder.invite())
    bob.pings(house.ann)
    assert bob.peers()["ann"]["endpoint"] == f"{ROUTER}:{PORT}"
    assert f"{ROUTER}:{PORT} (mapped)" in house.ann.run("status").stdout
    house.ann.down()
    assert f"{HOME}:{PORT}" not in house.opened()
    for host in (bob, house.founder):
        host.down()


def test_router_that_knows_only_natpmp(house: House) -> None:
    """PCP's requests, 60 bytes, get no answer; ann's port is opened and closed."""
    house.serve("enable_natpmp=yes", "enable_upnp=no")
    house.router.nft("add chain inet filter old { type filter hook input priority 0; }")
    house.router.nft("add rule inet filter old udp dport 5351 udp length 68 drop")
    house.begin()
    house.await_mapping("nat-pmp", f"{ROUTER}:{PORT}")
    assert f"{HOME}:{PORT}" in house.opened()
    house.ann.down()
    assert f"{HOME}:{PORT}" not in house.opened()
    house.founder.down()


@pytest.mark.slow
def test_router_that_knows_only_upnp(house: House) -> None:
    """Asked when the others had no answer for 20 s."""
    house.serve("enable_natpmp=no", "enable_upnp=yes", "min_lifetime=2")
    house.begin()
    house.await_mapping("upnp", f"{ROUTER}:{PORT}")
    assert f"{HOME}:{PORT}" in house.opened()
    house.ann.down()
    assert f"{HOME}:{PORT}" not in house.opened()
    house.founder.down()


def test_mapping_of_who_was_killed_ends(house: House) -> None:
    """By its lifetime; while the control process dies and returns it is kept."""
    house.serve(
        *("enable_natpmp=yes", "enable_upnp=no"),
        *("min_lifetime=2", f"max_lifetime={LEASE}"),
    )
    house.begin()
    house.await_mapping("pcp", f"{ROUTER}:{PORT}")
    before = house.ann.roles()["control"]
    house.ann.host.run(f"kill -9 {before}")
    wait_until(
        lambda: house.ann.is_ready() and house.ann.roles().get("control") != before,
        "another control process",
        timeout=PATIENCE,
    )
    house.await_mapping("pcp", f"{ROUTER}:{PORT}")
    house.ann.kill()
    assert f"{HOME}:{PORT}" in house.opened()
    until(lambda: f"{HOME}:{PORT}" not in house.opened(), "the mapping ends")
    house.ann.run("cleanup")
    house.founder.down()


def test_ipv6_is_let_in(house: House) -> None:
    """A hole in the firewall of the router that IPv6's default route leads to."""
    house.serve("enable_natpmp=yes", "enable_upnp=no")
    house.ann.host.ip("route add default via 2001:db8:7::1")
    house.begin()
    house.await_mapping("pcp", f"[{HOME6}]:{PORT}")
    house.ann.down()
    house.founder.down()


@pytest.mark.parametrize("version", [4, 6])
def test_members_of_a_link_find_each_other(lab: Lab, version: int) -> None:
    """Alone, and at addresses that nobody has told them of.

    Without LAN discovery they do not: so it is this that helps.
    """
    site = Site(lab)
    founder, ann, ben = found_mesh(site, "founder", "ann", "ben")
    for host in (founder, ann, ben):
        host.down()
    for host, last in ((ann, 77), (ben, 78)):
        host.host.ip("address flush dev lan scope global")
        if version == 4:
            host.host.ip(f"address add 198.18.0.{last}/24 dev lan")
    assert not is_found(ann, ben, lan_discovery=False)
    assert is_found(ann, ben, lan_discovery=True)
    ann.pings(ben)
    peer = ann.peers()["ben"]
    assert peer["endpointKind"] == "lan"
    assert peer["endpoint"].startswith("198.18.0.78:" if version == 4 else "[fe80::")
    assert f"{peer['endpoint']} (lan)" in ann.run("peers").stdout
    for host in (ann, ben):
        host.down()


def is_found(ann: MeshHost, ben: MeshHost, *, lan_discovery: bool) -> bool:
    """Start both; whether ann reaches ben within some seconds."""
    for host in (ann, ben):
        host.configure(lan_discovery=lan_discovery)
        if host.is_ready():
            host.down()
        host.up()
    address = ben.address
    return any(ann.answers(address, within=2) for _ in range(4))
