"""Build the underlay of a description: hosts, LANs, routers, and the routes to them.

The kernels we run on have no netem. A LAN is a bridge, where loss and rates are real,
but packets take no time; or with `hops` an internet of our own (`topology.clouds`),
where time is real too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from topology import blackholes
from topology.clouds import CloudLan
from topology.description import Description, Lan, NatPlace, Node, Runs, Target
from topology.hosts import Host, Lab, Port
from topology.lans import HostLan, Switches
from topology.nats import NatRouter
from topology.paths import places_in, routed_trails
from topology.processes import LabError


@dataclass(frozen=True, slots=True)
class Underlay:
    """What was built: hosts by name, segments by name, ports by node and LAN."""

    description: Description
    lab: Lab
    hosts: dict[str, Host]
    lans: dict[str, HostLan | CloudLan]
    ports: dict[tuple[str, str], Port]
    routers: dict[str, NatRouter] = field(default_factory=dict)

    def router(self, name: str) -> NatRouter:
        """Return a router with a NAT; it can `rebind`.

        Raises:
            LabError: if this runner has none of that name.
        """
        if name not in self.routers:
            raise LabError(f"{name} has no NAT that could be rebound here")
        return self.routers[name]

    def cut(self, node: str, *, lan: str = "", other: str = "") -> None:
        """Cut *node* off a LAN, or off another node in every LAN they share."""
        host = self.hosts[node]
        if lan:
            self.lans[lan].unplug(host)
            return
        for shared in shared_lans(self.description, node, other):
            self.lans[shared.name].part(host, self.hosts[other])

    def heal(self, node: str, *, lan: str = "", other: str = "") -> None:
        """Undo the same `cut`, or a `blackhole` between the two nodes."""
        host = self.hosts[node]
        if lan:
            self.lans[lan].plug(host)
            return
        for shared in shared_lans(self.description, node, other):
            self.lans[shared.name].join(host, self.hosts[other])
        self._end_blackholes(node, other)

    def blackhole(self, sender: str, receiver: str) -> None:
        """Lose all from *sender* to *receiver*, and nothing the other way."""
        begin_blackhole(self.description, self.hosts, sender, receiver)

    def _end_blackholes(self, one: str, other: str) -> None:
        end_blackhole(self.description, self.hosts, one, other)
        end_blackhole(self.description, self.hosts, other, one)

    def address(self, target: Target) -> str:
        """Return the IPv4 address of a target that has one without the mesh."""
        if target.node:
            return self.ports[target.node, target.lan].v4
        return target.text


def shared_lans(description: Description, one: str, other: str) -> list[Lan]:
    """Return the LANs that two nodes are in."""
    return [lan for lan in description.lans_of(one) if lan.member(other)]


def begin_blackhole(
    description: Description, hosts: Mapping[str, Host], sender: str, receiver: str
) -> None:
    """Lose what *sender*, and who is behind it, sends to *receiver*."""
    for lan in shared_lans(description, sender, receiver):
        places = places_in(description, lan)[sender]
        blackholes.begin(hosts[receiver], lan.name, places)


def end_blackhole(
    description: Description, hosts: Mapping[str, Host], sender: str, receiver: str
) -> None:
    """Undo `begin_blackhole`; nothing happens where it was not done."""
    for lan in shared_lans(description, sender, receiver):
        places = places_in(description, lan)[sender]
        blackholes.end(hosts[receiver], lan.name, places)


def ignored(description: Description) -> str:
    """Say in one line what this runner leaves out of the file; empty if nothing."""
    slow = [
        lan.name
        for lan in description.lans
        if not lan.hops and (lan.latency or lan.jitter or lan.reorder)
    ]
    if not slow:
        return ""
    return (
        "latency, jitter and reordering are ignored in namespaces where a LAN has no "
        f"hops (of {', '.join(slow)})"
    )


def build(lab: Lab, description: Description) -> Underlay:
    """Make everything of a description but the mesh itself."""
    hosts = {
        node.name: lab.router(node.name)
        if node.runs is Runs.ROUTER
        else lab.host(node.name)
        for node in description.nodes
    }
    switches = Switches(lab)
    lans, ports = dict[str, HostLan | CloudLan](), {}
    for lan in description.lans:
        built = (
            switches.cloud(lan, places_in(description, lan))
            if lan.hops
            else switches.lan(lan.name, mtu=lan.mtu, loss=lan.loss, rate=lan.rate)
        )
        lans[lan.name] = built
        for member in lan.members:
            v6 = f"{member.v6}/{lan.prefix6.prefixlen}" if lan.prefix6 else ""
            ports[member.node, lan.name] = built.attach(
                lab, hosts[member.node], v4=f"{member.v4}/{lan.prefix.prefixlen}", v6=v6
            )
        if isinstance(built, CloudLan):
            built.carry(lab)
    underlay = Underlay(description, lab, hosts, lans, ports)
    for node in description.nodes:
        _route(underlay, node)
        if node.nat:
            router = nat_router(description, hosts[node.name], node.nat)
            underlay.routers[node.name] = router
    return underlay


def nat_router(description: Description, host: Host, place: NatPlace) -> NatRouter:
    """Give a router its NAT, or the same once more."""
    lan = description.lan(place.outside)
    member = lan.member(host.name)
    assert member is not None
    outside = Port(host, lan.name, str(member.v4), str(member.v6 or ""))
    inside = [
        (lan.name, lan.prefix)
        for lan in description.lans_of(host.name)
        if lan.name != place.outside
    ]
    return NatRouter(outside, place, inside)


def _route(underlay: Underlay, node: Node) -> None:
    """Give a node its routes: to the LANs behind routers, and its default route."""
    description, host = underlay.description, underlay.hosts[node.name]
    for name, trail in routed_trails(description, node.name).items():
        if trail.routers:
            lan, first = description.lan(name), description.lan(trail.lans[0])
            hop = underlay.ports[trail.routers[0], first.name]
            _add_routes(host, _prefixes(lan), hop)
    if node.gateway:
        shared = next(
            lan for lan in description.lans_of(node.name) if lan.member(node.gateway)
        )
        hop = underlay.ports[node.gateway, shared.name]
        _add_routes(host, ("default", "default"), hop)


def _prefixes(lan: Lan) -> tuple[str, str]:
    """Return a LAN's prefixes of both versions, empty where it has none."""
    return str(lan.prefix), str(lan.prefix6 or "")


def _add_routes(host: Host, prefixes: tuple[str, str], hop: Port) -> None:
    for version, prefix, via in zip((4, 6), prefixes, (hop.v4, hop.v6), strict=True):
        if prefix and via:
            host.ip(f"-{version} route add {prefix} via {via}")
