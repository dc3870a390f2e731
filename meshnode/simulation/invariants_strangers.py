"""The amplification of a node over its whole life, for addresses nobody speaks from."""

from collections import Counter
from typing import TYPE_CHECKING, Final

from meshnode.simulation.invariants import Invariant
from meshnode.simulation.trace import Flight

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.world import World

STRANGE: Final = "203.0.113."
"""How the addresses begin that only an attacker writes as the source: no host has one,
and no record names one."""


class NoGain(Invariant):
    """Who forges a source sends at least as many bytes as reach the victim.

    `NoAmplification` judges what one datagram causes at once; this is all that a host
    ever sends to an address, late answers and retries included.
    """

    rule = (
        "I4: to an address that never authenticated goes no more, over all time, than "
        "came from there"
    )

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._came: Counter[tuple[str, str]] = Counter()
        self._went: Counter[tuple[str, str]] = Counter()
        self._proven: set[tuple[str, str]] = set()

    @property
    def gain(self) -> float:
        """The greatest share of bytes that came back, of all hosts and addresses."""
        shares = (went / self._came[pair] for pair, went in self._went.items())
        return max(shares, default=0.0)

    @property
    def answers(self) -> int:
        """How many addresses were sent anything at all."""
        return len(self._went)

    def arriving(self, host: "SimulatedHost", flight: Flight) -> None:
        """Count what comes."""
        if flight.source.host.startswith(STRANGE):
            self._came[host.name, flight.source.host] += len(flight.data)

    def accepted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Leave out who authenticated: a node that restarted takes old initiations."""
        self._proven.add((host.name, flight.source.host))

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Count what goes, and compare."""
        address = flight.destination.host
        pair = host.name, address
        if not address.startswith(STRANGE) or pair in self._proven:
            return
        self._went[pair] += len(flight.data)
        if self._went[pair] > self._came[pair]:
            what = f"{self._went[pair]} bytes to {address} for {self._came[pair]}"
            self.fail(host, what)
