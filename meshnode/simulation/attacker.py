"""Somebody on the path who sees every datagram and knows every public key.

It replays, cuts, flips, forges and floods, from addresses of its own, of others and
of nobody. It never takes away a datagram: that is what links do.
"""

import struct
from collections import deque
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final

from meshnode.codec.wireguard import (
    COOKIE_REPLY_SIZE,
    COOKIE_REPLY_TYPE,
    DATA_HEADER,
    DATA_TYPES,
    INITIATION_SIZE,
    INITIATION_TYPE,
    MAC_SIZE,
    RESPONSE_SIZE,
    RESPONSE_TYPE,
    ZERO_MAC,
    message_type,
)
from meshnode.crypto.primitives import mac
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.links import corrupt
from meshnode.simulation.trace import Flight
from meshnode.types import Endpoint
from meshnode.wireguard.constants import REJECT_AFTER_MESSAGES
from meshnode.wireguard.cookie import mac1_key

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.world import World

_REMEMBERED: Final = 400
_OF_A_TYPE: Final = 20
_COUNTERS: Final = (0, 1, 2**13, 2**60, REJECT_AFTER_MESSAGES, 2**64 - 1)


class Attacker(Invariant):
    """Remembers what hosts accepted, and turns it against them."""

    def __init__(self, world: "World", random: Random) -> None:
        super().__init__(world)
        self._random = random
        self._seen: deque[Flight] = deque(maxlen=_REMEMBERED)
        self._oldest: list[Flight] = []
        self._cookies: deque[Flight] = deque(maxlen=20)
        self._by_type: dict[int, deque[Flight]] = {}

    def arrived(self, host: "SimulatedHost", flight: Flight, *, accepted: bool) -> None:
        """Remember it; what was accepted once must not be again."""
        if flight.origin is not None:
            kind = message_type(flight.data)
            self._by_type.setdefault(kind, deque(maxlen=_OF_A_TYPE)).append(flight)
        if accepted and flight.origin is not None:
            self._seen.append(flight)
            if len(self._oldest) < _REMEMBERED:
                self._oldest.append(flight)
        elif message_type(flight.data) == COOKIE_REPLY_TYPE and flight.origin:
            self._cookies.append(flight)

    def strike(self) -> None:
        """Do one hostile thing at random."""
        attacks = (
            self.replay,
            self.replay,
            self.mutilate,
            self.mutilate,
            self.forge_initiation,
            self.forge_data,
            self.retype,
            self.replay_cookie,
            self.replay_as_stranger,
            self.send_garbage,
            self.flood,
        )
        self._random.choice(attacks)()

    def replay(self) -> None:
        """Send an accepted datagram again, from where it came or elsewhere."""
        flight = self._any_seen()
        if flight is not None:
            self._send(flight.data, flight.receiver, flight.source, flight.origin)

    def mutilate(self) -> None:
        """Send an accepted datagram again, damaged."""
        flight = self._any_seen()
        if flight is not None:
            spoilt = corrupt(flight, self._random)
            self._send(spoilt.data, flight.receiver, flight.source, spoilt.origin)

    def forge_initiation(self) -> None:
        """Send noise under a valid mac1: all a stranger can do."""
        victim = self._any_host()
        self._send(self._initiation(victim), victim.name, self._address(), None)

    def forge_data(self) -> None:
        """Send noise as data under a live index, with a remarkable counter."""
        flight = self._any_seen()
        if flight is None or message_type(flight.data) not in DATA_TYPES:
            return
        kind, index, _ = DATA_HEADER.unpack_from(flight.data)
        header = DATA_HEADER.pack(kind, index, self._random.choice(_COUNTERS))
        data = header + self._random.randbytes(self._random.choice((16, 32, 100)))
        self._send(data, flight.receiver, flight.source, None)

    def retype(self) -> None:
        """Send accepted data again as if it were of the other cipher."""
        flight = self._any_seen()
        if flight is None or message_type(flight.data) not in DATA_TYPES:
            return
        (kind,) = DATA_TYPES - {message_type(flight.data)}
        data = struct.pack("<I", kind) + flight.data[4:]
        self._send(data, flight.receiver, flight.source, None)

    def replay_cookie(self) -> None:
        """Send a cookie reply again, or one made up for a live handshake."""
        if self._cookies and self._random.random() < 0.5:
            flight = self._random.choice(self._cookies)
            self._send(flight.data, flight.receiver, flight.source, flight.origin)
            return
        seen = self._any_seen()
        if seen is not None and message_type(seen.data) == INITIATION_TYPE:
            reply = struct.pack("<I", COOKIE_REPLY_TYPE) + seen.data[4:8]
            reply += self._random.randbytes(COOKIE_REPLY_SIZE - len(reply))
            self._send(reply, seen.origin or seen.receiver, seen.destination, None)

    def replay_as_stranger(self) -> None:
        """Send a datagram of any type again, from an address that nobody has."""
        if self._by_type:
            kind = self._random.choice(sorted(self._by_type))
            flight = self._random.choice(self._by_type[kind])
            to, origin = flight.destination, flight.origin
            self._world.inject(
                flight.data, source=self._address(), to=to, origin=origin
            )

    def send_garbage(self) -> None:
        """Send bytes of any kind, some with the length and type of a message."""
        size = self._random.choice(
            (0, 1, 3, 4, 31, INITIATION_SIZE, RESPONSE_SIZE, COOKIE_REPLY_SIZE, 1472)
        )
        kind = struct.pack("<I", self._random.randrange(9))
        data = (kind + self._random.randbytes(size))[:size]
        self._send(data, self._any_host().name, self._address(), None)

    def flood(self) -> None:
        """Send 200 initiations at once, with a valid mac1, from many addresses."""
        victim = self._any_host()
        for _ in range(200):
            data = self._initiation(victim)
            self._send(data, victim.name, self._address(), None)

    def _initiation(self, victim: "SimulatedHost") -> bytes:
        kind, size = self._random.choice(
            ((INITIATION_TYPE, INITIATION_SIZE), (RESPONSE_TYPE, RESPONSE_SIZE))
        )
        body = struct.pack("<I", kind)
        body += self._random.randbytes(size - len(body) - 2 * MAC_SIZE)
        mac2 = self._random.choice((ZERO_MAC, self._random.randbytes(MAC_SIZE)))
        return body + mac(mac1_key(victim.public_key.raw), body) + mac2

    def _any_seen(self) -> Flight | None:
        source = self._oldest if self._random.random() < 0.3 else self._seen
        return self._random.choice(source) if source else None

    def _any_host(self) -> "SimulatedHost":
        return self._random.choice(list(self._world.hosts.values()))

    def _address(self) -> Endpoint:
        return Endpoint(
            f"203.0.113.{self._random.randint(1, 254)}",
            self._random.randint(1, 65535),
        )

    def _send(
        self, data: bytes, victim: str, source: Endpoint, origin: str | None
    ) -> None:
        host = self._world.hosts[victim]
        to = replace(host.endpoint, host=host.addresses[source.version])
        if source.version == 4 and self._random.random() < 0.4:
            source = self._address()
        self._world.inject(data, source=source, to=to, origin=origin)
