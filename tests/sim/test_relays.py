"""Relay channels between members that cannot reach each other: simulated nodes."""

import itertools

import pytest

from meshnode.channels import channel_of
from meshnode.codec.records import Role
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_world import MeshWorld
from meshnode.types import Path

LATENCY = 0.02
NOTHING = Link(blackhole=True)
ROUND_TRIP = 4 * LATENCY
"""Between two members, by one relay."""


class Follower:
    """Does for one member what decides about paths: uses the best way there is."""

    def __init__(self, world, name, other):
        self.home, self.world = world.homes[name], world
        self.key = world.homes[other].key
        self.begin()
        self.look()

    def begin(self):
        """Want ways, and give them to the tunnels with whatever else is known."""
        self.life = life = self.home.life
        tell, relays = life.tunnels.set_candidates, life.node.relays

        def with_ways(key, candidates, *, now):
            tell(key, (*relays.ways(key), *candidates)[:8], now=now)

        life.tunnels.set_candidates = with_ways
        relays.want(self.key, now=self.home.host.now)

    def look(self):
        """Follow the changes of the ways."""
        self.world.after(0.01, self.look)
        if self.home.node is None:
            return
        if self.home.life is not self.life:
            self.begin()
        life, now = self.life, self.home.host.now
        relays = life.node.relays
        for key in relays.take_changes():
            life.tunnels.set_candidates(key, (), now=now)
            ways, path = relays.ways(key), life.tunnels.path_of(key)
            if ways and path is not None and path != ways[0]:
                life.tunnels.set_path(key, Path(ways[0]), now=now)
        self.home.host.settle()


def mesh(*relays, seed=3, apart=(("a", "b"),), **settings):
    """Return a mesh of relays, a and b; those *apart* never reach each other."""
    world = MeshWorld(seed, link=Link(latency=LATENCY))
    for one, other in apart:
        world.network.connect(one, other, NOTHING)
    first, *others = relays
    world.found(first)
    if others:
        world.enlist(*others, roles=Role.RELAY)
    world.enlist("a", "b")
    world.run(40.0)
    return world


def answers(world, name):
    """Return how many answers the member has had."""
    return len(world.hosts[name].application.answered)


def await_answer(world, one="a", other="b", *, within):
    """Send a request and wait for its answer; return how long that took."""
    began, before = world.now, answers(world, one)
    assert world.send(one, other) is not None
    world.run_until(
        lambda: answers(world, one) > before,
        within=within,
        what=f"{other} answers {one}",
    )
    return world.now - began


def talk(world, one="a", other="b", *, seconds, every=0.05):
    """Send requests all the time; return the longest time without an answer."""
    last = began = world.now
    longest = 0.0
    for step in itertools.count():
        if world.now >= began + seconds:
            return max(longest, world.now - last)
        world.send(one, other)
        before = answers(world, one)
        world.run(every)
        if answers(world, one) > before:
            longest = max(longest, world.now - last)
            last = world.now
        assert step < 10_000


def used(world, name, other):
    """Return the name of the relay by which a member is spoken to now."""
    home = world.homes[name]
    key = world.homes[other].key
    path = home.life.tunnels.path_of(key)
    for way in home.running.relays.describe(key):
        if way.endpoint == path:
            return next(n for n, h in world.homes.items() if h.key == way.relays[0])
    return None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_first_answer_takes_one_and_a_half_round_trips(seed):
    """The handshake goes along with the question for the channel."""
    world = mesh("r", seed=seed)
    Follower(world, "a", "b")
    took = await_answer(world, within=5.0)
    # A handshake takes one, and the request and its answer another.
    assert took <= 2 * ROUND_TRIP + 0.05
    assert channel_of(world.homes["a"].life.tunnels.path_of(world.homes["b"].key))
