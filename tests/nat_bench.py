"""A host behind a NAT and two servers outside, simulated or in namespaces.

What a test asks is the same for both: who receives what, and from which endpoint. Each
datagram bears a number of its own, so that one that is late is not taken for another.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from meshnode.host.namespaces import run_inside
from meshnode.simulation.nat_kinds import NatKind
from meshnode.simulation.trace import TTL, Flight
from meshnode.simulation.world import World
from meshnode.types import Endpoint
from topology.build import Underlay, build
from topology.description import Description
from topology.hosts import Lab
from topology.parsing import parse
from topology.simulated_underlay import SimulatedUnderlay

EXPIRY = 20.0
"""Seconds an idle mapping lives unless a test says otherwise: longer than any takes."""

_ARRIVES_WITHIN = 5.0
_LOST_AFTER = 0.3

_TEXT = """
network = {{ name = "n", cidr = "10.77.0.0/16" }}
[[node]]
name = "one"
runs = "plain"
[[node]]
name = "two"
runs = "plain"
[[node]]
name = "desk"
runs = "plain"
gateway = "box"
[[node]]
name = "sofa"
runs = "plain"
gateway = "box"
[[node]]
name = "box"
runs = "router"
nat = "{kind}"
outside = "{outside}"
expiry = "{expiry}s"
hairpin = {hairpin}
{gateway}
[[lan]]
name = "internet"
prefix = "198.18.0.0/24"
members = ["{outermost}", "one", "two"]
latency = "2ms"
hops = 2
[[lan]]
name = "home"
prefix = "192.168.1.0/24"
members = ["box", "desk", "sofa"]
"""

_CARRIER = """
[[node]]
name = "carrier"
runs = "router"
nat = "{kind}"
outside = "internet"
expiry = "{expiry}s"
[[lan]]
name = "subscribers"
prefix = "100.64.0.0/24"
members = ["carrier", "box"]
"""


def behind(kind: NatKind, expiry: float = EXPIRY) -> Description:
    """Return hosts `desk` and `sofa` behind `box`, and servers `one` and `two`."""
    text = _TEXT.format(
        kind=kind.value,
        outside="internet",
        outermost="box",
        expiry=f"{expiry:g}",
        hairpin="true" if kind is NatKind.FULL_CONE else "false",
        gateway="",
    )
    return parse(text, kind.value)


def behind_two(inner: NatKind, outer: NatKind) -> Description:
    """Return the same with a second router, `carrier`, before `box`."""
    text = _TEXT.format(
        kind=inner.value,
        outside="subscribers",
        outermost="carrier",
        expiry=f"{EXPIRY:g}",
        hairpin="false",
        gateway='gateway = "carrier"',
    )
    carrier = _CARRIER.format(kind=outer.value, expiry=f"{EXPIRY:g}")
    return parse(text + carrier, f"{inner.value} behind {outer.value}")


class Bench(Protocol):
    """What a test may do in either world."""

    def address(self, node: str) -> str:
        """Return a node's address on its first LAN."""

    def outside(self, router: str) -> str:
        """Return the outer address of a router's NAT."""

    def send(self, sender: str, port: int, to: Endpoint, *, ttl: int) -> int:
        """Let a host send a datagram from *port*; return the datagram's number."""

    def source_of(self, number: int, *, within: float) -> Endpoint | None:
        """Return whom the receiver took a datagram to be from, None if none came."""

    def listen(self, host: str, port: int) -> None:
        """Open a UDP port of a host, if it is not open."""

    def rebind(self, router: str) -> None:
        """Let a router forget its mappings."""

    def pause(self, seconds: float) -> None:
        """Let that much time pass."""


def seen(
    bench: Bench, sender: str, port: int, to: Endpoint, *, ttl: int = TTL
) -> Endpoint:
    """Send a datagram that arrives; return the source that its receiver sees."""
    number = bench.send(sender, port, to, ttl=ttl)
    source = bench.source_of(number, within=_ARRIVES_WITHIN)
    assert source is not None, f"nothing came from {sender}:{port} to {to}"
    return source


def is_lost(
    bench: Bench, sender: str, port: int, to: Endpoint, *, ttl: int = TTL
) -> bool:
    """Send a datagram, and return whether it stays away."""
    number = bench.send(sender, port, to, ttl=ttl)
    return bench.source_of(number, within=_LOST_AFTER) is None


