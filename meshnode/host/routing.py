"""Addresses and routes of a plan on this host, with respect for what is there.

Theory of operation. Accepted prefixes go to a table of our own, which a rule puts
before the main one for every packet but our outer ones (they carry the mark). So the
main table is never changed, and one rule takes all of it away again. Whatever the
main table routes more specifically than an accepted prefix keeps its way, by a `throw`
route that sends the lookup on. A prefix that would cut the host off from its own
networks, its gateway or its peers is not installed but returned as a conflict.

Where some members take larger packets, the interface's MTU is the largest, and every
route into it says what is carried there: the base for the network's own prefixes and
for accepted ones, more for the single addresses of these members. So the kernel keeps
to it by itself: TCP's segments fit, and for what is forwarded it says "fragmentation
needed". Members are told by TCP to send as much as the interface takes, because what
they really may is for their routes to say, and a connection is told but once.

What is reached only by smaller packets has a route of its own that says so. There a
new connection tells the other end the same: such a path is a poor one both ways.

With a full tunnel everything leads into it, also what the main table routes more
specifically; only the prefixes that were left outside, and what concerns one link, have
`throw` routes.

What is there is read and compared, so an equal plan changes nothing and no route that
stays is ever gone for a moment. Apply a plan again when the host's own routes change.
"""

import errno
import socket
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from meshnode.errors import HostError
from meshnode.host import netlink, sysctl
from meshnode.host.netlink import HostRoute, Link, Rule
from meshnode.hostplan import HostPlan
from meshnode.types import Prefix
from meshnode.values import frozen

Network = IPv4Network | IPv6Network

_HEADERS = {4: 40, 6: 60}
"""Bytes of IP and TCP before a segment, by version."""

_OF_ONE_LINK = tuple(
    map(ip_network, ("169.254.0.0/16", "224.0.0.0/4", "fe80::/10", "ff00::/8"))
)

_OUTSIDE = (*_OF_ONE_LINK, ip_network("255.255.255.255/32"))

DEFAULT_ROUTES = (Prefix(4, 0, 0), Prefix(6, 0, 0))


@frozen
class Conflict:
    """A part of a plan that this host cannot take, and why, for the user.

    `prefix` is the one concerned, None if it is not about a prefix.
    """

    prefix: Prefix | None
    text: str


def apply_routes(plan: HostPlan, *, endpoints: Collection[str] = ()) -> list[Conflict]:
    """Make the interface's addresses, its routes and our rules those of the plan.

    Args:
        plan: what is wanted.
        endpoints: numeric underlay addresses that must stay reachable outside of the
            tunnel: those of our peers.

    Raises:
        HostError: with ENODEV if the interface is gone; or if the kernel refuses.
    """
    link = _require_link(plan.interface)
    host = [
        route
        for route in netlink.routes_of(netlink.MAIN_TABLE)
        if route.interface != link.index
    ]
    sized, cut = choose_routes(sized_prefixes(plan), link.index, host, endpoints)
    if plan.larger is not None and cut:
        # Without a route of its own a packet would be as large as the interface takes.
        plan, sized = replace(plan, larger=None), []
    mtu = plan.mtu if plan.larger is None else plan.larger.device
    if link.mtu != mtu:
        netlink.set_mtu(link.index, mtu)
    conflicts: list[Conflict] = []
    versions: tuple[int, ...] = (4, 6)
    if sysctl.read(f"net/ipv6/conf/{plan.interface}/disable_ipv6") != "0":
        versions = (4,)
        conflicts += _without_ipv6(plan)
    _apply_addresses(plan, link, versions)
    if not link.up:
        netlink.set_up(link.index)
    routes, refused = choose_routes(
        [prefix for prefix in plan.routes if prefix.version in versions],
        link.index,
        host,
        endpoints,
    )
    # Where such a route cannot be, none leads into the tunnel that it could narrow.
    narrow, _ = choose_routes(
        [prefix for prefix in narrow_prefixes(plan) if prefix.version in versions],
        link.index,
        host,
        endpoints,
    )
    sized = [route for route in sized if route.prefix.version in versions]
    full = [
        one for one in full_routes(plan, link.index) if one.prefix.version in versions
    ]
    # What was left outside comes first: it is never in the tunnel for a moment, and
    # stays outside though the same prefix is accepted from the network.
    found: dict[Prefix, HostRoute] = {}
    for route in (*full, *sized, *routes, *narrow):
        found.setdefault(route.prefix, route)
    _apply_table(plan, with_sizes(plan, list(found.values())))
    return [*conflicts, *address_conflicts(plan, host), *refused]


