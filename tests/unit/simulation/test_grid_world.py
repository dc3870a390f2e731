"""The world of the grid: who is where, and who knows whom."""

import itertools

import pytest

from meshnode.simulation import grid_world
from meshnode.simulation.grid_world import HUBS, GridWorld
from meshnode.simulation.nat_kinds import NatKind

KINDS = (NatKind.OPEN, NatKind.MASQUERADE)


@pytest.fixture(scope="module")
def world():
    """A small one, that settles soon."""
    patch = pytest.MonkeyPatch()
    patch.setattr(grid_world, "SETTLING", 5.0)
    made = GridWorld(1, KINDS, loss=0.05)
    patch.undo()
    return made


def test_everybody_is_a_member(world):
    """Hubs, and as many of each kind."""
    count = grid_world.OF_A_KIND
    assert {kind: len(names) for kind, names in world.behind.items()} == dict.fromkeys(
        KINDS, count
    )
    assert set(world.homes) == {*HUBS, *itertools.chain(*world.behind.values())}


def test_hidden_hosts_have_a_nat_each(world):
    """Open ones none, and nobody has IPv6."""
    for kind, names in world.behind.items():
        for name in names:
            nat = world.network.nat(world.network.realm(name))
            assert (nat is None) == (kind is NatKind.OPEN)
            assert set(world.hosts[name].addresses) == {4}


def test_losses_begin_when_the_mesh_has_settled(world):
    """On the internet alone, not at home."""
    name = world.behind[NatKind.MASQUERADE][0]
    home = world.network.link(name, world.network.realm(name))
    assert (world.network.default.loss, home.loss) == (0.05, 0.0)


def test_members_gossip_by_hubs_alone(world):
    """So they are strangers to each other, but not to hubs."""
    hubs = {world.homes[name].key for name in HUBS}
    members = list(itertools.chain(*world.behind.values()))
    for name in members:
        assert set(world.homes[name].running.neighbours.chosen) <= hubs
    for one, other in itertools.combinations(members, 2):
        assert world.are_strangers(one, other)
    assert not world.are_strangers(members[0], HUBS[0])
