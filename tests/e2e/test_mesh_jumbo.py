"""Larger packets between members whose path carries them, and between no others."""

import json

import pytest

from tests.e2e.mesh_parts import MeshHost, Site, await_acquainted, until
from topology.hosts import Lab

pytestmark = pytest.mark.root

BASE, WIDE, NARROWER = 1420, 8920, 3992
JUMBO = 9000
DATA_BYTES = 20_000_000


class JumboSite(Site):
    """A segment for 9,000 bytes; what is larger than a port of it vanishes."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.lan = self.switches.lan("wide", mtu=JUMBO)

    def narrow(self, host: MeshHost, mtu: int) -> None:
        """Let the segment's port of *host* take only so much; the host knows not."""
        link = host.host.run(["ip", "-j", "link", "show", "dev", "wide"]).stdout
        index = json.loads(link)[0]["link_index"]
        switch = self.switches.host
        name = next(
            one["ifname"]
            for one in json.loads(switch.run("ip -j link").stdout)
            if one["ifindex"] == index
        )
        switch.ip(f"link set dev {name} mtu {mtu}")


def start(site: JumboSite, *names: str, **mtus: int) -> list[MeshHost]:
    """Make a network; hosts have a link of 9,000 bytes, or of *mtus*."""
    hosts = [site.host(name, v6=True) for name in (*names, *mtus)]
    for host in hosts:
        if host.name in mtus:
            host.host.ip(f"link set dev wide mtu {mtus[host.name]}")
            site.narrow(host, mtus[host.name])
    founder, *others = hosts
    founder.found()
    founder.up()
    for host in others:
        words = ("join", "-", "--name", host.name, "--no-up")
        host.run(*words, stdin=founder.invite())
        # The founder has the reference's.
        host.configure(engine="fast")
        host.up()
    await_acquainted(hosts)
    return hosts


def sizes(host: MeshHost) -> dict[str, int]:
    """Return how large packets to each member may be, as the node says."""
    return {name: peer["mtu"] for name, peer in host.peers().items()}


def await_size(one: MeshHost, other: MeshHost, size: int) -> float:
    """Wait until one sends the other so large packets; return the seconds it took."""

    def is_there() -> bool:
        route_v4 = f"ip route get {other.address}"
        route_v6 = f"ip -6 route get {other.address6}"
        routes = [one.host.run(route).stdout.split() for route in (route_v4, route_v6)]
        return sizes(one)[other.name] == size and all(
            route[route.index("mtu") + 1] == str(size) for route in routes
        )

    return until(is_there, f"{one} sends {other} packets of {size} bytes")


def passes(one: MeshHost, address: str, size: int) -> bool:
    """Whether a packet of *size* bytes gets an answer, whole."""
    header = 48 if ":" in address else 28
    command = f"ping -n -c 1 -W 2 -M do -s {size - header} {address}"
    return one.host.run(command, check=False).returncode == 0


def carries_tcp(one: MeshHost, other: MeshHost) -> None:
    """Let one send the other some megabytes by TCP."""
    receive = (
        "import socket,sys;s=socket.create_server(('',7777));print('up',flush=True);"
        "c,_=s.accept();n=0\nwhile d:=c.recv(1<<20):n+=len(d)\nprint(n)"
    )
    send = (
        "import socket,sys;"
        f"s=socket.create_connection(({other.address!r},7777),20);"
        f"s.sendall(bytes({DATA_BYTES}))"
    )
    server = other.host.start(["python3", "-c", receive])
    until(lambda: "up" in server.output, "it listens")
    one.host.run(["python3", "-c", send], timeout=60)
    server.wait(30)
    assert str(DATA_BYTES) in server.output


def test_a_wide_path_is_used_and_a_narrow_one_is_not(lab: Lab) -> None:
    """Two with links of 9,000 bytes, a third with 1,500, a fourth behind 4,100."""
    site = JumboSite(lab)
    anna, bert, dora, carl = start(site, "anna", "bert", "dora", carl=1500)
    site.narrow(dora, 4100)
    for other in (bert, carl, dora):
        anna.pings(other)
    for one, other in ((anna, bert), (bert, anna)):
        await_size(one, other, WIDE)
        for address in (other.address, other.address6):
            assert passes(one, address, WIDE)
            assert not passes(one, address, WIDE + 1)
    await_size(anna, dora, NARROWER)
    assert passes(anna, dora.address, NARROWER)
    assert not passes(anna, dora.address, NARROWER + 1)
    assert sizes(anna) == {"bert": WIDE, "carl": BASE, "dora": NARROWER}
    assert sizes(carl) == dict.fromkeys(("anna", "bert", "dora"), BASE)
    assert passes(anna, carl.address, BASE)
    assert not passes(anna, carl.address, BASE + 1)
    table = anna.run("peers").stdout.splitlines()
    assert [line.split()[-1] for line in table] == ["MTU", "8920", "1420", "3992"]
    assert "MTU" not in carl.run("peers").stdout
    assert anna.status()["mtu"] == BASE
    for one, other in ((anna, bert), (bert, anna), (anna, carl), (carl, anna)):
        carries_tcp(one, other)
    before = anna.host.run("ip -4 rule").stdout
    assert before.count("5210:") == 1
    anna.down()
    assert "5210:" not in anna.host.run("ip -4 rule").stdout


def test_a_path_that_shrinks_under_traffic_is_left(lab: Lab) -> None:
    """What is too large vanishes; the base is back when three probes did, too."""
    site = JumboSite(lab)
    anna, bert = start(site, "anna", "bert")
    anna.pings(bert)
    await_size(anna, bert, WIDE)
    site.narrow(bert, 1500)
    assert not passes(anna, bert.address, WIDE)
    flow = anna.host.start(f"ping -n -q -i 0.5 -s 8000 {bert.address}")
    assert await_size(anna, bert, BASE) < 45
    flow.stop()
    assert anna.answers(bert.address, within=5)
    assert not passes(anna, bert.address, BASE + 1)
    carries_tcp(anna, bert)


def test_nothing_is_larger_where_the_administrator_says_so(lab: Lab) -> None:
    """On either side; the interface and the routes are as they were."""
    site = JumboSite(lab)
    anna, bert = (site.host(name) for name in ("anna", "bert"))
    anna.found()
    anna.configure(max_mtu=BASE)
    anna.up()
    bert.join(anna.invite())
    await_acquainted([anna, bert])
    anna.pings(bert)
    bert.pings(anna)
    link = json.loads(anna.host.run("ip -j link show dev home").stdout)[0]
    assert link["mtu"] == BASE
    assert "5210:" not in anna.host.run("ip -4 rule").stdout
    assert (sizes(anna), sizes(bert)) == ({"bert": BASE}, {"anna": BASE})
    assert not passes(bert, anna.address, BASE + 1)
