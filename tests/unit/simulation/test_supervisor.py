"""Who starts with what, and what a crash leaves behind."""

import pytest

from meshnode.simulation.supervisor import Disk
from meshnode.simulation.world import World


@pytest.fixture
def world():
    """Return a world of two peers with a session."""
    made = World(1)
    made.add_host("a", slowness=0.01)
    made.add_host("b")
    made.introduce("a", "b")
    made.run(1)
    made.hosts["a"].request("b")
    made.run(1)
    return made


def test_the_mark_is_on_disk_before_the_datagram_left(world):
    """And survives the node."""
    supervisor = world.hosts["a"].supervisor
    mark = supervisor.disk.timestamp_mark
    assert len(mark) == 12
    supervisor.crash()
    assert supervisor.disk == Disk(mark)


def test_a_crashed_node_knows_its_configuration_only(world):
    """Peers and prefixes, but neither timestamps nor handshakes."""
    host = world.hosts["b"]
    (before,) = host.engine.state().peers
    assert before.last_handshake
    host.supervisor.crash()
    host.supervisor.switch_on()
    (after,) = host.engine.state().peers
    assert after.allowed_ips == before.allowed_ips
    assert after.latest_timestamp == bytes(12)
    assert after.last_handshake == 0.0


def test_a_crashed_control_process_knows_all(world):
    """The vault has it."""
    host = world.hosts["b"]
    before = host.engine.state()
    host.supervisor.crash_control()
    host.supervisor.start_control()
    assert host.engine.state() == before


def test_control_adopts_only_after_the_workers_told(world):
    """With slow links that takes a while."""
    supervisor = world.hosts["a"].supervisor
    supervisor.crash_control()
    supervisor.start_control()
    assert supervisor.is_adopting
    world.run(0.1)
    assert not supervisor.is_adopting


def test_starting_what_runs_does_nothing(world):
    """Neither control nor a worker."""
    supervisor = world.hosts["b"].supervisor
    control, generation = supervisor.control, dict(supervisor.workers.generation)
    supervisor.start_control()
    supervisor.start_worker("egress")
    assert supervisor.control is control
    assert supervisor.workers.generation == generation


def test_a_worker_that_starts_has_a_new_generation(world):
    """Commands for the one before are not for it."""
    supervisor = world.hosts["b"].supervisor
    supervisor.crash_worker("ingress")
    assert supervisor.workers.running() == ["egress"]
    supervisor.start_worker("ingress")
    assert supervisor.workers.generation == {"egress": 1, "ingress": 2}
