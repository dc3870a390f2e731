"""How packets cross the underlay of a description: over which LANs and routers.

Pure. The namespace runner makes its routes of it, the simulation its links.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from topology.description import Description, Lan, Node, Runs


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """What one direction between two nodes does to packets, all LANs taken together.

    `latency` is in seconds, `jitter` the seconds that may come on top, `loss` a share
    from 0 to 1, `mtu` the bytes of the greatest whole IP packet. `reorder` is the share
    that takes longer. `hops` counts the routers, each of which lowers the TTL.
    """

    latency: float
    jitter: float
    loss: float
    mtu: int
    reorder: float = 0.0
    hops: int = 0


@dataclass(frozen=True, slots=True)
class Trail:
    """The LANs from a node to another LAN, in order, and the routers between them."""

    lans: tuple[str, ...]
    routers: tuple[str, ...]


def paths_between(description: Description) -> dict[tuple[str, str], LinkSpec]:
    """Return for every ordered pair of *stations* what lies between.

    Stations are the nodes that do not only forward: hosts, and routers with a NAT. A
    pair is absent that no router joins, or only one with a NAT: what crosses a NAT goes
    to it by one link and on by another. Of several ways the one with the fewest routers
    counts, then the one that the file names first.
    """
    stations = [
        node.name
        for node in description.nodes
        if node.runs is not Runs.ROUTER or node.nat
    ]
    links = {}
    for sender in stations:
        trails = _trails(
            description, description.lans_of(sender), lambda router, lan: not router.nat
        )
        for receiver in stations:
            ways = [
                trail
                for name, trail in trails.items()
                if description.lan(name).member(receiver)
            ]
            if ways and sender != receiver:
                best = min(ways, key=lambda way: len(way.lans))
                links[sender, receiver] = _link(description, best)
    return links


def hiding_nats(description: Description) -> dict[str, str]:
    """Return for each LAN the router whose NAT hides it, empty for a public one."""
    hidden = {lan.name: "" for lan in description.lans}
    for node in description.nodes:
        if node.nat:
            inside = [
                lan
                for lan in description.lans_of(node.name)
                if lan.name != node.outside
            ]
            for name in _trails(
                description, inside, lambda router, lan: not router.nat
            ):
                hidden[name] = hidden[name] or node.name
    return hidden


def places_in(description: Description, lan: Lan) -> dict[str, list[str]]:
    """Return for each member of *lan* what it answers to or forwards to from there.

    These are addresses and prefixes: its own first, then what is behind it.
    """
    trails = _trails(description, [lan], lambda node, here: node.outside != here.name)
    places = {}
    for member in lan.members:
        own = [str(address) for address in (member.v4, member.v6) if address]
        behind = [
            str(prefix)
            for name, trail in trails.items()
            if trail.routers and trail.routers[0] == member.node
            for prefix in (description.lan(name).prefix, description.lan(name).prefix6)
            if prefix
        ]
        places[member.node] = own + behind
    return places


def routed_trails(description: Description, node: str) -> dict[str, Trail]:
    """Return how *node* may begin flows to each LAN, by the LAN's name.

    A LAN behind a NAT is missing where the NAT lets nothing in.
    """
    return _trails(
        description,
        description.lans_of(node),
        lambda router, lan: router.name != node and router.outside != lan.name,
    )


def _trails(
    description: Description,
    starts: Iterable[Lan],
    passes: Callable[[Node, Lan], bool],
) -> dict[str, Trail]:
    """Search breadth first from *starts*; *passes* says who forwards from a LAN."""
    trails = {lan.name: Trail((lan.name,), ()) for lan in starts}
    waiting = list(trails)
    for name in waiting:
        here, lan = trails[name], description.lan(name)
        for router in _routers_in(description, lan):
            if not passes(router, lan):
                continue
            for further in description.lans_of(router.name):
                if further.name not in trails:
                    trails[further.name] = Trail(
                        (*here.lans, further.name), (*here.routers, router.name)
                    )
                    waiting.append(further.name)
    return trails


def _routers_in(description: Description, lan: Lan) -> Iterator[Node]:
    for member in lan.members:
        node = description.node(member.node)
        if node.runs is Runs.ROUTER:
            yield node


def _link(description: Description, trail: Trail) -> LinkSpec:
    lans = [description.lan(name) for name in trail.lans]
    return LinkSpec(
        sum(lan.latency for lan in lans),
        sum(lan.jitter for lan in lans),
        _either(lan.loss for lan in lans),
        min(lan.mtu for lan in lans),
        _either(lan.reorder for lan in lans),
        len(trail.routers) + sum(lan.hops for lan in lans),
    )


def _either(shares: Iterable[float]) -> float:
    """Return the share that meets at least one of independent mishaps."""
    met = 0.0
    for share in shares:
        met += share * (1 - met)
    return met
