"""A simulated mesh whose members sit behind NATs of every kind, for strangers to meet.

Conditions are those of the reference: 20 ms one way and two routers between any two
hosts of the internet, so 40 ms there and back between two members, and as much one way
by a relay. Three hubs in the open serve as rendezvous and as relays.

All are enrolled in the open and go behind their NATs then, as a laptop does that is
set up at one place and used at another. In a mesh so small all would gossip with each
other; in a large one two members hardly ever do, so here they do with hubs alone.
"""

from collections.abc import Sequence
from random import Random
from typing import Final, cast

from meshnode.codec.records import Role
from meshnode.simulation.clock import Clock
from meshnode.simulation.host import SimulatedHost
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_world import MeshWorld
from meshnode.simulation.nat import Nat
from meshnode.simulation.nat_kinds import BEHAVIOURS, NatKind

ONE_WAY: Final = 0.02
"""Seconds between two hosts of the internet."""

ROUND_TRIP: Final = 2 * ONE_WAY
"""Seconds there and back between the two of a pair."""

RELAY_ONE_WAY: Final = 2 * ONE_WAY
"""Seconds from one of a pair to the other by way of a relay."""

HUBS: Final = ("r1", "r2", "r3")

OF_A_KIND: Final = 2
"""Hosts behind each kind of NAT: the one begins where the other is reached."""

SETTLING: Final = 20.0
"""Seconds after which all have heard of each other and know their NATs."""

_KEPT_ROWS: Final = 400
_HOPS: Final = 2


class _GossipByHubs(Invariant):
    """Lets no member take another for a neighbour before it says a word to it."""

    def settled(self, host: "SimulatedHost") -> None:
        """Look at whom the node has chosen."""
        mesh = cast("GridWorld", self._world)
        home = mesh.homes.get(host.name)
        if home is None or home.node is None or host.name in HUBS:
            return
        hubs = {mesh.homes[hub].key for hub in HUBS if hub in mesh.homes}
        for key in home.node.neighbours.chosen:
            if key not in hubs:
                home.node.neighbours.remove(key, now=host.now)


class GridWorld(MeshWorld):
    """Hubs in the open, and `OF_A_KIND` members behind a NAT each of every kind.

    Args:
        seed: decides everything.
        kinds: which kinds there are.
        loss: share of the datagrams that get lost between any two hosts of the
            internet, from the moment the mesh has settled.
    """

    def __init__(
        self, seed: int | str, kinds: Sequence[NatKind], *, loss: float = 0.0
    ) -> None:
        calm = Link(latency=ONE_WAY, hops=_HOPS)
        super().__init__(seed, link=calm, keep=_KEPT_ROWS)
        self.watch.add(_GossipByHubs(self))
        self.behind: dict[NatKind, list[str]] = {
            kind: [f"{kind.value}-{number}" for number in range(1, 1 + OF_A_KIND)]
            for kind in kinds
        }
        self.found(HUBS[0])
        self.enlist(*HUBS[1:], roles=Role.RENDEZVOUS | Role.RELAY)
        self.enlist(*(name for names in self.behind.values() for name in names))
        for kind, names in self.behind.items():
            for name in names:
                if kind is not NatKind.OPEN:
                    self._go_behind(self.hosts[name], kind)
        self.run(SETTLING)
        self.network.default = Link(latency=ONE_WAY, hops=_HOPS, loss=loss)

    def build_host(
        self, name: str, *, clock: Clock | None = None, slowness: float = 0.0
    ) -> SimulatedHost:
        """Add a host with IPv4 alone: the NATs of the grid know nothing else."""
        host = super().build_host(name, clock=clock, slowness=slowness)
        self.network.take_address(host.addresses.pop(6), name)
        return host

    def are_strangers(self, one: str, other: str) -> bool:
        """Return whether two members have never spoken with each other."""
        pair = (self.homes[one], self.homes[other])
        return not any(
            home.running.has_session(far.key) for home, far in (pair, pair[::-1])
        )

    def _go_behind(self, host: SimulatedHost, kind: NatKind) -> None:
        """Put a host behind a NAT of its own, by a link that takes no time."""
        network, name, box = self.network, host.name, _box(host.name)
        network.take_address(host.addresses[4], name)
        outside, inside = f"198.19.0.{host.index}", f"192.168.{host.index}.2"
        random = Random(f"{self.seed}/nat/{name}")
        network.add_nat(box, Nat(BEHAVIOURS[kind], outside, random))
        network.settle(name, box)
        network.give_address(inside, name)
        network.connect(box, name, Link(latency=0.0))
        host.addresses = {4: inside}
        host.note(f"goes behind a NAT: {kind.value}")
        life = self.homes[name].life
        assert life is not None
        life.follow_addresses()
        host.settle()


def _box(name: str) -> str:
    return f"box-{name}"
