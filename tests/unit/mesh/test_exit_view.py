"""The exit of a host, as values and as complaints, over a whole node."""

import json
import random
from dataclasses import replace

import pytest

from meshnode.codec.records import Role
from meshnode.hostplan import Announced, FullTunnel
from meshnode.mesh.exit_view import describe_exit, exit_complaint
from meshnode.mesh.invites import Grant
from meshnode.mesh.routes import DEFAULT_ROUTES
from meshnode.mesh.settings import NodeSettings
from meshnode.types import Prefix
from tests.unit.mesh.node_parts import SETTINGS, YEAR, Computer, World

LAN = Prefix.parse("192.168.7.0/24")
GRANT = Grant("", (), DEFAULT_ROUTES, Role.EXIT, YEAR)


@pytest.fixture
def world(rng: random.Random) -> World:
    """A founder."""
    return World(rng)


def configure(world: World, host: Computer, settings: NodeSettings) -> None:
    """Let a host follow other settings, and the others hear of it."""
    world.do(
        host,
        lambda node: node.configure(settings, now=world.now, wall=world.wall),
    )
    world.run(1.0)


def test_members_offer_what_their_certificate_holds(world: World) -> None:
    """An offer is in the record and on the host; without a certificate it is not."""
    full, half, none = (
        world.add(name, grant)
        for name, grant in (
            ("full", GRANT),
            ("half", replace(GRANT, subnets=DEFAULT_ROUTES[:1])),
            ("none", replace(GRANT, roles=Role.NONE, subnets=())),
        )
    )
    for host in (full, half, none):
        configure(world, host, replace(host.settings, offers_exit=True))
    assert world.founder.node.roads.exit_offers() == {
        "full": DEFAULT_ROUTES,
        "half": DEFAULT_ROUTES[:1],
    }
    assert half.plans[-1].announced == (Announced(DEFAULT_ROUTES[0]),)
    assert half.plans[-1].forwards
    assert half.node.health == {}
    assert "cert grant none --role exit" in none.node.health["exit offered"]
    assert none.plans[-1].announced == ()
    configure(world, full, replace(full.settings, offers_exit=False))
    assert set(world.founder.node.roads.exit_offers()) == {"half"}
    told = describe_exit(half.node.roads, ())
    assert (told["offers"], told["offered"]) == (True, ["0.0.0.0/0"])


def test_the_chosen_one_owns_everything(world: World) -> None:
    """It alone, as long as the settings say so; the plan asks for the full tunnel."""
    hosts = [world.add(name, GRANT) for name in ("paris", "rome")]
    for host in hosts:
        configure(world, host, replace(host.settings, offers_exit=True))
    user = world.founder
    full = FullTunnel((LAN,))
    wanted = replace(SETTINGS, exits=("rome", "paris"), full_tunnel=full)
    configure(world, user, wanted)
    routing = user.node.roads.routing
    assert routing.exclusive[hosts[1].key][-2:] == DEFAULT_ROUTES
    assert not set(DEFAULT_ROUTES) & set(routing.exclusive[hosts[0].key])
    assert routing.accepted == ()
    assert user.plans[-1].full_tunnel == full
    assert user.plans[-1].routes == ()
    assert user.node.health == {}
    told = describe_exit(user.node.roads, {hosts[0].key})
    assert json.loads(json.dumps(told)) == told
    assert (told["inUse"], told["isHealthy"]) == ("rome", True)
    assert told["routes"] == ["0.0.0.0/0", "::/0"]
    assert (told["lan"], told["killSwitch"]) == ([str(LAN)], True)
    assert told["exits"] == [
        {"name": "rome", "offers": ["0.0.0.0/0", "::/0"], "isHealthy": True},
        {"name": "paris", "offers": ["0.0.0.0/0", "::/0"], "isHealthy": False},
    ]
    configure(world, user, SETTINGS)
    assert user.plans[-1].full_tunnel is None
    assert not set(DEFAULT_ROUTES) & set(
        user.node.roads.routing.exclusive[hosts[1].key]
    )


def test_what_is_wrong_is_said(world: World) -> None:
    """Nobody offers, or nobody answers: each with a remedy."""
    user = world.founder
    assert exit_complaint(user.node.roads) == ""
    wanted = replace(SETTINGS, exits=("paris",), full_tunnel=FullTunnel())
    configure(world, user, wanted)
    assert "no member paris offers to be an exit" in user.node.health["exit"]
    assert describe_exit(user.node.roads, ())["inUse"] is None
    paris = world.add("paris", GRANT)
    configure(world, paris, replace(paris.settings, offers_exit=True))
    assert user.node.health == {}
    roads = user.node.roads
    roads.exits.choose(("paris",), {"paris": paris.key}, {paris.key}, now=world.now)
    assert "no exit answers (paris)" in exit_complaint(roads)
