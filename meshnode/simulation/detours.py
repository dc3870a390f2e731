"""TLS between simulated hosts: a link that keeps the order, lossless unless cut.

It stands for `node.tls_detours` and the process that speaks TLS: whom the node wants to
reach so is connected, if its NAT lets TCP out to port 443 and the server is in the
open. To each of the two the other is at a port of the loopback address then.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final, cast

from meshnode.simulation.trace import Flight, Mark
from meshnode.types import Endpoint

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.mesh_world import MeshWorld

LOOPBACK: Final = "127.0.0.1"
HTTPS: Final = 443

ROUND_TRIPS: Final = 3
"""Round trips until a server is connected: of TCP, of TLS, and of the proof."""

_FIRST_PORT: Final = 30_000
_FIRST_SERVED: Final = 40_000
"""Ports of the loopback address: for servers that were dialled, and for clients."""

_LOST_AFTER: Final = 1.0

SetDetour = Callable[[bytes, Endpoint | None], None]


class TlsDetours:
    """The connections that one node wants.

    *set_detour* tells the node where TLS reaches a member now, or that it does not.
    """

    def __init__(self, host: "SimulatedHost", set_detour: SetDetour) -> None:
        self._world = cast("MeshWorld", host.world)
        self._host = host
        self._set_detour = set_detour
        self._dialled: dict[bytes, int] = {}

    def follow(self, wanted: dict[bytes, tuple[str, ...]]) -> None:
        """Dial whom the node wants, with the addresses of each; hang up on others."""
        for key in [key for key in self._dialled if key not in wanted]:
            self._host.bridges.pop(self._dialled.pop(key), None)
            self._world.after(0.0, partial(self._set_detour, key, None))
        for key, addresses in wanted.items():
            if key not in self._dialled:
                self._dial(key, addresses)

    @property
    def dialled(self) -> set[bytes]:
        """Who was dialled, because the node wants it."""
        return set(self._dialled)

    def _dial(self, key: bytes, addresses: tuple[str, ...]) -> None:
        server = self._server(key, addresses)
        taken = {*self._host.bridges, *self._dialled.values()}
        port = self._dialled[key] = _free_port(_FIRST_PORT, taken)
        if server is None:
            self._world.after(_LOST_AFTER, partial(self._lose, key))
            return
        takes = ROUND_TRIPS * 2 * self._world.network.default.latency
        self._world.after(takes, partial(self._connect, key, server, port))

    def _server(self, key: bytes, addresses: tuple[str, ...]) -> "SimulatedHost | None":
        """Return the host that answers there, None if nobody does or may be asked."""
        network = self._world.network
        nat = network.nat(network.realm(self._host.name))
        if nat is not None and not nat.behaviour.lets_tcp_out(HTTPS):
            return None
        for address in addresses:
            name = network.owner(Endpoint(address, HTTPS))
            if name is None or network.is_apart(self._host.name, name):
                continue
            if name in self._world.homes and self._world.homes[name].key == key:
                return self._world.hosts[name]
        return None

    def _connect(self, key: bytes, server: "SimulatedHost", port: int) -> None:
        if self._dialled.get(key) != port:
            return
        far = _free_port(_FIRST_SERVED, set(server.bridges))
        self._host.bridges[port] = partial(self._carry, self._host, server, far)
        server.bridges[far] = partial(self._carry, server, self._host, port)
        self._host.note(f"reaches {server.name} by TLS")
        self._set_detour(key, Endpoint(LOOPBACK, port))

    def _lose(self, key: bytes) -> None:
        if self._dialled.pop(key, None) is not None:
            self._set_detour(key, None)

    def _carry(
        self, sender: "SimulatedHost", receiver: "SimulatedHost", port: int, data: bytes
    ) -> None:
        world = self._world
        flight = Flight(
            sender.name,
            receiver.name,
            data,
            Endpoint(LOOPBACK, port),
            Endpoint(LOOPBACK, receiver.endpoint.port),
            world.now,
            sender.name,
        )
        world.trace.sent(flight)
        world.after(world.network.default.latency, partial(self._land, flight))

    def _land(self, flight: Flight) -> None:
        receiver = self._world.hosts[flight.receiver]
        is_cut = self._world.network.is_apart(flight.sender, flight.receiver)
        mark = Mark.UNREACHABLE if is_cut else Mark.NONE
        self._world.trace.landed(flight, self._world.now, mark)
        if not is_cut:
            receiver.receive(flight)


def _free_port(first: int, taken: set[int]) -> int:
    return next(port for port in count(first) if port not in taken)
