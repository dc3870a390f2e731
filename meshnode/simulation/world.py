"""A whole network of nodes in one process, in virtual time, from one seed.

Theory of operation: nothing here runs by itself. The world pops the earliest of
datagram arrivals, deadlines of hosts and scheduled actions, sets its clock to that
moment and lets the one host concerned take one atomic step. So a run is decided by
its seed alone, jumps over idle time, and can be repeated to the byte. There is no
Trio here: its scheduler draws lots.

The invariants look on at every step (`meshnode.simulation.invariants`).
"""

import heapq
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.deadlines import DeadlineHeap
from meshnode.simulation.administrator import Administrator
from meshnode.simulation.clock import Clock
from meshnode.simulation.host import SimulatedHost
from meshnode.simulation.invariants import Invariant, Watch, standard_invariants
from meshnode.simulation.links import Arrival, Link, Network
from meshnode.simulation.nat import Drop
from meshnode.simulation.story import tell
from meshnode.simulation.trace import TTL, Flight, Mark, Trace
from meshnode.types import Endpoint

_MAX_STEPS_AT_ONCE: Final = 10_000


class Unreached(AssertionError):
    """What a run was to come to did not happen in time; the text is the story."""


class World:
    """Hosts, the network between them, and the clock of it all.

    Args:
        seed: decides everything.
        link: how links behave that are not set one by one.
        keep: how many rows of the trace to keep, None for all.
        rules: makes the invariants.
    """

    def __init__(
        self,
        seed: int | str,
        *,
        link: Link | None = None,
        keep: int | None = None,
        rules: "Callable[[World], list[Invariant]]" = standard_invariants,
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.random = Random(f"{seed}/world")
        self.network = Network(Random(f"{seed}/network"), link or Link())
        self.hosts: dict[str, SimulatedHost] = {}
        self.trace = Trace(keep)
        self.administrator = Administrator(self)
        self.sessions = 0
        self.key_owners: dict[bytes, str] = {}
        self.watch = Watch(rules(self))
        self._actions: list[tuple[float, int, Callable[[], None]]] = []
        self._deadlines: DeadlineHeap[str] = DeadlineHeap()
        self._sequence = 0
        self._packets = 0
        self._steps_at_once = 0

    # --- building ---

    def add_host(
        self, name: str, *, clock: Clock | None = None, slowness: float = 0.0
    ) -> SimulatedHost:
        """Add a host with a fresh key, up and without peers; see `build_host`."""
        host = self.build_host(name, clock=clock, slowness=slowness)
        host.supervisor.switch_on()
        return host

    def build_host(
        self, name: str, *, clock: Clock | None = None, slowness: float = 0.0
    ) -> SimulatedHost:
        """Add a host with a fresh key, whose node is off.

        *slowness* is the greatest delay, in seconds, of a message between its
        control process and its workers.
        """
        host = SimulatedHost(
            self, name, len(self.hosts), clock or Clock(), slowness=slowness
        )
        self.hosts[name] = host
        return host

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
        self.administrator.introduce(
            one,
            other,
            preshared_key=preshared_key,
            keepalive=keepalive,
            mutual=mutual,
        )

    def new_key(self, owner: str) -> PrivateKey:
        """Draw a private key and remember whose it is."""
        key = PrivateKey(self.random.randbytes(32))
        self.key_owners[key.public_key().raw] = owner
        return key

    def name_of(self, key: PublicKey) -> str:
        """Return the host that has, or had, this key."""
        return self.key_owners.get(key.raw, str(key))

    def next_packet_number(self) -> int:
        """Return a number that no other inner packet has."""
        self._packets += 1
        return self._packets

    # --- running ---

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Call *action* at world time *time*, or now if that is past."""
        self._sequence += 1
        heapq.heappush(self._actions, (max(time, self.now), self._sequence, action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call *action* that many seconds from now."""
        self.at(self.now + seconds, action)

    def run(self, seconds: float) -> None:
        """Let that much virtual time pass."""
        end = self.now + seconds
        while self._step(end):
            pass
        self.now = end

    def run_until(
        self,
        condition: Callable[[], bool],
        *,
        within: float,
        what: str | Callable[[], str] = "",
    ) -> None:
        """Let time pass until *condition* holds; it is asked after every step.

        *what* is what was to be, or says in the end what is missing.

        Raises:
            Unreached: if it does not hold *within* that many seconds.
        """
        end = self.now + within
        while not condition():
            if not self._step(end):
                self.now = end
                if condition():
                    return
                text = what if isinstance(what, str) else what()
                raise Unreached(
                    f"not within {within} s: {text or 'the condition'}\n" + tell(self)
                )

    def touched(self, host: SimulatedHost) -> None:
        """Take note that a step of *host* ended: check it and set its deadline."""
        self._deadlines.set(host.name, host.next_wakeup())
        self.watch.settled(host)

    # --- the network ---

    def transmit(
        self,
        sender: SimulatedHost,
        data: bytes,
        source: Endpoint,
        to: Endpoint,
        *,
        ttl: int = TTL,
    ) -> None:
        """Carry a datagram that *sender* made: its node, or a program beside it."""
        name = sender.name
        receiver = self.network.towards(to, self.network.realm(name))
        flight = Flight(name, receiver or "?", data, source, to, self.now, name, ttl)
        self.trace.sent(flight)
        if source.port not in sender.visitors:
            self.watch.emitted(sender, flight)
        if receiver is None:
            self.trace.landed(flight, self.now, Mark.NO_SUCH_ADDRESS)
        else:
            self._launch(flight)

    def inject(
        self,
        data: bytes,
        *,
        source: Endpoint,
        to: Endpoint,
        origin: str | None = None,
    ) -> None:
        """Let the attacker send; *origin* is the host whose bytes it replays."""
        receiver = self.network.owner(to) or "?"
        flight = Flight("*", receiver, data, source, to, self.now, origin)
        self.trace.sent(flight)
        self._land(Arrival(flight, self.now, Mark.FORGED))

    def _launch(self, flight: Flight) -> None:
        for arrival in self.network.carry(flight, self.now):
            if arrival.at is None:
                self.trace.landed(flight, self.now, arrival.mark)
            else:
                self.at(arrival.at, partial(self._land, arrival))

    def _land(self, arrival: Arrival) -> None:
        flight = arrival.flight
        if self.network.nat(flight.receiver) is not None:
            self._translate(flight)
            return
        realm = self.network.realm(flight.receiver)
        host = self.hosts.get(self.network.owner(flight.destination, realm) or "")
        if host is None:
            self.trace.landed(flight, self.now, Mark.NO_SUCH_ADDRESS)
        elif not host.is_listening(flight.destination):
            self.trace.landed(flight, self.now, Mark.DEAF)
        else:
            self.trace.landed(flight, self.now, arrival.mark)
            host.receive(flight)

    def _translate(self, flight: Flight) -> None:
        """Let a NAT pass a datagram on, or refuse it."""
        outcome = self.network.translate(flight, self.now)
        if isinstance(outcome, Drop):
            self.trace.landed(flight, self.now, Mark.REFUSED)
            self.trace.note(self.now, flight.receiver, f"drops: {outcome.value}")
        elif outcome.receiver == "?":
            self.trace.landed(outcome, self.now, Mark.NO_SUCH_ADDRESS)
        else:
            self._launch(outcome)

    # --- the steps ---

    def _step(self, end: float) -> bool:
        """Do the earliest thing due by *end*; return False if there is none."""
        deadline = self._deadlines.next()
        action_at = self._actions[0][0] if self._actions else float("inf")
        deadline_at = deadline.at if deadline is not None else float("inf")
        at = min(action_at, deadline_at)
        if at > end:
            return False
        self._advance(at)
        if action_at <= deadline_at:
            heapq.heappop(self._actions)[2]()
            return True
        for name in self._deadlines.pop_due(self.now):
            self.hosts[name].wake()
        return True

    def _advance(self, at: float) -> None:
        """Move the clock; a world that stands still is one whose host spins."""
        if at > self.now:
            self.now = at
            self._steps_at_once = 0
            return
        self._steps_at_once += 1
        if self._steps_at_once > _MAX_STEPS_AT_ONCE:
            raise Unreached("time stands still: a host spins\n" + tell(self))
