"""The mesh of a world: founded, joined and administered."""

import pytest

from meshnode.codec.records import Role
from meshnode.errors import ConfigError
from meshnode.simulation.mesh_world import CIDR, MeshWorld
from meshnode.simulation.world import Unreached
from meshnode.types import Prefix


@pytest.fixture
def world():
    """Return a mesh of three."""
    made = MeshWorld(1)
    made.found("a")
    made.enlist("b", "c")
    made.run(3)
    return made


def test_members_have_addresses_of_the_network(world):
    """The founder the first one."""
    assert world.address("a") == (CIDR.network + 1).to_bytes(4, "big")
    assert world.address("b", 6)[:6] == world.address("c", 6)[:6]
    assert world.overlay[0] == CIDR


def test_requests_go_between_members_only(world):
    """The host's routes say what goes into the tunnel."""
    number = world.send("b", "c", version=6)
    world.run(1)
    assert number in world.hosts["b"].application.answered
    assert world.send("b", bytes((192, 0, 2, 1))) is None


def test_an_invite_grants_what_the_issuer_may(world):
    """Nothing else."""
    world.enlist("d", roles=Role.RENDEZVOUS)
    assert world.homes["d"].serves_as_rendezvous
    with pytest.raises(ConfigError):
        world.invite("a", subnets=(Prefix(4, 0, 0),), lifetime=10**12)


def test_who_does_not_get_in_is_missed(world):
    """With the story."""
    world.network.partition(["a", "b", "c"], ["d"])
    with pytest.raises(Unreached, match="d are members"):
        world.enlist("d")


def test_a_revoked_member_is_gone_everywhere(world):
    """Told at one node."""
    world.revoke("c", at="b")
    world.run(5)
    for name in ("a", "b"):
        assert world.homes[name].running.membership.by_name("c") is None


def test_charters_and_policies_have_versions(world):
    """And spread."""
    assert world.roll_charter(at="b") == 2
    assert world.apply_policy('default = "allow"\n', at="c") == 1
    world.run(25)
    assert {view[2:] for view in world.views("abc")} == {(2, 1)}
    assert len(world.charters()) == 2


def test_only_those_that_run_are_running(world):
    """Neither who is off nor who sleeps."""
    world.homes["b"].lose_power()
    world.hosts["c"].freeze(5.0, deaf=True)
    assert [home.host.name for home in world.running()] == ["a"]
