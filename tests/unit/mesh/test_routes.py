"""Who owns which prefix."""

from dataclasses import replace

import pytest

from meshnode.codec.records import Certificate, Member, Role, Route
from meshnode.errors import ConfigError
from meshnode.mesh.ports import Share, SharedPrefix
from meshnode.mesh.routes import (
    ACCEPT_ALL,
    ACCEPT_NONE,
    DEFAULT_ROUTES,
    MAX_OWNERS,
    MemberRoutes,
    OfferedRoute,
    RefusedRoute,
    RouteRefusal,
    RoutingTable,
    build_table,
    offered_exit_routes,
    parse_accept,
)
from meshnode.types import Prefix

OVERLAY = (Prefix.parse("10.99.0.0/16"), Prefix.parse("fd99::/48"))
OWN = bytes([1]) * 32


def key(number: int) -> bytes:
    """Return the WireGuard key of a member."""
    return bytes([number]) * 32


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    """Return prefixes."""
    return tuple(map(Prefix.parse, texts))


def member(
    number: int,
    *routes: str | Route,
    subnets: tuple[str, ...] = ("192.168.0.0/16",),
    roles: Role = Role.NONE,
    gateways: tuple[bytes, ...] = (),
) -> MemberRoutes:
    """Return the member 10.99.0.NUMBER that announces *routes*."""
    certificate = Certificate(
        *(bytes(16), f"m{number}", key(number), key(100 + number)),
        bytes([10, 99, 0, number]),
        prefixes(*subnets),
        (),
        roles,
        gateways,
        *(0, 1, 0),
    )
    said = [
        route if isinstance(route, Route) else Route(Prefix.parse(route))
        for route in routes
    ]
    word = None if roles & Role.STOCK else Member(1, tuple(said))
    ipv6 = bytes([0xFD, 0x99, *bytes(13), number])
    return MemberRoutes(certificate, ipv6, word)


def table(
    *members: MemberRoutes,
    accept: tuple[Prefix, ...] = ACCEPT_ALL,
    announced: tuple[Prefix, ...] = (),
    unhealthy: tuple[bytes, ...] = (),
) -> RoutingTable:
    """Return the table that our node, member 1, makes of these."""
    return build_table(
        members,
        own_key=OWN,
        overlay=OVERLAY,
        accept=accept,
        announced=announced,
        unhealthy=unhealthy,
    )


def addresses(number: int) -> tuple[Prefix, ...]:
    """Return the overlay addresses of a member."""
    return prefixes(f"10.99.0.{number}/32", f"fd99::{number:x}/128")


def test_addresses_are_exclusive_whatever_is_accepted() -> None:
    """Every member but ourselves owns its addresses, with `accept none` too."""
    found = table(member(1), member(2), member(3), accept=ACCEPT_NONE)
    assert found.exclusive == {key(2): addresses(2), key(3): addresses(3)}
    assert found.accepted == ()


def test_only_owner_has_a_prefix_exclusively() -> None:
    """One announcer, one owner, one kernel route."""
    found = table(member(2, "192.168.7.0/24"))
    assert found.exclusive[key(2)] == (*addresses(2), *prefixes("192.168.7.0/24"))
    assert found.shared == ()
    assert found.accepted == prefixes("192.168.7.0/24")


def route(metric: int, weight: int = 1) -> Route:
    """Return the announcement of one prefix."""
    return Route(Prefix.parse("192.168.7.0/24"), metric, weight)


def test_best_metric_forwards_and_all_are_accepted() -> None:
    """Lower metric first; equals share by weight; sources come from any announcer."""
    members = (member(2, route(10, 3)), member(3, route(10)), member(4, route(20)))
    found = table(*members)
    assert found.shared == (
        SharedPrefix(
            Prefix.parse("192.168.7.0/24"),
            (Share(key(2), 3), Share(key(3), 1)),
            (key(2), key(3), key(4)),
        ),
    )
    assert found.exclusive[key(2)] == addresses(2)


def test_healthy_comes_before_metric() -> None:
    """An owner that does not answer is passed over, and still accepted."""
    members = (member(2, route(10)), member(3, route(10)), member(4, route(20)))
    [shared] = table(*members, unhealthy=(key(2), key(3))).shared
    assert shared.forward == (Share(key(4), 1),)
    assert shared.accept == (key(2), key(3), key(4))


