"""Accidents of a mesh: all kinds happen, and are put right."""

from random import Random

import pytest

from meshnode.codec.records import Role
from meshnode.simulation.mesh_accidents import MeshAccidents
from meshnode.simulation.mesh_world import MeshWorld


@pytest.fixture
def world():
    """Return a mesh of five, four of them rendezvous."""
    made = MeshWorld(1)
    made.found("a")
    made.enlist("b", "c", "d", roles=Role.RENDEZVOUS)
    made.enlist("e")
    made.run(3)
    return made


def test_many_accidents_and_a_mesh_again(world):
    """Whoever is not gone for good runs in the end, with the right time."""
    accidents = MeshAccidents(world, Random(3))
    for _ in range(40):
        accidents.happen()
        world.run(4)
    world.run(20)
    accidents.repair()
    world.run(1)
    for name, home in world.homes.items():
        assert home.node is not None or name in accidents.gone
        assert home.host.clock.wall_offset == 0.0


@pytest.mark.parametrize(
    "kind",
    [
        *("_crash", "_power_failure", "_control_crash", "_worker_crash", "_freeze"),
        *("_move", "_step_clock", "_mass_restart", "_roll_back", "_newcomer"),
        *("_change_routes", "_change_policy", "_roll_charter", "_renew"),
    ],
)
def test_each_accident_is_survived(world, kind):
    """The five talk again."""
    accidents = MeshAccidents(world, Random(5))
    for name in ("e", "b"):
        getattr(accidents, kind)(world.homes[name])
        world.run(10)
    world.run(30)
    accidents.repair()
    world.run(35)
    number = world.send("e", "a")
    world.run(3)
    assert number in world.hosts["e"].application.answered


def test_three_rendezvous_always_stay(world):
    """However many would leave or be revoked."""
    accidents = MeshAccidents(world, Random(2))
    for name in ("d", "c", "b", "e"):
        accidents._revoke(world.homes[name])
        world.run(2)
    assert accidents.gone == {"d", "e"}
