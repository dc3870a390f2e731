"""A search for the port of an endpoint-dependent NAT, between two hosts.

The host behind it opens many sockets, each of which sends one datagram of few hops to
the other's outer endpoint: so many of its NAT's ports are open to that one then. The
other tries ports, none twice, until one answers: those of a known block, or any.
64 sockets in a block of 1,024 need some 16 tries, 256 of all ports some 250.

What is sent here makes a new entry in a NAT each time, and NATs limit how many they
make a second: so it leaves at a rate.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from meshnode.codec.records import Mapping, NatHint
from meshnode.ports import Entropy
from meshnode.types import Endpoint
from meshnode.values import frozen

BLOCK_SOCKETS: Final = 64
SOCKETS: Final = 256
"""Opened where a block of ports is known, and where none is."""

MAX_PROBES: Final = 1024
"""Tries of one search."""

NARROW: Final = 32
"""Ports that are tried like endpoints which the member told of: there is no search."""

FIRST_PORT: Final = 1024
LAST_PORT: Final = 65535

_TICK: Final = 0.01
"""Seconds of what leaves at once: timers are no finer."""


_HOLDS: Final = {
    (True, True): 0.2,
    (False, True): 0.3,
    (True, False): 0.15,
    (False, False): 0.5,
}
"""Seconds until a search begins: by whether ours is the dependent NAT, which opens
first, and whether its block is known."""


@frozen
class Shot:
    """A ping to send, from the socket on `port` (0 for the node's own)."""

    remote: Endpoint
    port: int = 0


class Search:
    """One side of a search; gives out pings at *rate* a second from `begins_at` on.

    `sockets` are how many it opens, 0 on the side that tries ports.
    """

    def __init__(self, *, begins_at: float, rate: float, sockets: int) -> None:
        self.sockets = sockets
        self.has_asked = False
        self._rate = rate
        self._at = begins_at
        self._waiting: deque[Shot] = deque()

    def aim(self, shots: Iterator[Shot]) -> None:
        """Send these, too, in this order."""
        self._waiting.extend(shots)

    def next_at(self) -> float | None:
        """Return when something is to be done next, None for nothing."""
        if self.sockets and not self.has_asked:
            return self._at
        return self._at if self._waiting else None

    def take_due(self, now: float) -> list[Shot]:
        """Return what is to leave now."""
        due: list[Shot] = []
        if now < self._at:
            return due
        budget = max(1, round(self._rate * _TICK))
        while self._waiting and len(due) < budget:
            due.append(self._waiting.popleft())
        self._at = now + len(due) / self._rate
        return due


def has_block(nat: NatHint) -> bool:
    """Whether the member's ports come from a range that is known."""
    return 0 < nat.first_port <= nat.last_port


def is_narrow(nat: NatHint) -> bool:
    """Whether the range is so small that its ports are tried without a search."""
    return has_block(nat) and nat.last_port - nat.first_port < NARROW


def narrow_ports(seen: Endpoint | None, nat: NatHint) -> tuple[Endpoint, ...]:
    """Return the endpoints of a narrow range, at the address of *seen*."""
    if seen is None or not is_narrow(nat):
        return ()
    ports = range(nat.first_port, nat.last_port + 1)
    return tuple([Endpoint(seen.host, port) for port in ports])


def ports_to_try(nat: NatHint, entropy: Entropy) -> list[int]:
    """Return at most `MAX_PROBES` ports to try, in random order, none twice."""
    first, last = FIRST_PORT, LAST_PORT
    if has_block(nat):
        first, last = nat.first_port, nat.last_port
    count = min(last - first + 1, MAX_PROBES)
    if count * 2 >= last - first + 1:
        order = sorted((entropy(4), port) for port in range(first, last + 1))
        return [port for _, port in order[:count]]
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        port = first + int.from_bytes(entropy(4), "little") % (last - first + 1)
        drawn[port] = None
    return list(drawn)


def is_dependent(nat: NatHint) -> bool:
    """Whether the NAT gives each remote endpoint another port."""
    return nat.mapping is Mapping.ENDPOINT_DEPENDENT


def plan_search(
    ours: NatHint,
    theirs: NatHint,
    *,
    host: str,
    rate: float,
    entropy: Entropy,
    now: float,
) -> Search | None:
    """Return our side of the search between two NATs, None if none is of use.

    Args:
        ours: the NAT before us.
        theirs: the one before the member.
        host: the member's outer address.
        rate: pings a second.
        entropy: for the order of ports.
        now: boottime seconds.
    """
    is_ours = is_dependent(ours)
    nat = ours if is_ours else theirs
    if is_ours == is_dependent(theirs) or is_narrow(nat):
        return None
    count = BLOCK_SOCKETS if has_block(nat) else SOCKETS
    begins_at = now + _HOLDS[is_ours, has_block(nat)]
    search = Search(begins_at=begins_at, rate=rate, sockets=count if is_ours else 0)
    if not is_ours:
        ports = ports_to_try(nat, entropy)
        search.aim(Shot(Endpoint(host, port)) for port in ports)
    return search
