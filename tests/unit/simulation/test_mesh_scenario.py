"""The random life of a mesh: its shape, and that what it looks for is found."""

import pytest

from meshnode.simulation import mesh_scenario
from meshnode.simulation.mesh_scenario import MeshScenario, play_mesh
from meshnode.simulation.world import Unreached


def test_a_mesh_lives_and_recovers():
    """And says what it came to."""
    outcome = play_mesh(3, nodes=(3, 3))
    assert outcome.hosts >= 3
    assert outcome.requests > outcome.answers > 0
    assert outcome.recovery_seconds <= mesh_scenario.LIVENESS
    assert len(outcome.digest) == 64


def test_few_nodes_are_more_likely_than_many():
    """And never more than asked for."""
    counts = []
    for seed in range(300):
        scenario = MeshScenario.__new__(MeshScenario)
        scenario._random = mesh_scenario.Random(f"{seed}/mesh")
        counts.append(scenario._count(3, 50))
    small = sum(count <= 8 for count in counts)
    assert 220 < small < 290
    assert max(counts) <= 50
    assert max(counts) > 16


def test_members_that_cannot_talk_in_the_end_are_found(monkeypatch):
    """The troubles never end."""

    def go_on(self):
        self.world.network.partition(["a"], [n for n in self.world.hosts if n != "a"])

    monkeypatch.setattr(MeshScenario, "_end_troubles", go_on)
    monkeypatch.setattr(MeshScenario, "_schedule", lambda self: None)
    with pytest.raises(Unreached, match="these talk"):
        play_mesh(3, nodes=(3, 3))
