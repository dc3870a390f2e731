"""What two members send each other where the path begins to swallow what is large."""

import pytest

from meshnode.mesh.engine_tunnels import EngineTunnels
from meshnode.mesh.narrow_paths import GROW
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_world import MeshWorld

BASE = 1420


@pytest.fixture
def world():
    """Two members of a mesh with 40 ms between them, there and back."""
    world = MeshWorld(11, link=Link(latency=0.02))
    world.found("a")
    world.prepare("b")
    world.enlist("b")
    world.run(5.0)
    return world


def talk(world, *, seconds, size=1400):
    """Let a send b ten packets a second."""
    for _ in range(int(seconds * 10)):
        world.send("a", "b", size=size)
        world.run(0.1)


def sizes(world):
    """Return how large packets from a to b may be, and from b to a."""
    a, b = (world.homes[name] for name in "ab")
    return a.running.packet_size(b.key), b.running.packet_size(a.key)


@pytest.mark.parametrize(
    ("outer", "size"), [(1280, 1216), (1300, 1232), (1360, 1296), (1492, BASE)]
)
def test_a_black_hole_is_found_under_traffic_and_its_end_too(world, outer, size):
    """In both directions, because answers are as large as what they answer."""
    talk(world, seconds=5)
    assert sizes(world) == (BASE, BASE)
    world.network.connect("a", "b", Link(latency=0.02, mtu=outer))
    talk(world, seconds=3)
    assert sizes(world)[0] == size
    plan = world.homes["a"].plan
    assert {mtu for _, mtu in plan.narrower} == ({size} if size < BASE else set())
    talk(world, seconds=4, size=1100)
    assert sizes(world) == (size, size)
    world.network.connect("a", "b", Link(latency=0.02))
    talk(world, seconds=GROW + 4, size=1100)
    assert sizes(world) == (BASE, BASE)
    assert world.homes["a"].plan.narrower == ()


def test_one_direction_may_be_narrow_alone(world):
    """Each proves its own."""
    world.network.set_link("a", "b", Link(latency=0.02, mtu=1300))
    talk(world, seconds=5)
    talk(world, seconds=5, size=1100)
    assert sizes(world) == (1232, BASE)


def test_an_idle_pair_is_asked_nothing(world, monkeypatch):
    """For the word of neighbours and for small packets; large ones are a reason."""
    probed = []
    monkeypatch.setattr(
        EngineTunnels, "send_probe", lambda *args, now: probed.append(now)
    )
    world.run(600.0)
    talk(world, seconds=10, size=50)
    assert probed == []
    began = world.now
    talk(world, seconds=2)
    assert probed[0] < began + 1.0
