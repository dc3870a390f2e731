"""A few seeds of the random scenarios; `tools/simulate` plays many more, and longer."""

import pytest

from meshnode.simulation.scenario import play


@pytest.mark.parametrize("seed", range(12))
def test_a_random_network_keeps_all_rules_and_recovers(seed):
    """Four virtual minutes of troubles, every invariant after every event."""
    outcome = play(seed, minutes=4.0)
    assert outcome.sessions > 0


# Seeds that once found a fault, at the length that found it.
@pytest.mark.parametrize("seed", [12, 16, 58, 85, 132, 526, 947])
def test_seeds_that_once_failed(seed):
    """What they found stays mended."""
    play(seed, minutes=10.0)
