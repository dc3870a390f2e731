"""Each rule of the mesh must be able to fail: here it is broken on purpose."""

import pytest

from meshnode.codec.records import Route
from meshnode.mesh import routes
from meshnode.mesh.engine_tunnels import EngineTunnels
from meshnode.mesh.membership import Membership, Standing
from meshnode.mesh.own_record import OwnRecord
from meshnode.mesh.record_set import RecordSet
from meshnode.simulation import mesh_inside
from meshnode.simulation.invariants import Violation
from meshnode.simulation.mesh_disk import MeshDisk
from meshnode.simulation.mesh_host import MeshLife
from meshnode.simulation.mesh_invariants import (
    ArmedMeshTimers,
    CertifiedRoutes,
    CertifiedSource,
    HarmlessEndpoints,
    KeptBeforeUsed,
    MeshBounds,
    MonotoneMembership,
    NoAmplificationByStrangers,
    OwnWord,
    mesh_invariants,
    owners_by_prefix,
)
from meshnode.simulation.mesh_world import MeshWorld
from meshnode.types import Endpoint, Path, Prefix

LAN = Prefix.parse("192.168.7.0/24")


def mesh(*rules):
    """Return a mesh of three that only these rules look at, or all."""
    chosen = mesh_invariants
    if rules:
        chosen = lambda world: [rule(world) for rule in rules]  # noqa: E731
    world = MeshWorld(1, rules=chosen)
    world.found("a")
    world.prepare("b", routes=(Route(LAN),))
    world.enlist("b", subnets=(LAN,))
    world.enlist("c")
    world.run(3)
    return world


def push(world, record):
    """Give a record to the node a, as a command does."""
    home = world.homes["a"]
    home.running.publish(record, now=home.host.now, wall=home.wall)
    home.host.settle()


def announce(world, name, *routes):
    """Let a member announce routes, and all hear of it."""
    world.homes[name].announce(routes)
    world.run(3)


def keep_sending(world, one, other):
    """Let a node send for half a minute."""
    for _ in range(10):
        assert world.send(one, other) is not None
        world.run(3)


def live(world):
    """Let all happen that the rules speak of."""
    for one, other in (("a", "b"), ("b", "c"), ("c", "a")):
        world.send(one, other)
        world.run(1)
    world.homes["b"].announce(())
    world.run(3)
    world.homes["b"].announce((Route(LAN, 7),))
    world.run(3)
    world.revoke("c", at="a")
    world.run(3)


def test_nothing_fails_when_nothing_is_broken():
    """The story the mutants below are played in is legal."""
    world = mesh()
    live(world)
    owners = owners_by_prefix(world.homes["a"].running)
    assert owners == {LAN: ((7, world.homes["b"].key),)}


def test_i2_catches_a_source_that_nobody_certified(monkeypatch):
    """A revoked member whose peer is never removed."""
    world = mesh(CertifiedSource)
    world.send("c", "b")
    world.run(1)
    monkeypatch.setattr(EngineTunnels, "remove_peer", lambda self, key, *, now: None)
    world.revoke("c", at="a")
    world.run(3)
    # Its channel over a is closed, and it is a while until it speaks to b directly.
    with pytest.raises(Violation, match="c got through with the source"):
        keep_sending(world, "c", "b")


def test_i7_catches_a_record_that_goes_back(monkeypatch):
    """An older version displaces a later one."""
    world = mesh(MonotoneMembership)
    node = world.homes["a"].running
    (old,) = node.records.members_of(world.homes["b"].key)
    world.homes["b"].announce(())
    world.run(2)
    monkeypatch.setattr("meshnode.mesh.record_set.is_later", lambda one, other: True)
    with pytest.raises(Violation, match="went back: member b"):
        push(world, old.data)


def test_i7_catches_a_record_that_is_forgotten():
    """Though nothing speaks against it."""
    world = mesh(MonotoneMembership)
    records = world.homes["a"].running.records
    (member,) = records.members_of(world.homes["b"].key)
    records.discard(member)
    with pytest.raises(Violation, match="forgot member b"):
        world.hosts["a"].settle()


