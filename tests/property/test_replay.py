"""The replay window against an oracle that remembers every counter."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.wireguard.constants import REJECT_AFTER_MESSAGES, WINDOW
from meshnode.wireguard.replay import ReplayWindow


class SetOracle:
    """A replay window that is obviously right and never forgets."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.greatest = 0

    def accept(self, counter: int) -> bool:
        """As `ReplayWindow.accept`."""
        if counter >= REJECT_AFTER_MESSAGES or counter in self.seen:
            return False
        if self.seen and counter < self.greatest - WINDOW:
            return False
        self.seen.add(counter)
        self.greatest = max(self.greatest, counter)
        return True


def near(greatest: int, rng: random.Random) -> int:
    """Return a counter such as a network, or an attacker, would send next."""
    kind = rng.random()
    if kind < 0.5:
        return greatest + 1
    if kind < 0.7:
        return greatest + rng.randrange(200)
    if kind < 0.9:
        return max(0, greatest - rng.randrange(WINDOW + 200))
    if kind < 0.95:
        return max(0, greatest - WINDOW + rng.randrange(-3, 4))
    return greatest + rng.randrange(3 * WINDOW)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_oracle_on_traffic(seed: int) -> None:
    """Reordered, repeated and jumping counters are judged as by the oracle."""
    rng = random.Random(seed)
    window, oracle = ReplayWindow(), SetOracle()
    for step in range(40_000):
        counter = near(oracle.greatest, rng)
        where = f"seed {seed}, step {step}, counter {counter}"
        fresh = window.is_fresh(counter)
        expected = oracle.accept(counter)
        assert fresh is expected, where
        assert window.accept(counter) is expected, where


COUNTERS = st.one_of(
    st.integers(0, 3 * WINDOW),
    st.integers(2**40, 2**40 + 3 * WINDOW),
    st.integers(REJECT_AFTER_MESSAGES - 2 * WINDOW, 2**64 - 1),
)


@settings(deadline=None)
@given(st.lists(COUNTERS, max_size=60))
def test_equals_the_oracle_on_any_counters(counters: list[int]) -> None:
    """Whatever the counters, the answers are those of the oracle."""
    window, oracle = ReplayWindow(), SetOracle()
    for counter in counters:
        expected = oracle.accept(counter)
        assert window.is_fresh(counter) is expected
        assert window.accept(counter) is expected
