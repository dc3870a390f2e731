"""What of the accepted prefixes a host takes: pure decisions."""

from dataclasses import replace

import pytest

from meshnode.host import netlink
from meshnode.host.netlink import HostRoute, Link
from meshnode.host.routing import (
    Conflict,
    address_conflicts,
    choose_routes,
    connected_prefixes,
    full_routes,
    narrow_prefixes,
    sized_prefixes,
    with_sizes,
)
from meshnode.hostplan import FullTunnel, HostPlan, Larger
from meshnode.types import Prefix

TUNNEL, LAN = 90, 91
HOST = [
    HostRoute(Prefix.parse("0.0.0.0/0"), LAN, ("192.168.1.1",), 4),
    HostRoute(Prefix.parse("::/0"), LAN, ("fe80::1",), 9),
    HostRoute(Prefix.parse("192.168.1.0/24"), LAN, (), 2),
    HostRoute(Prefix.parse("fe80::/64"), LAN, (), 2),
    HostRoute(Prefix.parse("169.254.0.0/16"), LAN, (), 2),
]


def choose(
    *accepted: str, host: list[HostRoute] | None = None, endpoints: tuple[str, ...] = ()
) -> tuple[list[HostRoute], list[Conflict]]:
    """Return what is taken of these."""
    prefixes = [Prefix.parse(text) for text in accepted]
    return choose_routes(prefixes, TUNNEL, HOST if host is None else host, endpoints)


def lead(text: str) -> HostRoute:
    """Return the route of a prefix into the tunnel."""
    return HostRoute(Prefix.parse(text), TUNNEL)


def throw(text: str) -> HostRoute:
    """Return a route that sends the lookup on."""
    return HostRoute(Prefix.parse(text), 0, is_throw=True)


def static(text: str, *gateways: str) -> HostRoute:
    """Return a route of the host through a gateway."""
    return HostRoute(Prefix.parse(text), LAN, gateways or ("192.168.1.1",), 4)


def test_prefixes_apart_from_the_host_are_taken() -> None:
    """The host's default route stands in nobody's way."""
    assert choose("10.0.0.0/8", "fd00::/8") == (
        [lead("10.0.0.0/8"), lead("fd00::/8")],
        [],
    )


def test_connected_network_is_not_touched() -> None:
    """Equal, larger or smaller: the host's own LAN wins."""
    for text in ("192.168.1.0/24", "192.168.0.0/16", "192.168.1.128/25"):
        routes, [conflict] = choose(text, "10.0.0.0/8")
        assert routes == [lead("10.0.0.0/8")]
        assert conflict == Conflict(
            Prefix.parse(text),
            f"{text} is not taken from the network: interface {LAN} of this host is "
            "in 192.168.1.0/24",
        )


def test_link_local_networks_conflict_with_nothing() -> None:
    """Every host has them, and they reach no further than their link."""
    assert choose("128.0.0.0/2", "fe00::/7")[1] == []


def test_more_specific_routes_of_the_host_are_thrown() -> None:
    """Each once, and only those inside an accepted prefix."""
    host = [
        *HOST,
        static("10.1.0.0/16"),
        static("10.1.0.0/16", "192.168.1.9"),
        static("10.1.2.0/24"),
        static("11.0.0.0/8"),
        HostRoute(Prefix.parse("10.9.0.0/16"), 0, (), 4),
    ]
    routes, conflicts = choose("10.0.0.0/8", "10.1.0.0/17", host=host)
    assert conflicts == []
    assert routes == [
        lead("10.0.0.0/8"),
        throw("10.1.0.0/16"),
        throw("10.1.2.0/24"),
        throw("10.9.0.0/16"),
        lead("10.1.0.0/17"),
    ]


def test_less_specific_route_of_the_host_gives_way() -> None:
    """The longer prefix wins, as everywhere."""
    host = [*HOST, static("10.0.0.0/8")]
    assert choose("10.1.0.0/16", host=host) == ([lead("10.1.0.0/16")], [])


def test_equal_route_of_the_host_stays() -> None:
    """Whoever routes it already means it."""
    routes, [conflict] = choose("10.1.0.0/16", host=[static("10.1.0.0/16")])
    assert routes == []
    assert conflict.text.endswith("this host routes it already, to 192.168.1.1")
    blackhole = HostRoute(Prefix.parse("10.1.0.0/16"), 0, (), 4)
    routes, [conflict] = choose("10.1.0.0/16", host=[blackhole])
    assert routes == []
    assert conflict.text.endswith("this host routes it already")


def test_default_gateway_stays_outside() -> None:
    """Also one that is in no network of the host."""
    host = [
        HostRoute(Prefix.parse("0.0.0.0/0"), LAN, ("203.0.113.1", "203.0.112.1"), 4),
        HostRoute(Prefix.parse("::/0"), LAN, ("2001:db8::1",), 4),
    ]
    for text in ("203.0.113.0/24", "203.0.112.0/24", "2001:db8::/32", "203.0.113.1/32"):
        routes, [conflict] = choose(text, host=host)
        assert routes == []
        assert "the default gateway of this host" in conflict.text


def test_underlay_endpoints_stay_outside() -> None:
    """The tunnel cannot go through itself."""
    routes, [conflict] = choose(
        *("198.51.100.0/24", "10.0.0.0/8"), endpoints=("2001:db8::9", "198.51.100.9")
    )
    assert routes == [lead("10.0.0.0/8")]
    assert "198.51.100.9, by which a member is reached" in conflict.text


