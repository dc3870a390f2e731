"""What a mesh comes back from, and in what time."""

import pytest

from meshnode.codec.records import Role, Route
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_invariants import (
    CertifiedRoutes,
    MonotoneMembership,
    OwnWord,
    mesh_invariants,
    owners_by_prefix,
)
from meshnode.simulation.mesh_world import MeshWorld
from meshnode.types import Prefix

LAN = Prefix.parse("192.168.7.0/24")
BEHIND = bytes((192, 168, 7, 9))


def records_only(world):
    """Return the rules about records and routes: the others cost more than the play."""
    return [MonotoneMembership(world), OwnWord(world), CertifiedRoutes(world)]


def mesh(seed, names, *, rules=mesh_invariants, **grant):
    """Return a mesh of a founder `a` and members of these names, all settled."""
    world = MeshWorld(seed, link=Link(latency=0.03), keep=400, rules=rules)
    world.found("a")
    world.enlist(*names, **grant)
    world.run_until(lambda: len(world.views(world.homes)) == 1, within=20)
    return world


def answered(world, name, number):
    """Whether the member has an answer to its request."""
    return number in world.hosts[name].application.answered


def reaches(world, one, other, *, within=30.0):
    """Let a member ask another each second until it answers; fail if it does not."""
    numbers = []

    def ask():
        numbers.append(world.send(one, other))
        world.after(1.0, ask)

    ask()
    world.run_until(
        lambda: any(answered(world, one, number) for number in numbers),
        within=within,
        what=f"{other} answers {one}",
    )


@pytest.mark.timeout(600)
def test_fifty_nodes_parted_for_ten_minutes_know_the_same_in_ten_seconds():
    """Each half learned something meanwhile: two joined, one was revoked."""
    names = [f"n{number}" for number in range(46)]
    world = mesh("fifty", names, rules=records_only)
    # Without a rendezvous of its own a half may hold one that nobody can find.
    world.enlist("b", roles=Role.RENDEZVOUS)
    world.run(30)
    half = ["a", *names[:24], "new0", "new1"]
    world.network.partition(half, ["b", *names[24:]])
    world.enlist("new0", "new1")
    world.revoke(names[40], at=names[45])
    world.run(600)
    assert len(world.views([n for n in world.homes if n != names[40]])) == 2
    world.network.heal()
    left = [name for name in world.homes if name != names[40]]
    world.run_until(
        lambda: len(world.views(left)) == 1, within=10.0, what="views are equal"
    )
    for name in left:
        assert world.homes[name].running.membership.by_name(names[40]) is None
        assert world.homes[name].running.membership.by_name("new1") is not None


def test_a_revocation_reaches_all_in_five_seconds_and_cuts_at_once():
    """Whoever hears of it ends its session within a second."""
    names = [f"n{number}" for number in range(19)]
    world = mesh("revoked", names)
    victim = world.homes["n3"].key
    for name in names:
        if name != "n3":
            world.send(name, "n3")
    world.run(3)
    others = [name for name in world.homes if name != "n3"]
    assert sum(world.homes[name].running.has_session(victim) for name in others) > 10
    heard: dict[str, float] = {}
    cut: dict[str, float] = {}

    def all_cut():
        for name in others:
            node = world.homes[name].running
            if node.membership.by_key(victim) is None:
                heard.setdefault(name, world.now)
            if name in heard and not node.has_session(victim):
                cut.setdefault(name, world.now)
        return len(cut) == len(others)

    began = world.now
    world.revoke("n3", at="n7")
    world.run_until(all_cut, within=5.0, what="all have cut the session")
    assert max(heard.values()) - began <= 5.0
    assert max(cut[name] - heard[name] for name in others) <= 1.0
    before = len(world.hosts["n5"].application.delivered)
    world.send("n3", "n5")
    world.run(5)
    assert len(world.hosts["n5"].application.delivered) == before


def test_a_shared_prefix_fails_over_in_five_seconds_under_traffic():
    """The owner with the better metric dies; the other takes over."""
    world = MeshWorld("failover", link=Link(latency=0.03))
    world.found("a")
    world.prepare("b", routes=(Route(LAN, 10),))
    world.prepare("c", routes=(Route(LAN, 20),))
    world.enlist("b", "c", subnets=(LAN,))
    world.enlist("d")
    world.run(5)
    first = world.send("d", BEHIND)
    world.run(1)
    assert answered(world, "d", first)
    assert world.hosts["b"].application.delivered
    sent: dict[int, float] = {}

    def ask():
        number = world.send("d", BEHIND)
        assert number is not None
        sent[number] = world.now
        world.after(0.2, ask)

    ask()
    world.run(3)
    world.hosts["b"].supervisor.crash()
    died = world.now
    world.run_until(
        lambda: any(
            sent.get(number, 0.0) > died
            for number in world.hosts["d"].application.answered
        ),
        within=5.0,
        what="the other owner answers",
    )


def test_without_the_node_all_joined_by_the_others_go_on():
    """They restart, find each other from their disks, and follow who moves."""
    names = ["b", "c", "d", "e"]
    world = mesh("orphans", names, roles=Role.RENDEZVOUS)
    for one in names:
        for other in names:
            if one != other:
                world.send(one, other)
    # Endpoints are safe on disk with the next change of another kind: a minute.
    world.run(70)
    world.homes["a"].lose_power()
    for name in names:
        world.homes[name].lose_power()
    world.run(2)
    for name in names:
        world.hosts[name].supervisor.switch_on()
    reaches(world, "b", "c", within=15.0)
    world.run(70)
    world.homes["c"].move()
    reaches(world, "e", "c")


