"""One network, described once for three runners: simulation, namespaces, Vagrant.

A file `topology/NAME.toml` says which nodes there are, which LANs join them (the
*underlay*), what happens, and what must hold. docs/topologies.md has a whole example;
`topology.parsing` reads files. Unknown keys are refused. Durations are texts like
"20ms", "1.5s", "2m".

    [network]                  the mesh that the meshnode nodes make
    name = "office"            also the name of its interface; 1–15 letters
    cidr = "10.77.0.0/16"      the overlay's IPv4 prefix

    [[node]]
    name = "site-a"
    runs = "meshnode"          or "plain" (a host without meshnode) or "router"
    gateway = "router-a"       default route: a node on one of our LANs
      of a meshnode node:
    founder = true             makes the network; exactly one does
    joins = "invite"           joins before the first step; without it, in a step `join`
    accept_routes = true       takes the prefixes that others announce
    groups = ["staff"]
    routes = [{ prefix = "10.99.1.0/24", map = "192.168.1.0/24", metric = 100,
                weight = 1, masquerade = true }]
                               announces `prefix`; `map`: the LAN's real one, if other
      of a router:
    nat = "masquerade"         hides what is behind it, as a NAT of this kind does: see
                               `NatKind`; "open" hides nothing
    outside = "internet"       from this LAN
    expiry = "30s"             of an idle mapping
    hairpin = true             sends back in what goes to its own address outside

    [[lan]]                    one Ethernet segment
    name = "internet"          also the name of the interfaces in it; 1–15 letters
    prefix = "198.18.0.0/24"
    prefix6 = "2001:db8::/64"  optional
    members = ["hub", "site-a"]        the n-th gets the n-th address of each prefix
    addresses = { hub = "198.18.0.99" }        … unless its IPv4 address is given here
    latency = "20ms"           one way, from any member to any other
    jitter = "5ms"             up to this much more, at random
    loss = "1%"                of the packets
    reorder = "1%"             of the packets take up to half a second more
    rate = "10mbit"            of each member, in each direction
    mtu = 1500
    hops = 2                   it is no segment but an internet, with so many routers
                               between any two: they lower the TTL, and what is larger
                               than `mtu` vanishes without a word

    [[step]]                   one after the other; `name` is for `after`
    do = "join"                node
    do = "ping"                node, to, within ("10s"): until answered
    do = "kill"                node: kill -9 of all its processes
    do = "stop"                node: `meshnode down`
    do = "start"               node: `meshnode up`
    do = "cut"                 node, and lan (out of that LAN) or to (from that node)
    do = "blackhole"           node, and to: nothing passes from node to that node, yet
                               all does the other way
    do = "heal"                node, and lan or to: undoes either
    do = "rebind"              node, a router with a NAT: forgets all mappings
    do = "wait"                for ("5s")

    [[must]]                   what holds once all have joined, or …
    after = "…"                … after the step of that name
    from = "desk-a"
    reach = "desk-b"           or not_reach
    within = "10s"

`to`, `reach` and `not_reach` take an address or a node's name: a meshnode node's means
its overlay address, another's that on its first LAN, and `NAME@LAN` its address there.
Whoever joins several LANs as a router forwards between them, and all nodes have routes
to the LANs that routers lead to. A LAN behind a NAT is unknown outside.
"""

import enum
import ipaddress
from dataclasses import dataclass

from meshnode.simulation.nat_kinds import EXPIRY, NatKind
from topology.reading import IPNetwork

WITHIN = 10.0
"""Seconds something may take unless a file says otherwise."""


class Runs(enum.Enum):
    """What a node is."""

    MESHNODE = "meshnode"
    PLAIN = "plain"
    ROUTER = "router"


class Action(enum.Enum):
    """What a step does."""

    JOIN = "join"
    PING = "ping"
    KILL = "kill"
    STOP = "stop"
    START = "start"
    CUT = "cut"
    BLACKHOLE = "blackhole"
    HEAL = "heal"
    REBIND = "rebind"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Network:
    """The mesh: its name, which its interface has too, and its IPv4 prefix."""

    name: str
    cidr: ipaddress.IPv4Network