def test_clash_of_the_overlay_itself() -> None:
    """The network's addresses are also those of the LAN: said once a network."""
    plan = HostPlan(
        "office", "mesh0", 1, 1, 1420, ("192.168.1.77/25", "fd99::1/48", "10.0.0.1/8")
    )
    [conflict] = address_conflicts(plan, HOST)
    assert conflict.prefix == Prefix.parse("192.168.1.0/25")
    assert "192.168.1.0/25 overlap with 192.168.1.0/24" in conflict.text


def sized(text: str, mtu: int, segment: int = 0) -> HostRoute:
    """Return a route into the tunnel that says a size."""
    return replace(lead(text), mtu=mtu, segment=segment)


def test_without_larger_packets_no_route_says_a_size() -> None:
    """The interface says it for all of them."""
    plan = HostPlan("office", "mesh0", 1, 1, 1420, ("10.99.0.1/24", "fd99::1/48"))
    assert sized_prefixes(plan) == []
    assert with_sizes(plan, [lead("10.0.0.0/8")]) == [lead("10.0.0.0/8")]


def test_every_route_says_its_size_where_some_are_larger() -> None:
    """The base for all, more for the addresses that take it; throw routes say none."""
    proven = (
        (Prefix.parse("10.99.0.7/32"), 8920),
        (Prefix.parse("fd99::7/128"), 4000),
    )
    plan = HostPlan(
        *("office", "mesh0", 1, 1, 1420, ("10.99.0.1/24", "fd99::1/48")),
        larger=Larger(8920, proven),
    )
    own = sized_prefixes(plan)
    assert own == [Prefix.parse("10.99.0.0/24"), Prefix.parse("fd99::/48")]
    routes = [*choose(*map(str, own))[0], lead("10.0.0.0/8"), throw("10.1.0.0/16")]
    assert with_sizes(plan, routes) == [
        sized("10.99.0.0/24", 1420, 8880),
        sized("fd99::/48", 1420, 8860),
        sized("10.0.0.0/8", 1420),
        throw("10.1.0.0/16"),
        sized("10.99.0.7/32", 8920, 8880),
        sized("fd99::7/128", 4000, 8860),
    ]
    only_v4 = [route for route in routes if route.prefix.version == 4]
    assert [r for r in with_sizes(plan, only_v4) if r.prefix.version == 6] == []


def test_what_is_narrow_has_a_route_that_says_so() -> None:
    """Whether others are larger or not; throw routes say nothing."""
    plan = HostPlan(
        *("office", "mesh0", 1, 1, 1420, ("10.99.0.1/24", "fd99::1/48")),
        routes=(Prefix.parse("10.0.0.0/8"),),
        narrower=(
            (Prefix.parse("10.0.0.0/8"), 1296),
            (Prefix.parse("10.99.0.7/32"), 1216),
            (Prefix.parse("fd99::7/128"), 1216),
        ),
    )
    own = narrow_prefixes(plan)
    assert own == [Prefix.parse("10.99.0.7/32"), Prefix.parse("fd99::7/128")]
    alone = [lead("10.0.0.0/8"), throw("10.1.0.0/16"), *choose(*map(str, own))[0]]
    narrow = [
        sized("10.0.0.0/8", 1296),
        throw("10.1.0.0/16"),
        sized("10.99.0.7/32", 1216),
        sized("fd99::7/128", 1216),
    ]
    assert with_sizes(plan, alone) == narrow
    larger = replace(plan, larger=Larger(8920))
    routes = [*choose(*map(str, sized_prefixes(larger)))[0], *alone]
    assert with_sizes(larger, routes) == [
        sized("10.99.0.0/24", 1420, 8880),
        sized("fd99::/48", 1420, 8860),
        *narrow,
    ]


def test_full_tunnel_takes_all_but_what_was_left_outside() -> None:
    """Exceptions first, and what is of one link; the main table says nothing."""
    plan = HostPlan("home", "mesh0", 6100, 7, 1420, ("10.99.0.1/16",))
    assert full_routes(plan, TUNNEL) == []
    full = FullTunnel((Prefix.parse("192.168.1.0/24"),))
    found = full_routes(replace(plan, full_tunnel=full), TUNNEL)
    assert found == [
        throw("192.168.1.0/24"),
        *map(throw, ("169.254.0.0/16", "224.0.0.0/4", "fe80::/10", "ff00::/8")),
        throw("255.255.255.255/32"),
        *map(lead, ("0.0.0.0/0", "::/0")),
    ]


def test_a_narrow_path_to_the_exit_narrows_everything() -> None:
    """By the routes that are there; none is made beside them."""
    everything = Prefix(4, 0, 0)
    plan = HostPlan(
        *("home", "mesh0", 6100, 7, 1420, ("10.99.0.1/16",)),
        full_tunnel=FullTunnel(),
        narrower=((everything, 1300),),
    )
    assert narrow_prefixes(plan) == []
    found = {one.prefix: one.mtu for one in with_sizes(plan, full_routes(plan, TUNNEL))}
    assert (found[everything], found[Prefix(6, 0, 0)]) == (1300, 0)


def test_networks_of_the_host_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those it is in, without the tunnel's own and what is behind a gateway."""
    ours = HostRoute(Prefix.parse("10.99.0.0/16"), TUNNEL, (), 2)
    other = HostRoute(Prefix.parse("2001:db8::/64"), LAN, (), 2)
    table = [other, *HOST, ours, static("172.16.0.0/12")]
    monkeypatch.setattr(netlink, "routes_of", lambda table_number: table)
    link = Link("mesh0", TUNNEL, 1420, True, "tun")
    monkeypatch.setattr(netlink, "link_by_name", lambda name: link)
    assert [str(one) for one in connected_prefixes("mesh0")] == [
        "192.168.1.0/24",
        "2001:db8::/64",
    ]
