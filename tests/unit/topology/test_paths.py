"""What lies between two nodes: LANs and routers, added up."""

from dataclasses import astuple

import pytest

from topology.description import Description
from topology.parsing import parse
from topology.paths import (
    LinkSpec,
    Trail,
    hiding_nats,
    paths_between,
    places_in,
    routed_trails,
)

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
    """Latencies, jitters and routers add, survivals multiply, the least MTU counts."""
    links = paths_between(chain)
    whole = (0.015, 0.003, 0.5, 1500, 0.0, 1)
    assert astuple(links["m", "b"]) == pytest.approx(whole)
    assert astuple(links["r1", "b"]) == pytest.approx(whole)
    both = parse(CHAIN.replace(', nat = "masquerade", outside = "middle"', ""), "both")
    whole = (0.016, 0.003, 0.75, 1400, 0.0, 2)
    assert astuple(paths_between(both)["a", "b"]) == pytest.approx(whole)


def test_hops_and_reordering_add_up_too(chain: Description) -> None:
    """An internet counts as the routers that it stands for."""
    text = CHAIN.replace('jitter = "2ms"', 'hops = 3\nreorder = "50%"')
    text = text.replace('jitter = "1ms"', 'reorder = "50%"')
    link = paths_between(parse(text, "chain.toml"))["m", "b"]
    assert (link.hops, link.reorder) == (4, pytest.approx(0.75))


def test_links_go_both_ways_and_leave_out_who_has_none(chain: Description) -> None:
    """A NAT is a station of its own: a way to it, and a way on."""
    links = paths_between(chain)
    outside = ("m", "b", "r1")
    pairs = {(x, y) for x in outside for y in outside if x != y}
    assert set(links) == pairs | {("a", "r1"), ("r1", "a")}
    assert links["r1", "b"] == links["b", "r1"]


def test_a_lan_is_hidden_by_the_first_nat_on_the_way_out(chain: Description) -> None:
    """What plain routers join to it is hidden too."""
    assert hiding_nats(chain) == {"left": "r1", "middle": "", "right": "", "island": ""}
    text = CHAIN.replace(
        'name = "r2", runs = "router"',
        ('name = "r2", runs = "router", nat = "symmetric", outside = "right"'),
    )
    assert hiding_nats(parse(text, "two")) == {
        "left": "r1",
        "middle": "r2",
        "right": "",
        "island": "",
    }


def test_places_are_what_members_have_and_forward_to(chain: Description) -> None:
    """Nothing leads behind a NAT, but from there out."""
    places = places_in(chain, chain.lan("middle"))
    assert places["r2"] == ["198.18.0.3", "192.168.2.0/24"]
    assert places["r1"] == ["198.18.0.1"]
    places = places_in(chain, chain.lan("left"))
    assert places["r1"] == ["192.168.1.1", "198.18.0.0/24", "192.168.2.0/24"]


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
