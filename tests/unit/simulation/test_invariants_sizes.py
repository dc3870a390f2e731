"""The rule about sizes can fail: here a node uses what never arrived."""

import pytest

from meshnode.mesh.path_size import PathSizes
from meshnode.simulation.invariants import Violation
from meshnode.simulation.invariants_sizes import ProvenSizes
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_invariants import mesh_invariants
from meshnode.simulation.mesh_world import MeshWorld


def play(*, mtu=9000):
    """Return a mesh of two with wide underlays, after they talked."""
    world = MeshWorld(
        1,
        link=Link(latency=0.02, mtu=mtu),
        rules=lambda world: [ProvenSizes(world)],
    )
    world.found("a", max_mtu=8920)
    world.prepare("b", max_mtu=8920)
    world.enlist("b")
    for _ in range(3):
        world.send("a", "b")
        world.run(1.0)
    return world


def test_what_arrived_may_be_used():
    """And no rule is broken."""
    homes = play().homes
    assert homes["a"].running.sizes.proven() == {homes["b"].key: 8920}


def test_the_word_of_a_member_is_no_proof(monkeypatch):
    """A node that believes what the other takes is found out."""

    def receive(self, key, message, *, now):
        original(self, key, message, now=now)
        self._use(self._peers[key], message.size)

    original = PathSizes.receive_largest
    monkeypatch.setattr(PathSizes, "receive_largest", receive)
    with pytest.raises(Violation, match="is sent 8920 bytes"):
        play(mtu=1500)


def test_a_proof_is_of_one_endpoint(monkeypatch):
    """A node that keeps it when the member moves is found out."""
    monkeypatch.setattr(PathSizes, "path_changed", lambda self, key, *, now: None)
    world = play()
    world.homes["b"].move()
    for moment in range(5):
        world.after(moment, lambda: world.send("b", "a"))
    with pytest.raises(Violation, match="is sent 8920 bytes"):
        world.run(5.0)


def test_the_rule_is_in_force():
    """In every world with a mesh."""
    rules = mesh_invariants(MeshWorld(1))
    assert any(isinstance(rule, ProvenSizes) for rule in rules)
