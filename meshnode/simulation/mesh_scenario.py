"""A random life of a random mesh, decided by a seed: see `play_mesh`.

First the network is founded and all join. Then a time of troubles: traffic, bad links
and partitions, crashes, wrong clocks, members that come, go, move and lie. Then all
that ends, and every pair of members that are left must be able to talk within 30 s,
and know the same.
"""

from random import Random
from typing import Final

from meshnode.codec.records import Role, Route
from meshnode.simulation.attacker import Attacker
from meshnode.simulation.clock import Clock
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_accidents import MeshAccidents
from meshnode.simulation.mesh_insider import Insider
from meshnode.simulation.mesh_invariants import owners_by_prefix
from meshnode.simulation.mesh_world import FASTER, MeshWorld
from meshnode.simulation.scenario import Outcome
from meshnode.types import Cipher, Prefix

LIVENESS: Final = 30.0
"""Virtual seconds after the end of all faults in which every pair must talk."""

AGREEMENT: Final = 60.0
"""Virtual seconds after that in which all must know the same.

What was lost is seen by the next `Hello`, after 25 s at most, and may have to go on
from there.
"""

RENDEZVOUS: Final = 4
"""Members that serve as rendezvous, the founder among them; they do not move."""

SHARED: Final = Prefix.parse("192.168.7.0/24")
"""What two members announce."""

BEHIND: Final = bytes((192, 168, 7, 9))
"""A host there."""

_CALM: Final = Link(latency=0.03, mtu=9000)
_KEPT_ROWS: Final = 400
_SETTLING: Final = 5.0
_FOUNDER: Final = "a"
_SMALL: Final = 8
_MIDDLE: Final = 16
# Node-seconds of one seed, which is what it costs to play.
_EFFORT: Final = 480.0
_SHORTEST: Final = 30.0
_LONGEST: Final = 180.0
_MOST_PAIRS: Final = 60


