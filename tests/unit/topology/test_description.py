"""Topology files: what they come to, and the one line that says what is wrong."""

import ipaddress
import re
from pathlib import Path

import pytest

from topology.description import Action, Route, Runs, Target
from topology.parsing import load, parse
from topology.reading import DescriptionError

ROOT = Path(__file__).parents[3]
TOPOLOGIES = sorted((ROOT / "topology").glob("*.toml"))

WHOLE = """
[network]
name = "office"
cidr = "10.77.0.0/16"

[[node]]
name = "hub"
runs = "meshnode"
founder = true

[[node]]
name = "site"
runs = "meshnode"
joins = "invite"
accept_routes = true
groups = ["staff"]
routes = [
  { prefix = "10.99.1.0/24", map = "192.168.1.0/24", metric = 7, weight = 3 },
  { prefix = "fd05::/64", masquerade = false },
]

[[node]]
name = "late"
runs = "meshnode"

[[node]]
name = "home"
runs = "router"
nat = "masquerade"
outside = "internet"

[[node]]
name = "desk"
runs = "plain"
gateway = "site"

[[lan]]
name = "internet"
prefix = "198.18.0.0/24"
prefix6 = "2001:db8::/64"
members = ["hub", "home"]
addresses = { hub = "198.18.0.9" }
latency = "20ms"
jitter = "0.5s"
loss = "2.5%"
rate = "10mbit"
mtu = 1400

[[lan]]
name = "lan"
prefix = "192.168.1.0/24"
members = ["home", "site", "late", "desk"]

[[step]]
name = "late comes"
do = "join"
node = "late"

[[step]]
do = "ping"
node = "desk"
to = "hub@internet"
within = "2s"

[[step]]
do = "cut"
node = "hub"
lan = "internet"

[[step]]
do = "heal"
node = "site"
to = "late"

[[step]]
do = "wait"
for = "1.5s"

[[must]]
from = "desk"
reach = "hub"

[[must]]
after = "late comes"
from = "hub"
not_reach = "desk"
within = "1m"

[[must]]
from = "desk"
reach = "10.99.1.1"
"""


def test_whole_file_becomes_values() -> None:
    """Every key arrives, in seconds, bits, shares and addresses."""
    described = parse(WHOLE, "whole.toml")
    assert described.network.cidr == ipaddress.IPv4Network("10.77.0.0/16")
    assert described.founder is described.node("hub")
    site = described.node("site")
    assert (site.runs, site.joins_at_start, site.accept_routes, site.groups) == (
        Runs.MESHNODE, True, True, ("staff",)
    )  # fmt: skip
    network = ipaddress.ip_network
    assert site.routes == (
        Route(network("10.99.1.0/24"), 7, 3, True, network("192.168.1.0/24")),
        Route(network("fd05::/64"), 100, 1, False, None),
    )
    assert not described.node("late").joins_at_start
    assert described.node("home").outside == "internet"
    assert described.node("desk").gateway == "site"
    lan = described.lan("internet")
    assert (lan.latency, lan.jitter, lan.loss, lan.rate, lan.mtu) == (
        0.02, 0.5, 0.025, 10_000_000, 1400
    )  # fmt: skip
    plain = described.lan("lan")
    assert (plain.latency, plain.loss, plain.rate, plain.mtu) == (0, 0, 0, 1500)
    assert described.lans_of("home") == (lan, plain)


def test_members_get_addresses_in_order_unless_chosen() -> None:
    """The n-th member gets the n-th address of both versions."""
    described = parse(WHOLE, "whole.toml")
    hub, home = described.lan("internet").members
    assert (str(hub.v4), str(hub.v6)) == ("198.18.0.9", "2001:db8::1")
    assert (str(home.v4), str(home.v6)) == ("198.18.0.2", "2001:db8::2")
    desk = described.lan("lan").member("desk")
    assert desk is not None
    assert (str(desk.v4), desk.v6) == ("192.168.1.4", None)
    assert described.lan("lan").member("hub") is None


