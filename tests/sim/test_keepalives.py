"""Stories of silence: keepalives, and the handshake that silence leads to."""

from itertools import pairwise

import pytest

from meshnode.simulation.links import Link
from meshnode.simulation.story import tell
from meshnode.wireguard.constants import (
    KEEPALIVE_TIMEOUT,
    REKEY_JITTER,
    REKEY_TIMEOUT,
)

SILENCE = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT


@pytest.fixture
def settled_pair(make_pair):
    """Two hosts with a session, whose timers of the beginning have run out."""
    world = make_pair()
    world.hosts["a"].request("b")
    world.run(40)
    world.hosts["b"].application.echoes = False
    return world


def _since(world, moment, sender, receiver, label):
    return [at for at in world.trace.moments(sender, receiver, label) if at >= moment]


def test_data_without_an_answer_is_acknowledged_after_10_seconds(settled_pair):
    """Who received data and has nothing to say sends an empty packet, once."""
    world = settled_pair
    began = world.now
    world.hosts["a"].request("b")
    world.run(60)
    keepalives = _since(world, began, "b", "a", "keepalive")
    assert keepalives == pytest.approx([began + 0.02 + KEEPALIVE_TIMEOUT]), tell(world)


def test_more_data_meanwhile_asks_for_a_second_keepalive(settled_pair):
    """Data while the first wait runs brings one more, 10 s after the first."""
    world = settled_pair
    began = world.now
    world.hosts["a"].request("b")
    world.run(5)
    world.hosts["a"].request("b")
    world.run(60)
    keepalives = _since(world, began, "b", "a", "keepalive")
    first = began + 0.02 + KEEPALIVE_TIMEOUT
    assert keepalives == pytest.approx([first, first + KEEPALIVE_TIMEOUT]), tell(world)


def test_a_keepalive_is_not_answered(settled_pair):
    """Two silent hosts do not keep each other awake."""
    world = settled_pair
    began = world.now
    world.hosts["a"].request("b")
    world.run(100)
    assert not _since(world, began, "a", "b", "keepalive"), tell(world)


def test_an_answer_needs_no_keepalive(settled_pair):
    """Data that leaves within the 10 s acknowledges what came."""
    world = settled_pair
    began = world.now
    world.hosts["a"].request("b")
    world.run(9)
    world.hosts["a"].application.echoes = False
    world.hosts["b"].request("a")
    world.run(5)
    assert not _since(world, began, "b", "a", "keepalive"), tell(world)


def test_silence_after_data_leads_to_a_handshake(settled_pair):
    """Nothing authenticated for 15 s after data was sent: ask for a new session."""
    world = settled_pair
    world.network.set_link("b", "a", Link(blackhole=True))
    began = world.now
    world.hosts["a"].request("b")
    world.run(17)
    (moment,) = _since(world, began, "a", "b", "initiation")
    assert 0.0 <= moment - began - SILENCE < REKEY_JITTER, tell(world)


def test_a_keepalive_breaks_the_silence(settled_pair):
    """The empty packet of the other side is answer enough."""
    world = settled_pair
    began = world.now
    world.hosts["a"].request("b")
    world.run(30)
    assert not _since(world, began, "a", "b", "initiation"), tell(world)


def test_data_does_not_put_off_the_silence(settled_pair):
    """The 15 s count from the first unanswered packet, not from the last."""
    world = settled_pair
    world.network.set_link("b", "a", Link(blackhole=True))
    began = world.now
    for _ in range(17):
        world.hosts["a"].request("b")
        world.run(1)
    (moment,) = _since(world, began, "a", "b", "initiation")
    assert moment - began < SILENCE + REKEY_JITTER, tell(world)


def test_persistent_keepalives_come_at_their_interval(make_pair):
    """One host is told to send every 25 s; the other just listens."""
    world = make_pair()
    world.administrator.set_keepalive("a", "b", 25)
    world.run(1)
    began = world.now
    world.run(110)
    moments = _since(world, began, "a", "b", "keepalive")
    gaps = [after - before for before, after in pairwise(moments)]
    assert gaps == pytest.approx([25.0, 25.0, 25.0], abs=0.05), tell(world)
    assert not _since(world, began, "b", "a", "keepalive")


def test_traffic_puts_off_persistent_keepalives(make_pair):
    """Whatever passes in either direction starts the interval anew."""
    world = make_pair()
    world.administrator.set_keepalive("a", "b", 25)
    world.run(1)
    began = world.now
    for _ in range(10):
        world.hosts["b"].request("a")
        world.run(10)
    assert not _since(world, began, "a", "b", "keepalive"), tell(world)


def test_a_persistent_keepalive_makes_sessions_for_ever(make_pair):
    """It keeps a mapping open: an hour later the other side can still speak."""
    world = make_pair()
    world.administrator.set_keepalive("a", "b", 25)
    world.run(3600)
    number = world.hosts["b"].request("a")
    world.run(0.2)
    assert number in world.hosts["b"].application.answered, tell(world)


def test_setting_a_keepalive_sends_one_at_once(make_pair):
    """From off to on while the link is up: the handshake begins now."""
    world = make_pair()
    world.administrator.set_keepalive("a", "b", 25)
    assert world.now == 0.0
    world.run(0.1)
    assert world.trace.moments("a", "b", "initiation") == [0.0]


def test_an_idle_pair_does_nothing(settled_pair):
    """Without traffic no host wants to be woken before keys are forgotten."""
    world = settled_pair
    rows = len(world.trace.rows)
    world.run(400)
    assert len(world.trace.rows) == rows, tell(world)
    deadline = world.hosts["a"].next_wakeup()
    assert deadline is not None
    assert deadline.reason == "zero key material"
