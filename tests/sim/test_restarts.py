"""Stories of processes and machines that die, sleep and come back."""

import pytest

from meshnode.errors import DropReason
from meshnode.simulation import inside
from meshnode.simulation.story import tell
from meshnode.simulation.supervisor import Disk
from meshnode.simulation.trace import describe
from meshnode.simulation.world import World
from meshnode.types import Endpoint

NOBODY = Endpoint("203.0.113.9", 4242)


def _talk(world, one, other, count, *, every):
    numbers = []
    for _ in range(count):
        numbers.append(world.hosts[one].request(other))
        world.run(every)
    return numbers


def test_a_control_restart_is_not_noticed(make_pair):
    """Traffic flows on while control is down, and the session is renewed on time."""
    world = make_pair()
    host = world.hosts["a"]
    numbers = _talk(world, "a", "b", 10, every=0.5)
    host.supervisor.crash_control()
    numbers += _talk(world, "a", "b", 60, every=0.5)
    host.supervisor.start_control()
    numbers += _talk(world, "a", "b", 180, every=0.5)
    missing = set(numbers) - set(host.application.answered)
    assert not missing, tell(world)
    first, second = world.trace.moments("a", "b", "initiation")
    assert 120.0 <= second - first < 121.0, tell(world)


@pytest.mark.parametrize("slowness", [0.0, 0.2])
def test_a_control_restart_of_the_responder(slowness):
    """The responder's session outlives its control process, however slow the links."""
    world = World(5)
    world.add_host("a")
    world.add_host("b", slowness=slowness)
    world.introduce("a", "b")
    world.run(1)
    _talk(world, "a", "b", 5, every=1.0)
    world.hosts["b"].supervisor.crash_control()
    world.hosts["b"].supervisor.start_control()
    numbers = _talk(world, "a", "b", 5, every=1.0)
    assert set(numbers) <= set(world.hosts["a"].application.answered), tell(world)
    assert len(world.trace.moments("a", "b", "initiation")) == 1


def test_control_dies_between_handshake_and_confirmation(make_pair):
    """The responder's waiting session is adopted, confirmed and used."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    number = a.request("b")
    world.run(0.03)
    assert inside.held_sessions(b.workers) == 1
    b.supervisor.crash_control()
    b.supervisor.start_control()
    world.run(1)
    assert number in a.application.answered, tell(world)
    assert len(world.trace.moments("a", "b", "initiation")) == 1


def test_keys_adopted_before_confirmation_are_forgotten_too(make_pair):
    """A waiting session that nobody ever confirms is gone 540 s after its birth."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    a.request("b")
    world.run(0.03)
    a.supervisor.crash()
    b.supervisor.crash_control()
    b.supervisor.start_control()
    world.run(545)
    assert inside.held_sessions(b.workers) == 0, tell(world)


def test_staged_packets_survive_a_control_restart(make_pair):
    """A new control process learns of waiting packets and asks for a session."""
    world = make_pair()
    host = world.hosts["a"]
    restore = world.network.drop_if(lambda flight: True)
    number = host.request("b")
    world.run(0.1)
    host.supervisor.crash_control()
    restore()
    world.run(1)
    host.supervisor.start_control()
    world.run_until(lambda: number in host.application.answered, within=6)


def test_an_initiation_replayed_after_a_control_restart_is_refused(make_pair):
    """The greatest timestamp outlives the control process."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    seen = []
    world.network.drop_if(lambda flight: bool(seen.append(flight)))
    a.request("b")
    world.run(1)
    b.supervisor.crash_control()
    b.supervisor.start_control()
    initiation = next(f for f in seen if describe(f.data) == "initiation")
    world.inject(initiation.data, source=NOBODY, to=b.endpoint, origin="a")
    assert b.engine.drop_counts() == {DropReason.OLD_TIMESTAMP: 1}


@pytest.mark.parametrize("role", ["egress", "ingress"])
def test_a_dead_worker_is_replaced_within_a_second(make_pair, role):
    """Its sessions are lost; control makes new ones without waiting for traffic."""
    world = make_pair()
    host = world.hosts["a"]
    _talk(world, "a", "b", 3, every=1.0)
    host.supervisor.crash_worker(role)
    died = world.now
    world.run(0.3)
    host.supervisor.start_worker(role)
    number = host.request("b")
    world.run_until(lambda: number in host.application.answered, within=0.7)
    assert world.now - died <= 1.0
    back = world.hosts["b"].request("a")
    world.run(0.2)
    assert back in world.hosts["b"].application.answered, tell(world)


def test_a_restarted_responder_is_not_fooled_by_an_old_initiation(make_pair):
    """It answers once, by 92 bytes and a key it never uses; then it works again."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    seen = []
    world.network.drop_if(lambda flight: bool(seen.append(flight)))
    a.request("b")
    world.run(1)
    initiation = next(f for f in seen if describe(f.data) == "initiation")
    b.supervisor.crash()
    b.supervisor.switch_on()
    seen.clear()
    world.inject(initiation.data, source=NOBODY, to=b.endpoint, origin="a")
    world.run(1)
    assert world.trace.rows[-1].receiver == "?", tell(world)
    assert world.trace.rows[-1].label == "response"
    number = a.request("b")
    world.run_until(
        lambda: (
            a.request("b") in a.application.answered
            or (number in a.application.answered or len(a.application.answered) > 1)
        ),
        within=30,
    )


