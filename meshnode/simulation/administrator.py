"""Whoever configures the hosts of a world, knowing who shall be whose peer."""

from typing import TYPE_CHECKING

from meshnode.crypto.keys import PresharedKey, PublicKey
from meshnode.simulation.application import inner_prefixes
from meshnode.wireguard.config import DeviceChange, PeerChange

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.world import World


class Administrator:
    """Makes hosts peers of each other; `pairs` are those that shall be, in order.

    `preshared_keys` has the key each pair is meant to have at present.
    """

    def __init__(self, world: "World") -> None:
        self.pairs: list[tuple[str, str]] = []
        self.preshared_keys: dict[frozenset[str], PresharedKey] = {}
        self._world = world

    def introduce(
        self,
        one: str,
        other: str,
        *,
        preshared_key: PresharedKey | None = None,
        keepalive: int = 0,
        mutual: bool = True,
    ) -> None:
        """Configure two hosts as peers; unless *mutual*, only *one* is told where."""
        self.pairs.append((one, other))
        if preshared_key is not None:
            self.preshared_keys[frozenset((one, other))] = preshared_key
        self.add_peer(one, other, keepalive=keepalive)
        self.add_peer(other, one, keepalive=keepalive, with_endpoint=mutual)

    def add_peer(
        self, where: str, who: str, *, keepalive: int = 0, with_endpoint: bool = True
    ) -> None:
        """Configure host *where* with the present key and address of *who*."""
        host, peer = self._world.hosts[where], self._world.hosts[who]
        change = PeerChange(
            public_key=peer.public_key,
            preshared_key=self.preshared_keys.get(frozenset((where, who))),
            endpoint=peer.endpoint if with_endpoint else None,
            persistent_keepalive=keepalive or None,
            allowed_ips=[(True, prefix) for prefix in inner_prefixes(peer.index)],
        )
        host.configure(DeviceChange(peers=[change]))

    def remove_peer(self, where: str, key: PublicKey) -> None:
        """Remove the peer with *key* from host *where*."""
        change = DeviceChange(peers=[PeerChange(key, remove=True)])
        self._world.hosts[where].configure(change)

    def set_preshared_key(self, where: str, who: str) -> None:
        """Tell host *where* the key it shall share with *who* now."""
        host, peer = self._world.hosts[where], self._world.hosts[who]
        change = PeerChange(
            peer.public_key,
            update_only=True,
            preshared_key=self.preshared_keys[frozenset((where, who))],
        )
        host.configure(DeviceChange(peers=[change]))

    def set_keepalive(self, where: str, who: str, seconds: int) -> None:
        """Change the persistent keepalive of host *where* towards *who*."""
        key = self._world.hosts[who].public_key
        change = PeerChange(key, update_only=True, persistent_keepalive=seconds)
        self._world.hosts[where].configure(DeviceChange(peers=[change]))

    def allow(self, where: str, who: str, prefixes_of: str) -> None:
        """Let *who* own the prefixes of *prefixes_of* at host *where*."""
        prefixes = inner_prefixes(self._world.hosts[prefixes_of].index)
        change = PeerChange(
            self._world.hosts[who].public_key,
            update_only=True,
            allowed_ips=[(True, prefix) for prefix in prefixes],
        )
        self._world.hosts[where].configure(DeviceChange(peers=[change]))

    def tell_endpoint(self, where: str, who: str) -> None:
        """Tell host *where* the present address of *who*."""
        peer = self._world.hosts[who]
        change = PeerChange(peer.public_key, update_only=True, endpoint=peer.endpoint)
        self._world.hosts[where].configure(DeviceChange(peers=[change]))

    def knows_way(self, where: str, who: str) -> bool:
        """Whether host *where* has an address of *who* that is right."""
        key = self._world.hosts[who].public_key
        for peer in self._world.hosts[where].engine.state().peers:
            if peer.public_key == key and peer.path is not None:
                return self._world.network.owner(peer.path.remote) == who
        return False

    def peers_of(self, host: "SimulatedHost") -> list["SimulatedHost"]:
        """Return the hosts that shall be peers of *host*."""
        names = [
            other if one == host.name else one
            for one, other in self.pairs
            if host.name in (one, other)
        ]
        return [self._world.hosts[name] for name in names]
