"""Paths of simulated nodes: relayed at first, direct, cut, and direct again."""

import pytest

from meshnode.mesh.path_choice import PathKind
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_world import MeshWorld

LATENCY = 0.02
LINK = Link(latency=LATENCY)
CUT = Link(latency=LATENCY, blackhole=True)
EVERY = 0.02


def kind(world, one="a", other="b"):
    """Return how a member reaches another."""
    state = world.homes[one].running.paths.describe(world.homes[other].key)
    return None if state is None else state.kind


def talk(world, seconds):
    """Send requests all the time; return the longest time without an answer."""
    application = world.hosts["a"].application
    ends, last, longest = world.now + seconds, world.now, 0.0
    while world.now < ends:
        before = len(application.answered)
        world.send("a", "b")
        world.run(EVERY)
        if len(application.answered) > before:
            longest, last = max(longest, world.now - last), world.now
    return max(longest, world.now - last)


@pytest.fixture(params=[1, 2])
def world(request):
    """A relay, a and b, who have talked until they were direct."""
    world = MeshWorld(request.param, link=LINK)
    world.found("r")
    world.enlist("a", "b")
    world.run(40.0)
    talk(world, 10.0)
    assert kind(world) is PathKind.DIRECT
    assert kind(world, "b", "a") is PathKind.DIRECT
    return world


def test_a_direct_path_that_is_cut_is_left_and_taken_again(world):
    """Without a noticeable pause, and within ten seconds."""
    world.network.connect("a", "b", CUT)
    assert talk(world, 5.0) < 1.5
    assert kind(world) is PathKind.RELAYED
    world.network.connect("a", "b", LINK)
    assert talk(world, 10.0) < 1.5
    assert kind(world) is PathKind.DIRECT
    assert kind(world, "b", "a") is PathKind.DIRECT


def test_a_node_that_moves_goes_on_by_the_relay(world):
    """And is direct again soon."""
    world.homes["a"].move()
    assert talk(world, 10.0) < 1.5
    assert kind(world) is PathKind.DIRECT
