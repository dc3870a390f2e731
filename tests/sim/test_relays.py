"""Relay channels between members that cannot reach each other: simulated nodes."""

import pytest

from meshnode.channels import channel_of
from meshnode.codec.messages import (
    RelayAccept,
    RelayClose,
    RelayOffer,
    RelayOpen,
    RelayOpened,
    RelayReason,
)
from meshnode.codec.records import Role
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_world import MeshWorld

LATENCY = 0.02
NOTHING = Link(blackhole=True)
ROUND_TRIP = 4 * LATENCY
"""Between two members, by one relay."""


def mesh(*relays, seed=3, apart=(("a", "b"),), wants="a"):
    """Return a mesh of relays, a and b; those *apart* never reach each other.

    The members in *wants* want ways to the other one.
    """
    world = MeshWorld(seed, link=Link(latency=LATENCY))
    for one, other in apart:
        world.network.connect(one, other, NOTHING)
    first, *others = relays
    world.found(first)
    if others:
        world.enlist(*others, roles=Role.RELAY)
    world.enlist("a", "b")
    world.run(40.0)
    for name in wants:
        let_want(world, name, "b" if name == "a" else "a")
    return world


def let_want(world, name, other):
    """Let a member want ways to another, as it does once it is dialled."""
    home = world.homes[name]
    home.running.relays.want(world.homes[other].key, now=home.host.now)
    home.host.settle()


def answers(world, name):
    """Return how many answers the member has had."""
    return len(world.hosts[name].application.answered)


def await_answer(world, one="a", other="b", *, within):
    """Send a request and wait for its answer; return how long that took."""
    began, before = world.now, answers(world, one)
    assert world.send(one, other) is not None
    world.run_until(
        lambda: answers(world, one) > before,
        within=within,
        what=f"{other} answers {one}",
    )
    return world.now - began


def talk(world, one="a", other="b", *, seconds, every=0.05):
    """Send requests all the time; return the longest time without an answer."""
    last = began = world.now
    longest = 0.0
    while world.now < began + seconds:
        world.send(one, other)
        before = answers(world, one)
        world.run(every)
        if answers(world, one) > before:
            longest = max(longest, world.now - last)
            last = world.now
    return max(longest, world.now - last)


def used(world, name, other):
    """Return the name of the relay by which a member is spoken to now."""
    home = world.homes[name]
    key = world.homes[other].key
    path = home.life.tunnels.path_of(key)
    for way in home.running.relays.describe(key):
        if way.endpoint == path:
            return next(n for n, h in world.homes.items() if h.key == way.relays[0])
    return None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_first_answer_takes_one_and_a_half_round_trips(seed):
    """The handshake goes along with the question for the channel."""
    world = mesh("r", seed=seed)
    took = await_answer(world, within=5.0)
    # A handshake takes one, and the request and its answer another.
    assert took <= 2 * ROUND_TRIP + 0.05
    assert channel_of(world.homes["a"].life.tunnels.path_of(world.homes["b"].key))


@pytest.mark.parametrize("wants", ["a", "b", "ab"])
def test_a_relay_that_dies_under_traffic_is_left_at_once(wants):
    """Another one is there already; whether one side wants ways or both do."""
    world = mesh("r", "s", wants=wants)
    await_answer(world, within=5.0)
    assert talk(world, seconds=3.0) < 0.5
    assert len(world.homes["a"].running.relays.ways(world.homes["b"].key)) >= 2
    victim = used(world, "a", "b")
    world.hosts[victim].supervisor.crash()
    assert talk(world, seconds=10.0) < 1.5
    assert used(world, "a", "b") not in (victim, None)


def test_a_relay_that_died_while_nothing_was_said_is_left_as_soon():
    """There was no reason to ask after it."""
    world = mesh("r", "s")
    await_answer(world, within=5.0)
    world.run(60.0)
    victim = used(world, "a", "b")
    world.hosts[victim].supervisor.crash()
    assert talk(world, seconds=10.0) < 1.5