def choose_routes(
    accepted: Sequence[Prefix],
    index: int,
    host: Sequence[HostRoute],
    endpoints: Collection[str],
) -> tuple[list[HostRoute], list[Conflict]]:
    """Decide what goes into our table: pure.

    Args:
        accepted: the prefixes that should lead into the interface with this *index*.
        index: of the interface.
        host: the main table, without the routes of that interface.
        endpoints: addresses that must be reached outside of it.

    Returns:
        The routes, throw routes included, and what was not taken.
    """
    routes: dict[Prefix, HostRoute] = {}
    conflicts = []
    own = [(_network(route.prefix), route) for route in host]
    for prefix in accepted:
        network = _network(prefix)
        near = [
            (other, route)
            for other, route in own
            if other.version == network.version and other.overlaps(network)
        ]
        reason = _conflict(network, near, _gateways(host), endpoints)
        if reason:
            conflicts.append(
                Conflict(prefix, f"{prefix} is not taken from the network: {reason}")
            )
            continue
        routes[prefix] = HostRoute(prefix, index)
        for other, route in near:
            if other.prefixlen > network.prefixlen:
                routes[route.prefix] = HostRoute(route.prefix, 0, is_throw=True)
    return list(routes.values()), conflicts


def sized_prefixes(plan: HostPlan) -> list[Prefix]:
    """Return the network's own prefixes if they need routes that say a size: pure."""
    if plan.larger is None:
        return []
    return [Prefix.parse(str(ip_interface(one).network)) for one in plan.addresses]


def narrow_prefixes(plan: HostPlan) -> list[Prefix]:
    """Return what needs a route of its own to say that it is narrow: pure.

    A default route has one already, that of the full tunnel.
    """
    known = (*plan.routes, *DEFAULT_ROUTES)
    return [prefix for prefix, _ in plan.narrower if prefix not in known]


def full_routes(plan: HostPlan, index: int) -> list[HostRoute]:
    """Return the routes of a full tunnel into the interface with *index*: pure."""
    if plan.full_tunnel is None:
        return []
    outside = [*plan.full_tunnel.lan, *(Prefix.parse(str(one)) for one in _OUTSIDE)]
    return [
        *(HostRoute(prefix, 0, is_throw=True) for prefix in outside),
        *(HostRoute(prefix, index) for prefix in DEFAULT_ROUTES),
    ]


def connected_prefixes(interface: str) -> list[Prefix]:
    """Return the networks the host is in but by *interface*; raises `HostError`."""
    link = netlink.link_by_name(interface)
    ours = 0 if link is None else link.index
    found = {
        route.prefix
        for route in netlink.routes_of(netlink.MAIN_TABLE)
        if route.interface != ours and _is_connected(route)
    }
    return sorted(found, key=lambda one: (one.version, one.network, one.length))


def with_sizes(plan: HostPlan, routes: Sequence[HostRoute]) -> list[HostRoute]:
    """Return the table with the size that each route carries: pure.

    Addresses that take more than the base get a route of their own, if *routes* has
    that of the network; what takes less must have one.
    """
    sizes = dict(plan.narrower)
    return [
        replace(route, mtu=sizes[route.prefix], segment=0)
        if route.prefix in sizes and not route.is_throw
        else route
        for route in _with_larger(plan, routes)
    ]


def _with_larger(plan: HostPlan, routes: Sequence[HostRoute]) -> list[HostRoute]:
    if plan.larger is None:
        return list(routes)
    found = {
        route.prefix: route if route.is_throw else replace(route, mtu=plan.mtu)
        for route in routes
    }
    into = {prefix.version: found.get(prefix) for prefix in sized_prefixes(plan)}
    for version, own in into.items():
        if own is None:
            continue
        segment = plan.larger.device - _HEADERS[version]
        found[own.prefix] = replace(own, segment=segment)
        for prefix, size in plan.larger.routes:
            if prefix.version == version:
                found[prefix] = replace(own, prefix=prefix, mtu=size, segment=segment)
    return list(found.values())


