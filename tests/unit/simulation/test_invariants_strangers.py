"""The meter of amplification: what it counts, and when it fails."""

import pytest

from meshnode.simulation.invariants import Violation
from meshnode.simulation.invariants_strangers import NoGain
from meshnode.simulation.trace import Flight
from meshnode.simulation.world import World
from meshnode.types import Endpoint

STRANGER = Endpoint("203.0.113.9", 4000)
MEMBER = Endpoint("198.18.1.1", 51820)


@pytest.fixture
def meter():
    """A meter of a world with one host, and that host."""
    world = World(1, rules=lambda world: [])
    host = world.build_host("a")
    return NoGain(world), host


def _flight(source, to, size):
    return Flight("x", "y", bytes(size), source, to, 0.0, None)


def test_as_much_as_came_may_go(meter):
    """Over any time, from whatever port."""
    rule, host = meter
    rule.arriving(host, _flight(STRANGER, host.endpoint, 100))
    rule.emitted(host, _flight(host.endpoint, STRANGER, 60))
    rule.emitted(host, _flight(host.endpoint, Endpoint(STRANGER.host, 1), 40))
    assert (rule.gain, rule.answers) == (1.0, 1)


def test_a_byte_more_is_a_violation(meter):
    """Also when it comes late."""
    rule, host = meter
    rule.arriving(host, _flight(STRANGER, host.endpoint, 100))
    rule.emitted(host, _flight(host.endpoint, STRANGER, 100))
    with pytest.raises(Violation, match="101 bytes"):
        rule.emitted(host, _flight(host.endpoint, STRANGER, 1))


def test_members_and_who_authenticated_are_left_out(meter):
    """They may be sent anything."""
    rule, host = meter
    rule.emitted(host, _flight(host.endpoint, MEMBER, 1000))
    rule.accepted(host, _flight(STRANGER, host.endpoint, 148))
    rule.emitted(host, _flight(host.endpoint, STRANGER, 1000))
    assert (rule.gain, rule.answers) == (0.0, 0)
