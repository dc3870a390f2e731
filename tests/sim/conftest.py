"""Worlds for the scenario tests."""

from collections.abc import Callable

import pytest

from meshnode.crypto.keys import PresharedKey
from meshnode.simulation.invariants import Invariant, standard_invariants
from meshnode.simulation.links import Link
from meshnode.simulation.world import World

PairMaker = Callable[..., World]


@pytest.fixture
def make_pair() -> PairMaker:
    """Return a maker of worlds with two hosts, a and b, that are peers."""

    def make(
        seed: int = 1,
        *,
        link: Link | None = None,
        keepalive: int = 0,
        preshared_key: PresharedKey | None = None,
        rules: Callable[[World], list[Invariant]] = standard_invariants,
    ) -> World:
        world = World(seed, link=link, rules=rules)
        world.add_host("a")
        world.add_host("b")
        world.introduce("a", "b", keepalive=keepalive, preshared_key=preshared_key)
        return world

    return make
