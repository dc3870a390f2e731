"""LANs that are an internet: their time, TTL, MTU and black holes."""

import re
import socket

import pytest

from meshnode.host.namespaces import run_inside
from meshnode.simulation.nat_kinds import BEHAVIOURS, NatKind
from topology.build import Underlay, build
from topology.description import Description
from topology.hosts import Lab, wait_until
from topology.nat_pairs import pair
from topology.parsing import parse

pytestmark = pytest.mark.root

CLOUD = """
network = { name = "n", cidr = "10.77.0.0/16" }
node = [
  { name = "one", runs = "plain" },
  { name = "two", runs = "plain" },
  { name = "router", runs = "router" },
  { name = "inner", runs = "plain" },
]
[[lan]]
name = "the-net"
prefix = "198.18.0.0/24"
prefix6 = "2001:db8::/64"
members = ["one", "two", "router"]
hops = 2
[[lan]]
name = "office"
prefix = "192.168.1.0/24"
members = ["router", "inner"]
"""


def _cloud(conditions: str = "") -> Description:
    return parse(CLOUD.replace("hops = 2", f"hops = 2\n{conditions}"), "cloud.toml")


def _ping(underlay: Underlay, sender: str, address: str, options: str = "") -> str:
    """Ping three times and return what ping says."""
    command = f"ping -n -c 3 -i 0.05 -W 1 {options} {address}"
    return underlay.hosts[sender].run(command, check=False).stdout


def _answers(underlay: Underlay, sender: str, address: str, options: str = "") -> bool:
    return "bytes from" in _ping(underlay, sender, address, options)


def test_members_and_who_is_behind_them_answer(lab: Lab) -> None:
    """In both versions of IP, with the TTL that the way leaves."""
    underlay = build(lab, _cloud())
    two = underlay.ports["two", "the-net"]
    assert "ttl=62" in _ping(underlay, "one", two.v4)
    assert "ttl=62" in _ping(underlay, "one", two.v6)
    assert "ttl=61" in _ping(underlay, "one", underlay.ports["inner", "office"].v4)
    assert not _answers(underlay, "one", two.v4, "-t 2")
    assert _answers(underlay, "one", two.v4, "-t 3")


def test_latency_is_real(lab: Lab) -> None:
    """No answer comes before the light could be there and back."""
    underlay = build(lab, _cloud('latency = "30ms"'))
    said = _ping(underlay, "one", underlay.ports["two", "the-net"].v4)
    times = [float(time) for time in re.findall(r"time=([\d.]+)", said)]
    assert len(times) == 3
    assert min(times) >= 60


@pytest.mark.parametrize("mtu", [1280, 1300, 1360, 1492])
def test_mtu_black_holes_say_nothing(lab: Lab, mtu: int) -> None:
    """The sender's own interface takes the packet, and no ICMP tells what became."""
    underlay = build(lab, _cloud(f"mtu = {mtu}"))
    two, headers = underlay.ports["two", "the-net"].v4, 28
    assert _answers(underlay, "one", two, f"-M do -s {mtu - headers}")
    said = _ping(underlay, "one", two, f"-M do -s {mtu - headers + 1}")
    assert "100% packet loss" in said
    assert "needed" not in said
    assert "too long" not in said


def test_blackholes_are_one_way_and_end(lab: Lab) -> None:
    """Also for what is behind a member, and only for the pair that is named."""
    underlay = build(lab, _cloud())
    inner = underlay.ports["inner", "office"].v4
    one, two = (underlay.ports[name, "the-net"].v4 for name in ("one", "two"))
    underlay.blackhole("router", "one")
    underlay.blackhole("router", "one")
    assert not _answers(underlay, "one", inner)
    assert _answers(underlay, "two", inner)
    assert _answers(underlay, "one", two)
    # From router to one nothing passes; the other way all does.
    seen = underlay.hosts["inner"].start("tcpdump -n -l -c 1 icmp")
    wait_until(lambda: "listening" in seen.output, "tcpdump listens")
    assert not _answers(underlay, "one", inner)
    wait_until(lambda: f"{one} > {inner}" in seen.output, "the request came")
    underlay.heal("one", other="router")
    assert _answers(underlay, "one", inner)


def test_cuts_are_both_ways_and_heal(lab: Lab) -> None:
    """From one member, or from all."""
    underlay = build(lab, _cloud())
    one, two = (underlay.ports[name, "the-net"].v4 for name in ("one", "two"))
    router = underlay.ports["router", "the-net"].v4
    underlay.cut("one", other="two")
    assert not _answers(underlay, "one", two)
    assert not _answers(underlay, "two", one)
    assert _answers(underlay, "one", router)
    underlay.heal("one", other="two")
    assert _answers(underlay, "one", two)
    underlay.cut("two", lan="the-net")
    assert not _answers(underlay, "two", router)
    assert _answers(underlay, "one", router)
    underlay.heal("two", lan="the-net")
    assert _answers(underlay, "two", router)


def test_blackholes_work_on_bridges_too(lab: Lab) -> None:
    """The same verb for every LAN."""
    underlay = build(lab, parse(CLOUD.replace("hops = 2", ""), "bridge.toml"))
    two = underlay.ports["two", "the-net"].v4
    underlay.blackhole("two", "one")
    assert not _answers(underlay, "one", two)
    underlay.heal("two", other="one")
    assert _answers(underlay, "one", two)


def test_it_loses_nothing_by_itself(lab: Lab) -> None:
    """Bursts of full packets all arrive, in order."""
    underlay = build(lab, _cloud('latency = "10ms"'))
    sender, receiver = (_socket(underlay, name) for name in ("one", "two"))
    with sender, receiver:
        sender.connect(receiver.getsockname())
        receiver.settimeout(10)
        for burst in range(50):
            sent = [burst.to_bytes(2, "big") + bytes([n]) * 1400 for n in range(40)]
            for data in sent:
                sender.send(data)
            assert [receiver.recv(2000) for _ in sent] == sent


def _socket(underlay: Underlay, name: str) -> socket.socket:
    """Return a UDP socket in a host, on its address in the cloud."""
    host = underlay.hosts[name]
    with open(f"/run/netns/{host.namespace}", "rb") as namespace:
        opened = run_inside(
            namespace.fileno(), lambda: socket.socket(type=socket.SOCK_DGRAM)
        )
    opened.bind((underlay.ports[name, "the-net"].v4, 0))
    return opened


@pytest.mark.parametrize("kind", [NatKind.OPEN, NatKind.SYMMETRIC])
def test_any_two_kinds_can_be_set_against_each_other(lab: Lab, kind: NatKind) -> None:
    """An open router is none that hides: it has no NAT to rebind."""
    underlay = build(lab, pair(kind, NatKind.PORT_RESTRICTED))
    hub = underlay.ports["hub", "internet"].v4
    assert _answers(underlay, "a", hub)
    assert _answers(underlay, "b", hub)
    assert ("box-a" in underlay.routers) == (kind in BEHAVIOURS)
    underlay.router("box-b").rebind()
    underlay.blackhole("box-b", "hub")
    assert not _answers(underlay, "b", hub)
    assert _answers(underlay, "a", hub)