class MeshScenario:
    """One seed's mesh of *nodes* members at first (from, to), and its life."""

    def __init__(self, seed: int, *, nodes: tuple[int, int]) -> None:
        self._random = Random(f"{seed}/mesh")
        count = self._count(*nodes)
        self._seconds = min(max(_EFFORT / count, _SHORTEST), _LONGEST)
        self.world = MeshWorld(seed, link=_CALM, keep=_KEPT_ROWS)
        self._attacker = Attacker(self.world, self._random)
        self._gather(count)
        self.world.watch.add(self._attacker)
        self._accidents = MeshAccidents(self.world, self._random)
        names = list(self.world.homes)
        self._insider = Insider(self.world, self._random.choice(names), self._random)

    def play(self) -> Outcome:
        """Live through it all.

        Raises:
            Violation: if an invariant breaks.
            Unreached: if a pair cannot talk in the end, or two know different things.
        """
        world = self.world
        self._schedule()
        world.run(self._seconds)
        self._end_troubles()
        began = world.now
        here = self._reach_everybody()
        world.run_until(
            lambda: len(world.views(here)) <= 1,
            within=AGREEMENT,
            what="all know the same",
        )
        self._agree_on_owners(here)
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

    def _count(self, low: int, high: int) -> int:
        """Draw a number of nodes: mostly few, sometimes many."""
        chance = self._random.random()
        top = _SMALL if chance < 0.85 else _MIDDLE if chance < 0.97 else high
        bottom = low if chance < 0.85 else _SMALL if chance < 0.97 else _MIDDLE
        top = max(low, min(top, high))
        return self._random.randint(min(max(low, bottom), top), top)

    def _gather(self, count: int) -> None:
        random, world = self._random, self.world
        world.found(
            _FOUNDER,
            clock=self._clock(),
            ciphers=self._ciphers(),
            max_mtu=self._max_mtu(),
        )
        for index in range(1, count):
            routes = (Route(SHARED),) if index <= 2 else ()
            name = chr(97 + index) if index < 26 else f"m{index}"
            slowness = random.choice((0.0, 0.0, 0.001, 0.05))
            host = world.prepare(
                name,
                clock=self._clock(),
                slowness=slowness,
                routes=routes,
                ciphers=self._ciphers(),
                max_mtu=self._max_mtu(),
            )
            host.prefers_ipv6 = random.random() < 0.3
            world.enlist(
                name,
                roles=Role.RENDEZVOUS if index < RENDEZVOUS else Role.NONE,
                subnets=(SHARED,) if routes else (),
                lifetime=random.choice((90 * 86400, 90 * 86400, 120)),
                groups=random.choice(((), ("staff",))),
            )

        world.run_until(
            lambda: len(world.views(world.homes)) == 1,
            within=AGREEMENT,
            what="all know the same in the beginning",
        )

    def _ciphers(self) -> tuple[Cipher, ...]:
        """Draw what a member prefers; most have the same."""
        return FASTER if self._random.random() < 0.7 else ()

    def _max_mtu(self) -> int:
        """Draw how wide a member's underlay is; half of them have none but common."""
        return self._random.choice((0, 0, 8920, 8920, 4000))

    def _clock(self) -> Clock:
        random = self._random
        return Clock(
            booted_at=-random.uniform(0.0, 1e6),
            drift=random.choice((0.0, random.uniform(-2e-4, 2e-4))),
            wall_offset=random.choice((0.0, random.uniform(-60.0, 60.0))),
        )

    # --- the troubles ---

    def _schedule(self) -> None:
        random, world, end = self._random, self.world, self._seconds
        names = list(world.homes)
        for _ in range(2 * len(names)):
            one, other = random.sample(names, 2)
            self._schedule_traffic(one, other, end)
        self._schedule_traffic(names[0], BEHIND, end)
        for mean, until, action in (
            (15.0, end, self._change_links),
            (12.0, end - 10.0, self._accidents.happen),
            (6.0, end, self._insider.strike),
            (15.0, end, self._attacker.strike),
        ):
            moment = 0.0
            while (moment := moment + random.expovariate(1 / mean)) < until:
                world.after(moment, action)

    def _schedule_traffic(self, one: str, other: str | bytes, end: float) -> None:
        """Bursts of requests between silences."""
        random, world = self._random, self.world
        moment = random.uniform(0.0, 30.0)
        while moment < end:
            interval = random.choice((0.2, 1.0, 3.0))
            for _ in range(random.randint(1, 15)):
                world.after(moment, lambda: self._request(one, other))
                moment += random.expovariate(1 / interval)
            moment += random.choice((20.0, 70.0, 200.0)) * random.random()

    def _request(self, one: str, other: str | bytes) -> None:
        home = self.world.homes[one]
        if home.host.is_frozen or home.host.workers is None:
            return
        version = self._random.choice((4, 6)) if isinstance(other, str) else 4
        self.world.send(one, other, version=version)

    def _change_links(self) -> None:
        random, network = self._random, self.world.network
        names = list(self.world.hosts)
        choice = random.random()
        if choice < 0.25:
            random.shuffle(names)
            cut = random.randint(1, len(names) - 1)
            network.partition(names[:cut], names[cut:])
        elif choice < 0.5:
            network.heal()
        elif choice < 0.6:
            self._flap(random.choice(names))
        else:
            one, other = random.sample(names, 2)
            network.set_link(one, other, self._link())
            if random.random() < 0.5:
                network.set_link(other, one, self._link())

    def _flap(self, name: str) -> None:
        """Cut one off and let it back every second, for ten seconds."""
        network = self.world.network
        others = [other for other in self.world.hosts if other != name]
        for second in range(0, 10, 2):
            self.world.after(second, lambda: network.partition([name], others))
            self.world.after(second + 1, network.heal)

    def _link(self) -> Link:
        random = self._random
        if random.random() < 0.2:
            return Link(blackhole=True)
        return Link(
            latency=random.choice((0.001, 0.02, 0.1, 0.4)),
            jitter=random.choice((0.0, 0.005, 0.1, 1.0)),
            loss=random.choice((0.0, 0.0, 0.02, 0.3, 0.7)),
            duplicate=random.choice((0.0, 0.0, 0.1)),
            reorder=random.choice((0.0, 0.0, 0.2)),
            corrupt=random.choice((0.0, 0.0, 0.1)),
            mtu=random.choice((1500, 9000, 9000, 4100)),
        )

    # --- the end ---

    def _end_troubles(self) -> None:
        self.world.network.heal(_CALM)
        self._accidents.repair()
        for host in self.world.hosts.values():
            host.note("troubles end")
        self.world.run(_SETTLING)

    def _members_left(self) -> list[str]:
        """Return who runs and is, by a right clock, a member for a while yet."""
        left = []
        for name, home in self.world.homes.items():
            if name in self._accidents.gone or home.node is None:
                continue
            end = home.node.own.certificate.not_after
            if home.wall + LIVENESS + AGREEMENT < end:
                left.append(name)
        return left

    def _reach_everybody(self) -> list[str]:
        """Let pairs send until each has an answer, both ways; return who is left."""
        world, here = self.world, self._members_left()
        pairs = [(one, other) for one in here for other in here if one != other]
        if len(pairs) > _MOST_PAIRS:
            pairs = self._random.sample(pairs, _MOST_PAIRS)
        missing = set(pairs)
        wanted: dict[int, tuple[str, str]] = {}

        def try_again() -> None:
            for one, other in sorted(missing):
                number = world.send(one, other)
                if number is not None:
                    wanted[number] = (one, other)
            if missing:
                world.after(1.0, try_again)

        def all_answered() -> bool:
            for name in here:
                answered = world.hosts[name].application.answered
                for number in list(answered)[-4:]:
                    missing.discard(wanted.get(number, ("", "")))
            return not missing

        try_again()
        world.run_until(
            all_answered,
            within=LIVENESS,
            what=lambda: f"these talk: {sorted(missing)}",
        )
        return here

    def _agree_on_owners(self, here: list[str]) -> None:
        nodes = self.world.nodes(here)
        rankings = [owners_by_prefix(node) for node in nodes]
        if any(ranking != rankings[0] for ranking in rankings):
            raise AssertionError("I8: members rank the owners of a prefix differently")


def play_mesh(seed: int, *, nodes: tuple[int, int] = (3, 50)) -> Outcome:
    """Play the mesh of *seed*; see `MeshScenario.play` for what it raises.

    Of *nodes*, from least to most, few are drawn more often than many, and many live
    shorter.
    """
    return MeshScenario(seed, nodes=nodes).play()
