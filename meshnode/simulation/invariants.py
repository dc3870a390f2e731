"""What must hold after every event of a simulated world, whatever happens to it.

An `Invariant` listens to what hosts do and says so when it breaks the rule; only the
hooks it overrides are called. The rules are independent of the code they judge: they
are written from what can be seen on the wire, at the TUN device and between the
processes. The numbers are those of the project's list; what stands for I7, I8 and
I11 concerns membership and storage.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from meshnode.forwarding import Command
from meshnode.simulation.story import tell
from meshnode.simulation.trace import Flight

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.world import World


class Violation(AssertionError):
    """A host broke an invariant; the text is the whole story."""

    def __init__(self, rule: str, report: str) -> None:
        super().__init__(f"{rule}\n{report}")
        self.rule = rule


class Invariant:
    """One rule; the hooks do nothing unless overridden."""

    rule = ""

    def __init__(self, world: "World") -> None:
        self._world = world

    def fail(self, host: "SimulatedHost", what: str) -> NoReturn:
        """Raise the violation."""
        story = tell(self._world)
        raise Violation(self.rule, f"{host.name}: {what}\n\n{story}")

    def started(self, host: "SimulatedHost") -> None:
        """The whole node was started: it knows nothing of earlier sessions."""

    def configuring(self, host: "SimulatedHost", *, active: bool) -> None:
        """A configuration change begins, or has ended."""

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """The engine gave a command to the data plane."""

    def arriving(self, host: "SimulatedHost", flight: Flight) -> None:
        """A datagram is about to be handled."""

    def accepted(self, host: "SimulatedHost", flight: Flight) -> None:
        """A datagram counted as authenticated; what follows from it comes later."""

    def arrived(self, host: "SimulatedHost", flight: Flight, *, accepted: bool) -> None:
        """A datagram was handled, with everything that followed from it."""

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """A datagram left the host."""

    def delivered(self, host: "SimulatedHost", packet: bytes) -> None:
        """A packet left the tunnel for the host's own network stack."""

    def settled(self, host: "SimulatedHost") -> None:
        """A step of the host ended; nothing is left to pass on."""


class Watch:
    """Calls the hooks of all invariants; a hook that nobody overrides costs a loop."""

    def __init__(self, invariants: list[Invariant]) -> None:
        self.invariants = invariants
        self._hooks = {name: _overridden(invariants, name) for name in _HOOKS}

    def add(self, listener: Invariant) -> None:
        """Let one more listen from now on."""
        self.invariants.append(listener)
        for name, hooks in self._hooks.items():
            hooks += _overridden([listener], name)

    def started(self, host: "SimulatedHost") -> None:
        """The whole node was started."""
        for hook in self._hooks["started"]:
            hook(host)

    @contextmanager
    def configuring(self, host: "SimulatedHost") -> Iterator[None]:
        """The block changes the configuration."""
        for hook in self._hooks["configuring"]:
            hook(host, active=True)
        try:
            yield
        finally:
            for hook in self._hooks["configuring"]:
                hook(host, active=False)

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """The engine gave a command."""
        for hook in self._hooks["commanded"]:
            hook(host, command)

    def arriving(self, host: "SimulatedHost", flight: Flight) -> None:
        """A datagram is about to be handled."""
        for hook in self._hooks["arriving"]:
            hook(host, flight)

    def accepted(self, host: "SimulatedHost", flight: Flight) -> None:
        """A datagram counted as authenticated."""
        for hook in self._hooks["accepted"]:
            hook(host, flight)

    def arrived(self, host: "SimulatedHost", flight: Flight, *, accepted: bool) -> None:
        """A datagram was handled."""
        for hook in self._hooks["arrived"]:
            hook(host, flight, accepted=accepted)

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """A datagram left the host."""
        for hook in self._hooks["emitted"]:
            hook(host, flight)

    def delivered(self, host: "SimulatedHost", packet: bytes) -> None:
        """A packet left the tunnel."""
        for hook in self._hooks["delivered"]:
            hook(host, packet)

    def settled(self, host: "SimulatedHost") -> None:
        """A step of the host ended."""
        for hook in self._hooks["settled"]:
            hook(host)


_HOOKS = (
    "started",
    "configuring",
    "commanded",
    "arriving",
    "accepted",
    "arrived",
    "emitted",
    "delivered",
    "settled",
)


def _overridden(invariants: list[Invariant], name: str) -> list[Callable[..., Any]]:
    return [
        getattr(invariant, name)
        for invariant in invariants
        if getattr(type(invariant), name) is not getattr(Invariant, name)
    ]


def standard_invariants(world: "World") -> list[Invariant]:
    """Return all rules, for one world."""
    # Imported here: both modules build on the base class above.
    from meshnode.simulation.invariants_bounds import (
        ArmedTimers,
        Bounds,
    )
    from meshnode.simulation.invariants_keys import (
        CountersRise,
        KeyLifetime,
        NoEarlySending,
    )
    from meshnode.simulation.invariants_relays import OnlyByChannels
    from meshnode.simulation.invariants_traffic import (
        DeliveredOnce,
        EndpointsAuthenticated,
        NoAmplification,
        NothingForged,
    )

    return [
        CountersRise(world),
        DeliveredOnce(world),
        NothingForged(world),
        EndpointsAuthenticated(world),
        NoAmplification(world),
        OnlyByChannels(world),
        NoEarlySending(world),
        KeyLifetime(world),
        ArmedTimers(world),
        Bounds(world),
    ]