def test_without_healthy_owners_the_best_unhealthy_one_serves() -> None:
    """Something is better than nothing: it may come back at any moment."""
    members = (member(2, route(10)), member(3, route(20)))
    [shared] = table(*members, unhealthy=(key(2), key(3))).shared
    assert shared.forward == (Share(key(2), 1),)


def test_order_of_the_members_does_not_matter() -> None:
    """Every node comes to the same table."""
    members = [member(n, route(10), "192.168.8.0/24", "10.9.0.0/16") for n in (4, 2, 3)]
    assert table(*members) == table(*reversed(members))


def test_no_more_owners_than_a_command_carries() -> None:
    """The best sixteen stay; the others are refused by name."""
    members = [member(n, route(100 - n)) for n in range(2, 4 + MAX_OWNERS)]
    found = table(*members)
    [shared] = found.shared
    assert len(shared.accept) == MAX_OWNERS
    assert [one.key for one in found.refused] == [key(2), key(3)]
    assert {one.why for one in found.refused} == {RouteRefusal.TOO_MANY}


@pytest.mark.parametrize(
    ("announced", "why"),
    [
        ("192.169.0.0/24", RouteRefusal.NOT_CERTIFIED),
        ("192.168.0.0/15", RouteRefusal.NOT_CERTIFIED),
        ("fd12::/64", RouteRefusal.NOT_CERTIFIED),
        ("10.99.0.2/32", RouteRefusal.OVERLAY),
        ("10.99.7.0/24", RouteRefusal.OVERLAY),
        ("10.0.0.0/8", RouteRefusal.OVERLAY),
        ("fd99::2/128", RouteRefusal.OVERLAY),
        ("fd00::/8", RouteRefusal.OVERLAY),
        ("0.0.0.0/0", RouteRefusal.NOT_EXIT),
        ("::/0", RouteRefusal.NOT_EXIT),
        ("127.0.0.1/32", RouteRefusal.NEVER_ROUTED),
        ("169.254.169.254/32", RouteRefusal.NEVER_ROUTED),
        ("239.0.0.0/8", RouteRefusal.NEVER_ROUTED),
        ("::ffff:10.99.0.2/128", RouteRefusal.NEVER_ROUTED),
        ("fe80::/64", RouteRefusal.NEVER_ROUTED),
    ],
)
def test_what_a_member_may_not_announce(announced: str, why: RouteRefusal) -> None:
    """It changes no owner, and is named with its reason."""
    innocent = member(3, "192.168.7.0/24")
    found = table(member(2, announced), innocent)
    assert found.refused == (RefusedRoute(Prefix.parse(announced), key(2), why),)
    assert replace(found, refused=()) == table(member(2), innocent)


@pytest.mark.parametrize("overlay", ["10.99.0.3/32", "fd99::3/128", "10.99.0.0/16"])
def test_certificate_cannot_give_overlay_addresses_away(overlay: str) -> None:
    """Not even a subnet that was certified overlaps the network's own addresses."""
    found = table(member(2, overlay, subnets=(overlay, "0.0.0.0/0")), member(3))
    assert found.exclusive == {key(2): addresses(2), key(3): addresses(3)}
    assert found.refused[0].why is RouteRefusal.OVERLAY


def test_exit_is_only_offered() -> None:
    """`accept all` takes no default route, and a certified one no part of it."""
    found = table(
        member(
            *(2, "0.0.0.0/0", "::/0", "8.8.8.0/24"),
            subnets=("0.0.0.0/0",),
            roles=Role.EXIT,
        )
    )
    assert found.offered == (OfferedRoute(Prefix.parse("0.0.0.0/0"), key(2)),)
    assert [one.why for one in found.refused] == [RouteRefusal.NOT_CERTIFIED] * 2
    assert found.accepted == ()
    assert found.exclusive == {key(2): addresses(2)}


def test_chosen_exit_owns_default_routes_alone() -> None:
    """As far as it announces and may; the other one goes on offering."""
    both = {"subnets": ("0.0.0.0/0", "::/0"), "roles": Role.EXIT}
    one = member(2, "0.0.0.0/0", "::/0", **both)  # type: ignore[arg-type]
    other = member(3, "0.0.0.0/0", **both)  # type: ignore[arg-type]
    found = build_table(
        (one, other), own_key=OWN, overlay=OVERLAY, accept=ACCEPT_NONE, exit_key=key(2)
    )
    assert found.exclusive[key(2)] == (*addresses(2), *DEFAULT_ROUTES)
    assert found.exclusive[key(3)] == addresses(3)
    assert found.offered == (OfferedRoute(DEFAULT_ROUTES[0], key(3)),)
    assert (found.accepted, found.shared) == ((), ())
    assert offered_exit_routes(one) == DEFAULT_ROUTES
    assert offered_exit_routes(other) == DEFAULT_ROUTES[:1]
    assert offered_exit_routes(replace(other, member=None)) == ()


