"""Joining a mesh: crowds, tokens used twice, and crashes at every step."""

import pytest

from meshnode.codec.record_bytes import parse_member_record
from meshnode.simulation.clock import Clock
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_host import Boundary
from meshnode.simulation.mesh_world import MeshWorld


@pytest.fixture
def world():
    """Return a mesh of its founder."""
    made = MeshWorld(1, link=Link(latency=0.02))
    made.found("a")
    return made


def issued(world):
    """Return how many certificates the founder's disk says it gave away."""
    return len(world.homes["a"].disk.load().issued)


def certificate_of(world, name):
    """Return the certificate that a member stands on."""
    return parse_member_record(world.homes[name].running.own.data).certificate


def test_who_joins_talks_to_who_joined_before(world):
    """Also those that were never told of each other."""
    world.enlist("b")
    world.enlist("c")
    world.run(2)
    number = world.send("c", "b")
    world.run(2)
    assert number in world.hosts["c"].application.answered
    assert len(world.views(world.homes)) == 1


def test_a_hundred_ask_at_once_with_a_token_for_one(world):
    """Exactly one gets a certificate; the others are told why not."""
    token = world.invite("a")
    names = [f"n{number}" for number in range(100)]
    for name in names:
        world.prepare(name)
    attempts = {name: world.join(name, token) for name in names}
    world.run(30)
    winners = [name for name in names if name in world.homes]
    assert len(winners) == issued(world) == 1
    refusals = {attempts[name].refusal for name in names if name not in winners}
    assert refusals == {"used"}


def test_the_same_joiner_asks_again_and_gets_the_same(world):
    """It was killed before it had heard the answer."""
    token = world.invite("a")
    world.prepare("b")
    first = world.join("b", token)
    world.run_until(lambda: issued(world) == 1, within=5)
    first.kill()
    kept = world.homes["a"].disk.load().issued
    world.join("b", token)
    world.run(5)
    assert "b" in world.homes
    assert world.homes["a"].disk.load().issued == kept


@pytest.mark.parametrize("moment", [n * 0.01 for n in range(1, 30)])
def test_a_joiner_that_dies_at_any_moment_joins_again(moment):
    """There is one certificate at most, whenever it died."""
    world = MeshWorld(f"joiner dies after {moment}", link=Link(latency=0.02))
    world.found("a")
    token = world.invite("a")
    world.prepare("b")
    attempt = world.join("b", token)
    world.run(moment)
    if not attempt.is_over:
        attempt.kill()
        world.run(1.0)
        world.join("b", token)
    world.run(10)
    assert issued(world) == 1
    world.send("b", "a")
    world.run(3)
    assert world.hosts["b"].application.answered


@pytest.mark.parametrize("boundary", list(Boundary))
def test_an_issuer_whose_power_fails_gives_one_certificate(world, boundary):
    """Before, between or after: the joiner asks on, and gets what is on disk."""
    token = world.invite("a")
    world.prepare("b")
    world.join("b", token)
    home = world.homes["a"]
    home.fails_at = boundary
    world.run_until(lambda: home.host.workers is None, within=5, what="the power fails")
    kept = home.disk.load().issued
    assert bool(kept) == (boundary is not Boundary.BEFORE_KEEPING)
    home.host.supervisor.switch_on()
    world.run(20)
    assert issued(world) == 1
    assert home.disk.load().issued[: len(kept)] == kept
    assert home.disk.load().invites
    world.prepare("c")
    attempt = world.join("c", token)
    world.run(5)
    assert attempt.refusal == "used"


def test_an_expired_or_unknown_token_is_refused(world):
    """And nothing is issued."""
    late = world.invite("a", expires_in=1.0)
    world.run(5)
    world.prepare("b")
    attempt = world.join("b", late)
    world.run(10)
    assert attempt.refusal == "expired"
    assert issued(world) == 0


@pytest.mark.parametrize("offset", [-200.0, -60.0, 60.0, 200.0])
def test_a_clock_that_is_a_little_wrong_does_not_keep_out(offset):
    """Certificates are good for five minutes on either side."""
    world = MeshWorld("clocks", link=Link(latency=0.02))
    world.found("a")
    world.prepare("b", clock=Clock(wall_offset=offset))
    attempt = world.join("b", world.invite("a"))
    world.run(20)
    assert "b" in world.homes
    assert attempt.refusal == ""


def test_a_clock_an_hour_behind_gets_no_answer():
    """Its claim to be let in has ended; its user is told to try again."""
    world = MeshWorld("late", link=Link(latency=0.02))
    world.found("a")
    world.prepare("b", clock=Clock(wall_offset=-3600.0))
    attempt = world.join("b", world.invite("a"))
    world.run(20)
    assert not attempt.is_over
    assert issued(world) == 0
    assert world.homes["a"].refused_introductions["OLD_TIMESTAMP"] > 0
