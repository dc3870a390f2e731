"""How large packets two members come to send each other, whatever the path does."""

from dataclasses import replace

import pytest

from meshnode.hostplan import Larger
from meshnode.mesh.path_size import PAUSE, PERIOD, TRIES
from meshnode.mesh.prefixes import host_prefix
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_scenario import MeshScenario
from meshnode.simulation.mesh_world import MeshWorld

BASE, WIDE, NARROWER = 1420, 8920, 3992


def mesh(*, mtu=9000, **sizes):
    """Return a mesh of members with these underlays, on a path of *mtu* bytes."""
    world = MeshWorld(7, link=Link(latency=0.02, mtu=mtu))
    first, *others = sizes
    world.found(first, max_mtu=sizes[first])
    for name in others:
        world.prepare(name, max_mtu=sizes[name])
    world.enlist(*others)
    world.run(5.0)
    return world


def talk(world, one, other, *, seconds=3, size=100):
    """Let two exchange packets; return what each may send the other."""
    for _ in range(seconds):
        assert world.send(one, other, size=size) is not None
        world.run(1.0)
    return between(world, one, other), between(world, other, one)


def between(world, one, other):
    """Return how large packets from one to the other may be."""
    return world.homes[one].running.sizes.size_for(world.homes[other].key)


def answers(world, name):
    """Return how many answers the member has had."""
    return len(world.hosts[name].application.answered)


def test_two_with_wide_underlays_use_them_and_no_other_does():
    """The host is told: a route for each address of the member, and no other."""
    world = mesh(a=WIDE, b=WIDE, c=0)
    assert talk(world, "a", "b") == (WIDE, WIDE)
    assert talk(world, "a", "c") == (BASE, BASE)
    home = world.homes["a"]
    addresses = [host_prefix(world.address("b", version)) for version in (4, 6)]
    routes = tuple((address, WIDE) for address in addresses)
    assert home.plan.larger == Larger(WIDE, routes)
    assert world.homes["c"].plan.larger is None
    before = answers(world, "a")
    assert talk(world, "a", "b", size=8800) == (WIDE, WIDE)
    assert answers(world, "a") - before == 3


@pytest.mark.parametrize(
    ("mtu", "size"), [(1500, BASE), (4100, NARROWER), (9000, WIDE), (8500, 8396)]
)
def test_the_path_decides(mtu, size):
    """Not what both would take."""
    world = mesh(mtu=mtu, a=WIDE, b=WIDE)
    assert talk(world, "a", "b", seconds=20) == (size, size)


def test_each_direction_is_a_path_of_its_own():
    """Only what was proven is used."""
    world = mesh(a=WIDE, b=WIDE)
    world.network.set_link("b", "a", Link(mtu=1500))
    world.hosts["b"].supervisor.crash()
    world.hosts["b"].supervisor.switch_on()
    assert talk(world, "a", "b", seconds=30) == (WIDE, BASE)


def test_a_path_that_shrinks_is_left_while_there_is_traffic():
    """Within the time that three probes may take; then what is smaller is found."""
    world = mesh(a=WIDE, b=WIDE)
    assert talk(world, "a", "b") == (WIDE, WIDE)
    world.network.connect("a", "b", Link(mtu=4100))
    talk(world, "a", "b", seconds=int(PERIOD + TRIES * PAUSE) + 2)
    assert WIDE not in (between(world, "a", "b"), between(world, "b", "a"))
    assert talk(world, "a", "b", seconds=10) == (NARROWER, NARROWER)


def test_it_stays_in_use_through_many_sessions():
    """For ten minutes of traffic, and no answer is missing."""
    world = mesh(a=WIDE, b=WIDE)
    talk(world, "a", "b")
    plan = world.homes["a"].plan
    before = answers(world, "a")
    for _ in range(600):
        world.send("a", "b", size=8000)
        world.run(1.0)
        assert world.homes["a"].plan == plan
    assert answers(world, "a") - before == 600


def quiet_pair(**sizes):
    """Return in how many sessions two with nothing to say keep in touch, and more.

    The second is how many datagrams they send for it, both in half an hour.
    """
    world = mesh(**sizes)
    talk(world, "a", "b")
    world.run(400.0)

    def count(label):
        pairs = (("a", "b"), ("b", "a"))
        return sum(len(world.trace.moments(*pair, label)) for pair in pairs)

    sessions, all_of_them = count("response"), count("")
    world.run(1800.0)
    return count("response") - sessions, count("") - all_of_them


def test_a_quiet_pair_falls_asleep_as_before():
    """Probes keep no session alive; each has one more question and answer a side."""
    sessions, datagrams = quiet_pair(a=WIDE, b=WIDE)
    usual_sessions, usual_datagrams = quiet_pair(a=0, b=0)
    assert sessions <= usual_sessions + 1
    # What each takes, its probe and its answer; and the word of neighbours is traffic.
    assert datagrams <= usual_datagrams + 6 * sessions + 4 * 1800 // PERIOD


def test_who_moves_proves_its_new_path():
    """The base until then, even if nobody sends anything large meanwhile."""
    world = mesh(a=WIDE, b=WIDE)
    talk(world, "a", "b")
    world.homes["b"].move()
    world.send("b", "a")
    world.run(0.2)
    assert between(world, "a", "b") == BASE
    assert talk(world, "b", "a", seconds=5) == (WIDE, WIDE)


def test_who_restarts_with_a_narrow_underlay_is_sent_less():
    """As soon as three probes went unanswered in its new session."""
    world = mesh(a=WIDE, b=WIDE)
    talk(world, "a", "b")
    home = world.homes["b"]
    home.host.supervisor.crash()
    home.configure(replace(home.settings, max_mtu=0))
    home.host.supervisor.switch_on()
    world.run(5.0)
    assert talk(world, "a", "b", seconds=20) == (BASE, BASE)


def test_random_meshes_come_to_use_it():
    """The lives that are played with all rules in force are not empty of it."""
    found = 0
    for seed in range(3):
        scenario = MeshScenario(seed, nodes=(4, 5))
        scenario.play()
        homes = scenario.world.running()
        found += sum(len(home.running.sizes.proven()) for home in homes)
    assert found
