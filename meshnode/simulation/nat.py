"""A NAT for UDP over IPv4: what it lets pass, and from which port.

Pure, and in virtual time: each verb takes a packet and the moment, and returns the
packet as it goes on, or why it does not. A NAT is a router, so it takes one from the
TTL; what would die of that makes no mapping.

A mapping here is what RFC 4787 calls so, with the peers it was used for. Each peer
has its own time to live, so that filters forget one peer while others go on; this
is how Linux's conntrack does it.

What is *poisoned*: a datagram that no mapping wants is, on many routers, taken for
one to the router itself, and remembered as a flow of its own. The flow has the very
port that an inner host's answer would use; the answer gets another one, which the
peer does not expect. Each datagram of the peer refreshes the entry.
"""

import enum
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from meshnode.simulation.nat_kinds import Allocation, NatBehaviour, Scope
from meshnode.simulation.nat_ports import Ports
from meshnode.types import Endpoint
from meshnode.values import frozen

_Key = TypeVar("_Key")


@frozen
class Packet:
    """A UDP datagram; `ttl` counts the routers that it may still come to."""

    source: Endpoint
    destination: Endpoint
    payload: bytes = field(repr=False)
    ttl: int = 64


class Drop(enum.Enum):
    """Why a NAT lets a packet go no further; the value is how the story says it."""

    TTL = "its TTL ran out"
    BLOCKED = "UDP is blocked"
    NO_PORT = "the NAT has no port left"
    NO_MAPPING = "the NAT has no mapping for this port"
    FILTERED = "the NAT lets this peer not in"
    POISONED = "the NAT takes it for its own"
    NO_HAIRPIN = "the NAT does not send back in"


@dataclass(slots=True)
class _Mapping:
    """An inner endpoint's outer port; `peers` are those it spoke to, until when."""

    inner: Endpoint
    port: int
    peers: dict[Endpoint, float] = field(default_factory=dict)
    expires: float = 0.0

    def use(self, peer: Endpoint, until: float) -> None:
        self.peers[peer] = until
        self.expires = max(self.expires, until)

    def forget_peers(self, now: float) -> None:
        self.peers = {peer: until for peer, until in self.peers.items() if until > now}

    def speaks_to(self, peer: Endpoint, now: float) -> bool:
        return self.peers.get(peer, now) > now

    def admits(self, remote: Endpoint, filtering: Scope, now: float) -> bool:
        if filtering is Scope.ADDRESS_AND_PORT_DEPENDENT:
            return self.speaks_to(remote, now)
        if filtering is Scope.ENDPOINT_INDEPENDENT:
            return self.expires > now
        wanted = filtering.of(remote)
        return any(
            until > now and filtering.of(peer) == wanted
            for peer, until in self.peers.items()
        )


