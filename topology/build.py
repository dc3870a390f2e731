"""Build the underlay of a description: hosts, LANs, routers, and the routes to them.

The kernels we run on have no netem: loss and rates are real, but packets take no time.
Latency and jitter are for the simulation and for virtual machines.
"""

from collections.abc import Callable
from dataclasses import dataclass

from topology.description import Description, Lan, Node, Runs, Target
from topology.hosts import Host, Lab, Port
from topology.lans import HostLan, Switches
from topology.paths import routed_trails


@dataclass(frozen=True, slots=True)
class Underlay:
    """What was built: hosts by name, segments by name, ports by node and LAN."""

    description: Description
    lab: Lab
    hosts: dict[str, Host]
    lans: dict[str, HostLan]
    ports: dict[tuple[str, str], Port]

    def cut(self, node: str, *, lan: str = "", other: str = "") -> None:
        """Cut *node* off a LAN, or off another node in every LAN they share."""
        self._each(HostLan.unplug, HostLan.part, node, lan, other)

    def heal(self, node: str, *, lan: str = "", other: str = "") -> None:
        """Undo the same `cut`."""
        self._each(HostLan.plug, HostLan.join, node, lan, other)

    def address(self, target: Target) -> str:
        """Return the IPv4 address of a target that has one without the mesh."""
        if target.node:
            return self.ports[target.node, target.lan].v4
        return target.text

    def _each(
        self,
        alone: Callable[[HostLan, Host], None],
        both: Callable[[HostLan, Host, Host], None],
        node: str,
        lan: str,
        other: str,
    ) -> None:
        if lan:
            alone(self.lans[lan], self.hosts[node])
            return
        for shared in self.description.lans_of(node):
            if shared.member(other):
                both(self.lans[shared.name], self.hosts[node], self.hosts[other])


def ignored(description: Description) -> str:
    """Say in one line what this runner leaves out of the file; empty if nothing."""
    slow = [lan.name for lan in description.lans if lan.latency or lan.jitter]
    if not slow:
        return ""
    return f"latency and jitter are ignored in namespaces (of {', '.join(slow)})"


def build(lab: Lab, description: Description) -> Underlay:
    """Make everything of a description but the mesh itself."""
    hosts = {
        node.name: lab.router(node.name)
        if node.runs is Runs.ROUTER
        else lab.host(node.name)
        for node in description.nodes
    }
    switches = Switches(lab)
    lans, ports = {}, {}
    for lan in description.lans:
        built = switches.lan(lan.name, mtu=lan.mtu, loss=lan.loss, rate=lan.rate)
        lans[lan.name] = built
        for member in lan.members:
            v6 = f"{member.v6}/{lan.prefix6.prefixlen}" if lan.prefix6 else ""
            ports[member.node, lan.name] = built.attach(
                lab, hosts[member.node], v4=f"{member.v4}/{lan.prefix.prefixlen}", v6=v6
            )
    underlay = Underlay(description, lab, hosts, lans, ports)
    for node in description.nodes:
        _route(underlay, node)
        if node.outside:
            _hide(lab, ports[node.name, node.outside])
    return underlay


def _hide(lab: Lab, outside: Port) -> None:
    """Masquerade what leaves by *outside*, and let in only what answers it."""
    lab.source_nat(outside)
    outside.host.nft(
        f"""
        table inet outside {{
          chain forward {{
            type filter hook forward priority filter;
            iifname "{outside.interface}" ct state new drop
          }}
        }}
        """
    )


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
