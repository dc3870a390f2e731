"""Accidents happen to hosts that run, and everything half done can be finished."""

from random import Random

import pytest

from meshnode.simulation.accidents import Accidents
from meshnode.simulation.world import World


def make(seed=1):
    """Return three peers and their accidents."""
    world = World(seed)
    for name in "abc":
        world.add_host(name)
    for one, other in ("ab", "bc", "ac"):
        world.introduce(one, other)
    return world, Accidents(world, Random(seed))


@pytest.mark.parametrize("seed", range(5))
def test_after_repair_everything_runs_and_agrees(seed):
    """Whatever happened, the configuration of all pairs is whole in the end."""
    world, accidents = make(seed)
    for _ in range(60):
        accidents.happen()
        world.run(2)
    accidents.repair()
    for host in world.hosts.values():
        assert host.control is not None
        assert not host.is_frozen
        assert host.workers.running() == ["egress", "ingress"]
        keys = {peer.public_key for peer in host.engine.status().peers}
        others = world.administrator.peers_of(host)
        assert keys == {other.public_key for other in others}
        assert all(len(p.allowed_ips) == 2 for p in host.engine.status().peers)


def test_many_kinds_of_accidents_happen():
    """The notes tell of them."""
    world, accidents = make(3)
    for _ in range(40):
        for _ in range(6):
            accidents.happen()
            world.run(1)
        accidents.repair()
    notes = " ".join(row.label for row in world.trace.rows if not row.receiver)
    for what in (
        "node crashes", "control crashes", "gress crashes", "suspended", "stalled",
        "moves to", "link down", "new preshared key", "new private key", "learns",
        "keepalive with", "gets the prefixes", "removes",
    ):  # fmt: skip
        assert what in notes, what


def test_nobody_is_hurt_while_nobody_runs():
    """A world of sleepers has no accidents."""
    world, accidents = make()
    for host in world.hosts.values():
        host.freeze(100.0, deaf=True)
    rows = len(world.trace.rows)
    accidents.happen()
    assert len(world.trace.rows) == rows
