"""A mesh node on a simulated host: its lives, its disk, its power."""

import pytest

from meshnode.codec.messages import Ping
from meshnode.mesh.events import MemberJoined
from meshnode.mesh.prefixes import host_prefix
from meshnode.simulation.mesh_host import Boundary
from meshnode.simulation.mesh_world import MeshWorld


@pytest.fixture
def world():
    """Return a mesh of two."""
    made = MeshWorld(1)
    made.found("a")
    made.enlist("b")
    made.run(2)
    return made


def test_events_are_kept_and_told(world):
    """The story has them, too."""
    events = [event for _, event in world.homes["a"].events]
    assert MemberJoined("b", world.homes["b"].key) in events
    assert world.trace.notes("a", "memberJoined b")


def test_the_plan_leads_the_overlay_into_the_tunnel(world):
    """And nothing else."""
    home = world.homes["a"]
    assert home.leads_into_tunnel(host_prefix(world.address("b")))
    assert home.leads_into_tunnel(host_prefix(world.address("b", 6)))
    assert not home.leads_into_tunnel(host_prefix(bytes((192, 0, 2, 1))))


@pytest.mark.parametrize("boundary", list(Boundary))
def test_power_fails_at_each_boundary(world, boundary):
    """Before it, nothing is on disk; after it, all."""
    home = world.homes["b"]
    version = home.disk.load().own_version
    home.fails_at = boundary
    home.running.leave(now=home.host.now, wall=home.wall)
    home.host.settle()
    world.run(0.1)
    assert home.node is None
    kept = home.disk.load().own_version
    assert (kept > version) == (boundary is not Boundary.BEFORE_KEEPING)
    member = world.homes["a"].running.membership.by_name("b")
    assert (member is None) == (boundary is Boundary.AFTER_SENDING)


def test_a_node_that_is_down_has_no_node(world):
    """Whoever asks for it is told so."""
    home = world.homes["b"]
    home.lose_power()
    with pytest.raises(RuntimeError, match="no mesh node runs on b"):
        _ = home.running


def test_control_starts_again_and_goes_on(world):
    """Sessions are adopted, records come from the disk."""
    home = world.homes["b"]
    world.send("a", "b")
    world.run(1)
    home.host.supervisor.crash_control()
    home.host.supervisor.start_control()
    world.run(1)
    number = world.send("a", "b")
    world.run(1)
    assert number in world.hosts["a"].application.answered
    assert len(home.running.membership) == 2


def test_a_member_can_say_anything(world):
    """For those that do not run our code."""
    home = world.homes["b"]
    home.life.send(world.homes["a"].key, Ping(bytes(8)))
    world.run(1)
    assert world.views(["a", "b"])


def test_a_move_is_told_to_the_node(world):
    """Its own candidates are the new addresses."""
    home = world.homes["b"]
    home.move()
    hosts = [place.host for place in home.running.reach.own_candidates()]
    assert hosts[0] in home.host.addresses.values()


def test_a_restored_backup_is_counted(world):
    """So that the rules know that memory was lost."""
    home = world.homes["b"]
    backup = home.disk.backup()
    home.lose_power()
    home.restore(backup)
    assert home.restored_backups == 1