def test_a_choice_makes_nobody_an_exit() -> None:
    """Who is not certified for it gets nothing by being chosen."""
    found = build_table(
        (member(2, "0.0.0.0/0", subnets=("0.0.0.0/0",)),),
        own_key=OWN,
        overlay=OVERLAY,
        accept=ACCEPT_ALL,
        exit_key=key(2),
    )
    assert found.exclusive == {key(2): addresses(2)}
    assert [one.why for one in found.refused] == [RouteRefusal.NOT_EXIT]


def test_listed_prefixes_take_what_is_inside() -> None:
    """The rest is offered, with its owner."""
    announcer = member(2, "192.168.7.0/24", "192.168.8.0/24", "192.168.0.0/16")
    found = table(announcer, accept=prefixes("192.168.7.0/24"))
    assert found.accepted == prefixes("192.168.7.0/24")
    assert [str(one.prefix) for one in found.offered] == [
        "192.168.0.0/16",
        "192.168.8.0/24",
    ]


def test_own_announcement_is_not_routed_into_the_tunnel() -> None:
    """A prefix we serve ourselves is ours, whoever else serves it."""
    found = table(member(2, "192.168.7.0/24"), announced=prefixes("192.168.7.0/24"))
    assert found.accepted == ()
    assert found.refused[0].why is RouteRefusal.OWN


def test_first_word_about_a_prefix_counts() -> None:
    """Announcing it twice makes nobody two owners."""
    found = table(member(2, route(10), route(5)), member(3, route(7)))
    [shared] = found.shared
    assert shared.forward == (Share(key(3), 1),)
    assert shared.accept == (key(2), key(3))


def test_who_left_owns_nothing() -> None:
    """A goodbye takes addresses and routes."""
    gone = member(2, "192.168.7.0/24")
    assert gone.member is not None
    gone = replace(gone, member=replace(gone.member, has_left=True))
    assert table(gone).exclusive == {}


def test_stock_member_is_reached_through_its_gateways() -> None:
    """In the order of its certificate: the second serves when the first is silent."""
    stock = member(5, roles=Role.STOCK, gateways=(key(3), key(2)))
    members = (member(2), member(3), stock)
    found = table(*members)
    assert [shared.prefix for shared in found.shared] == list(addresses(5))
    for shared in found.shared:
        assert shared.forward == (Share(key(3), 1),)
        assert shared.accept == (key(2), key(3))
    assert key(5) not in found.exclusive
    [first, _] = table(*members, unhealthy=(key(3),)).shared
    assert first.forward == (Share(key(2), 1),)


def test_stock_member_with_one_known_gateway_is_exclusively_its() -> None:
    """Gateways that are no members, or stock themselves, carry nobody."""
    other = member(6, roles=Role.STOCK, gateways=(key(7),))
    stock = member(5, roles=Role.STOCK, gateways=(key(9), key(6), key(2)))
    found = table(member(2), stock, other)
    assert found.exclusive == {key(2): (*addresses(2), *addresses(5))}
    assert found.shared == ()


def test_stock_member_behind_us_is_our_own_peer() -> None:
    """Its gateway speaks to it directly."""
    stock = member(5, roles=Role.STOCK, gateways=(key(2), OWN))
    found = table(member(1), member(2), stock)
    assert found.exclusive[key(5)] == addresses(5)
    assert found.shared == ()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["all"], ACCEPT_ALL),
        (["none"], ACCEPT_NONE),
        ([], ACCEPT_NONE),
        (["10.0.0.0/8", "fd00::/8"], prefixes("10.0.0.0/8", "fd00::/8")),
    ],
)
def test_accept_rule_is_read(words: list[str], expected: tuple[Prefix, ...]) -> None:
    """`all`, `none`, or prefixes."""
    assert parse_accept(words) == expected


@pytest.mark.parametrize("words", [["all", "10.0.0.0/8"], ["some"], ["none", "all"]])
def test_bad_accept_rule_is_refused(words: list[str]) -> None:
    """Anything else is an error."""
    with pytest.raises(ConfigError):
        parse_accept(words)