def test_names_in_steps_and_musts_are_resolved() -> None:
    """A meshnode node means its overlay address, another that on its first LAN."""
    described = parse(WHOLE, "whole.toml")
    join, ping, cut, heal, wait = described.steps
    assert (join.action, join.node, join.name) == (Action.JOIN, "late", "late comes")
    assert ping.target == Target("hub@internet", "hub", "internet")
    assert ping.seconds == 2
    assert (cut.lan, cut.other) == ("internet", "")
    assert (heal.lan, heal.other) == ("", "late")
    assert wait.seconds == 1.5
    overlay, silent, literal = described.musts
    assert overlay.target == Target("hub", "hub")
    assert (overlay.reached, overlay.after, overlay.seconds) == (True, "", 10)
    assert silent.target == Target("desk", "desk", "lan")
    assert (silent.reached, silent.after, silent.seconds) == (False, "late comes", 60)
    assert literal.target == Target("10.99.1.1")


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.name)
def test_shipped_files_are_good(path: Path) -> None:
    """Each can be read, and says what must hold."""
    assert load(path).musts


def test_documented_example_is_good() -> None:
    """What docs/topologies.md shows as a whole file is one."""
    text = (ROOT / "docs" / "topologies.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    described = parse(example, "example.toml")
    assert described.steps
    assert described.musts


def test_six_files_are_shipped() -> None:
    """The glob above finds them: an empty one would test nothing."""
    names = {path.stem for path in TOPOLOGIES}
    assert names >= {
        *("two-hosts", "one-lan", "three-sites", "star"),
        *("bootstrap-dies", "same-subnet"),
    }


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[network]", "[network", "not TOML: "),
        ("[network]", "[net]", "net: unknown key; known here: network, node, lan"),
        ('cidr = "10.77.0.0/16"', "", "network.cidr: is missing"),
        ("10.77.0.0/16", "10.77.0.1/16", "network.cidr: '10.77.0.1/16' is no prefix"),
        ("10.77.0.0/16", "fd00::/16", "network.cidr: fd00::/16 is not IPv4"),
        ('name = "office"', 'name = "Office"', "network.name: 'Office' is no name"),
        ('name = "office"', 'name = ""', "network.name: must not be empty"),
        ('name = "office"', "name = 7", "network.name: must be a text in quotes"),
        ('name = "office"', f'name = "{"x" * 16}"', "give 1 to 15 of"),
        ("founder = true", "founder = 1", "node[hub].founder: must be true or false"),
        ("founder = true", "", "node: exactly one meshnode node has founder = true; "),
        ('joins = "invite"', "founder = true", "here: hub, site"),
        ("founder = true", 'founder = true\ngroups = ["a"]', "node[hub].groups: come"),
        ("founder = true", 'founder = true\njoins = "invite"', "it does not join"),
        ("founder = true", "founders = true", "node[hub].founders: unknown key"),
        ('joins = "invite"', "", "node[site].joins: is missing"),
        ('joins = "invite"', 'joins = "token"', "'token' is none of invite"),
        ('node = "late"', 'node = "site"', "node[site].joins: joins twice"),
        ('runs = "plain"', 'runs = "plane"', "node[desk].runs: 'plane' is none of"),
        ('runs = "plain"', 'runs = "plain"\nfounder = true', "node[desk].founder: unk"),
        ('name = "late"', 'name = "hub"', "node[hub].name: 'hub' is taken"),
        ('name = "desk"', 'name = "-desk"', "node[5].name: '-desk' is no name"),
        ('gateway = "site"', 'gateway = "hub"', "node[desk].gateway: 'hub' is no"),
        ('gateway = "site"', 'gateway = "desk"', "node[desk].gateway: 'desk' is no"),
        ('outside = "internet"', "", "node[home].nat: goes with outside"),
        ('outside = "internet"', 'outside = "x"', "home is in no LAN 'x'"),
        ("metric = 7", "metric = 65536", "node[site].routes[1].metric: 65536 is out"),
        ("metric = 7", "metric = true", "node[site].routes[1].metric: must be a whole"),
        ("metric = 7", "metrics = 7", "node[site].routes[1].metrics: unknown key"),
        ("weight = 3", "weight = 0", "node[site].routes[1].weight: 0 is out of range"),
        ('map = "192.168.1.0/24"', 'map = "192.168.0.0/16"', "routes[1].map: must be"),
        ('groups = ["staff"]', 'groups = "staff"', "node[site].groups: must be a list"),
        ('groups = ["staff"]', "groups = [1]", "node[site].groups[1]: must be a text"),
        ('name = "lan"', 'name = "office"', "lan[office].name: an interface is called"),
        ('name = "lan"', 'name = "lo"', "lan[lo].name: an interface is called lo"),
        (
            'name = "lan"',
            'name = "internet"',
            "lan[internet].name: 'internet' is taken",
        ),
        ('"late", "desk"]', '"desk"]', "node[late]: is in no LAN"),
        ('"late", "desk"]', '"late", "dsk"]', "lan[lan].members[4]: no node is called"),
        (
            '"late", "desk"]',
            '"late", "late"]',
            "members[4]: late is in this LAN already",
        ),
        ('"192.168.1.0/24"\nm', '"192.168.1.0/30"\nm', "192.168.1.0/30 is too small"),
        (
            '"192.168.1.0/24"\nm',
            '"198.18.0.0/16"\nm',
            "node[home]: its LANs internet and",
        ),
        ("198.18.0.9", "198.18.0.2", "lan[internet].addresses: hub and home both have"),
        ("198.18.0.9", "198.18.1.9", "addresses.hub: 198.18.1.9 is no host's address"),
        ("198.18.0.9", "x", "lan[internet].addresses.hub: 'x' is no IPv4 address"),
        ("{ hub =", "{ desk =", "addresses.desk: desk is no member"),
        ('"20ms"', "20", "lan[internet].latency: must be a text in quotes"),
        ('"20ms"', '"20"', 'lan[internet].latency: must be a text like "20ms"'),
        ('"2.5%"', '"101%"', "lan[internet].loss: must be a share"),
        ('"10mbit"', '"10"', "lan[internet].rate: must be a text like"),
        ('"10mbit"', '"1kbit"', "lan[internet].rate: is too slow"),
        ("mtu = 1400", "mtu = 576", "lan[internet].mtu: 576 is out of range"),
        ('do = "wait"', 'do = "rest"', "step[5].do: 'rest' is none of join, ping"),
        ('for = "1.5s"', "", "step[5].for: is missing"),
        (
            'within = "2s"',
            'for = "2s"',
            "step[2].for: unknown key; known here: do, name",
        ),
        (
            'node = "late"',
            'node = "desk"',
            "desk does not run meshnode: it cannot join",
        ),
        ('node = "late"', 'node = "lat"', "no node is called 'lat'"),
        ('lan = "internet"', "", "step[3].lan: give either lan or to"),
        ('lan = "internet"', 'lan = "lan"', "step[3].lan: hub is in no LAN 'lan'"),
        ('to = "late"', 'to = "hub"', "step[4].to: site and hub share no LAN"),
        ('to = "hub@internet"', 'to = "hub@lan"', "step[2].to: hub is in no LAN 'lan'"),
        ('reach = "hub"', 'reach = "hubb"', "must[1].reach: 'hubb' is no node"),
        ('reach = "hub"', "", "must[1].reach: give either reach or not_reach"),
        ('after = "late comes"', 'after = "x"', "must[2].after: no step is called 'x'"),
        ('"1m"', '"1h"', "must[2].within: must be a text like"),
        ("[[must]]", "[must]", "not TOML: "),
        ("[[step]]", "[[steps]]", "steps: unknown key; known here"),
    ],
)
def test_bad_file_is_refused_with_one_clear_line(
    old: str, new: str, complaint: str
) -> None:
    """The line names the file, the key and what would be right."""
    assert old in WHOLE
    with pytest.raises(DescriptionError) as refused:
        parse(WHOLE.replace(old, new, 1), "bad.toml")
    assert str(refused.value).startswith("bad.toml: ")
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_line_break_in_a_key_does_not_break_the_line() -> None:
    """Also a hostile file gets one line."""
    with pytest.raises(DescriptionError) as refused:
        parse('"a\\nb" = 1', "bad.toml")
    assert "\n" not in str(refused.value)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    """A missing file and one that is not text."""
    with pytest.raises(DescriptionError, match=r"no-such\.toml: No such file"):
        load(tmp_path / "no-such.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DescriptionError, match=r"bytes\.toml: is not UTF-8"):
        load(tmp_path / "bytes.toml")


def test_hosts_without_meshnode_need_no_founder() -> None:
    """An underlay alone can be described too."""
    text = """
    network = { name = "n", cidr = "10.0.0.0/8" }
    [[node]]
    name = "a"
    runs = "plain"
    [[lan]]
    name = "lan"
    prefix = "198.18.0.0/24"
    members = ["a"]
    """
    assert parse(text, "plain.toml").founder is None
