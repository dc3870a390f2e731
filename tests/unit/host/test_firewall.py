"""The text of a plan's nftables table, exactly."""

from dataclasses import replace

import pytest

from meshnode.host.firewall import firewall_text, needs_rules, table_name
from meshnode.hostplan import (
    Allow,
    Announced,
    Filter,
    FullTunnel,
    HostPlan,
    Service,
    Transport,
)
from meshnode.types import Prefix

PLAN = HostPlan(
    *("home-lab", "mesh0", 6100, 0x6D65, 1420), ("10.99.0.1/16", "fd99::1/48")
)
EVERYWHERE = (Prefix(4, 0, 0), Prefix(6, 0, 0))
HERE = (Prefix.parse("10.99.0.1"), Prefix.parse("fd99::1"))

HEAD = """\
add table inet meshnode_home_lab
delete table inet meshnode_home_lab
table inet meshnode_home_lab {
"""
GUARD = """\
	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname != { "mesh0", "lo" } ip daddr { 10.99.0.1 } counter drop
		iifname != { "mesh0", "lo" } ip6 daddr { fd99::1 } counter drop
	}
"""
ADMIT_HEAD = """\
	chain admit {
		type filter hook prerouting priority mangle; policy accept;
		iifname != "mesh0" accept
		ct state established,related accept
		icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, \
parameter-problem } accept
"""
ADMIT_TAIL = """\
		counter drop
	}
"""


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    """Return prefixes."""
    return tuple(map(Prefix.parse, texts))


def test_plain_member_has_the_guard_only() -> None:
    """Nothing that would need conntrack."""
    assert firewall_text(PLAN) == HEAD + GUARD + "}\n"
    assert not needs_rules(PLAN)


def test_plan_without_addresses_needs_no_table() -> None:
    """Then there is no text at all."""
    assert firewall_text(replace(PLAN, addresses=())) == ""


def test_empty_filter_admits_nothing_new() -> None:
    """Only what belongs to flows of ours."""
    plan = replace(PLAN, filter=Filter(()))
    assert firewall_text(plan) == HEAD + GUARD + ADMIT_HEAD + ADMIT_TAIL + "}\n"
    assert needs_rules(plan)


def admitted(*allows: Allow) -> list[str]:
    """Return the lines that these rules become."""
    text = firewall_text(replace(PLAN, filter=Filter(allows)))
    middle = text.removeprefix(HEAD + GUARD + ADMIT_HEAD)
    return [
        line.strip() for line in middle.removesuffix(ADMIT_TAIL + "}\n").split("\n")
    ][:-1]


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ([Service(Transport.ANY), Service(Transport.TCP, 1, 1)], ["accept"]),
        ([Service(Transport.ICMP)], ["meta l4proto icmp accept"]),
        ([Service(Transport.TCP, 22, 22)], ["tcp dport { 22 } accept"]),
        ([Service(Transport.UDP)], ["meta l4proto udp accept"]),
        (
            [Service(Transport.UDP), Service(Transport.UDP, 53, 53)],
            ["meta l4proto udp accept"],
        ),
        (
            [
                Service(Transport.TCP, 8000, 8100),
                Service(Transport.TCP, 22, 22),
                Service(Transport.TCP, 8050, 8200),
                Service(Transport.TCP, 8201, 8201),
                Service(Transport.UDP, 53, 53),
            ],
            ["tcp dport { 22, 8000-8201 } accept", "udp dport { 53 } accept"],
        ),
    ],
)
def test_services(services: list[Service], expected: list[str]) -> None:
    """One line a protocol; ports merged, for nft takes no overlaps."""
    lines = admitted(Allow(EVERYWHERE[:1], HERE[:1], tuple(services)))
    head = "meta nfproto ipv4 ip daddr { 10.99.0.1/32 } "
    assert lines == [head + one for one in expected]


def test_versions_are_kept_apart() -> None:
    """Each version has its line, if it has sources and destinations."""
    icmp = (Service(Transport.ICMP),)
    sources = prefixes("10.99.0.2", "10.99.0.3", "fd99::2", "10.99.0.0/30")
    assert admitted(Allow(sources, HERE, icmp)) == [
        "ip saddr { 10.99.0.0/30 } ip daddr { 10.99.0.1/32 } meta l4proto icmp accept",
        "ip6 saddr { fd99::2/128 } ip6 daddr { fd99::1/128 } meta l4proto ipv6-icmp "
        "accept",
    ]
    assert admitted(Allow(sources[:1], HERE[1:], icmp)) == []


