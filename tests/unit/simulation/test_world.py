"""The world runs by virtual time alone, and the same seed gives the same world."""

import os
import subprocess
import sys

import pytest

from meshnode.simulation.scenario import play
from meshnode.simulation.world import Unreached, World
from meshnode.types import Endpoint
from meshnode.wireguard.shared import Shared


def pair(seed=1, **kwargs):
    """Return a world of two peers."""
    world = World(seed, **kwargs)
    world.add_host("a")
    world.add_host("b")
    world.introduce("a", "b")
    return world


def test_actions_happen_in_order_of_time():
    """Equal times keep the order in which they were scheduled."""
    world, seen = World(1), []
    world.after(2.0, lambda: seen.append("late"))
    world.after(1.0, lambda: seen.append("first"))
    world.after(1.0, lambda: seen.append("second"))
    world.run(1.5)
    assert seen == ["first", "second"]
    assert world.now == 1.5
    world.at(0.0, lambda: seen.append("now"))
    world.run(0.0)
    assert seen[-1] == "now"
    world.run(1.0)
    assert seen[-1] == "late"


def test_running_until_stops_at_the_moment():
    """Not at the end of the time allowed."""
    world = pair()
    number = world.hosts["a"].request("b")
    world.run_until(lambda: number in world.hosts["a"].application.answered, within=9)
    assert world.now == pytest.approx(0.08)


def test_what_does_not_happen_is_told_with_the_story():
    """And time has passed."""
    world = pair()
    with pytest.raises(
        Unreached, match=r"not within 5 s: rain\nseed 1, virtual time 5"
    ):
        world.run_until(lambda: False, within=5, what="rain")
    assert world.now == 5


def test_a_condition_that_comes_true_at_the_very_end_counts():
    """The clock alone can make it true."""
    world = World(1)
    world.run_until(lambda: world.now >= 3.0, within=3.0)


def test_datagrams_to_nobody_are_lost():
    """So are those of the attacker."""
    world = pair()
    nowhere = Endpoint("203.0.113.77", 1)
    world.inject(b"x", source=nowhere, to=nowhere)
    assert "nobody" in world.trace.rows[-1].mark.value


def test_every_key_has_an_owner():
    """Whoever had it, if it was changed meanwhile."""
    world = pair()
    old = world.hosts["a"].public_key
    assert world.name_of(old) == "a"
    assert world.name_of(world.new_key("b").public_key()) == "b"


def digest_elsewhere(hash_seed):
    """Play a seed in a process of its own, with other hashes of strings."""
    code = (
        "from meshnode.simulation.scenario import play;"
        "print(play(5, minutes=1.0).digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def test_i12_the_same_seed_gives_the_same_trace():
    """In this process and in others, whatever the order of their sets."""
    here = play(5, minutes=1.0).digest
    assert play(5, minutes=1.0).digest == here
    assert digest_elsewhere("1") == digest_elsewhere("2") == here
    assert play(6, minutes=1.0).digest != here


def test_i12_catches_chance_from_outside(monkeypatch):
    """One draw that the seed does not decide shows in the hash."""
    monkeypatch.setattr(
        Shared, "jitter", lambda self: int.from_bytes(os.urandom(4), "big") / 2**33
    )
    assert play(5, minutes=2.0).digest != play(5, minutes=2.0).digest
