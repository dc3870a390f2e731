"""A random life of a random network: everything that may happen, decided by a seed.

First a time of troubles: traffic that comes and goes, bad links, changes of the
configuration, crashes, sleeping machines, wrong clocks and an attacker. Then all
that ends, and every configured pair must be able to talk within 30 s.
"""

from random import Random
from typing import Final

from meshnode.crypto.keys import PresharedKey
from meshnode.simulation.accidents import Accidents
from meshnode.simulation.attacker import Attacker
from meshnode.simulation.clock import Clock
from meshnode.simulation.links import Link
from meshnode.simulation.world import World
from meshnode.values import frozen

LIVENESS: Final = 30.0
"""Virtual seconds after the end of all faults in which every pair must talk."""

_CALM: Final = Link(latency=0.03)
_KEPT_ROWS: Final = 400
# Longer than any link delays a datagram.
_SETTLING: Final = 5.0


@frozen
class Outcome:
    """What one seed came to; `digest` is the hash of all that happened."""

    seed: int
    hosts: int
    virtual_seconds: float
    requests: int
    answers: int
    sessions: int
    recovery_seconds: float
    digest: str


class Scenario:
    """One seed's network and its life of *minutes* virtual minutes."""

    def __init__(self, seed: int, *, minutes: float, hosts: tuple[int, int]) -> None:
        self._random = Random(f"{seed}/scenario")
        self._seconds = minutes * 60.0
        self.world = World(seed, link=self._link(), keep=_KEPT_ROWS)
        self._build(self._random.randint(*hosts))
        self._attacker = Attacker(self.world, self._random)
        self.world.watch.add(self._attacker)
        self._accidents = Accidents(self.world, self._random)

    def play(self) -> Outcome:
        """Live through it all.

        Raises:
            Violation: if an invariant breaks.
            Unreached: if a pair cannot talk in the end.
        """
        world = self.world
        self._schedule()
        world.run(self._seconds)
        self._end_troubles()
        began = world.now
        self._reach_everybody()
        hosts = world.hosts.values()
        return Outcome(
            seed=int(world.seed),
            hosts=len(hosts),
            virtual_seconds=world.now,
            requests=sum(len(host.application.sent) for host in hosts),
            answers=sum(len(host.application.answered) for host in hosts),
            sessions=world.sessions,
            recovery_seconds=world.now - began,
            digest=world.trace.digest,
        )

    # --- the beginning ---

    def _build(self, count: int) -> None:
        random, world = self._random, self.world
        for index in range(count):
            clock = Clock(
                booted_at=-random.uniform(0.0, 1e6),
                drift=random.choice((0.0, random.uniform(-2e-4, 2e-4))),
                wall_offset=random.choice((0.0, random.uniform(-3600.0, 3600.0))),
            )
            slowness = random.choice((0.0, 0.0, 0.001, 0.05))
            host = world.add_host(chr(97 + index), clock=clock, slowness=slowness)
            host.prefers_ipv6 = random.random() < 0.3
            host.handshake_cost = random.choice((0.0, 0.0, 0.001))
        names = list(world.hosts)
        for position, one in enumerate(names):
            for other in names[:position]:
                # A chain holds the network together; the rest is by chance.
                if other == names[position - 1] or random.random() < 0.5:
                    self._introduce(one, other)

    def _introduce(self, one: str, other: str) -> None:
        random = self._random
        key = PresharedKey(random.randbytes(32)) if random.random() < 0.3 else None
        self.world.introduce(
            one,
            other,
            preshared_key=key,
            keepalive=random.choice((0, 0, 0, 5, 25)),
            mutual=random.random() < 0.8,
        )

    # --- the troubles ---

    def _schedule(self) -> None:
        """Put traffic, faults and attacks on the calendar.

        The last of them come early enough for what they undo later to be undone.
        """
        random, world = self._random, self.world
        end = self._seconds
        for one, other in world.administrator.pairs:
            self._schedule_traffic(one, other, end)
            self._schedule_traffic(other, one, end)
        moment = 0.0
        while (moment := moment + random.expovariate(1 / 15.0)) < end:
            world.at(moment, self._change_links)
        moment = 0.0
        while (moment := moment + random.expovariate(1 / 20.0)) < end - 60.0:
            world.at(moment, self._accidents.happen)
        moment = 0.0
        while (moment := moment + random.expovariate(1 / 5.0)) < end:
            world.at(moment, self._attacker.strike)

    def _schedule_traffic(self, one: str, other: str, end: float) -> None:
        """Bursts of requests between silences that let every timer expire."""
        random, world = self._random, self.world
        moment = random.uniform(0.0, 30.0)
        while moment < end:
            interval = random.choice((0.2, 1.0, 3.0, 12.0))
            for _ in range(random.randint(1, 30)):
                world.at(moment, lambda: self._request(one, other))
                moment += random.expovariate(1 / interval)
            moment += random.choice((5.0, 20.0, 70.0, 200.0)) * random.random()

    def _request(self, one: str, other: str) -> None:
        host = self.world.hosts[one]
        if host.is_frozen or host.workers is None:
            return
        random = self._random
        claim = None
        if random.random() < 0.03:
            claim = random.choice(list(self.world.hosts))
        host.request(
            other,
            version=random.choice((4, 6)),
            size=random.choice((64, 100, 1280, 1420)),
            claim=claim,
        )

    def _change_links(self) -> None:
        random, network = self._random, self.world.network
        names = list(self.world.hosts)
        choice = random.random()
        if choice < 0.1:
            random.shuffle(names)
            cut = random.randint(1, len(names) - 1)
            network.partition(names[:cut], names[cut:])
        elif choice < 0.4:
            network.heal()
        else:
            one, other = random.sample(names, 2)
            network.set_link(one, other, self._link())
            if random.random() < 0.5:
                network.set_link(other, one, self._link())

    def _link(self) -> Link:
        random = self._random
        if random.random() < 0.1:
            return Link(blackhole=True)
        return Link(
            latency=random.choice((0.001, 0.02, 0.1, 0.4, 1.5)),
            jitter=random.choice((0.0, 0.005, 0.1, 1.0)),
            loss=random.choice((0.0, 0.0, 0.02, 0.3, 0.7)),
            duplicate=random.choice((0.0, 0.0, 0.1)),
            reorder=random.choice((0.0, 0.0, 0.2)),
            corrupt=random.choice((0.0, 0.0, 0.1, 0.3)),
            mtu=random.choice((1500, 1500, 1500, 1300)),
        )

    # --- the end ---

    def _end_troubles(self) -> None:
        world = self.world
        world.network.heal(_CALM)
        self._accidents.repair()
        for host in world.hosts.values():
            host.handshake_cost = 0.0
            host.note("troubles end")
        # Late datagrams, authentic as they are, can still move endpoints backwards.
        world.run(_SETTLING)
        administrator = world.administrator
        for one, other in administrator.pairs:
            if administrator.knows_way(one, other):
                continue
            if not administrator.knows_way(other, one):
                # Both have moved: somebody must tell them, as in reality.
                administrator.tell_endpoint(one, other)

    def _reach_everybody(self) -> None:
        """Let all pairs send until each has an answer, both ways."""
        world = self.world
        missing = {
            pair
            for one, other in world.administrator.pairs
            for pair in ((one, other), (other, one))
        }
        wanted: dict[int, tuple[str, str]] = {}

        def try_again() -> None:
            for one, other in sorted(missing):
                wanted[world.hosts[one].request(other)] = (one, other)
            if missing:
                world.after(1.0, try_again)

        def all_answered() -> bool:
            for host in world.hosts.values():
                for number in list(host.application.answered)[-4:]:
                    missing.discard(wanted.get(number, ("", "")))
            return not missing

        try_again()
        world.run_until(
            all_answered, within=LIVENESS, what="every configured pair talks"
        )


def play(
    seed: int, *, minutes: float = 10.0, hosts: tuple[int, int] = (2, 5)
) -> Outcome:
    """Play the scenario of *seed*; see `Scenario.play` for what it raises."""
    return Scenario(seed, minutes=minutes, hosts=hosts).play()
