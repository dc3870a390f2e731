"""Stories of sessions: how they are renewed, age and are forgotten."""

import pytest

from meshnode.crypto.keys import PresharedKey
from meshnode.simulation import inside
from meshnode.simulation.links import Link
from meshnode.simulation.story import tell
from meshnode.wireguard.config import DeviceChange
from meshnode.wireguard.constants import (
    RECEIVE_REKEY_AGE,
    REJECT_AFTER_TIME,
    REKEY_AFTER_TIME,
    ZERO_KEYS_AFTER,
)


def _talk(world, one, other, seconds, *, every=1.0):
    """Let *one* send requests; return their numbers."""
    numbers = []
    for _ in range(round(seconds / every)):
        numbers.append(world.hosts[one].request(other))
        world.run(every)
    return numbers


def test_the_initiator_renews_the_session_at_120_seconds(make_pair):
    """Both sides send all the time; only the initiator asks for the next session."""
    world = make_pair()
    _talk(world, "a", "b", 130)
    first, second = world.trace.moments("a", "b", "initiation")
    assert REKEY_AFTER_TIME <= second - first <= REKEY_AFTER_TIME + 1.1, tell(world)
    assert not world.trace.moments("b", "a", "initiation")


def test_the_responder_does_not_renew_by_sending(make_pair):
    """A responder that alone sends data from 120 s on waits for the initiator."""
    world = make_pair()
    world.hosts["a"].request("b")
    world.run(REKEY_AFTER_TIME + 2)
    world.hosts["a"].application.echoes = False
    world.hosts["b"].request("a")
    world.run(5)
    assert not world.trace.moments("b", "a", "initiation"), tell(world)


def test_the_initiator_renews_when_it_receives_at_165_seconds(make_pair):
    """Data that comes just before the end makes a silent initiator act at once."""
    world = make_pair()
    world.hosts["a"].request("b")
    world.run(RECEIVE_REKEY_AGE + 1)
    assert len(world.trace.moments("a", "b", "initiation")) == 1
    world.hosts["a"].application.echoes = False
    world.hosts["b"].request("a")
    world.run(0.05)
    assert len(world.trace.moments("a", "b", "initiation")) == 2, tell(world)


def test_before_165_seconds_receiving_renews_nothing(make_pair):
    """The same packet a little earlier is no reason for a handshake."""
    world = make_pair()
    world.hosts["a"].request("b")
    world.run(RECEIVE_REKEY_AGE - 1)
    world.hosts["a"].application.echoes = False
    world.hosts["b"].request("a")
    world.run(0.05)
    assert len(world.trace.moments("a", "b", "initiation")) == 1, tell(world)


@pytest.mark.parametrize(("sender", "other"), ["ab", "ba"])
def test_at_180_seconds_a_session_is_dead(make_pair, sender, other):
    """A packet then waits for a new session, whoever sends it."""
    world = make_pair()
    world.hosts["a"].request("b")
    world.run(REJECT_AFTER_TIME + 0.1)
    number = world.hosts[sender].request(other)
    began = world.now
    world.run(1)
    moments = world.trace.moments(sender, other, "initiation")
    assert moments[-1] == began, tell(world)
    assert world.trace.moments(sender, other, "data")[-1] > began
    assert number in world.hosts[sender].application.answered


def test_a_packet_before_180_seconds_still_goes_at_once(make_pair):
    """The responder's packet at 179 s leaves without a handshake."""
    world = make_pair()
    world.hosts["a"].request("b")
    world.run(REJECT_AFTER_TIME - 1)
    world.hosts["b"].request("a")
    assert world.hosts["b"].workers.seal is not None
    world.run(0.1)
    assert world.trace.moments("b", "a", "data")[-1] > REJECT_AFTER_TIME - 1.1
    assert not world.trace.moments("b", "a", "initiation")


def test_keys_are_forgotten_after_540_idle_seconds(make_pair):
    """Both workers hold keys until then, and none afterwards; then all is quiet."""
    world = make_pair()
    world.hosts["a"].request("b")
    world.run(ZERO_KEYS_AFTER - 1)
    hosts = world.hosts.values()
    assert all(inside.held_sessions(host.workers) == 1 for host in hosts)
    world.run(2)
    assert all(inside.held_sessions(host.workers) == 0 for host in hosts), tell(world)
    assert all(host.next_wakeup() is None for host in hosts)


def test_requests_are_answered_across_six_sessions(make_pair):
    """Not one of the requests, one every 3 s, is lost while sessions change."""
    world = make_pair()
    numbers = _talk(world, "a", "b", 660, every=3.0)
    missing = set(numbers) - set(world.hosts["a"].application.answered)
    assert not missing, tell(world)
    assert len(world.trace.moments("a", "b", "initiation")) >= 6


def test_forty_requests_cross_five_renewals(make_pair):
    """Forty requests, 3 s apart on average, around each of five renewals."""
    world = make_pair(link=Link(latency=0.4, jitter=0.05))
    host = world.hosts["a"]
    numbers = []
    for _ in range(5):
        for _ in range(8):
            numbers.append(host.request("b"))
            world.run(3)
        world.run(96)
    assert len(numbers) == 40
    assert set(numbers) <= set(host.application.answered), tell(world)
    assert len(world.trace.moments("a", "b", "initiation")) >= 5


def test_packets_of_the_old_session_still_count(make_pair):
    """What was under way while the session changed is delivered, late as it is."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    a.request("b")
    world.run(REKEY_AFTER_TIME - 1)
    world.network.set_link("b", "a", Link(latency=3.0))
    number = b.request("a")
    world.run(1.5)
    world.network.set_link("b", "a", Link())
    a.request("b")  # renews the session before the slow packet arrives
    world.run(1.0)
    assert world.sessions == 4, tell(world)
    world.run(2.0)
    assert number in a.application.delivered, tell(world)


def test_a_new_private_key_under_traffic(make_pair):
    """A key changed here and told there at once costs less than a second."""
    world = make_pair(preshared_key=PresharedKey(b"p" * 32))
    _talk(world, "a", "b", 3)
    host, peer = world.hosts["a"], world.hosts["b"]
    old = host.public_key
    host.configure(DeviceChange(private_key=world.new_key("a")))
    world.administrator.remove_peer("b", old)
    world.administrator.add_peer("b", "a")
    number = host.request("b")
    world.run_until(lambda: number in host.application.answered, within=1.0)
    number = peer.request("a")
    world.run_until(lambda: number in peer.application.answered, within=1.0)


def test_the_same_private_key_again_changes_nothing(make_pair):
    """Applying the configuration that is in force disturbs no session."""
    world = make_pair()
    host = world.hosts["a"]
    host.request("b")
    world.run(1)
    host.configure(DeviceChange(private_key=host.private_key))
    host.request("b")
    world.run(1)
    assert len(world.trace.moments("a", "b", "initiation")) == 1


def test_a_link_that_was_down_begins_anew(make_pair):
    """Going down forgets the session; coming up, the next packet makes another."""
    world = make_pair()
    host = world.hosts["a"]
    host.request("b")
    world.run(1)
    host.set_link(up=False)
    assert inside.held_sessions(host.workers) == 0
    host.set_link(up=True)
    number = host.request("b")
    world.run(1)
    assert number in host.application.answered, tell(world)
    assert len(world.trace.moments("a", "b", "initiation")) == 2