class Nat:
    """One NAT whose only outer address is *outside*; *random* draws its ports."""

    def __init__(self, behaviour: NatBehaviour, outside: str, random: Random) -> None:
        self.behaviour = behaviour
        self.outside = outside
        self._ports = Ports(behaviour, random)
        self._by_inner: dict[Hashable, list[_Mapping]] = {}
        self._by_port: dict[int, list[_Mapping]] = {}
        self._poison: dict[tuple[Endpoint, int], float] = {}
        self._next_sweep = 0.0

    # --- verbs ---

    def outbound(self, packet: Packet, *, now: float) -> Packet | Drop:
        """Return what leaves of a packet from inside to an outer address."""
        if packet.ttl <= 1:
            return Drop.TTL
        if self.behaviour.blocks_udp:
            return Drop.BLOCKED
        mapping = self._mapping_for(packet.source, packet.destination, now)
        if mapping is None:
            return Drop.NO_PORT
        mapping.use(packet.destination, now + self.behaviour.expiry)
        return replace(
            packet, source=Endpoint(self.outside, mapping.port), ttl=packet.ttl - 1
        )

    def inbound(self, packet: Packet, *, now: float) -> Packet | Drop:
        """Return what gets in of a packet that arrives at the outer address."""
        if self.behaviour.blocks_udp:
            return Drop.BLOCKED
        self._sweep(now)
        remote, port = packet.source, packet.destination.port
        flow, expiry = (remote, port), self.behaviour.expiry
        if self._poison.get(flow, now) > now:
            self._poison[flow] = now + expiry
            return Drop.POISONED
        mapping = self._admitting(remote, port, now)
        if mapping is None:
            # The router itself is where such a packet ends: its TTL is enough.
            if self.behaviour.poisonable:
                self._poison[flow] = now + expiry
            is_known = any(each.expires > now for each in self._on(port))
            return Drop.FILTERED if is_known else Drop.NO_MAPPING
        if packet.ttl <= 1:
            return Drop.TTL
        if self.behaviour.refreshed_by_inbound:
            mapping.use(remote, now + expiry)
        return replace(packet, destination=mapping.inner, ttl=packet.ttl - 1)

    def hairpin(self, packet: Packet, *, now: float) -> Packet | Drop:
        """Return what comes back in of a packet from inside to the outer address.

        Its source is the sender's outer endpoint, and it is filtered as if it came
        from outside (RFC 4787, section 6).
        """
        if not self.behaviour.hairpin and not self.behaviour.blocks_udp:
            return Drop.NO_HAIRPIN
        outer = self.outbound(packet, now=now)
        if isinstance(outer, Drop):
            return outer
        # One router on the way there and back, not two.
        return self.inbound(replace(outer, ttl=packet.ttl), now=now)

    def rebind(self) -> None:
        """Forget all mappings, as a router that starts anew does."""
        self._by_inner.clear()
        self._by_port.clear()
        self._poison.clear()

    # --- mappings ---

    def _mapping_for(
        self, inner: Endpoint, remote: Endpoint, now: float
    ) -> _Mapping | None:
        """Return the mapping that *inner* uses to *remote*, a new one if need be."""
        self._sweep(now)
        key = inner, self.behaviour.mapping.of(remote)
        candidates = [
            mapping
            for mapping in self._by_inner.get(key, ())
            if mapping.expires > now and self._may_speak(mapping, remote, now)
        ]
        # A flow keeps its port; a new one takes that of the newest mapping.
        for mapping in candidates:
            if mapping.speaks_to(remote, now):
                return mapping
        if candidates:
            return candidates[-1]
        port = self._ports.choose(inner, lambda port: self._is_free(port, remote, now))
        if port is None:
            return None
        mapping = _Mapping(inner, port)
        self._by_inner.setdefault(key, []).append(mapping)
        self._by_port.setdefault(port, []).append(mapping)
        return mapping

    def _may_speak(self, mapping: _Mapping, remote: Endpoint, now: float) -> bool:
        """Whether nobody else uses a mapping's port towards *remote*."""
        return self._poison.get((remote, mapping.port), now) <= now and not any(
            other.speaks_to(remote, now)
            for other in self._on(mapping.port)
            if other.inner != mapping.inner
        )

    def _is_free(self, port: int, remote: Endpoint, now: float) -> bool:
        if self._poison.get((remote, port), now) > now:
            return False
        if self.behaviour.allocation is Allocation.OVERLOADING:
            return not any(each.speaks_to(remote, now) for each in self._on(port))
        return not any(each.expires > now for each in self._on(port))

    def _admitting(self, remote: Endpoint, port: int, now: float) -> _Mapping | None:
        """Return the mapping that lets *remote* in, the one in use with it first."""
        filtering = self.behaviour.filtering
        admitting = [
            each for each in self._on(port) if each.admits(remote, filtering, now)
        ]
        for mapping in admitting:
            if mapping.speaks_to(remote, now):
                return mapping
        return admitting[-1] if admitting else None

    def _on(self, port: int) -> list[_Mapping]:
        return self._by_port.get(port, [])

    def _sweep(self, now: float) -> None:
        """Forget what expired, once in a while: all else looks at the time itself."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + self.behaviour.expiry
        _prune(self._by_inner, now)
        _prune(self._by_port, now)
        for flow in [flow for flow, until in self._poison.items() if until <= now]:
            del self._poison[flow]

    def mappings(self, now: float) -> Iterator[tuple[Endpoint, int]]:
        """Yield the inner endpoint and the outer port of each living mapping."""
        for mappings in self._by_port.values():
            for mapping in mappings:
                if mapping.expires > now:
                    yield mapping.inner, mapping.port


def _prune(table: dict[_Key, list[_Mapping]], now: float) -> None:
    for key in list(table):
        living = [mapping for mapping in table[key] if mapping.expires > now]
        for mapping in living:
            mapping.forget_peers(now)
        if living:
            table[key] = living
        else:
            del table[key]