def test_gateway_forwards_what_it_announces() -> None:
    """Masquerading as said; nothing beyond the announced prefixes is reached."""
    plan = replace(
        PLAN,
        announced=(
            Announced(Prefix.parse("192.168.7.0/24")),
            Announced(Prefix.parse("fd12::/64"), masquerade=False),
        ),
        forwards=True,
    )
    assert firewall_text(plan) == HEAD + GUARD + (
        """\
	chain transit {
		type filter hook forward priority mangle; policy accept;
		iifname != "mesh0" oifname != "mesh0" accept
		tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
		oifname "mesh0" accept
		ct state established,related accept
		ip daddr { 192.168.7.0/24 } accept
		ip6 daddr { fd12::/64 } accept
		counter drop
	}
	chain map_out {
		type nat hook postrouting priority srcnat; policy accept;
		iifname "mesh0" oifname != "mesh0" ip daddr { 192.168.7.0/24 } masquerade
	}
}
"""
    )


def test_mapped_prefix_is_turned_both_ways() -> None:
    """The LAN's real prefix is what is forwarded and masqueraded."""
    mapped = Announced(
        Prefix.parse("10.50.1.0/24"), mapped=Prefix.parse("192.168.1.0/24")
    )
    v6 = Announced(
        Prefix.parse("fd50::/64"), masquerade=False, mapped=Prefix.parse("fd12::/64")
    )
    text = firewall_text(replace(PLAN, announced=(mapped, v6), forwards=True))
    assert [line.strip() for line in text.splitlines() if "prefix to" in line] == [
        'iifname "mesh0" ip daddr 10.50.1.0/24 dnat ip prefix to 192.168.1.0/24',
        'iifname "mesh0" ip6 daddr fd50::/64 dnat ip6 prefix to fd12::/64',
        'oifname "mesh0" ip saddr 192.168.1.0/24 snat ip prefix to 10.50.1.0/24',
        'oifname "mesh0" ip6 saddr fd12::/64 snat ip6 prefix to fd50::/64',
    ]
    assert "ip daddr { 192.168.1.0/24 } accept" in text
    assert 'oifname != "mesh0" ip daddr { 192.168.1.0/24 } masquerade' in text


def test_exit_masquerades_everything() -> None:
    """A default route matches by version; what is around the host is not beyond it."""
    exits = (Announced(EVERYWHERE[0]), Announced(EVERYWHERE[1]))
    lan = Announced(Prefix.parse("192.168.7.0/24"))
    plan = replace(PLAN, announced=(*exits, lan), forwards=True)
    text = firewall_text(plan, near=prefixes("203.0.113.0/24", "10.1.0.0/16"))
    lines = [line.strip() for line in text.splitlines()]
    at = lines.index("ip daddr { 192.168.7.0/24 } accept")
    assert lines[at + 1 : at + 6] == [
        "ip daddr { 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, "
        "192.168.0.0/16, 203.0.113.0/24 } counter drop",
        "meta nfproto ipv4 accept",
        "ip6 daddr { fc00::/7, fe80::/10 } counter drop",
        "meta nfproto ipv6 accept",
        "counter drop",
    ]
    own = 'iifname "mesh0" fib daddr type local ip daddr { 10.0.0.0/8, '
    (guard,) = [line for line in lines if line.startswith(own)]
    assert guard.endswith("ip daddr != { 10.99.0.1, 192.168.7.0/24 } counter drop")
    assert 'oifname != "mesh0" meta nfproto ipv6 masquerade\n' in text


def test_full_tunnel_takes_answers_only() -> None:
    """From an exit nothing new comes in, and nothing that says it is of a LAN."""
    full = FullTunnel(prefixes("192.168.1.0/24"))
    plan = replace(PLAN, routes=prefixes("10.5.0.0/16"), full_tunnel=full)
    lines = [line.strip() for line in firewall_text(plan).splitlines()]
    at = lines.index('iifname "mesh0" ip saddr { 192.168.1.0/24 } counter drop')
    rest = "ct state invalid,new,untracked counter drop"
    assert lines[at + 1 : at + 3] == [
        f'iifname "mesh0" ip saddr != {{ 10.5.0.0/16, 10.99.0.0/16 }} {rest}',
        f'iifname "mesh0" ip6 saddr != {{ fd99::/48 }} {rest}',
    ]
    assert "chain answer {" in lines
    assert needs_rules(plan)


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, filter=Filter(())),
        replace(PLAN, announced=(Announced(EVERYWHERE[0]),)),
        replace(PLAN, forwards=True),
    ],
)
def test_what_cannot_do_without(plan: HostPlan) -> None:
    """A policy, an announced prefix or forwarding needs nft."""
    assert needs_rules(plan)


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("office", "meshnode_office"),
        ('a"; flush ruleset', "meshnode_a___flush_ruleset"),
    ],
)
def test_table_name_holds_no_surprise(network: str, name: str) -> None:
    """Whatever the network is called, the name is one word."""
    assert table_name(network) == name
