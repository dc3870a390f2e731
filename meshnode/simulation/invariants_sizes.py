"""The rule about sizes, judged by what arrived where, and not by who said what."""

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from meshnode.channels import channel_of
from meshnode.codec.wireguard import DATA_OVERHEAD
from meshnode.simulation.detours import LOOPBACK
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.invariants_relays import content_of, is_relayed
from meshnode.simulation.trace import Flight
from meshnode.types import Endpoint

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.mesh_world import MeshWorld
    from meshnode.simulation.world import World


class ProvenSizes(Invariant):
    """Who is sent larger packets than everybody got one of that size there.

    All relays count as one place, and as one sender: a channel has no endpoint that
    others see, and a relay does not say whose datagram it sends on. Behind TLS each end
    has a port of its own for the other.
    """

    rule = "no size is in use to a member that did not arrive at that endpoint of it"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._arrived: dict[
            tuple[str | None, str], set[tuple[int, Endpoint | None]]
        ] = {}

    def accepted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Learn which sizes come through, whoever repeats them on the way."""
        home = self._mesh.homes.get(host.name)
        size = len(content_of(flight.data)) - DATA_OVERHEAD
        if flight.origin is not None and home is not None and size > home.settings.mtu:
            place = None if is_relayed(flight.data) else _place(flight.destination)
            pair = (flight.origin if place else None, host.name)
            self._arrived.setdefault(pair, set()).add((size, place))

    def settled(self, host: "SimulatedHost") -> None:
        """Look for the arrival behind each size in use."""
        home = self._mesh.homes.get(host.name)
        if home is None or home.node is None or host.is_mute:
            return
        for key, size in home.node.sizes.proven().items():
            endpoint = home.node.tunnels.path_of(key)
            name = next(h.host.name for h in self._mesh.homes.values() if h.key == key)
            place = None
            if endpoint is not None and not channel_of(endpoint):
                place = _place(endpoint)
            pair = (host.name if place else None, name)
            arrived = self._arrived.get(pair, set())
            if endpoint is None or (size, place) not in arrived:
                self.fail(host, f"{name} is sent {size} bytes at {endpoint}")

    @property
    def _mesh(self) -> "MeshWorld":
        return cast("MeshWorld", self._world)


def _place(endpoint: Endpoint) -> Endpoint:
    """Return what both ends of a path may call its end."""
    return replace(endpoint, port=0) if endpoint.host == LOOPBACK else endpoint
