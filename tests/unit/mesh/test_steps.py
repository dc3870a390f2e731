"""What follows from a change, once a step; `test_node` has the whole of it."""

import random
from dataclasses import replace

import pytest

from meshnode.codec.records import Role, Route
from meshnode.mesh.events import HealthChanged, MemberChanged, RoutesChanged
from meshnode.mesh.invites import Grant
from meshnode.mesh.roads import Roads
from meshnode.mesh.steps import FEW_MEMBERS, MAX_CONFLICTS, PAUSE_PER_MEMBER
from meshnode.types import Prefix
from tests.unit.mesh.node_parts import NOTHING, YEAR, World

LAN = Prefix.parse("192.168.7.0/24")


@pytest.fixture
def world(rng: random.Random) -> World:
    """A founded network whose founder runs."""
    return World(rng)


def test_health_is_told_when_it_changes(world: World) -> None:
    """And when it is well again; the same again is no news."""
    node = world.founder.node
    node.outbox.events.clear()
    for text in ("broken", "broken", "", ""):
        node.tell_health("thing", text, now=world.now)
    told = list(node.outbox.events)
    assert told == [HealthChanged("thing", "broken"), HealthChanged("thing", "")]
    assert node.health == {}


def test_routes_are_computed_once_a_step(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many members a step changes, and not at all if it changes none."""
    count = 0
    refresh = Roads.refresh

    def counting(roads: Roads, *, now: float) -> bool:
        nonlocal count
        count += 1
        return refresh(roads, now=now)

    monkeypatch.setattr(Roads, "refresh", counting)
    for name in ("alpha", "beta"):
        world.add(name)
    world.founder.stop()
    count = 0
    world.founder.start()
    assert count == 1
    node = world.founder.node
    node.handle_deadline(now=world.now, wall=world.wall)
    node.traffic_resumed(bytes(32), now=world.now, wall=world.wall)
    assert count == 1


def test_changed_member_is_told(world: World) -> None:
    """Its routes are another's reason to look."""
    alpha = world.add("alpha", Grant("", (), (LAN,), Role.NONE, YEAR))
    world.founder.events.clear()
    settings = replace(alpha.settings, routes=(Route(LAN, 0, 1),))
    world.do(
        alpha, lambda node: node.configure(settings, now=world.now, wall=world.wall)
    )
    world.run(1.0)
    kinds = [type(event) for event in world.founder.events]
    assert kinds == [MemberChanged, RoutesChanged]


def test_forgotten_member_leaves_nothing_behind(world: World) -> None:
    """What every part knew of it is gone, else tables grow with all who ever were."""
    alpha = world.add("alpha")
    world.run(60.0)
    node = world.founder.node
    node.sync._repair._walks[alpha.key] = world.now + 5
    node.sync._repair._tried[alpha.key] = object()  # type: ignore[assignment]
    office = node.office
    assert office is not None
    envelope = office.issuing.revoke(alpha.key, "lost", wall=int(world.wall))
    node.publish(envelope, now=world.now, wall=world.wall)
    assert alpha.key not in node.sync._repair._walks
    assert alpha.key not in node.sync._repair._tried
    assert alpha.key not in node.reach.dialler._cached
    assert alpha.key not in node._sessions
    assert alpha.key not in node.roads.peers
    world.run(1.0)
    assert alpha.key not in node.neighbours.chosen


def test_pause_grows_with_the_network_only_if_it_is_large(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small network never waits for its routes."""
    node = world.founder.node
    for count, pause in ((1, 0.0), (FEW_MEMBERS, 0.0), (10_000, 2.0)):
        monkeypatch.setattr(type(node.membership), "__len__", lambda _, n=count: n)
        node._routes_at = 50.0
        assert node._refresh_at() == pytest.approx(50.0 + pause)
    assert PAUSE_PER_MEMBER * FEW_MEMBERS < 0.1
    node._are_routes_stale = True
    deadline = node.next_deadline(now=51.0, wall=world.wall)
    assert deadline is not None
    assert deadline.at <= 52.0


def test_conflicts_named_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text goes into logs and replies."""
    node = world.founder.node
    member = node.membership.by_key(node.key)
    pairs = ((member, member),) * 100
    monkeypatch.setattr(type(node.membership), "outdone", lambda _: pairs)
    node._tell_conflicts(world.now)
    assert node.health["conflicts"].count("is left out") == MAX_CONFLICTS


def test_renewal_complaint_is_part_of_health(world: World) -> None:
    """Whoever asks for it sees it, not only who watched when it was told."""
    alpha = world.add("alpha", replace(NOTHING, lifetime=86400))
    world.founder.stop()
    world.run(80_000.0)
    assert "not renewed" in alpha.node.health["certificate"]
    world.founder.start()
    # It asks again within an hour and a quarter.
    world.run(5000.0)
    assert "certificate" not in alpha.node.health
