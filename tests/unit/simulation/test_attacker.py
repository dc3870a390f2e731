"""The attacker does what it says, and gets nowhere."""

import pytest

from meshnode.simulation.attacker import Attacker
from meshnode.simulation.trace import Mark
from meshnode.simulation.world import World


@pytest.fixture
def attacked():
    """Return a world of two peers that talk, and who listens to them."""
    world = World(1)
    world.add_host("a")
    world.add_host("b")
    world.introduce("a", "b")
    attacker = Attacker(world, world.random)
    world.watch.add(attacker)
    for _ in range(5):
        world.hosts["a"].request("b")
        world.run(1)
    return world, attacker


def forged(world):
    """Return the names of what the attacker sent."""
    return [row.label for row in world.trace.rows if row.mark is Mark.FORGED]


@pytest.mark.parametrize(
    ("attack", "beginnings"),
    [
        ("replay", ("initiation", "response", "data", "keepalive")),
        ("forge_initiation", ("initiation", "response")),
        ("forge_data", ("data", "keepalive")),
        ("retype", ("AES data", "AES keepalive")),
        ("replay_cookie", ("cookie",)),
        ("flood", ("initiation", "response")),
    ],
)
def test_attacks_look_like_the_real_thing(attacked, attack, beginnings):
    """Each sends messages of its kind, and every invariant holds."""
    world, attacker = attacked
    for _ in range(30):
        getattr(attacker, attack)()
    labels = forged(world)
    assert labels
    assert all(label.startswith(beginnings) for label in labels)


def test_damaged_and_senseless_datagrams_are_of_many_kinds(attacked):
    """Truncated, extended and flipped; short, long and of any type."""
    world, attacker = attacked
    for _ in range(100):
        attacker.mutilate()
        attacker.send_garbage()
    assert len(set(forged(world))) > 10


def test_without_prey_nothing_is_replayed():
    """Who has seen nothing can only make things up."""
    world = World(1)
    world.add_host("a")
    attacker = Attacker(world, world.random)
    for attack in ("replay", "mutilate", "forge_data", "replay_cookie"):
        getattr(attacker, attack)()
    assert forged(world) == []
    attacker.strike()


def test_traffic_goes_on_under_attack(attacked):
    """Every request is answered, whatever is thrown in between."""
    world, attacker = attacked
    host = world.hosts["a"]
    numbers = []
    for _ in range(100):
        attacker.strike()
        numbers.append(host.request("b"))
        world.run(0.5)
    assert set(numbers) <= set(host.application.answered)