@pytest.mark.parametrize("mutual", [False, True])
def test_who_moves_is_found_again(mutual):
    """Also when both ends move at the same moment."""
    world = mesh(f"moves {mutual}", ["b", "c", "d"])
    reaches(world, "b", "c", within=2.0)
    world.homes["c"].move()
    if mutual:
        world.homes["b"].move()
    reaches(world, "b", "c")


def test_a_charter_and_a_policy_reach_who_was_away():
    """Half the mesh cannot hear when both change."""
    names = [f"n{number}" for number in range(7)]
    world = mesh("charter", names)
    world.network.partition(["a", *names[:3]], names[3:])
    world.roll_charter(at="a")
    world.apply_policy('default = "deny"\n', at="a")
    world.roll_charter(at="a")
    world.run(60)
    world.network.heal()
    world.run_until(lambda: len(world.views(world.homes)) == 1, within=30)
    for node in world.nodes(world.homes):
        assert node.sync.library.versions == (3, 1)
        assert node.roads.plan().filter is not None
        assert len(node.membership) == 8


def test_a_certificate_is_renewed_while_sessions_go_on():
    """Nobody loses a packet when it changes."""
    world = mesh("renewal", ["b", "c"], lifetime=300)
    ends = world.homes["b"].running.own.certificate.not_after
    numbers = []
    for _ in range(80):
        numbers.append(world.send("c", "b"))
        world.run(5)
    assert world.homes["b"].running.own.certificate.not_after > ends
    assert all(answered(world, "c", number) for number in numbers)


def test_who_is_not_renewed_is_cut_off_when_its_certificate_ends():
    """Five minutes after its end, for clocks that differ."""
    world = mesh("expiry", ["b", "c"], lifetime=120)
    world.homes["a"].lose_power()
    world.send("c", "b")
    world.run(60)
    assert answered(world, "c", world.send("c", "b")) is False
    world.run(400)
    before = len(world.hosts["b"].application.delivered)
    world.send("c", "b")
    world.run(5)
    assert len(world.hosts["b"].application.delivered) == before
    assert world.homes["b"].running.health["membership"].endswith("expired")


def test_all_restart_at_once_and_talk_again():
    """Eight machines lose their power in the same second."""
    names = [f"n{number}" for number in range(7)]
    world = mesh("mass restart", names)
    for home in world.homes.values():
        home.lose_power()
    world.run(1)
    for home in world.homes.values():
        home.host.supervisor.switch_on()
    numbers = {name: world.send(name, "a") for name in names}
    world.run_until(
        lambda: all(answered(world, name, numbers[name]) for name in names), within=30
    )


def test_a_node_restored_from_a_backup_says_nothing_old():
    """Its later word, which others know, is outdone by a later one yet."""
    world = MeshWorld("rollback", link=Link(latency=0.03))
    world.found("a")
    world.prepare("b", routes=(Route(LAN, 10),))
    world.enlist("b", subnets=(LAN,))
    world.enlist("c")
    world.run(5)
    home = world.homes["b"]
    backup = home.disk.backup()
    home.announce(())
    home.announce((Route(LAN, 30),))
    world.run(5)
    version = home.running.own.version
    home.lose_power()
    home.restore(backup)
    home.host.supervisor.switch_on()
    world.run(30)
    assert home.running.own.version > version
    assert len(world.views(world.homes)) == 1
    rankings = [owners_by_prefix(node) for node in world.nodes(world.homes)]
    assert rankings[0] == rankings[1] == rankings[2]
    assert LAN in rankings[0]


@pytest.mark.parametrize("step", [-1.0, 1.0, -3600.0, 3600.0, -10 * 365 * 86400.0])
def test_a_wrong_clock_locks_nobody_out(step):
    """While it is wrong, or at the latest when it is right again."""
    world = mesh(f"clock {step}", ["b", "c"], lifetime=86400)
    world.hosts["b"].clock.wall_offset = step
    world.run(60)
    number = world.send("b", "c")
    world.run(5)
    assert answered(world, "b", number)
    world.homes["b"].lose_power()
    world.hosts["b"].supervisor.switch_on()
    world.run(5)
    number = world.send("c", "b")
    world.run_until(lambda: answered(world, "c", number), within=30)
    world.hosts["b"].clock.wall_offset = 0.0
    number = world.send("c", "b")
    world.run_until(lambda: answered(world, "c", number), within=30)


def test_a_clock_ten_years_ahead_is_forgiven():
    """Meanwhile everybody's certificate has expired for that node, itself included."""
    world = mesh("ten years", ["b", "c"])
    world.hosts["b"].clock.wall_offset = 10 * 365 * 86400.0
    world.run(120)
    assert world.homes["b"].running.health["membership"].endswith("expired")
    world.hosts["b"].clock.wall_offset = 0.0
    world.run(30)
    number = world.send("b", "c")
    world.run_until(lambda: answered(world, "b", number), within=30)