def test_a_restarted_initiator_with_a_slow_clock_gets_in(make_pair):
    """The mark on disk keeps its timestamps above those of the life before."""
    world = make_pair()
    host = world.hosts["a"]
    host.request("b")
    world.run(1)
    host.supervisor.crash()
    host.supervisor.switch_on(wall_offset=-3600.0)
    number = host.request("b")
    world.run(1)
    assert number in host.application.answered, tell(world)


def test_without_its_mark_it_is_locked_out(make_pair):
    """The limit of the protocol: a clock set back, and nothing to remember it by."""
    world = make_pair()
    host = world.hosts["a"]
    host.request("b")
    world.run(1)
    host.supervisor.crash()
    host.supervisor.disk = Disk()
    host.supervisor.switch_on(wall_offset=-3600.0)
    number = host.request("b")
    world.run(60)
    assert number not in host.application.answered, tell(world)
    drops = world.hosts["b"].engine.drop_counts()
    assert drops[DropReason.OLD_TIMESTAMP] > 5


def test_two_restarts_within_one_tick_of_the_clock(make_pair):
    """Timestamps rise even if two lives share 16 ms."""
    world = make_pair()
    host = world.hosts["a"]
    for _ in range(2):
        host.supervisor.crash()
        host.supervisor.switch_on()
        number = host.request("b")
        world.run(0.005)
    world.run(6)
    assert number in host.application.answered, tell(world)


def test_a_clock_far_ahead_and_back_again(make_pair):
    """Ten years ahead for one handshake do not brick the key."""
    world = make_pair()
    host = world.hosts["a"]
    for offset in (315_360_000.0, 0.0):
        host.supervisor.crash()
        host.supervisor.switch_on(wall_offset=offset)
        number = host.request("b")
        world.run(1)
        assert number in host.application.answered, tell(world)


@pytest.mark.parametrize("seconds", [1.0, 200.0, 3600.0, 86400.0])
def test_a_machine_that_slept_talks_at_once(make_pair, seconds):
    """Sessions age while it sleeps; afterwards one handshake is all it takes."""
    world = make_pair()
    host = world.hosts["a"]
    host.request("b")
    world.run(1)
    host.freeze(seconds, deaf=True)
    world.run(seconds + 0.1)
    number = host.request("b")
    world.run(1)
    assert number in host.application.answered, tell(world)


@pytest.mark.parametrize("seconds", [1.0, 6.0, 20.0, 200.0])
def test_a_stall_causes_no_storm(make_pair, seconds):
    """Each overdue timer fires once when a stalled process runs again."""
    world = make_pair(keepalive=5)
    host = world.hosts["a"]
    host.request("b")
    world.run(12)
    host.freeze(seconds, deaf=False)
    world.run(seconds - 0.01)
    before = len([row for row in world.trace.rows if row.sender == "a"])
    world.run(0.5)
    sent = len([row for row in world.trace.rows if row.sender == "a"]) - before
    assert sent < 8, tell(world)


def test_an_established_session_ignores_a_flood(make_pair):
    """Two thousand forged initiations at once: traffic flows, the queue is bounded."""
    from meshnode.simulation.attacker import Attacker

    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    attacker = Attacker(world, world.random)
    a.request("b")
    world.run(1)
    b.handshake_cost = 0.001
    for _ in range(10):
        attacker.flood()
    number = a.request("b")
    world.run(0.1)
    assert number in a.application.answered, tell(world)
