"""What lies between two nodes: LANs and routers, added up."""

from dataclasses import astuple

import pytest

from topology.description import Description
from topology.parsing import parse
from topology.paths import LinkSpec, Trail, paths_between, routed_trails

# a ─ left ─ r1 ─ middle ─ r2 ─ right ─ b; m is in the middle, alone in its own.
CHAIN = """
network = { name = "n", cidr = "10.0.0.0/8" }
node = [
  { name = "a", runs = "plain" },
  { name = "r1", runs = "router", nat = "masquerade", outside = "middle" },
  { name = "m", runs = "plain" },
  { name = "r2", runs = "router" },
  { name = "b", runs = "plain" },
  { name = "alone", runs = "plain" },
]
[[lan]]
name = "left"
prefix = "192.168.1.0/24"
members = ["r1", "a"]
latency = "1ms"
loss = "50%"
mtu = 1400
[[lan]]
name = "middle"
prefix = "198.18.0.0/24"
members = ["r1", "m", "r2"]
latency = "10ms"
jitter = "2ms"
[[lan]]
name = "right"
prefix = "192.168.2.0/24"
members = ["r2", "b"]
latency = "5ms"
jitter = "1ms"
loss = "50%"
[[lan]]
name = "island"
prefix = "192.168.3.0/24"
members = ["alone"]
"""


@pytest.fixture
def chain() -> Description:
    """Two routers in a row, the left one with NAT."""
    return parse(CHAIN, "chain.toml")


def test_a_way_adds_up_what_it_crosses(chain: Description) -> None:
    """Latencies and jitters add, survivals multiply, the least MTU counts."""
    links = paths_between(chain)
    assert astuple(links["a", "b"]) == pytest.approx((0.016, 0.003, 0.75, 1400))
    assert links["a", "m"].latency == pytest.approx(0.011)
    assert astuple(links["m", "b"]) == pytest.approx((0.015, 0.003, 0.5, 1500))


def test_links_go_both_ways_and_leave_out_who_has_none(chain: Description) -> None:
    """Routers are between nodes, not among them; an island has no links."""
    links = paths_between(chain)
    ends = ("a", "m", "b")
    assert set(links) == {(x, y) for x in ends for y in ends if x != y}
    # A NAT hides addresses; a packet that it lets pass meets the same.
    assert links["b", "a"] == links["a", "b"]


def test_nothing_is_routed_into_a_nat(chain: Description) -> None:
    """From outside the LAN behind it is unknown; from inside all is reachable."""
    assert set(routed_trails(chain, "a")) == {"left", "middle", "right"}
    assert set(routed_trails(chain, "b")) == {"right", "middle"}
    # Its own LANs are no secret to the router itself.
    assert routed_trails(chain, "r1")["left"] == Trail(("left",), ())
    assert routed_trails(chain, "a")["right"] == Trail(
        ("left", "middle", "right"), ("r1", "r2")
    )


def test_fewest_routers_win() -> None:
    """A common LAN counts, not a faster way around."""
    text = CHAIN.replace('members = ["alone"]', 'members = ["alone", "a", "b"]')
    links = paths_between(parse(text, "chain.toml"))
    assert links["a", "b"] == LinkSpec(0.0, 0.0, 0.0, 1500)


def test_plain_hosts_do_not_forward() -> None:
    """A host in two LANs is no way from one to the other."""
    text = CHAIN.replace('name = "r2", runs = "router"', 'name = "r2", runs = "plain"')
    links = paths_between(parse(text, "chain.toml"))
    assert ("m", "b") not in links
    assert ("m", "r2") in links
