"""The underlay of a description in a simulated world: addresses, links and NATs.

It has the verbs of `topology.build.Underlay`, so that a test can be written for both.
"""

from dataclasses import replace
from random import Random

from meshnode.simulation.host import SimulatedHost
from meshnode.simulation.links import Link
from meshnode.simulation.nat import Nat
from meshnode.simulation.nat_kinds import BEHAVIOURS
from meshnode.simulation.world import World
from topology.description import Description, NatPlace
from topology.paths import hiding_nats, paths_between
from topology.processes import LabError


class SimulatedUnderlay:
    """What joins the hosts of *world*, as *description* says.

    A host is in its first LAN, and has its address there. The world's hosts take their
    places one by one, by `settle_in`; the NATs are there from the beginning.
    """

    def __init__(self, world: World, description: Description) -> None:
        self.world = world
        self.description = description
        self._hiding = hiding_nats(description)
        self._links = {
            pair: Link(
                latency=way.latency,
                jitter=way.jitter,
                loss=way.loss,
                reorder=way.reorder,
                mtu=way.mtu,
                hops=way.hops,
            )
            for pair, way in paths_between(description).items()
        }
        self._addresses: dict[str, list[str]] = {}
        self._cuts: set[tuple[str, str, str]] = set()
        self._holes: set[tuple[str, str]] = set()
        for node in description.nodes:
            if node.nat:
                self._add_nat(node.name, node.nat)
        self._lay_links()

    # --- what is there ---

    def settle_in(self, host: SimulatedHost) -> None:
        """Give *host* the addresses that its namesake in the description has."""
        network = self.world.network
        for address in host.addresses.values():
            network.take_address(address, host.name)
        lan = self.description.lans_of(host.name)[0]
        place, realm = lan.member(host.name), self._hiding[lan.name]
        assert place is not None
        network.settle(host.name, realm)
        host.addresses = {4: str(place.v4)}
        if place.v6 is not None and not realm:  # a simulated NAT knows no IPv6
            host.addresses[6] = str(place.v6)
        self._addresses[host.name] = list(host.addresses.values())
        # The host had addresses of the world's choice before: who lost one to it gets
        # it back.
        for station, addresses in self._addresses.items():
            for address in addresses:
                network.give_address(address, station)
        self._lay_links()

    def router(self, name: str) -> Nat:
        """Return the NAT of a router; it can `rebind`.

        Raises:
            LabError: if there is none of that name.
        """
        nat = self.world.network.nat(name)
        if nat is None:
            raise LabError(f"{name} has no NAT that could be rebound")
        return nat

    def is_reachable(self, source: str, other: str) -> bool:
        """Return whether *other* can be sent to by its own address, and can answer."""
        network = self.world.network
        here, wanted = source, network.realm(other)
        while network.realm(here) != wanted:
            nat = network.realm(here)
            if not nat or not self._both_ways(here, nat):
                return False
            here = nat
        return self._both_ways(here, other)

    # --- what happens to it ---

    def cut(self, node: str, *, lan: str = "", other: str = "") -> None:
        """Cut *node* off a LAN, or off another node."""
        self._cuts.add((node, lan, other))
        self._lay_links()

    def heal(self, node: str, *, lan: str = "", other: str = "") -> None:
        """Undo the same `cut`, or a `blackhole` between the two nodes."""
        self._cuts.discard((node, lan, other))
        self._holes -= {(node, other), (other, node)}
        self._lay_links()

    def blackhole(self, sender: str, receiver: str) -> None:
        """Lose all from *sender* to *receiver*, and nothing the other way."""
        self._holes.add((sender, receiver))
        self._lay_links()

    # --- how ---

    def _add_nat(self, name: str, place: NatPlace) -> None:
        member = self.description.lan(place.outside).member(name)
        assert member is not None
        behaviour = replace(
            BEHAVIOURS[place.kind], expiry=place.expiry, hairpin=place.hairpin
        )
        random = Random(f"{self.world.seed}/nat/{name}")
        nat = Nat(behaviour, str(member.v4), random)
        self._addresses[name] = [nat.outside]
        self.world.network.add_nat(name, nat, behind=self._hiding[place.outside])

    def _both_ways(self, one: str, other: str) -> bool:
        link = self.world.network.link
        return not (link(one, other).blackhole or link(other, one).blackhole)

    def _lay_links(self) -> None:
        """Make each link as it is now; who is not joined has a black hole between."""
        stations = [node.name for node in self.description.nodes]
        for one in stations:
            for other in stations:
                link = self._links.get((one, other), Link(blackhole=True))
                if (one, other) in self._holes or self._is_cut(one, other):
                    link = Link(blackhole=True)
                self.world.network.set_link(one, other, link)

    def _is_cut(self, one: str, other: str) -> bool:
        for node, lan, peer in self._cuts:
            if node not in (one, other):
                continue
            far = other if node == one else one
            if peer == far:
                return True
            # Cut off its only LAN, a node is cut off from all.
            if lan and [each.name for each in self.description.lans_of(node)] == [lan]:
                return True
            if lan and self.description.lan(lan).member(far):
                return True
        return False
