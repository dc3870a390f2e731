"""The outer ports of a NAT: which one a new mapping gets."""

from collections.abc import Callable
from random import Random
from typing import Final

from meshnode.simulation.nat_kinds import (
    FIRST_IN_SEQUENCE,
    FIRST_PORT,
    LAST_PORT,
    SEQUENCE,
    Allocation,
    NatBehaviour,
)
from meshnode.types import Endpoint

_DRAWS: Final = 16


class Ports:
    """Gives out ports as a behaviour says; all chance comes from *random*."""

    def __init__(self, behaviour: NatBehaviour, random: Random) -> None:
        self._behaviour = behaviour
        self._random = random
        self._in_sequence = 0
        self._blocks: dict[str, range] = {}

    def choose(self, inner: Endpoint, is_free: Callable[[int], bool]) -> int | None:
        """Return a port for a new mapping of *inner*, None if none is left.

        *is_free* says of a port whether this mapping may have it.
        """
        match self._behaviour.allocation:
            case Allocation.SEQUENTIAL:
                return self._next(is_free)
            case Allocation.PRESERVING | Allocation.OVERLOADING:
                if is_free(inner.port):
                    return inner.port
            case Allocation.RANDOM:
                pass
        return self._any(self._range_of(inner.host), is_free)

    def _next(self, is_free: Callable[[int], bool]) -> int | None:
        for _ in range(SEQUENCE):
            port = FIRST_IN_SEQUENCE + self._in_sequence
            self._in_sequence = (self._in_sequence + 1) % SEQUENCE
            if is_free(port):
                return port
        return None

    def _any(self, ports: range, is_free: Callable[[int], bool]) -> int | None:
        for _ in range(_DRAWS if ports else 0):
            if is_free(port := self._random.choice(ports)):
                return port
        # Nearly all are taken: look at every one before giving up.
        return next(filter(is_free, ports), None)

    def _range_of(self, host: str) -> range:
        """Return the ports that mappings of an inner address may have."""
        size = self._behaviour.block
        if not size:
            return range(FIRST_PORT, LAST_PORT + 1)
        if host not in self._blocks:
            starts = set(range(FIRST_PORT, LAST_PORT + 2 - size, size))
            starts -= {block.start for block in self._blocks.values()}
            if not starts:
                return range(0)
            start = self._random.choice(sorted(starts))
            self._blocks[host] = range(start, start + size)
        return self._blocks[host]
