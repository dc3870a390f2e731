"""The network between simulated hosts: delay, loss and everything worse.

All chance comes from the generator given. An address belongs to one host at a time.

Hosts and NATs are *stations*. What is behind a NAT is a *realm* of its own, called as
the NAT is; the public one is called "". Realms may use the same addresses. A datagram
goes from station to station: over a link inside a realm, through a NAT to the next.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import Final

from meshnode.codec.wireguard import INITIATION_TYPE, RESPONSE_TYPE, message_type
from meshnode.simulation.nat import Drop, Nat, Packet
from meshnode.simulation.trace import Flight, Mark, authentic_part
from meshnode.types import Endpoint
from meshnode.values import frozen

_IP_AND_UDP: Final = {4: 28, 6: 48}


@frozen
class Link:
    """How one direction between two hosts treats datagrams.

    Times are seconds: `latency` always, up to `jitter` more at random, up to
    `reorder_delay` more for the share `reorder`. `loss`, `duplicate`, `reorder` and
    `corrupt` are probabilities. `mtu` is in bytes of a whole IP packet; a longer one
    vanishes, as where ICMP is filtered. `hops` routers on the way lower its TTL.
    """

    latency: float = 0.02
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay: float = 0.5
    corrupt: float = 0.0
    mtu: int = 1500
    hops: int = 0
    blackhole: bool = False


@frozen
class Arrival:
    """What becomes of one copy of a datagram: it is lost if `at` is None."""

    flight: Flight
    at: float | None
    mark: Mark


class Network:
    """Who has which address, and how each link behaves."""

    def __init__(self, random: Random, default: Link) -> None:
        self.default = default
        self._random = random
        self._links: dict[tuple[str, str], Link] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self._realms: dict[str, str] = {}
        self._nats: dict[str, Nat] = {}
        self._groups: tuple[frozenset[str], ...] = ()
        self._filters: list[Callable[[Flight], bool]] = []

    def add_nat(self, name: str, nat: Nat, *, behind: str = "") -> None:
        """Add a NAT whose outer address is in the realm *behind*."""
        self._nats[name] = nat
        self.settle(name, behind)
        self.give_address(nat.outside, name)

    def nat(self, name: str) -> Nat | None:
        """Return the NAT of that name, None if it is none's."""
        return self._nats.get(name)

    def settle(self, station: str, realm: str) -> None:
        """Let the addresses that *station* is given be in *realm* from now on."""
        self._realms[station] = realm

    def realm(self, station: str) -> str:
        """Return the realm that a station's addresses are in."""
        return self._realms.get(station, "")

    def give_address(self, address: str, owner: str) -> None:
        """Let *owner* answer to a numeric address from now on."""
        self._owners[self.realm(owner), address] = owner

    def take_address(self, address: str, owner: str) -> None:
        """Let nobody have *address* in the realm of *owner*."""
        self._owners.pop((self.realm(owner), address), None)

    def owner(self, endpoint: Endpoint, realm: str = "") -> str | None:
        """Return the station that has this address in *realm*, or None."""
        return self._owners.get((realm, endpoint.host))

    def towards(self, endpoint: Endpoint, realm: str) -> str | None:
        """Return the next station for what is in *realm* and goes to *endpoint*.

        It is the address's owner there, else the NAT by which one leaves the realm.
        """
        return self.owner(endpoint, realm) or realm or None

    def translate(self, flight: Flight, now: float) -> Flight | Drop:
        """Let the NAT that *flight* came to pass it on, to the next station."""
        name = flight.receiver
        nat, outer = self._nats[name], self.realm(name)
        packet = Packet(flight.source, flight.destination, flight.data, flight.ttl)
        if self.realm(flight.sender) != name:
            outcome, realm = nat.inbound(packet, now=now), name
        elif packet.destination.host == nat.outside:
            outcome, realm = nat.hairpin(packet, now=now), name
        else:
            outcome, realm = nat.outbound(packet, now=now), outer
        if isinstance(outcome, Drop):
            return outcome
        receiver = self.towards(outcome.destination, realm)
        if receiver == name:  # nobody inside has the address: it turns back no more
            receiver = None
        return replace(
            flight,
            sender=name,
            receiver=receiver or "?",
            source=outcome.source,
            destination=outcome.destination,
            ttl=outcome.ttl,
        )

    def link(self, sender: str, receiver: str) -> Link:
        """Return how datagrams from *sender* to *receiver* fare."""
        return self._links.get((sender, receiver), self.default)

    def set_link(self, sender: str, receiver: str, link: Link) -> None:
        """Change one direction."""
        self._links[sender, receiver] = link

    def connect(self, one: str, other: str, link: Link) -> None:
        """Change both directions."""
        self.set_link(one, other, link)
        self.set_link(other, one, link)

    def partition(self, *groups: Iterable[str]) -> None:
        """Let only members of the same group reach each other."""
        self._groups = tuple(frozenset(group) for group in groups)

    def is_apart(self, one: str, other: str) -> bool:
        """Whether a partition is between the two."""
        if not self._groups:
            return False
        return not any(one in group and other in group for group in self._groups)

    def heal(self, link: Link | None = None) -> None:
        """End partitions and forget what was set for single links."""
        self._groups = ()
        self._links.clear()
        if link is not None:
            self.default = link

    def drop_if(self, condition: Callable[[Flight], bool]) -> Callable[[], None]:
        """Lose every datagram that *condition* holds for; the result ends it."""
        self._filters.append(condition)
        return lambda: self._filters.remove(condition)

    def carry(self, flight: Flight, now: float) -> list[Arrival]:
        """Decide what becomes of a datagram that leaves its sender at *now*."""
        link = self.link(flight.sender, flight.receiver)
        mark = self._fate(flight, link)
        if mark is not Mark.NONE:
            return [Arrival(flight, None, mark)]
        flight = replace(flight, ttl=flight.ttl - link.hops)
        arrivals = [self._arrival(flight, link, now, Mark.NONE)]
        if self._happens(link.duplicate):
            arrivals.append(self._arrival(flight, link, now, Mark.DUPLICATE))
        return arrivals

    def _fate(self, flight: Flight, link: Link) -> Mark:
        """Return why the datagram is lost, `Mark.NONE` if it is not."""
        if any(condition(flight) for condition in self._filters):
            return Mark.DROPPED
        if link.blackhole or self.is_apart(flight.sender, flight.receiver):
            return Mark.UNREACHABLE
        if len(flight.data) + _IP_AND_UDP[flight.destination.version] > link.mtu:
            return Mark.TOO_BIG
        if flight.ttl <= link.hops:
            return Mark.TTL
        return Mark.LOST if self._happens(link.loss) else Mark.NONE

    def _arrival(self, flight: Flight, link: Link, now: float, mark: Mark) -> Arrival:
        delay = link.latency + link.jitter * self._random.random()
        if self._happens(link.reorder):
            delay += link.reorder_delay * self._random.random()
        if self._happens(link.corrupt):
            flight = corrupt(flight, self._random)
            mark = Mark.CORRUPT
        return Arrival(flight, now + delay, mark)

    def _happens(self, probability: float) -> bool:
        return probability > 0.0 and self._random.random() < probability


def corrupt(flight: Flight, random: Random) -> Flight:
    """Return *flight* with damaged bytes."""
    data = damage(flight.data, random)
    # A receiver that is not under load does not look at mac2 (paper 5.4.4): with
    # nothing else changed, this is still the message of its origin.
    is_handshake = message_type(flight.data) in (INITIATION_TYPE, RESPONSE_TYPE)
    same_length = len(data) == len(flight.data)
    only_mac2 = (
        is_handshake
        and same_length
        and authentic_part(data) == (authentic_part(flight.data))
    )
    return replace(flight, data=data, origin=flight.origin if only_mac2 else None)


def damage(data: bytes, random: Random) -> bytes:
    """Return *data* changed: a bit flipped, or cut short, or with bytes behind it."""
    choice = random.random()
    if choice < 0.15:
        return data[: random.randrange(len(data))] if data else b"\0"
    if choice < 0.3:
        return data + random.randbytes(random.randint(1, 40))
    damaged = bytearray(data or b"\0")
    damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)