def test_two_relays_connect_what_no_one_relay_does():
    """A and r on one side, b and s on the other; only the relays reach each other."""
    world = mesh("r", "s", apart=[("a", "b"), ("a", "s")], wants="")
    world.network.connect("b", "r", NOTHING)
    world.run(400.0)
    assert world.homes["a"].running.relays.homes == (world.homes["r"].key,)
    assert world.homes["b"].running.relays.homes == (world.homes["s"].key,)
    let_want(world, "a", "b")
    let_want(world, "b", "a")
    await_answer(world, within=10.0)
    relays = [
        [n for n in "rs" for key in way.relays if world.homes[n].key == key]
        for one, other in (("a", "b"), ("b", "a"))
        for way in world.homes[one].running.relays.describe(world.homes[other].key)
        if way.is_open
    ]
    assert ["r", "s"] in relays
    assert talk(world, seconds=5.0) < 0.5


def test_a_relay_whose_control_dies_is_asked_again_by_its_users():
    """It forgets its channels; the only relay there is, so nobody can help."""
    world = mesh("r")
    await_answer(world, within=5.0)
    assert talk(world, seconds=2.0) < 0.5
    relay = world.hosts["r"].supervisor
    relay.crash_control()
    relay.start_control()
    assert talk(world, seconds=10.0) < 5.0
    assert talk(world, seconds=3.0) < 0.5
    assert world.homes["r"].running.relays.forwarded == 1


def test_a_users_new_control_process_opens_channels_anew():
    """Its peer moves to the new one by what comes from there."""
    world = mesh("r")
    await_answer(world, within=5.0)
    for name in "ab":
        user = world.hosts[name].supervisor
        user.crash_control()
        user.start_control()
        assert talk(world, seconds=20.0) < 10.0
        assert talk(world, seconds=3.0) < 0.5


def test_what_nobody_wants_is_closed_and_what_is_wanted_stays():
    """A lease is renewed for as long as somebody wants it."""
    world = mesh("r")
    await_answer(world, within=5.0)
    relays = world.homes["a"].running.relays
    others = world.homes["r"].running.relays, world.homes["b"].running.relays
    for _ in range(20):
        world.send("a", "b")
        world.run(20.0)
    # Either end may have asked, and both do if they meet.
    assert 1 <= others[0].forwarded <= 2
    assert await_answer(world, within=5.0) < 1.0
    world.run(20.0)  # paths want their relays for as long as there is traffic
    for name, user, other in (("a", relays, "b"), ("b", others[1], "a")):
        user.drop(world.homes[other].key, now=world.hosts[name].now)
        world.hosts[name].settle()
    world.run(1.0)
    assert others[0].forwarded == 0
    for name, other in (("a", "b"), ("b", "a")):
        ways = world.homes[name].running.relays.ways(world.homes[other].key)
        assert ways == ()


def test_a_lease_ends_when_who_asks_is_gone():
    """Five minutes after it was asked for last; and both ends may have asked."""
    world = mesh("r")
    await_answer(world, within=5.0)
    assert world.homes["r"].running.relays.forwarded > 0
    for name in "ab":
        world.hosts[name].supervisor.crash()
    world.run(320.0)
    assert world.homes["r"].running.relays.forwarded == 0


def test_a_member_that_is_revoked_loses_its_channels():
    """At the relay and at the other end, at once."""
    world = mesh("r")
    await_answer(world, within=5.0)
    world.revoke("a", at="r")
    world.run(1.0)
    assert world.homes["r"].running.relays.forwarded == 0
    ways = world.homes["b"].running.relays.ways(world.homes["a"].key)
    assert ways == ()


def test_a_member_that_floods_gets_no_more_than_its_share():
    """Questions, offers and answers with anything in them: others are served on."""
    world = mesh("r")
    world.enlist("x")
    await_answer(world, within=5.0)
    hostile, draw = world.homes["x"].life, world.random
    keys = [home.key for home in world.homes.values()]
    for _ in range(1500):
        number, label = (draw.randint(1, 2**32 - 1) for _ in range(2))
        key = draw.choice(keys)
        message = draw.choice(
            [
                RelayOpen(key, (), (), number, (draw.randbytes(40),)),
                RelayOffer(key, number, (draw.randbytes(148),)),
                RelayAccept(number, label),
                RelayOpened(number, label, 300),
                RelayClose(number, RelayReason.CLOSED),
            ]
        )
        hostile.send(world.homes[draw.choice("rab")].key, message)
        world.run(0.001)
    relays = world.homes["r"].running.relays
    assert relays.forwarded <= 1 + 64
    for name, other in (("a", "b"), ("b", "a")):
        ways = world.homes[name].running.relays.ways(world.homes[other].key)
        assert 1 <= len(ways) <= 4
        assert world.homes[name].running.relays.forwarded == 0
    assert talk(world, seconds=3.0) < 0.5
