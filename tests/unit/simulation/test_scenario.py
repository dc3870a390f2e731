"""A random life: its shape, its end, and that a failure to recover is found."""

import pytest

from meshnode.simulation import scenario
from meshnode.simulation.links import Link
from meshnode.simulation.scenario import Scenario, play
from meshnode.simulation.world import Unreached


def test_a_scenario_has_traffic_sessions_and_an_end():
    """And says what it came to."""
    outcome = play(3, minutes=2.0, hosts=(3, 3))
    assert (outcome.seed, outcome.hosts) == (3, 3)
    assert outcome.virtual_seconds >= 120.0
    assert outcome.requests > outcome.answers > 0
    assert outcome.sessions > 2
    assert outcome.recovery_seconds <= scenario.LIVENESS
    assert len(outcome.digest) == 64


def test_the_number_of_hosts_is_in_the_range():
    """Drawn from the seed."""
    counts = {
        len(Scenario(seed, minutes=1.0, hosts=(2, 4)).world.hosts) for seed in range(20)
    }
    assert counts == {2, 3, 4}


def test_a_pair_that_cannot_talk_in_the_end_is_found(monkeypatch):
    """Faults that do not stop are a failure of liveness."""
    monkeypatch.setattr(scenario, "_CALM", Link(blackhole=True))
    with pytest.raises(Unreached, match="every configured pair talks"):
        play(1, minutes=0.5, hosts=(2, 2))
