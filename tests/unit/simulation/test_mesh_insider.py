"""The hostile member: every lie is told, and none is believed."""

from random import Random

import pytest

from meshnode.codec.records import Role
from meshnode.simulation.mesh_insider import Insider
from meshnode.simulation.mesh_invariants import owners_by_prefix
from meshnode.simulation.mesh_world import MeshWorld
from meshnode.types import Prefix

LAN = Prefix.parse("192.168.7.0/24")
KINDS = (
    *("hijack", "forge", "replay", "equivocate", "poison", "revoke_others"),
    *("speak_nonsense", "speak_of_another_network", "flood", "spoof"),
)


@pytest.fixture
def world():
    """Return a mesh of three, of whom c is hostile; all rules look on."""
    made = MeshWorld(1)
    made.found("a")
    made.enlist("b", "c", subnets=(LAN,), roles=Role.RENDEZVOUS)
    made.run(3)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_no_lie_breaks_a_rule(world, kind):
    """And all talk to each other afterwards, knowing the same."""
    insider = Insider(world, "c", Random(7))
    for number in range(12):
        insider.strike() if number == 0 else None
        victim = world.homes[("a", "b")[number % 2]]
        getattr(insider, kind)(victim)
        world.run(2)
    world.run(30)
    assert len(world.views("abc")) == 1
    assert all(len(node.membership) == 3 for node in world.nodes("abc"))
    owners = owners_by_prefix(world.homes["a"].running)
    assert set(owners) <= {LAN}
    number = world.send("b", "a")
    world.run(2)
    assert number in world.hosts["b"].application.answered


def test_it_strikes_only_while_it_runs(world):
    """And sends something then."""
    insider = Insider(world, "c", Random(7))
    sent = world.trace.sent_bytes
    insider.strike()
    assert world.trace.sent_bytes > sent
    world.homes["c"].lose_power()
    sent = world.trace.sent_bytes
    insider.strike()
    assert world.trace.sent_bytes == sent
