"""How packets cross the underlay of a description: over which LANs and routers.

Pure. The namespace runner makes its routes of it, the simulation its links.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from topology.description import Description, Lan, Node, Runs


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """What one direction between two nodes does to packets, all LANs taken together.

    `latency` is in seconds, `jitter` the seconds that may come on top, `loss` a share
    from 0 to 1, `mtu` the bytes of the greatest whole IP packet.
    """

    latency: float
    jitter: float
    loss: float
    mtu: int


@dataclass(frozen=True, slots=True)
class Trail:
    """The LANs from a node to another LAN, in order, and the routers between them."""

    lans: tuple[str, ...]
    routers: tuple[str, ...]


def paths_between(description: Description) -> dict[tuple[str, str], LinkSpec]:
    """Return for every ordered pair of nodes that are no routers what lies between.

    A pair that no router joins is absent. NAT is not looked at: this is what a packet
    meets that the NAT lets pass. Of several ways the one with the fewest routers
    counts, then the one that the file names first.
    """
    ends = [node.name for node in description.nodes if node.runs is not Runs.ROUTER]
    links = {}
    for sender in ends:
        trails = _trails(description, sender, lambda router, lan: True)
        for receiver in ends:
            ways = [
                trail
                for name, trail in trails.items()
                if description.lan(name).member(receiver)
            ]
            if ways and sender != receiver:
                best = min(ways, key=lambda way: len(way.lans))
                links[sender, receiver] = _link(description, best)
    return links


def routed_trails(description: Description, node: str) -> dict[str, Trail]:
    """Return how *node* may begin flows to each LAN, by the LAN's name.

    A LAN behind a NAT is missing where the NAT lets nothing in.
    """
    return _trails(description, node, lambda router, lan: router.outside != lan.name)


def _trails(
    description: Description, node: str, lets_in_from: Callable[[Node, Lan], bool]
) -> dict[str, Trail]:
    """Search breadth first from all LANs of *node*."""
    trails = {lan.name: Trail((lan.name,), ()) for lan in description.lans_of(node)}
    waiting = list(trails)
    for name in waiting:
        here, lan = trails[name], description.lan(name)
        for router in _routers_in(description, lan):
            if router.name == node or not lets_in_from(router, lan):
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
    lost = 0.0
    for lan in lans:
        lost += lan.loss * (1 - lost)
    return LinkSpec(
        sum(lan.latency for lan in lans),
        sum(lan.jitter for lan in lans),
        lost,
        min(lan.mtu for lan in lans),
    )
