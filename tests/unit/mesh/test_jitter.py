"""Jitter: within a quarter of the time, and not the same for everybody."""

import random

import pytest

from meshnode.mesh.jitter import spread


def test_the_ends_are_a_quarter_away() -> None:
    """The least and the greatest draw give 0.75 and 1.25 of the time."""
    assert spread(60.0, lambda size: bytes(size)) == 45.0
    assert spread(60.0, lambda size: b"\xff" * size) == pytest.approx(75.0)


def test_draws_differ(rng: random.Random) -> None:
    """Nodes that started together part, around the time that was asked for."""
    times = [spread(60.0, rng.randbytes) for _ in range(200)]
    assert len(set(times)) > 150
    assert 57 < sum(times) / len(times) < 63