@dataclass(frozen=True, slots=True)
class Route:
    """A prefix a node announces; `mapped` is the LAN's real one, if it differs."""

    prefix: IPNetwork
    metric: int
    weight: int
    masquerade: bool
    mapped: IPNetwork | None


@dataclass(frozen=True, slots=True)
class NatPlace:
    """What a router's NAT is like, and the LAN that it hides its others from.

    `expiry` is how many seconds an idle mapping lives.
    """

    kind: NatKind
    outside: str
    expiry: float = EXPIRY
    hairpin: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A host; a router that has no `nat` only forwards."""

    name: str
    runs: Runs
    founder: bool = False
    joins_at_start: bool = False
    accept_routes: bool = False
    groups: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    gateway: str = ""
    nat: NatPlace | None = None

    @property
    def outside(self) -> str:
        """The LAN that a NAT hides the others from; empty without a NAT."""
        return self.nat.outside if self.nat else ""


@dataclass(frozen=True, slots=True)
class Member:
    """A node's place in a LAN; `v6` is None where the LAN has no IPv6."""

    node: str
    v4: ipaddress.IPv4Address
    v6: ipaddress.IPv6Address | None


@dataclass(frozen=True, slots=True)
class Lan:
    """One Ethernet segment.

    `latency` and `jitter` are seconds one way, `loss` is a share from 0 to 1, `rate`
    bits a second for each member and direction (0: no limit), `mtu` bytes. `reorder` is
    the share that takes up to half a second more. With `hops` it is an internet of so
    many routers.
    """

    name: str
    prefix: ipaddress.IPv4Network
    prefix6: ipaddress.IPv6Network | None
    members: tuple[Member, ...]
    latency: float
    jitter: float
    loss: float
    rate: int
    mtu: int
    reorder: float = 0.0
    hops: int = 0

    def member(self, node: str) -> Member | None:
        """Return a node's place here, None if it has none."""
        return next((member for member in self.members if member.node == node), None)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a packet is sent to; `text` is how the file puts it.

    With `node` and `lan` it is the node's address there, with `node` alone its overlay
    address, and with neither `text` is an address.
    """

    text: str
    node: str = ""
    lan: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens.

    `target` is of `ping`; `cut` and `heal` have `lan`, or `other`, a node; `blackhole`
    has `other`; `seconds` is how long to wait, or how long a `ping` may take.
    """

    action: Action
    name: str = ""
    node: str = ""
    target: Target | None = None
    lan: str = ""
    other: str = ""
    seconds: float = WITHIN


@dataclass(frozen=True, slots=True)
class Must:
    """Something that has to hold within so many seconds.

    `reached` is false where the target must not be reached. `after` is a step's name,
    or empty: before the first step.
    """

    source: str
    target: Target
    reached: bool
    seconds: float
    after: str


@dataclass(frozen=True, slots=True)
class Description:
    """A whole file, checked: every name in it leads somewhere."""

    source: str
    network: Network
    nodes: tuple[Node, ...]
    lans: tuple[Lan, ...]
    steps: tuple[Step, ...]
    musts: tuple[Must, ...]

    def node(self, name: str) -> Node:
        """Return the node of that name; raises KeyError if there is none."""
        found = {node.name: node for node in self.nodes}
        return found[name]

    def lan(self, name: str) -> Lan:
        """Return the LAN of that name; raises KeyError if there is none."""
        found = {lan.name: lan for lan in self.lans}
        return found[name]

    def lans_of(self, node: str) -> tuple[Lan, ...]:
        """Return the LANs that *node* is in, in the order of the file."""
        return tuple(lan for lan in self.lans if lan.member(node))

    @property
    def founder(self) -> Node | None:
        """The node that makes the network; None where nobody runs meshnode."""
        return next((node for node in self.nodes if node.founder), None)
