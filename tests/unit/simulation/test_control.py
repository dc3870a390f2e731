"""The control process: its inbox, its persistence, its time for handshakes."""

import pytest

from meshnode.simulation.attacker import Attacker
from meshnode.simulation.world import World
from meshnode.wireguard.constants import HANDSHAKE_QUEUE


@pytest.fixture
def world():
    """Return a world of two peers."""
    made = World(1)
    made.add_host("a")
    made.add_host("b")
    made.introduce("a", "b")
    return made


def test_handshakes_take_their_time(world):
    """With a cost of 0.5 s the second message waits for the first."""
    b = world.hosts["b"]
    b.handshake_cost = 0.5
    number = world.hosts["a"].request("b")
    world.run(0.4)
    assert len(b.control.inbox) == 1
    world.run(1)
    assert len(b.control.inbox) == 0
    assert number in world.hosts["a"].application.answered


def test_a_full_inbox_drops(world):
    """And counts what it drops."""
    b = world.hosts["b"]
    b.handshake_cost = 10.0
    attacker = Attacker(world, world.random)
    for _ in range(20):
        attacker.flood()
        world.run(1)
    control = b.control
    assert len(control.inbox) <= HANDSHAKE_QUEUE
    assert len(control.inbox) + control.inbox_overflows > HANDSHAKE_QUEUE


def test_a_dead_process_serves_nobody(world):
    """Its inbox died with it."""
    b = world.hosts["b"]
    b.handshake_cost = 0.5
    world.hosts["a"].request("b")
    world.run(0.1)
    b.supervisor.crash_control()
    world.run(1)
    b.supervisor.start_control()
    assert len(b.control.inbox) == 0


def test_a_stalled_process_serves_later(world):
    """Its inbox waits."""
    b = world.hosts["b"]
    b.handshake_cost = 0.1
    number = world.hosts["a"].request("b")
    world.run(0.05)
    b.freeze(3.0, deaf=False)
    world.run(2.9)
    assert not b.application.delivered
    world.run(1)
    assert number in b.application.delivered


def test_a_removed_peer_is_removed_from_the_vault(world):
    """What is kept is what is configured."""
    world.administrator.remove_peer("a", world.hosts["b"].public_key)
    assert world.hosts["a"].supervisor.vault.state.peers == []
