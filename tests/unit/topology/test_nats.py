"""NATs and internets in topology files: read, refused, paired, and made into rules."""

import ipaddress
from pathlib import Path

import pytest

from meshnode.simulation.nat_kinds import BEHAVIOURS, NatKind
from topology import nat_pairs
from topology.build import ignored
from topology.description import Action, NatPlace, Step
from topology.drawing import as_text
from topology.nat_pairs import pair
from topology.nat_rules import rules, variables
from topology.parsing import load, parse
from topology.reading import DescriptionError

HERE = Path(nat_pairs.__file__).parent

HOMES = """
network = { name = "n", cidr = "10.77.0.0/16" }
[[node]]
name = "server"
runs = "plain"
[[node]]
name = "box"
runs = "router"
nat = "full-cone"
outside = "internet"
expiry = "2m"
hairpin = true
[[node]]
name = "plain-router"
runs = "router"
nat = "open"
[[node]]
name = "desk"
runs = "plain"
gateway = "box"
[[lan]]
name = "internet"
prefix = "198.18.0.0/24"
members = ["server", "box"]
latency = "20ms"
reorder = "1%"
hops = 2
[[lan]]
name = "home"
prefix = "192.168.1.0/24"
members = ["box", "plain-router", "desk"]
[[step]]
do = "rebind"
node = "box"
[[step]]
do = "blackhole"
node = "server"
to = "box"
"""

WAN = ("wan", "203.0.113.9", [("lan", ipaddress.IPv4Network("10.1.0.0/24"))])


def test_nats_and_internets_become_values() -> None:
    """An open router has no NAT; a kind that is not told all has the usual."""
    described = parse(HOMES, "homes.toml")
    box = described.node("box")
    assert box.nat == NatPlace(NatKind.FULL_CONE, "internet", 120.0, hairpin=True)
    assert box.outside == "internet"
    assert described.node("plain-router").nat is None
    lan = described.lan("internet")
    assert (lan.hops, lan.reorder) == (2, 0.01)
    assert described.steps == (
        Step(Action.REBIND, node="box"),
        Step(Action.BLACKHOLE, node="server", other="box"),
    )
    usual = parse(HOMES.replace("hairpin = true", "").replace('expiry = "2m"', ""), "u")
    assert usual.node("box").nat == NatPlace(NatKind.FULL_CONE, "internet", 30.0)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('nat = "full-cone"', 'nat = "cone"', "'cone' is none of open, full-cone, "),
        ('nat = "full-cone"', "", "node[box].outside: goes with nat"),
        ('nat = "open"', "hairpin = true", "node[plain-router].hairpin: goes with nat"),
        ('nat = "open"', 'nat = "open"\nexpiry = "9s"', "expiry: unknown key"),
        ('nat = "full-cone"', 'nat = "symmetric"', 'hairpin: needs nat = "full-cone"'),
        ('"2m"', '"10ms"', "node[box].expiry: is too short"),
        ("hops = 2", "hops = 33", "lan[internet].hops: 33 is out of range"),
        ('node = "box"', 'node = "desk"', "step[1].node: desk has no NAT"),
        ('to = "box"', 'to = "desk"', "step[2].to: server and desk share no LAN"),
        ('to = "box"', 'lan = "internet"', "step[2].lan: unknown key"),
    ],
)
def test_what_makes_no_sense_is_refused(old: str, new: str, complaint: str) -> None:
    """In one line that names the key."""
    assert old in HOMES
    with pytest.raises(DescriptionError) as refused:
        parse(HOMES.replace(old, new, 1), "bad.toml")
    assert complaint in str(refused.value)


def test_every_kind_is_in_a_shipped_file() -> None:
    """Each is played by every runner."""
    files = [load(path) for path in sorted(HERE.glob("nat-*.toml"))]
    shipped = {node.nat.kind for file in files for node in file.nodes if node.nat}
    assert shipped == set(BEHAVIOURS)


def test_any_pair_can_be_described() -> None:
    """Nothing but the two NATs differs."""
    described = pair(NatKind.OPEN, NatKind.SYMMETRIC)
    assert described.node("box-a").nat is None
    assert described.node("box-b").nat == NatPlace(NatKind.SYMMETRIC, "internet")
    again = pair(NatKind.PORT_RESTRICTED, NatKind.MASQUERADE)
    assert again.nodes == load(HERE / "nat-restricted.toml").nodes


def test_pictures_tell_how_far_it_is() -> None:
    """An internet's hops are among its facts."""
    assert "20 ms, 2 hops" in as_text(parse(HOMES, "homes.toml"))


def test_latency_is_ignored_only_on_bridges() -> None:
    """An internet of our own has it."""
    assert ignored(parse(HOMES, "homes.toml")) == ""
    bridged = parse(HOMES.replace("hops = 2", ""), "homes.toml")
    assert "(of internet)" in ignored(bridged)


@pytest.mark.parametrize("kind", BEHAVIOURS)
def test_rules_balance_and_hide(kind: NatKind) -> None:
    """All kinds rewrite what leaves, and can be loaded again."""
    text = rules(NatPlace(kind, "wan"), *WAN)
    assert text.count("{") == text.count("}")
    assert 'oifname "wan" masquerade' in text
    assert text.startswith("table ip nat\ndelete table ip nat\n")
    drops = 'iifname "wan" meta l4proto udp ct state new drop' in text
    assert drops != BEHAVIOURS[kind].poisonable


def test_expiry_is_that_of_the_map_and_of_the_kernel() -> None:
    """A mapping that conntrack forgot must not be known by the map still."""
    place = NatPlace(NatKind.ADDRESS_RESTRICTED, "wan", 7.0)
    assert rules(place, *WAN).count("timeout 7s;") == 2
    assert set(variables(place).values()) == {7}


def test_hairpins_are_rules_of_each_inner_interface() -> None:
    """What is sent back in has the outer address."""
    text = rules(NatPlace(NatKind.FULL_CONE, "wan", hairpin=True), *WAN)
    assert 'iifname "lan" ip daddr 203.0.113.9' in text
    assert 'oifname "lan" ip saddr 10.1.0.0/24 snat to 203.0.113.9' in text
    without = rules(NatPlace(NatKind.FULL_CONE, "wan"), *WAN)
    assert '"lan"' not in without
