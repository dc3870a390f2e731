"""The view inside says what is there."""

from meshnode.simulation import inside
from meshnode.simulation.links import Link
from meshnode.simulation.world import World


def test_what_is_inside_a_waiting_host():
    """One packet staged, one index, a timer, an endpoint, an identity."""
    world = World(1, link=Link(blackhole=True))
    host = world.add_host("a")
    world.add_host("b")
    world.introduce("a", "b")
    host.request("b")
    assert inside.staged(host.workers) == {0: 1}
    assert inside.indices_in_use(host.control) == 1
    assert inside.will_handshake(host.control, 0)
    assert inside.will_handshake(host.control, 99)
    assert inside.may_wait(host.workers, 0)
    assert not inside.may_wait(host.workers, 1)
    assert inside.has_identity(host.control)
    assert inside.is_up(host.control)
    assert inside.held_sessions(host.workers) == 0
    assert inside.limited_sources(host.control) == 0
    assert inside.heap_size(host.control) >= 1
    assert list(inside.peers(host.control)) == [0]


def test_a_dead_worker_holds_nothing():
    """Neither packets nor endpoints."""
    world = World(1)
    host = world.add_host("a")
    host.workers.kill("egress")
    host.workers.kill("ingress")
    assert inside.staged(host.workers) == {}
    assert not inside.may_wait(host.workers, 0)