def address_conflicts(plan: HostPlan, host: Sequence[HostRoute]) -> list[Conflict]:
    """Return where the network's own addresses are also some other network's: pure."""
    conflicts = []
    for address in plan.addresses:
        network = ip_interface(address).network
        for route in filter(_is_connected, host):
            if _overlap(network, _network(route.prefix)):
                prefix = Prefix.parse(str(network))
                text = (
                    f"the network's own addresses {network} overlap with "
                    f"{route.prefix}, where {_name(route.interface)} of this host is: "
                    "members with addresses of both cannot be reached"
                )
                conflicts.append(Conflict(prefix, text))
    return conflicts


def _conflict(
    network: Network,
    near: Sequence[tuple[Network, HostRoute]],
    gateways: Sequence[str],
    endpoints: Collection[str],
) -> str:
    """Say why *network* cannot lead into the tunnel, "" if it can."""
    for other, route in near:
        if _is_connected(route):
            return f"{_name(route.interface)} of this host is in {other}"
        if other == network:
            where = f", to {' and '.join(route.gateways)}" if route.gateways else ""
            return f"this host routes it already{where}"
    for gateway in gateways:
        if ip_address(gateway) in network:
            return f"it holds {gateway}, the default gateway of this host"
    for endpoint in sorted(endpoints):
        if ip_address(endpoint) in network:
            return f"it holds {endpoint}, by which a member is reached"
    return ""


def _is_connected(route: HostRoute) -> bool:
    """Whether the host itself is in that network."""
    return (
        route.prefix.length > 0
        and route.interface != 0
        and not route.gateways
        and not route.is_throw
        and not any(_overlap(_network(route.prefix), one) for one in _OF_ONE_LINK)
    )


def _gateways(host: Sequence[HostRoute]) -> list[str]:
    """Return the default gateways; those of one link need no route of their own."""
    found = {gw for route in host if not route.prefix.length for gw in route.gateways}
    return sorted(
        gateway
        for gateway in found
        if not any(ip_address(gateway) in one for one in _OF_ONE_LINK)
    )


def _network(prefix: Prefix) -> Network:
    if prefix.version == 4:
        return IPv4Network((prefix.network, prefix.length))
    return IPv6Network((prefix.network, prefix.length))


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"interface {index}"


def _require_link(name: str) -> Link:
    link = netlink.link_by_name(name)
    if link is None:
        raise HostError(
            f"the interface {name} is gone: start the network again",
            errno=errno.ENODEV,
        )
    return link


def _without_ipv6(plan: HostPlan) -> Iterator[Conflict]:
    if any(ip_interface(address).version == 6 for address in plan.addresses):
        yield Conflict(
            None,
            f"{plan.interface} has no IPv6, so members are reached by IPv4 only: set "
            "sysctl net.ipv6.conf.all.disable_ipv6=0 and an MTU of 1280 or more",
        )


def _apply_addresses(plan: HostPlan, link: Link, versions: tuple[int, ...]) -> None:
    wanted = [
        str(interface)
        for interface in map(ip_interface, plan.addresses)
        if interface.version in versions
    ]
    present = netlink.addresses_of(link.index)
    for address in present:
        if address not in wanted:
            netlink.delete_address(link.index, address)
    for address in wanted:
        if address not in present:
            netlink.add_address(link.index, address)


def _apply_table(plan: HostPlan, routes: Sequence[HostRoute]) -> None:
    present = [
        route
        for route in netlink.routes_of(plan.table)
        if route.protocol == netlink.ROUTE_PROTOCOL
    ]
    versions = sorted({route.prefix.version for route in routes})
    rules = [Rule(version, plan.fwmark, plan.table) for version in versions]
    held = netlink.our_rules(plan.table)
    kept = set(present).intersection(routes)
    # Nothing looks into a table that is not whole yet, or no more.
    for rule in held:
        if rule not in rules:
            netlink.delete_rule(rule)
    netlink.change_routes(
        plan.table,
        delete=[route for route in present if route not in kept],
        add=[route for route in routes if route not in kept],
    )
    for rule in rules:
        if rule not in held:
            netlink.add_rule(rule)
