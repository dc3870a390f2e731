"""A simulated host: what it hears and says while frozen, off, moved or booted."""

import pytest

from meshnode.simulation.world import World
from meshnode.types import Endpoint


@pytest.fixture
def world():
    """Return a world of two peers with a session."""
    made = World(1)
    made.add_host("a")
    made.add_host("b")
    made.introduce("a", "b")
    made.hosts["a"].request("b")
    made.run(1)
    return made


def test_a_suspended_host_is_deaf(world):
    """What comes meanwhile is lost; its timers are late."""
    b = world.hosts["b"]
    b.freeze(5.0, deaf=True)
    assert not b.is_listening(b.endpoint)
    assert b.outlook().startswith("frozen")
    assert b.next_wakeup() is None
    number = world.hosts["a"].request("b")
    world.run(6)
    assert number not in b.application.delivered
    assert b.is_listening(b.endpoint)


def test_a_stalled_host_finds_everything_later(world):
    """Its sockets kept it."""
    b = world.hosts["b"]
    b.freeze(5.0, deaf=False)
    number = world.hosts["a"].request("b")
    world.run(4.9)
    assert number not in b.application.delivered
    world.run(0.2)
    assert b.application.delivered[number] == pytest.approx(6.0)


def test_a_frozen_host_can_be_woken_early(world):
    """The end of the troubles does."""
    b = world.hosts["b"]
    b.freeze(500.0, deaf=True)
    world.run(1)
    b.thaw_now()
    assert not b.is_frozen


def test_only_the_right_port_listens(world):
    """And only while the node runs."""
    b = world.hosts["b"]
    assert not b.is_listening(Endpoint(b.endpoint.host, 9))
    b.supervisor.crash()
    assert not b.is_listening(b.endpoint)
    assert b.outlook() == "switched off"
    with pytest.raises(RuntimeError, match="no control process"):
        _ = b.engine


def test_boottime_goes_on_over_a_crash_but_not_over_a_reboot(world):
    """A machine that was reset counts from zero."""
    b = world.hosts["b"]
    world.run(9)
    assert b.now == pytest.approx(10.0)
    b.reboot_clock()
    assert b.now == 0.0


def test_a_moved_host_leaves_its_addresses(world):
    """Nobody answers there any more."""
    a = world.hosts["a"]
    old = a.endpoint
    a.move()
    assert world.network.owner(old) is None
    assert world.network.owner(a.endpoint) == "a"


def test_peers_are_known_by_name(world):
    """An empty slot has none."""
    assert world.hosts["a"].name_of_slot(0) == "b"
    assert world.hosts["a"].name_of_slot(7) is None


def test_without_control_no_deadline_is_kept(world):
    """The workers want none."""
    a = world.hosts["a"]
    a.supervisor.crash_control()
    assert a.next_wakeup() is None
    assert a.outlook() == "control process is down"
