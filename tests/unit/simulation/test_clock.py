"""Clocks of hosts differ from the world's, and convert back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.simulation.clock import EPOCH, Clock


def test_boottime_counts_from_the_boot():
    """A host booted at 100 s has lived 5 s at 105 s."""
    assert Clock(booted_at=100.0).boottime(105.0) == 5.0


def test_a_fast_clock_runs_ahead():
    """A drift of one per cent makes 101 s of 100."""
    assert Clock(drift=0.01).boottime(100.0) == pytest.approx(101.0)


def test_wall_time_may_be_wrong():
    """By its offset, and by nothing else."""
    assert Clock(wall_offset=-3600.0, drift=0.5).wall_time(10.0) == EPOCH - 3590.0


@given(
    booted_at=st.floats(-1e6, 1e6),
    drift=st.floats(-1e-3, 1e-3),
    now=st.floats(0, 1e5),
)
def test_world_time_is_the_inverse_of_boottime(booted_at, drift, now):
    """Up to rounding far below a millisecond."""
    clock = Clock(booted_at, drift)
    assert clock.world_time(clock.boottime(now)) == pytest.approx(now, abs=1e-6)