def test_i7_catches_a_revoked_member_that_counts(monkeypatch):
    """The view forgets to ask."""
    monkeypatch.setattr(RecordSet, "_all_hit_by", lambda self, revocation: [])
    monkeypatch.setattr(
        Membership, "_standing_of", lambda self, member: Standing.COUNTS
    )
    with pytest.raises(Violation, match=r"c.*(struck off|must not)|struck off.*c"):
        live(mesh(MonotoneMembership))


def test_i7_catches_a_word_with_two_meanings():
    """A node that changes its record and not the version."""
    world = mesh(OwnWord)
    own = world.homes["b"].running.own
    own.data += b"x"
    with pytest.raises(Violation, match="b: says two things in version 1"):
        world.hosts["b"].settle()


def test_i7_catches_a_version_that_goes_back():
    """The node has forgotten what it said."""
    world = mesh(OwnWord)
    world.homes["b"].running.own.version -= 1
    with pytest.raises(Violation, match="b: says version 0 after version 1"):
        world.hosts["b"].settle()


def test_i8_catches_a_hijacked_prefix(monkeypatch):
    """Whatever is announced is believed."""
    monkeypatch.setattr(routes, "_refusal", lambda *arguments: None)
    monkeypatch.setattr(
        "meshnode.mesh.trust.require_certified_routes", lambda *arguments: None
    )
    monkeypatch.setattr(OwnRecord, "may_announce", lambda self, prefix: True)
    world = mesh(CertifiedRoutes)
    with pytest.raises(Violation, match=r"c owns 192\.168\.7\.0/24"):
        announce(world, "c", Route(LAN))


def test_i11_catches_what_was_not_kept(monkeypatch):
    """A disk that forgets."""
    monkeypatch.setattr(MeshDisk, "apply", lambda self, changes: None)
    with pytest.raises(Violation, match="did not keep"):
        mesh(KeptBeforeUsed)


def test_i9_catches_a_node_that_sleeps_for_ever(monkeypatch):
    """Nothing would wake it."""
    world = mesh(ArmedMeshTimers)
    monkeypatch.setattr(
        "meshnode.mesh.node.MeshNode.next_deadline", lambda self, *, now, wall: None
    )
    with pytest.raises(Violation, match="sleeps for ever"):
        world.run(30)


def test_i10_catches_a_table_that_grows(monkeypatch):
    """Beyond its bound."""
    monkeypatch.setattr(
        mesh_inside, "table_sizes", lambda node, *, members: [("things", 3, 2)]
    )
    with pytest.raises(Violation, match="things: 3, more than 2"):
        mesh(MeshBounds)


def test_f34_catches_a_datagram_into_the_tunnel():
    """Wherever it came from."""
    world = mesh(HarmlessEndpoints)
    with pytest.raises(Violation, match=r"a datagram goes to 10\.77\.0\.1:9"):
        world.hosts["a"].send(b"x", Path(Endpoint("10.77.0.1", 9)))


def test_i4_catches_an_answer_to_an_introduction(monkeypatch):
    """It tells nothing new, and yet something is sent."""
    world = mesh(NoAmplificationByStrangers)
    host = world.hosts["a"]
    original = MeshLife._receive_introduction

    def answer(self, data, path):
        original(self, data, path)
        host.send(b"x", path)

    monkeypatch.setattr(MeshLife, "_receive_introduction", answer)
    world.hosts["b"].supervisor.crash()
    world.hosts["b"].supervisor.switch_on()
    home = world.homes["b"]
    home.running.reach.dialler._knows_us.clear()
    world.hosts["a"].supervisor.crash_control()
    world.hosts["a"].supervisor.start_control()
    world.send("b", "a")
    with pytest.raises(Violation, match="bytes out"):
        world.run(25)