class SimulatedBench:
    """The simulated world; its hosts run no node, only programs with open ports."""

    def __init__(self, description: Description) -> None:
        self._world = World(1)
        self._underlay = SimulatedUnderlay(self._world, description)
        for name in ("one", "two", "desk", "sofa"):
            self._underlay.settle_in(self._world.build_host(name))
        self._arrived: dict[int, Endpoint] = {}
        self._sent = 0

    def address(self, node: str) -> str:
        """Return the address that the description gives."""
        return self._world.hosts[node].addresses[4]

    def outside(self, router: str) -> str:
        """Return the outer address of a router's NAT."""
        return self._underlay.router(router).outside

    def listen(self, host: str, port: int) -> None:
        """Open a UDP port."""
        self._world.hosts[host].visitors[port] = self._receive

    def send(self, sender: str, port: int, to: Endpoint, *, ttl: int) -> int:
        """Send a numbered datagram."""
        self.listen(sender, port)
        self._sent += 1
        source = Endpoint(self.address(sender), port)
        data = self._sent.to_bytes(4, "big")
        self._world.transmit(self._world.hosts[sender], data, source, to, ttl=ttl)
        return self._sent

    def source_of(self, number: int, *, within: float) -> Endpoint | None:
        """Return the source of a datagram that arrived."""
        self._world.run(_LOST_AFTER)  # virtual: all that comes has come by then
        return self._arrived.get(number)

    def rebind(self, router: str) -> None:
        """Forget a router's mappings."""
        self._underlay.router(router).rebind()

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self._world.run(seconds)

    def _receive(self, flight: Flight) -> None:
        self._arrived[int.from_bytes(flight.data, "big")] = flight.source


class NamespaceBench:
    """Network namespaces, and sockets of the test in them."""

    def __init__(self, underlay: Underlay, stack: ExitStack) -> None:
        self._underlay = underlay
        self._stack = stack
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._arrived: dict[int, Endpoint] = {}
        self._sent = 0

    def address(self, node: str) -> str:
        """Return the address that the description gives."""
        lan = self._underlay.description.lans_of(node)[0]
        return self._underlay.ports[node, lan.name].v4

    def outside(self, router: str) -> str:
        """Return the outer address of a router's NAT."""
        return self._underlay.router(router).outside

    def listen(self, host: str, port: int) -> None:
        """Open a UDP port."""
        if (host, port) not in self._sockets:
            opened = self.open(host, socket.SOCK_DGRAM)
            opened.bind((self.address(host), port))
            opened.setblocking(False)
            self._sockets[host, port] = opened

    def open(self, host: str, kind: socket.SocketKind) -> socket.socket:
        """Return a socket in a host's namespace, closed with the bench."""
        path = f"/run/netns/{self._underlay.hosts[host].namespace}"
        with open(path, "rb") as namespace:
            opened = run_inside(
                namespace.fileno(), lambda: socket.socket(socket.AF_INET, kind)
            )
        return self._stack.enter_context(opened)

    def send(self, sender: str, port: int, to: Endpoint, *, ttl: int) -> int:
        """Send a numbered datagram."""
        self.listen(sender, port)
        self._sent += 1
        opened = self._sockets[sender, port]
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        opened.sendto(self._sent.to_bytes(4, "big"), (to.host, to.port))
        return self._sent

    def source_of(self, number: int, *, within: float) -> Endpoint | None:
        """Return the source of a datagram that arrived."""
        end = time.monotonic() + within
        while number not in self._arrived and time.monotonic() < end:
            time.sleep(0.005)
            self._collect()
        return self._arrived.get(number)

    def rebind(self, router: str) -> None:
        """Forget a router's mappings."""
        self._underlay.router(router).rebind()

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def _collect(self) -> None:
        for opened in self._sockets.values():
            try:
                data, (host, port) = opened.recvfrom(64)
            except OSError:  # nothing there, or an ICMP error of an earlier datagram
                continue
            self._arrived[int.from_bytes(data, "big")] = Endpoint(host, port)


@contextmanager
def simulated(description: Description) -> Iterator[Bench]:
    """Play *description* in virtual time."""
    yield SimulatedBench(description)


@contextmanager
def in_namespaces(description: Description) -> Iterator[NamespaceBench]:
    """Build *description* of namespaces, and remove it again."""
    with Lab() as lab, ExitStack() as stack:
        yield NamespaceBench(build(lab, description), stack)
